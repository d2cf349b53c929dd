//! explicit_bzero(3) for what a process leaves in its memory between two clients: freed memory of the heap, and the
//! part of the stack that was used.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use nix::unistd::{SysconfVar, sysconf};

/// Whether memory is wiped as it is freed.
static WIPES: AtomicBool = AtomicBool::new(false);

/// Bytes of the stack that are overwritten, below the caller: as deep as calls usually go.
const NEAR: usize = 32 * 1024;
/// Bytes below which the pages of the stack are given back: less than [`NEAR`], by more than a page.
const FAR: usize = 24 * 1024;
/// As [`NEAR`], where a page is larger than 4 KiB: 64 KiB at most.
const NEAR_LARGE: usize = 96 * 1024;
/// Bytes below which no call comes.
const DEEPEST: usize = 1 << 20;

/// The heap of malloc(3), in which memory that is freed is wiped from [`wipe_freed`] on. For
/// `#[global_allocator]`.
#[derive(Debug)]
pub struct WipingHeap;

/// From now on this process wipes all memory of a [`WipingHeap`] as it frees it, and that of its children.
pub fn wipe_freed() {
    WIPES.store(true, Relaxed);
}

// SAFETY: memory comes from the system's allocator and goes back there, under the layout that it came with; in between
// only its bytes are changed, when their owner has given them up.
unsafe impl GlobalAlloc for WipingHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: what the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: what the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        if WIPES.load(Relaxed) {
            // SAFETY: the caller gives up these bytes, which are its own until System has them back.
            unsafe { libc::explicit_bzero(place.cast(), layout.size()) };
        }
        // SAFETY: what the caller promises.
        unsafe { System.dealloc(place, layout) }
    }

    /// realloc(3) may leave the bytes where they were: they are moved here.
    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !WIPES.load(Relaxed) {
            // SAFETY: what the caller promises.
            return unsafe { System.realloc(place, layout, size) };
        }
        // SAFETY: the caller promises that the new size is not 0 and does not overflow with this alignment. The new
        // memory is another than the old one, and both have as many bytes as are copied.
        unsafe {
            let moved = System.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(place, layout.size().min(size));
                self.dealloc(place, layout);
            }
            moved
        }
    }
}

/// Wipes the stack below the caller: what calls that have returned have left there, up to 1 MiB. For a process of one
/// task.
#[inline(never)]
pub fn wipe_stack() {
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    let page = page.and_then(|page| usize::try_from(page).ok()).unwrap_or(4096).max(4096);
    if page == 4096 {
        overwrite_stack::<NEAR>();
    } else {
        overwrite_stack::<NEAR_LARGE>();
    }
    let top = black_box(0_u8);
    let from = (&raw const top).addr().saturating_sub(FAR) / page * page;
    let to = from.saturating_sub(DEEPEST);
    let place = std::ptr::without_provenance_mut::<libc::c_void>(to);
    // SAFETY: nothing that is used lies there: these are addresses of the stack of this process, or of nothing, 24 KiB
    // below the lowest frame, and the call does not come that far. Both ends are those of pages. Who comes there next
    // finds zeros. ENOMEM says that a part is not mapped; the rest was done.
    let _ = unsafe { libc::madvise(place, from - to, libc::MADV_DONTNEED) };
}

/// Overwrites bytes below the caller with its own frame.
#[inline(never)]
fn overwrite_stack<const BYTES: usize>() {
    black_box(&mut [0_u8; BYTES]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fork::{Fork, exit_now, fork_among_threads};
    use nix::sys::wait::{WaitStatus, waitpid};

    /// Runs `life` in a process that wipes; gives its exit code.
    fn wiping(life: impl FnOnce() -> i32) -> i32 {
        match fork_among_threads().unwrap() {
            Fork::Child => {
                wipe_freed();
                exit_now(life())
            }
            Fork::Parent(child) => match waitpid(child, None).unwrap() {
                WaitStatus::Exited(_, code) => code,
                other => panic!("{other:?}"),
            },
        }
    }

    /// The bytes that are found where memory was freed.
    fn left(place: *const u8, count: usize) -> usize {
        // SAFETY: malloc(3) keeps the memory of small pieces mapped; volatile, because it has no owner.
        (0..count).filter(|at| unsafe { place.add(*at).read_volatile() } == 0xa5).count()
    }

    #[test]
    fn memory_that_is_freed_or_moved_is_wiped() {
        let code = wiping(|| {
            let layout = Layout::from_size_align(512, 8).unwrap();
            // SAFETY: memory is freed under the layout that it was made with.
            let (freed, moved, kept) = unsafe {
                let freed = WipingHeap.alloc(layout);
                freed.write_bytes(0xa5, 512);
                let moved = WipingHeap.alloc(layout);
                moved.write_bytes(0xa5, 512);
                let kept = WipingHeap.realloc(moved, layout, 1024);
                WipingHeap.dealloc(freed, layout);
                (left(freed, 512), left(moved, 512), left(kept, 512))
            };
            // malloc(3) writes two words of its own into what is free.
            i32::from(freed.max(moved) > 16 || kept != 512)
        });
        assert_eq!(code, 0);
    }

    /// The runs of eight bytes that are found in a part of the stack. A single byte there may be of an address, which
    /// is another one each time.
    fn left_on_stack(place: *const u8, count: usize) -> usize {
        (0..count / 8).filter(|run| left(place.wrapping_add(run * 8), 8) == 8).count()
    }

    #[inline(never)]
    fn use_stack(depth: usize) -> usize {
        let mut frame = [0xa5_u8; 4096];
        black_box(&mut frame);
        let place = frame.as_ptr().addr();
        if depth == 0 { place } else { black_box(use_stack(depth - 1)) }
    }

    #[test]
    fn the_stack_is_wiped_as_deep_as_it_was_used() {
        for depth in [0, 4, 100] {
            let code = wiping(|| {
                let place = black_box(use_stack(depth));
                let place = std::ptr::with_exposed_provenance::<u8>(place);
                let before = left_on_stack(place, 4096);
                wipe_stack();
                i32::from(before < 250) + 2 * i32::from(left_on_stack(place, 4096) != 0)
            });
            assert_eq!(code, 0, "{depth}");
        }
    }
}
