//! The program's own text on a huge page.
//!
//! Pages of a file are not mapped in a child before it comes there. A child that echoes comes through
//! a dozen pieces of the program, each a page fault; a huge page is mapped as a whole, and fork copies
//! the one entry (docs/bench/fork-findings.md). File systems have no huge pages of a file to give: so
//! the text is copied into memory that has, and that is moved to where the text was.
//!
//! That needs the text to have the huge pages it lies on for itself (.cargo/config.toml tells the
//! linker), free memory in one piece, and the right to make memory executable, which
//! MemoryDenyWriteExecute= takes away. Where anything is missing, all stays as it was.

use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::ptr::NonNull;

use log::debug;
use nix::errno::Errno;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, mprotect, munmap};
use nix::sys::resource::{UsageWho, getrusage};

use crate::error::{reason, strerror};
use crate::fork::has_one_task;

/// What a huge page must have where the linker was told so: that of x86-64, and of arm64 with small
/// pages of 4 KiB.
const HUGE: usize = 2 << 20;
/// No program of ours is larger, optimised or not.
const MOST: usize = 16 << 20;

/// Maps the text from huge pages, if that can be done; for a process with one task, before it forks
/// for its clients.
pub(crate) fn use_for_text() {
    match std::fs::read_to_string("/proc/self/maps") {
        Ok(maps) => match Place::of_text(&maps, (use_for_text as *const ()).addr()) {
            Some(place) => match place.move_text() {
                Ok(()) => debug!("text: on huge pages: {}", place.whole.len() / HUGE),
                Err(errno) => debug!("text: on no huge page: {}", strerror(errno)),
            },
            None => debug!("text: on no huge page: it shares them with something else"),
        },
        Err(error) => debug!("text: on no huge page: /proc/self/maps: {}", reason(&error)),
    }
}

/// Where the text is, by its addresses.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    text: Range<usize>,
    /// The huge pages that it lies on, with nothing else there.
    whole: Range<usize>,
}

impl Place {
    /// The text that `here` is in, from the lines of proc_pid_maps(5); `None` where it is too large,
    /// or not alone on its huge pages.
    fn of_text(maps: &str, here: usize) -> Option<Place> {
        let all: Vec<(Range<usize>, &str)> = maps.lines().filter_map(mapping).collect();
        let (text, _) =
            all.iter().find(|(range, rights)| range.contains(&here) && *rights == "r-xp")?;
        let whole = text.start / HUGE * HUGE..text.end.checked_next_multiple_of(HUGE)?;
        let meets = |other: &Range<usize>| other.start < whole.end && whole.start < other.end;
        let is_alone = all.iter().all(|(other, _)| other == text || !meets(other));
        (is_alone && whole.len() <= MOST)
            .then(|| Place { text: text.clone(), whole: whole.clone() })
    }

    fn move_text(&self) -> nix::Result<()> {
        debug_assert!(has_one_task(), "another task runs in the text that is replaced");
        let room = Room::new(self.whole.len())?;
        let target = room.place.as_ptr().wrapping_byte_add(self.text.start - self.whole.start);
        let (source, length) = (self.text.start, self.text.len());
        let before = faults()?;
        // SAFETY: the source is the mapping that this very function is in, readable while the process
        // lives; the target is within the room, which is writable and nobody else's.
        unsafe {
            std::ptr::copy_nonoverlapping(
                std::ptr::with_exposed_provenance::<u8>(source),
                target.cast(),
                length,
            );
        }
        if faults()? - before > FEW {
            return Err(Errno::ENOMEM); // there was a fault for each small page
        }
        room.replace(&self.whole)
    }
}

/// So many page faults are less than small pages would take.
const FEW: i64 = 50;

/// How many page faults this process has had so far.
fn faults() -> nix::Result<i64> {
    getrusage(UsageWho::RUSAGE_SELF).map(|usage| usage.minor_page_faults())
}

/// Memory of huge pages, if the kernel has some.
struct Room {
    all: NonNull<c_void>,
    size: usize,
    /// Where the first huge page begins.
    place: NonNull<c_void>,
    length: usize,
}

