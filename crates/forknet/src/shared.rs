//! Memory that parent and children share: no system call, and no page copied at fork.

use std::num::NonZeroUsize;

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};

use crate::error::{Error, Result};

/// What may lie in shared memory.
///
/// # Safety
/// Zero bytes are a valid value, and every field is atomic, so that all processes may write.
pub(crate) unsafe trait Shared: Sync + 'static {}

// SAFETY: atomic, and zero is a number.
unsafe impl Shared for std::sync::atomic::AtomicI32 {}

/// `count` zeroed values, for this process and all its children to come. Pages are taken only as
/// they are used. Never freed.
pub(crate) fn zeroed<T: Shared>(count: usize) -> Result<&'static [T]> {
    let size = NonZeroUsize::new(count.saturating_mul(size_of::<T>()))
        .ok_or_else(|| Error::Refused("no room for any client".into()))?;
    let (prot, flags) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED);
    // SAFETY: a new anonymous mapping overlaps nothing.
    let memory = unsafe { mmap_anonymous(None, size, prot, flags) }
        .map_err(Error::os("mmap of shared memory"))?;
    // SAFETY: the mapping is as long as `count` values, page-aligned, never unmapped (hence
    // 'static), and zeroed, which `T: Shared` promises to be valid and writable by all.
    Ok(unsafe { std::slice::from_raw_parts(memory.as_ptr().cast::<T>(), count) })
}
