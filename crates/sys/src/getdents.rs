//! getdents64(2): what is in a folder.
//!
//! readdir(3) asks twice what the descriptor is, and takes 32 KiB of memory for each folder: more work than
//! reading one with a few files.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

/// Bytes of the first two reads: some dozens of names.
const FIRST: usize = 2048;
/// Bytes of each later read.
const LATER: usize = 32 * 1024;
/// Where `struct linux_dirent64` has its length, its type and its name; the inode comes first.
const LENGTH: usize = 16;
const TYPE: usize = 18;
const NAME: usize = 19;

/// An entry of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its name, without NUL.
    pub name: &'a [u8],
    /// Its inode number.
    pub inode: u64,
    /// Whether it is a regular file; `None` on a file system that does not tell without a stat(2).
    pub is_file: Option<bool>,
}

/// Calls `each` with what is in a folder, but for `.` and `..`, from where its descriptor is to the end.
///
/// # Errors
/// As getdents64(2).
pub fn entries(folder: &impl AsFd, mut each: impl FnMut(Entry<'_>)) -> nix::Result<()> {
    let mut small = [0; FIRST];
    // Of a small folder, the second read is the end.
    for _ in 0..2 {
        match read(folder, &mut small)? {
            0 => return Ok(()),
            length => all(small.get(..length).unwrap_or_default(), &mut each),
        }
    }
    let mut large = vec![0; LATER];
    loop {
        match read(folder, &mut large)? {
            0 => return Ok(()),
            length => all(large.get(..length).unwrap_or_default(), &mut each),
        }
    }
}

fn read(folder: &impl AsFd, buffer: &mut [u8]) -> nix::Result<usize> {
    loop {
        let (fd, place) = (folder.as_fd().as_raw_fd(), buffer.as_mut_ptr());
        // SAFETY: the kernel writes at most as many bytes as the buffer has, which lives until the call returns.
        let length = unsafe { libc::syscall(libc::SYS_getdents64, fd, place, buffer.len()) };
        match Errno::result(length) {
            Ok(length) => return usize::try_from(length).map_err(|_| Errno::EINVAL),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Goes through the entries of one read.
fn all(mut bytes: &[u8], each: &mut impl FnMut(Entry<'_>)) {
    while let Some((entry, rest)) = first(bytes) {
        if !matches!(entry.name, b"." | b"..") {
            each(entry);
        }
        bytes = rest;
    }
}

/// Returns the first entry, and the bytes after it.
fn first(bytes: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let inode = u64::from_ne_bytes(*bytes.first_chunk()?);
    let length = u16::from_ne_bytes(*bytes.get(LENGTH..)?.first_chunk()?);
    let (entry, rest) = bytes.split_at_checked(usize::from(length))?;
    let name = CStr::from_bytes_until_nul(entry.get(NAME..)?).ok()?.to_bytes();
    let is_file = match *entry.get(TYPE)? {
        libc::DT_UNKNOWN => None,
        kind => Some(kind == libc::DT_REG),
    };
    Some((Entry { name, inode, is_file }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::fs::{self, File};
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::MetadataExt;
    use testkit::TempDir;

    fn listed(folder: &TempDir) -> BTreeMap<Vec<u8>, (u64, bool)> {
        let mut all = BTreeMap::new();
        entries(&File::open(folder.path()).unwrap(), |entry| {
            let is_file = entry.is_file.unwrap();
            assert!(all.insert(entry.name.to_vec(), (entry.inode, is_file)).is_none());
        })
        .unwrap();
        all
    }

    #[test]
    fn every_entry_comes_once_however_many_there_are() {
        for count in [0, 1, 70, 3000] {
            let folder = TempDir::new();
            for number in 0..count {
                fs::write(folder.path().join(format!("{number}.{}", "n".repeat(number % 200))), "")
                    .unwrap();
            }
            fs::create_dir(folder.path().join("folder")).unwrap();
            std::os::unix::fs::symlink("0.", folder.path().join("link")).unwrap();
            let expected = fs::read_dir(folder.path()).unwrap().map(|entry| {
                let entry = entry.unwrap();
                let (name, kind) = (entry.file_name(), entry.file_type().unwrap());
                let stat = fs::symlink_metadata(entry.path()).unwrap();
                (name.as_bytes().to_vec(), (stat.ino(), kind.is_file()))
            });
            assert_eq!(listed(&folder), expected.collect(), "{count}");
        }
    }

    #[test]
    fn what_is_no_folder_is_an_error() {
        let folder = TempDir::new();
        fs::write(folder.path().join("file"), "").unwrap();
        let file = File::open(folder.path().join("file")).unwrap();
        assert_eq!(entries(&file, |_| {}), Err(Errno::ENOTDIR));
    }

    #[test]
    fn bytes_that_are_cut_off_are_no_entry() {
        let folder = TempDir::new();
        fs::write(folder.path().join("file"), "").unwrap();
        let mut buffer = [0; FIRST];
        let length = read(&File::open(folder.path()).unwrap(), &mut buffer).unwrap();
        let whole = &buffer[..length];
        let mut names = Vec::new();
        all(whole, &mut |entry| names.push(entry.name.to_vec()));
        assert_eq!(names, [b"file"]);
        for cut in 0..length {
            all(&whole[..cut], &mut |entry| assert_eq!(entry.name, b"file"));
        }
    }
}
