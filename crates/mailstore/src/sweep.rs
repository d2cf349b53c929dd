//! Leftovers in `tmp`: letters whose delivery was interrupted by a crash or SIGKILL.

use std::os::fd::AsFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use sys::getdents::entries;

/// Least age of a leftover. The Maildir specification allows a reader to remove files not accessed
/// for 36 hours.
const MIN_AGE: Duration = Duration::from_secs(36 * 60 * 60);
/// open(2) flags for the folder.
const FOLDER: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Removes the leftovers of a Maildir and returns their number. Files that cannot be removed stay.
pub(crate) fn sweep(maildir: &impl AsFd) -> usize {
    sweep_but(maildir, |_| false)
}

/// As [`sweep`]; files of these names stay.
pub(crate) fn sweep_but(maildir: &impl AsFd, stays: impl Fn(&[u8]) -> bool) -> usize {
    let Ok(tmp) = openat(maildir, "tmp", FOLDER, Mode::empty()) else { return 0 };
    let mut names = Vec::new();
    // Up to the first error, because a disk that fails does so at every further call.
    let _ = entries(&tmp, |entry| names.push(entry.name.to_vec()));
    let now = SystemTime::now();
    let leftovers = names.iter().filter(|name| {
        let stat = fstatat(&tmp, name.as_slice(), AtFlags::AT_SYMLINK_NOFOLLOW);
        stat.is_ok_and(|stat| is_leftover(&stat, now)) && !stays(name)
    });
    let remove = |name: &[u8]| unlinkat(&tmp, name, UnlinkatFlags::NoRemoveDir).is_ok();
    leftovers.filter(|name| remove(name)).count()
}

fn is_leftover(stat: &FileStat, now: SystemTime) -> bool {
    let kind = SFlag::from_bits_truncate(stat.st_mode).intersection(SFlag::S_IFMT);
    let is_old = |at: i64| {
        let at = UNIX_EPOCH + Duration::from_secs(u64::try_from(at).unwrap_or_default());
        now.duration_since(at).is_ok_and(|age| age > MIN_AGE)
    };
    kind == SFlag::S_IFREG && is_old(stat.st_atime) && is_old(stat.st_mtime)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, FileTimes};

    use super::*;
    use testkit::TempDir;

    #[test]
    fn only_files_not_touched_for_36_hours_are_removed() {
        let folder = TempDir::new();
        let open = File::open(folder.path()).unwrap();
        assert_eq!(sweep(&open), 0);
        let tmp = folder.path().join("tmp");
        fs::create_dir_all(tmp.join("folder")).unwrap();
        let hours = |n: u64| SystemTime::now() - Duration::from_secs(n * 60 * 60);
        for (name, read, written) in
            [("old", 37, 40), ("read", 1, 40), ("written", 40, 1), ("fresh", 35, 35)]
        {
            let file = File::create(tmp.join(name)).unwrap();
            let times = FileTimes::new().set_accessed(hours(read)).set_modified(hours(written));
            file.set_times(times).unwrap();
        }
        assert_eq!(sweep(&open), 1);
        assert!(!tmp.join("old").exists());
        assert_eq!(fs::read_dir(&tmp).unwrap().count(), 4);
    }
}
