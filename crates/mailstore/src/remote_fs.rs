//! File systems whose files may be on another machine (statfs(2)).

use std::os::fd::AsFd;

use nix::sys::statfs::{FsType, fstatfs};

/// Type numbers of file systems that have, or may have, their files on another machine: NFS, three of SMB,
/// AFS, FUSE (statfs(2)).
const REMOTE: [FsType; 6] = [
    FsType(0x6969),
    FsType(0x517b),
    FsType(0xff53_4d42),
    FsType(0xfe53_4d42),
    FsType(0x5346_414f),
    FsType(0x6573_5546),
];

/// Returns whether a file may be on another machine.
///
/// # Errors
/// As fstatfs(2).
pub(crate) fn is_remote(file: &impl AsFd) -> nix::Result<bool> {
    Ok(REMOTE.contains(&fstatfs(file)?.filesystem_type()))
}
