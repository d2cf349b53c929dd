//! getgroups(2): the other groups of this process.
//!
//! nix asks for the most that there may be first, for which libc reads a file of /proc.

use nix::errno::Errno;
use nix::unistd::Gid;

/// Returns the groups.
///
/// # Errors
/// As getgroups(2): EINVAL when another thread sets more of them meanwhile.
pub fn groups() -> nix::Result<Vec<Gid>> {
    // SAFETY: with a size of 0 nothing is written.
    let count = Errno::result(unsafe { libc::getgroups(0, std::ptr::null_mut()) })?;
    let mut ids: Vec<libc::gid_t> = vec![0; usize::try_from(count).unwrap_or_default()];
    // A size of 0 would not say what was left out.
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    // SAFETY: the kernel writes at most `count` ids, for which there is room.
    let count = Errno::result(unsafe { libc::getgroups(count, ids.as_mut_ptr()) })?;
    ids.truncate(usize::try_from(count).unwrap_or_default());
    Ok(ids.into_iter().map(Gid::from_raw).collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_groups_are_those_that_nix_finds() {
        assert_eq!(super::groups().unwrap(), nix::unistd::getgroups().unwrap());
    }
}
