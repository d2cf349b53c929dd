//! The program's own text on a huge page.
//!
//! Pages of a file are not mapped in a child before it comes there. A child that echoes comes through
//! a dozen pieces of the program, each a page fault; from a huge page it gets all of them with the
//! first (docs/bench/fork-findings.md). File systems have no huge pages of a file to give, but
//! memfd_create(2) has: so the text is copied there, and mapped where it was.
//!
//! That needs the text to have the huge pages it lies on for itself (.cargo/config.toml tells the
//! linker), Linux 6.1, and free memory in one piece. Where anything is missing, all stays as it was.

use std::ffi::c_void;
use std::fs::File;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;

use log::debug;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

use crate::error::reason;
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
                Err(error) => debug!("text: on no huge page: {}", reason(&error)),
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

    fn move_text(&self) -> std::io::Result<()> {
        debug_assert!(has_one_task(), "another task runs in the text that is replaced");
        let copy = File::from(memory_file()?);
        copy.set_len(self.whole.len() as u64)?;
        // SAFETY: the mapping that this very function is in: readable while the process lives, and
        // nobody writes to it.
        let text = unsafe {
            std::slice::from_raw_parts(
                std::ptr::with_exposed_provenance::<u8>(self.text.start),
                self.text.len(),
            )
        };
        copy.write_all_at(text, (self.text.start - self.whole.start) as u64)?;
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
        fcntl(&copy, FcntlArg::F_ADD_SEALS(seals | SealFlag::F_SEAL_SEAL))?;
        make_huge(&copy, self.whole.len())?;
        let place = NonZeroUsize::new(self.whole.start).ok_or(Errno::EINVAL)?;
        // SAFETY: there is nothing in the whole place but the text (`of_text`), whose octets are the
        // same at the same addresses before and after; the call replaces all of it at once, or
        // nothing. No other task runs meanwhile, and nobody unmaps or writes to the sealed copy.
        unsafe { map(&copy, Some(place), self.whole.len(), MapFlags::MAP_FIXED)? };
        Ok(())
    }
}

/// Addresses and rights of a line of proc_pid_maps(5).
fn mapping(line: &str) -> Option<(Range<usize>, &str)> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let address = |hex| usize::from_str_radix(hex, 16).ok();
    Some((address(start)?..address(end)?, words.next()?))
}

/// A file in memory that nobody can execute by its name, nor write to once it is sealed.
fn memory_file() -> nix::Result<OwnedFd> {
    let create = |flags| {
        // SAFETY: the name is a string that ends in NUL; the call returns a new descriptor.
        Errno::result(unsafe { libc::memfd_create(c"text".as_ptr(), libc::MFD_CLOEXEC | flags) })
    };
    // Linux before 6.3 does not know the first.
    let fd = create(libc::MFD_NOEXEC_SEAL).or_else(|_| create(libc::MFD_ALLOW_SEALING))?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Lets the kernel make huge pages of a file's pages (MADV_COLLAPSE, which either does that or fails):
/// it takes a mapping at an address that suits them.
fn make_huge(file: &File, length: usize) -> nix::Result<()> {
    let room = NonZeroUsize::new(length + HUGE).ok_or(Errno::EINVAL)?;
    // SAFETY: a new anonymous mapping overlaps nothing.
    let start = unsafe { mmap_anonymous(None, room, ProtFlags::PROT_NONE, MapFlags::MAP_PRIVATE)? };
    let place = NonZeroUsize::new(start.addr().get().next_multiple_of(HUGE));
    // SAFETY: within the room that was made just now, which nobody else knows.
    let made = unsafe { map(file, place, length, MapFlags::MAP_FIXED) }.and_then(|at| {
        // SAFETY: the mapping made just now, all of it; its octets stay what they are.
        Errno::result(unsafe { libc::madvise(at.as_ptr(), length, libc::MADV_COLLAPSE) }).map(drop)
    });
    // SAFETY: the room, with the mapping in it; nothing leads there.
    unsafe { munmap(start, room.get())? };
    made
}

/// Maps a file for reading and executing.
///
/// # Safety
/// As mmap(2): with MAP_FIXED, nothing that is still needed lies at this place.
unsafe fn map(
    file: &impl AsFd,
    place: Option<NonZeroUsize>,
    length: usize,
    flags: MapFlags,
) -> nix::Result<NonNull<c_void>> {
    let length = NonZeroUsize::new(length).ok_or(Errno::EINVAL)?;
    let rights = ProtFlags::PROT_READ | ProtFlags::PROT_EXEC;
    // SAFETY: as the caller promises.
    unsafe { mmap(place, length, rights, MapFlags::MAP_PRIVATE | flags, file, 0) }
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
    fn octets_of_a_sealed_copy_on_a_huge_page_stay_what_they_are() {
        let file = File::from(memory_file().unwrap());
        file.set_len(HUGE as u64).unwrap();
        file.write_all_at(b"text", 4711).unwrap();
        fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE)).unwrap();
        let made = make_huge(&file, HUGE);
        eprintln!("huge pages for a file in memory: {made:?}"); // the kernel's choice
        let mut octets = [0; 4];
        file.read_exact_at(&mut octets, 4711).unwrap();
        assert_eq!(&octets, b"text");
        assert!(file.write_all_at(b"else", 4711).is_err());
    }
}
