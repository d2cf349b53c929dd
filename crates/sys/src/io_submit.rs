//! io_submit(2): fsync(2) of many files at the same time. A disk takes about as long for many as for one.

use std::cell::OnceCell;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use nix::errno::Errno;
use nix::unistd::fsync;

/// Most files at a time, a number.
const AT_ONCE: usize = 128;
/// Files from which on it is worth the calls, a number.
const WORTH: usize = 3;
/// The command `IOCB_CMD_FSYNC` of <linux/aio_abi.h>.
const FSYNC: u16 = 2;

/// `struct iocb`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Iocb {
    data: u64,
    /// In the order of the machine's bytes; both are 0 here.
    key_and_rw_flags: [u32; 2],
    command: u16,
    priority: i16,
    fd: u32,
    buffer: u64,
    bytes: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    resfd: u32,
}

/// `struct io_event`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct IoEvent {
    data: u64,
    iocb: u64,
    result: i64,
    result2: i64,
}

thread_local! {
    /// The context of io_setup(2), which ends with the process; `None` on a kernel that has none to give. In a process
    /// that was forked since it is not valid, and the kernel says so.
    static CONTEXT: OnceCell<Option<libc::c_ulong>> = const { OnceCell::new() };
}

/// Waits until each file is on the disk, many at the same time; returns what fsync(2) says of each.
#[must_use]
pub fn fsync_each(files: &[impl AsFd]) -> Vec<nix::Result<()>> {
    files.chunks(AT_ONCE).flat_map(fsync_some).collect()
}

fn fsync_some(files: &[impl AsFd]) -> Vec<nix::Result<()>> {
    let mut results = vec![None; files.len()];
    if files.len() >= WORTH
        && let Some(context) = CONTEXT.with(|it| *it.get_or_init(set_up))
    {
        let submitted = submit(context, files);
        collect(context, &mut results, submitted);
    }
    let each = results.into_iter().zip(files);
    each.map(|(result, file)| result.unwrap_or_else(|| fsync_here(file))).collect()
}

fn fsync_here(file: &impl AsFd) -> nix::Result<()> {
    loop {
        match fsync(file) {
            Err(Errno::EINTR) => {}
            synced => return synced,
        }
    }
}

fn set_up() -> Option<libc::c_ulong> {
    let mut context: libc::c_ulong = 0;
    // SAFETY: the kernel writes a number to `context`, which must be 0 before.
    let made = unsafe { libc::syscall(libc::SYS_io_setup, AT_ONCE, &raw mut context) };
    Errno::result(made).ok().map(|_| context)
}

/// Begins the fsync of the files, from the first; returns the number of those that were begun.
fn submit(context: libc::c_ulong, files: &[impl AsFd]) -> usize {
    let block = |(number, file): (usize, &_)| Iocb {
        data: number as u64,
        command: FSYNC,
        fd: AsFd::as_fd(file).as_raw_fd().cast_unsigned(),
        ..Iocb::default()
    };
    let blocks: Vec<Iocb> = files.iter().enumerate().map(block).collect();
    let places: Vec<*const Iocb> = blocks.iter().map(ptr::from_ref).collect();
    let mut submitted = 0;
    while let Some(rest) = places.get(submitted..).filter(|rest| !rest.is_empty()) {
        // SAFETY: `rest` are addresses of blocks that live until the call returns; the kernel copies them, and writes
        // at most a key that is 0. The descriptors in them are open, and it holds the files itself.
        let taken =
            unsafe { libc::syscall(libc::SYS_io_submit, context, rest.len(), rest.as_ptr()) };
        match Errno::result(taken).map(usize::try_from) {
            Ok(Ok(taken @ 1..)) => submitted += taken,
            _ => break,
        }
    }
    submitted
}

/// Waits for the ends of as many.
fn collect(context: libc::c_ulong, results: &mut [Option<nix::Result<()>>], submitted: usize) {
    let mut events = [IoEvent::default(); AT_ONCE];
    let mut left = submitted.min(AT_ONCE);
    while left > 0 {
        let (most, place) = (left, events.as_mut_ptr());
        let no_limit = ptr::null::<libc::timespec>();
        // SAFETY: the kernel writes at most `left` events to `events`, which has room for them.
        let ended =
            unsafe { libc::syscall(libc::SYS_io_getevents, context, most, most, place, no_limit) };
        let ended = match Errno::result(ended).map(usize::try_from) {
            Ok(Ok(ended)) => ended,
            Err(Errno::EINTR) => continue,
            _ => return, // those files are synced one by one
        };
        for event in events.iter().take(ended) {
            let number = usize::try_from(event.data).unwrap_or(usize::MAX);
            if let Some(result) = results.get_mut(number) {
                let errno = i32::try_from(-event.result).unwrap_or(libc::EIO);
                *result = Some(if errno == 0 { Ok(()) } else { Err(Errno::from_raw(errno)) });
            }
        }
        left -= ended.min(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn each_file_is_synced_and_what_cannot_be_says_so() {
        let dir = testkit::TempDir::new();
        for count in [0, 1, 2, 3, 300] {
            let files: Vec<File> =
                (0..count).map(|n| File::open(dir.file(&format!("{n}"), "x")).unwrap()).collect();
            assert_eq!(fsync_each(&files), vec![Ok(()); count]);
        }
        let (reader, _writer) = std::io::pipe().unwrap();
        let folder = File::open(dir.path()).unwrap();
        let mixed = [folder.as_fd(), reader.as_fd(), folder.as_fd(), reader.as_fd()];
        let expected = [Ok(()), Err(Errno::EINVAL), Ok(()), Err(Errno::EINVAL)];
        assert_eq!(fsync_each(&mixed), expected);
        assert_eq!(fsync_each(&mixed[..2]), expected[..2]);
    }
}
