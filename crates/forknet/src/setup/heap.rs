//! The heap of a process that forks for each client.
//!
//! What the start has freed are holes, of all sizes, in all pages of the heap. A child whose memory comes from
//! there touches as many pages, and each is copied: 20 for a login, of two processes. Once the holes are taken,
//! its memory comes from the end of the heap, one piece after the other, and lies in a few pages.

use std::hint::black_box;

use sys::wipe::WipingHeap;

/// Every program's heap: malloc(3)'s, but that a process which serves clients one after the other can have it wiped.
#[global_allocator]
static HEAP: WipingHeap = WipingHeap;

/// Bytes of a piece that comes from the end of the heap, as the start leaves no hole of that size.
const LARGE: usize = 64 * 1024;
/// Sizes in bytes of which holes are looked for, from the largest on.
const LARGE_HOLES: [usize; 4] = [8192, 4096, 2048, 1024];
/// Bytes from one size to the next below those.
const STEP: usize = 16;
/// Most holes that are taken, a number: an allocator that orders its memory otherwise has no end of them.
const MAX_HOLES: usize = 4096;
/// Bytes of a piece that malloc(3) gives back to the end of the heap when it is freed, instead of keeping it for
/// the next of its size.
const GIVEN_BACK: usize = 2048;

/// Takes the holes of the heap, for good: a few pages that the process has anyway. Call it once what follows is
/// forking.
pub(crate) fn take_holes() {
    let at_end = black_box(Vec::<u8>::with_capacity(LARGE));
    let end = at_end.as_ptr().addr();
    drop(at_end);
    let mut left = MAX_HOLES;
    let small = (1..LARGE_HOLES[3] / STEP).rev().map(|number| number * STEP);
    for size in LARGE_HOLES.into_iter().chain(small) {
        while left > 0 {
            left -= 1;
            let mut piece = black_box(Vec::<u8>::with_capacity(size));
            if piece.as_ptr().addr() >= end {
                piece.reserve_exact(GIVEN_BACK.max(size));
                black_box(piece);
                break;
            }
            black_box(piece.leak());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_and_leaves_memory_for_others() {
        let pieces: Vec<Vec<u8>> = (1..2000).map(Vec::with_capacity).collect();
        let holes = pieces.into_iter().step_by(2);
        drop(holes);
        take_holes();
        assert_eq!(vec![7; 10_000].len(), 10_000);
    }
}
