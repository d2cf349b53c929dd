//! A file that `:include:` names: a list of addresses, which may be kept by an ordinary user.
//!
//! It is read with the rights of root. So no link of another user's is followed on the way to it, and the file
//! has one link only: its owner's own text is read, and none of root's.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::unistd::{Uid, geteuid};

use crate::aliases::target::{AliasTarget, targets};
use crate::durable_dir::retry_eintr;
use crate::error::{Error, Result};
use crate::folder::Folder;

/// Largest file in bytes.
const MAX_FILE: u64 = 1 << 20;
/// Rights of group and others to write to a file.
const OTHERS_WRITE: u32 = 0o022;

/// What an `:include:` file has.
#[derive(Debug, PartialEq, Eq)]
pub struct Included {
    /// Its targets.
    pub targets: Vec<AliasTarget>,
    /// It belongs to root or to this process's user, and not to another one, who must not name commands and files.
    pub is_ours: bool,
}

/// Reads the file.
///
/// # Errors
/// `:include:PATH: reason`, all of them temporary: it is not there, it is no regular file with one link, others than
/// its owner may write to it, a link of another user's is on the way to it, it is over 1 MiB, a line of it is
/// none.
pub fn read_include(path: &Path) -> Result<Included> {
    let failed = |why: String| Error::Temporary(format!(":include:{}: {why}", path.display()));
    let why = |error: Error| failed(error.to_string());
    let (folder, name) =
        path.parent().zip(path.file_name()).ok_or_else(|| failed("no file".into()))?;
    let walked = Folder::find(folder).map_err(why)?;
    if !walked.missing.is_empty() {
        return Err(failed(Errno::ENOENT.desc().to_owned()));
    }
    // Looked at before it is opened, because opening a FIFO or a device has effects.
    let open = |flags: OFlag| -> nix::Result<(OwnedFd, FileStat)> {
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = retry_eintr(|| openat(walked.folder.as_fd(), name, flags, Mode::empty()))?;
        let stat = fstat(&fd)?;
        Ok((fd, stat))
    };
    let of = |errno: Errno| failed(errno.desc().to_owned());
    let (_, seen) = open(OFlag::O_PATH).map_err(of)?;
    check(&seen).map_err(|why| failed(why.to_owned()))?;
    let (fd, stat) = open(OFlag::O_RDONLY | OFlag::O_NONBLOCK).map_err(of)?;
    check(&stat).map_err(|why| failed(why.to_owned()))?;
    let mut text = Vec::new();
    let read = File::from(fd).take(MAX_FILE + 1).read_to_end(&mut text);
    if read.map_err(|error| why(Error::io("read", path)(error)))? as u64 > MAX_FILE {
        return Err(failed("is larger than 1 MiB".to_owned()));
    }
    let targets = targets(&text).map_err(|fault| failed(fault.to_owned()))?;
    let owner = Uid::from_raw(stat.st_uid);
    Ok(Included { targets, is_ours: owner.is_root() || owner == geteuid() })
}

fn check(stat: &FileStat) -> std::result::Result<(), &'static str> {
    let kind = SFlag::from_bits_truncate(stat.st_mode).intersection(SFlag::S_IFMT);
    match kind {
        SFlag::S_IFREG if stat.st_mode & OTHERS_WRITE != 0 => Err("is writable by others"),
        SFlag::S_IFREG if stat.st_nlink != 1 => Err("has several links"),
        SFlag::S_IFREG => Ok(()),
        SFlag::S_IFLNK => Err("is a symbolic link"),
        _ => Err("not a regular file"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use testkit::TempDir;

    fn fault(path: &Path) -> String {
        let error = read_include(path).unwrap_err().to_string();
        error.strip_prefix(&format!(":include:{}: ", path.display())).unwrap().to_owned()
    }

    #[test]
    fn a_list_is_its_lines() {
        let dir = TempDir::new();
        let path = dir.file("list", "# staff\nlevy\nbob@red.test, mary\n\n");
        let list = read_include(&path).unwrap();
        assert_eq!(list.targets.len(), 3);
        assert!(list.is_ours);
    }

    #[test]
    fn what_could_lead_to_a_file_of_roots_is_not_read() {
        let dir = TempDir::new();
        let path = |name: &str| dir.path().join(name);
        let real = dir.file("real", "levy\n");
        symlink(&real, path("link")).unwrap();
        assert_eq!(fault(&path("link")), "is a symbolic link");
        std::fs::create_dir(path("folder")).unwrap();
        dir.file("folder/list", "levy\n");
        symlink(path("folder"), path("way")).unwrap();
        assert!(fault(&path("way/list")).ends_with("Too many levels of symbolic links"));
        assert_eq!(fault(&path("folder")), "not a regular file");
        assert_eq!(fault(&path("none")), "No such file or directory");
        assert_eq!(fault(&path("none/list")), "No such file or directory");
        nix::unistd::mkfifo(&path("fifo"), Mode::S_IRUSR).unwrap();
        assert_eq!(fault(&path("fifo")), "not a regular file");
        std::fs::hard_link(&real, path("second")).unwrap();
        assert_eq!(fault(&real), "has several links");
        std::fs::remove_file(path("second")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o664);
        std::fs::set_permissions(&real, mode).unwrap();
        assert_eq!(fault(&real), "is writable by others");
        let bad = dir.file("bad", "levy\ntwo words\n");
        assert_eq!(fault(&bad), "a blank in an address, or none");
    }
}
