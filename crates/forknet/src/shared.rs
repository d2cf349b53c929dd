//! Memory that parent and children share: no system call, and no page copied at fork.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::{AtomicI32, AtomicU64};
use std::sync::{Mutex, PoisonError};

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};

use crate::error::{Error, Result};
use crate::ledger::Ledger;
use crate::sigstack;

/// A page of memory; where they are larger, a mapping is rounded up by the kernel.
const PAGE: usize = 4096;
/// What is handed out begins at a cache line of its own.
const LINE: usize = 64;

/// What may lie in shared memory.
///
/// # Safety
/// Zero bytes are a valid value, and every field is atomic, so that all processes may write.
pub(crate) unsafe trait Shared: Sync + 'static {}

// SAFETY: atomic, and zero is a number.
unsafe impl Shared for AtomicI32 {}
// SAFETY: as above.
unsafe impl Shared for AtomicU64 {}

/// So much more is reserved for what is small.
pub(crate) const SPARE: usize = sigstack::SIZE + size_of::<Ledger>() + 1024;

/// What is left of the mapping that was made last, by its addresses.
static ROOM: Mutex<Range<usize>> = Mutex::new(0..0);

/// Makes room for so many octets at once: one mapping is dearer to fork than another's share of it.
pub(crate) fn reserve(octets: usize) -> Result<()> {
    let size = NonZeroUsize::new(octets.next_multiple_of(PAGE))
        .ok_or_else(|| Error::Refused("no room for any client".into()))?;
    let (prot, flags) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED);
    // SAFETY: a new anonymous mapping overlaps nothing.
    let memory = unsafe { mmap_anonymous(None, size, prot, flags) }
        .map_err(Error::os("mmap of shared memory"))?;
    let start = memory.as_ptr().expose_provenance();
    *ROOM.lock().unwrap_or_else(PoisonError::into_inner) = start..start + size.get();
    Ok(())
}

/// Octets that `count` values take of [`reserve`]'s.
pub(crate) const fn room_of<T: Shared>(count: usize) -> usize {
    count.saturating_mul(size_of::<T>()).next_multiple_of(LINE)
}

/// `count` zeroed values, for this process and all its children to come. Pages are taken only as
/// they are used. Never freed.
pub(crate) fn zeroed<T: Shared>(count: usize) -> Result<&'static [T]> {
    const { assert!(align_of::<T>() <= LINE, "lines are aligned") };
    let size = room_of::<T>(count);
    let mut room = ROOM.lock().unwrap_or_else(PoisonError::into_inner);
    if room.len() < size || size == 0 {
        drop(room);
        reserve(size)?;
        room = ROOM.lock().unwrap_or_else(PoisonError::into_inner);
    }
    let start = room.start;
    room.start += size;
    // SAFETY: `start` leads to as many octets as `count` values have, of a mapping that `reserve` made
    // and nobody unmaps (hence 'static); they are aligned, zeroed, which `T: Shared` promises to be
    // valid and writable by all, and handed out once, for `room` begins behind them now.
    Ok(unsafe { std::slice::from_raw_parts(std::ptr::with_exposed_provenance(start), count) })
}

/// A value of this process alone, which its children need no copies of.
///
/// # Safety
/// No other process may touch it.
pub(crate) unsafe fn place<T: Sync + 'static>(value: T) -> Result<&'static T> {
    const { assert!(align_of::<T>() <= LINE, "lines are aligned") };
    let room = zeroed::<AtomicU64>(size_of::<T>().div_ceil(size_of::<AtomicU64>()))?;
    let place = room.as_ptr().cast_mut().cast::<T>();
    // SAFETY: as many octets, aligned, which live for ever and were handed out just now, so that no
    // reference but `room`, which is not used again, leads there; writable, being atomics. The other
    // processes that could write there do not, as the caller promises.
    unsafe {
        place.write(value);
        Ok(&*place)
    }
}
