//! Free space of a file system.

use std::os::fd::AsFd;

use nix::sys::statvfs::fstatvfs;

/// Returns the bytes available to this process on the file system of a folder. A file system that
/// reports no size, such as a tmpfs without a limit, has room for any file.
///
/// # Errors
/// fstatvfs(3) fails.
pub fn available(folder: impl AsFd) -> nix::Result<u64> {
    let disk = fstatvfs(folder)?;
    if disk.blocks() == 0 {
        return Ok(u64::MAX);
    }
    let is_root = nix::unistd::geteuid().is_root(); // some blocks are reserved for root
    let blocks = if is_root { disk.blocks_free() } else { disk.blocks_available() };
    Ok(blocks.saturating_mul(disk.fragment_size()))
}
