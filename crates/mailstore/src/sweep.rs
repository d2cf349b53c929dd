//! Leftovers in `tmp`: letters whose delivery was interrupted by a crash or SIGKILL.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Least age of a leftover. The Maildir specification allows a reader to remove files not accessed
/// for 36 hours.
const MIN_AGE: Duration = Duration::from_secs(36 * 60 * 60);

/// Removes the leftovers of a Maildir and returns their number. Files that cannot be removed stay.
pub(crate) fn sweep(maildir: &Path) -> usize {
    let Ok(entries) = fs::read_dir(maildir.join("tmp")) else { return 0 };
    let now = SystemTime::now();
    let old = |at: SystemTime| now.duration_since(at).is_ok_and(|age| age > MIN_AGE);
    let leftovers = entries.flatten().filter(|entry| {
        // `DirEntry::metadata` does not follow symbolic links.
        let Ok(meta) = entry.metadata() else { return false };
        let times = [meta.accessed(), meta.modified()];
        meta.is_file() && times.into_iter().all(|time| time.is_ok_and(old))
    });
    leftovers.filter(|entry| fs::remove_file(entry.path()).is_ok()).count()
}

#[cfg(test)]
mod tests {
    use std::fs::{File, FileTimes};

    use super::*;
    use testkit::TempDir;

    #[test]
    fn only_files_not_touched_for_36_hours_are_removed() {
        let folder = TempDir::new();
        assert_eq!(sweep(folder.path()), 0);
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
        assert_eq!(sweep(folder.path()), 1);
        assert!(!tmp.join("old").exists());
        assert_eq!(fs::read_dir(&tmp).unwrap().count(), 4);
    }
}
