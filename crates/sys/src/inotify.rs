//! inotify(7): a descriptor that becomes readable when something happens in a folder.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

/// What is reported: names that come and go, and files that were written.
const CHANGES: u32 = libc::IN_CREATE
    | libc::IN_DELETE
    | libc::IN_MOVED_TO
    | libc::IN_MOVED_FROM
    | libc::IN_CLOSE_WRITE
    | libc::IN_ONLYDIR;
/// Bytes of events that are read at a time.
const BUFFER: usize = 16 << 10;
/// Where `struct inotify_event` has the mask and the length of the name that follows, and its own length.
const MASK: usize = 4;
const NAME_LENGTH: usize = 12;
const HEADER: usize = 16;

/// Watches folders.
#[derive(Debug)]
pub struct Inotify {
    fd: OwnedFd,
}

/// A watched folder: what [`Inotify::watch`] has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch(i32);

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// A name in a folder has come, or a file of this name was written.
    Come(Watch, &'a [u8]),
    /// A name in a folder has gone.
    Gone(Watch, &'a [u8]),
    /// There were more changes than the kernel keeps, or a folder is gone: look at all of them.
    Lost,
}

impl Inotify {
    /// inotify_init1(2): watches nothing yet.
    ///
    /// # Errors
    /// EMFILE: the limit of the user (/proc/sys/fs/inotify/max_user_instances), or of descriptors.
    pub fn new() -> nix::Result<Inotify> {
        // SAFETY: plain numbers.
        let fd = unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) };
        // SAFETY: the kernel has just made this descriptor, and nothing else owns it.
        Errno::result(fd).map(|fd| Inotify { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// inotify_add_watch(2): watches a folder, by its descriptor.
    ///
    /// # Errors
    /// ENOSPC: the limit of watches; ENOENT without /proc, and as the call says.
    pub fn watch(&self, folder: impl AsFd) -> nix::Result<Watch> {
        let path = format!("/proc/self/fd/{}/.", folder.as_fd().as_raw_fd());
        self.watch_path(&path)
    }

    /// As [`Inotify::watch`], by its path.
    ///
    /// # Errors
    /// As the call says.
    pub fn watch_path(&self, path: &str) -> nix::Result<Watch> {
        let path = CString::new(path).map_err(|_| Errno::EINVAL)?;
        // SAFETY: the path ends in NUL and lives until the call returns.
        let watch = unsafe { libc::inotify_add_watch(self.fd.as_raw_fd(), path.as_ptr(), CHANGES) };
        Errno::result(watch).map(Watch)
    }

    /// Calls `each` with what has happened since the last call, for at most this number of reads. Never blocks. Returns
    /// whether there may be more.
    ///
    /// # Errors
    /// As read(2).
    pub fn changes(&self, reads: usize, mut each: impl FnMut(Change<'_>)) -> nix::Result<bool> {
        let mut buffer = [0; BUFFER];
        for _ in 0..reads {
            match nix::unistd::read(&self.fd, &mut buffer) {
                Ok(0) | Err(Errno::EAGAIN) => return Ok(false),
                Ok(length) => all(buffer.get(..length).unwrap_or_default(), &mut each),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(true)
    }
}

impl AsFd for Inotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Reads the events of one read(2).
fn all(mut bytes: &[u8], each: &mut impl FnMut(Change<'_>)) {
    let number = |bytes: &[u8], at: usize| {
        bytes.get(at..).and_then(|rest| rest.first_chunk()).map(|four| u32::from_ne_bytes(*four))
    };
    while let (Some(watch), Some(mask), Some(length)) =
        (number(bytes, 0), number(bytes, MASK), number(bytes, NAME_LENGTH))
    {
        let end = HEADER.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
        let Some((event, rest)) = bytes.split_at_checked(end) else { return };
        bytes = rest;
        let padded = event.get(HEADER..).unwrap_or_default();
        let name = padded.split(|&byte| byte == 0).next().unwrap_or_default();
        let watch = Watch(watch.cast_signed());
        if mask & (libc::IN_Q_OVERFLOW | libc::IN_IGNORED) != 0 {
            each(Change::Lost);
        } else if mask & (libc::IN_DELETE | libc::IN_MOVED_FROM) != 0 {
            each(Change::Gone(watch, name));
        } else if !name.is_empty() {
            each(Change::Come(watch, name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs::{self, File};

    use testkit::TempDir;

    fn changes(inotify: &Inotify) -> Vec<String> {
        let mut seen = Vec::new();
        let more = inotify.changes(4, |change| {
            seen.push(match change {
                Change::Come(watch, name) => format!("{} + {}", watch.0, name.escape_ascii()),
                Change::Gone(watch, name) => format!("{} - {}", watch.0, name.escape_ascii()),
                Change::Lost => "lost".into(),
            });
        });
        assert!(!more.unwrap());
        seen
    }

    #[test]
    fn names_that_come_and_go_are_reported() {
        let (one, two) = (TempDir::new(), TempDir::new());
        let inotify = Inotify::new().unwrap();
        let first = inotify.watch(File::open(one.path()).unwrap()).unwrap();
        let second = inotify.watch_path(two.path().to_str().unwrap()).unwrap();
        assert!(first != second && changes(&inotify).is_empty());
        fs::write(one.path().join("a"), "x").unwrap();
        fs::rename(one.path().join("a"), two.path().join("b")).unwrap();
        fs::remove_file(two.path().join("b")).unwrap();
        let (first, second) = (first.0, second.0);
        let expected = [
            format!("{first} + a"), // made
            format!("{first} + a"), // written
            format!("{first} - a"),
            format!("{second} + b"),
            format!("{second} - b"),
        ];
        assert_eq!(changes(&inotify), expected);
        assert!(changes(&inotify).is_empty());
    }

    #[test]
    fn a_folder_that_is_gone_and_too_many_changes_are_reported() {
        let dir = TempDir::new();
        let inner = dir.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let inotify = Inotify::new().unwrap();
        inotify.watch_path(inner.to_str().unwrap()).unwrap();
        fs::remove_dir(&inner).unwrap();
        assert_eq!(changes(&inotify), ["lost"]);
        let (mut seen, overflow) = (0, libc::IN_Q_OVERFLOW.to_ne_bytes());
        let event = [&(-1i32).to_ne_bytes()[..], &overflow, &[0; 8]].concat();
        all(&event, &mut |change| seen += i32::from(change == Change::Lost));
        all(&event[..15], &mut |_| panic!("an event that is cut"));
        assert_eq!(seen, 1);
    }
}