impl Room {
    fn new(length: usize) -> nix::Result<Room> {
        let size = length + HUGE;
        let octets = NonZeroUsize::new(size).ok_or(Errno::EINVAL)?;
        let rights = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new anonymous mapping overlaps nothing.
        let all = unsafe { mmap_anonymous(None, octets, rights, MapFlags::MAP_PRIVATE)? };
        let start = all.addr().get();
        let ahead = start.next_multiple_of(HUGE) - start;
        // SAFETY: a huge page is the most that is ahead of the first one, and the room is so much longer.
        let place = unsafe { all.byte_add(ahead) };
        let room = Room { all, size, place, length };
        // SAFETY: within the room, as all of `length`; it is advice about new memory.
        unsafe { madvise(place, length, MmapAdvise::MADV_HUGEPAGE)? };
        Ok(room)
    }

    /// Moves this memory, no longer writable but executable, to other addresses.
    fn replace(self, whole: &Range<usize>) -> nix::Result<()> {
        let rights = ProtFlags::PROT_READ | ProtFlags::PROT_EXEC;
        // SAFETY: within the room; no reference leads there.
        unsafe { mprotect(self.place, self.length, rights)? };
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        let target = std::ptr::without_provenance_mut::<c_void>(whole.start);
        // SAFETY: in the whole of the target there is nothing but the text (`Place::of_text`), whose
        // octets are the same at the same addresses before and after, and no other task runs in it
        // meanwhile. All that could fail is looked at by the kernel before it changes anything.
        let moved =
            unsafe { libc::mremap(self.place.as_ptr(), self.length, self.length, flags, target) };
        if moved == libc::MAP_FAILED { Err(Errno::last()) } else { Ok(()) }
    }
}

impl Drop for Room {
    /// What was moved away is a hole.
    fn drop(&mut self) {
        // SAFETY: the room, as far as it is still there; nobody has been in the hole since, for
        // there is one task.
        let _is_memory_more = unsafe { munmap(self.all, self.size) };
    }
}

/// Addresses and rights of a line of proc_pid_maps(5).
fn mapping(line: &str) -> Option<(Range<usize>, &str)> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let address = |hex| usize::from_str_radix(hex, 16).ok();
    Some((address(start)?..address(end)?, words.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: &str = "7f0000000000-7f0000065000 r--p 00000000 fe:00 1 /usr/sbin/echod\n\
                         7f0000264000-7f00003c6000 r-xp 00064000 fe:00 1 /usr/sbin/echod\n\
                         7f0000400000-7f0000409000 rw-p 001c5000 fe:00 1 /usr/sbin/echod\n";

    #[test]
    fn text_that_has_its_huge_pages_for_itself_is_found() {
        let place = Place::of_text(ALONE, 0x7f00_0030_0000).unwrap();
        assert_eq!(place.text, 0x7f00_0026_4000..0x7f00_003c_6000);
        assert_eq!(place.whole, 0x7f00_0020_0000..0x7f00_0040_0000);
    }

    #[test]
    fn text_that_shares_them_stays_where_it_is() {
        for neighbour in ["7f0000200000-7f0000201000", "7f00003ff000-7f0000400000"] {
            let maps = format!("{ALONE}{neighbour} rw-p 00000000 00:00 0\n");
            assert_eq!(Place::of_text(&maps, 0x7f00_0030_0000), None);
        }
        assert_eq!(Place::of_text(ALONE, 0x7f00_0000_1000), None); // no text
        assert_eq!(Place::of_text(ALONE, 0x1000), None);
        assert_eq!(Place::of_text("400000-2400000 r-xp 0 0:0 1\n", 0x40_0000), None); // too large
        assert_eq!(Place::of_text("nonsense\n\n1-2\n", 0), None);
    }

    #[test]
    fn a_room_begins_where_a_huge_page_may_and_is_gone_afterwards() {
        for pages in 1..4 {
            let room = Room::new(pages * HUGE).unwrap();
            assert_eq!(room.place.addr().get() % HUGE, 0);
            assert!(room.place.addr() >= room.all.addr());
            let end = room.place.addr().get() + room.length;
            assert!(end <= room.all.addr().get() + room.size);
        }
    }
}
