//! Free space on the disk.

use std::path::Path;

use nix::sys::statvfs::statvfs;

/// Returns whether the file system of `path`, or of its nearest existing parent, has `needed` bytes
/// and an inode available. True if statvfs(3) fails, because writing reports a full disk too.
#[allow(clippy::useless_conversion)] // the fields are u32 on 32-bit machines
pub(crate) fn has_room(path: &Path, needed: u64) -> bool {
    let Some(stat) = path.ancestors().find_map(|dir| statvfs(dir).ok()) else { return true };
    let free = u64::from(stat.blocks_available()).saturating_mul(u64::from(stat.fragment_size()));
    // Some file systems do not count inodes.
    let inode = stat.files() == 0 || stat.files_available() > 0;
    inode && free >= needed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_for_a_missing_folder_is_that_of_its_nearest_parent() {
        let path = std::env::temp_dir().join("not/there/yet");
        assert!(has_room(&path, 1));
        assert!(!has_room(&path, u64::MAX));
    }
}
