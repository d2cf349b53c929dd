//! A stack for the signal handlers in memory that is shared with the children.
//!
//! The kernel puts the whole state of the processor on the stack before it calls a handler, nearly a
//! page of it. On the parent's own stack that page would have to be copied after every fork, because
//! the child has it too; shared memory is never copied. No child uses it: a child has no handlers.

use std::sync::atomic::AtomicU64;

use nix::errno::Errno;
use nix::sys::signal::Signal;

use crate::error::{Error, Result};
use crate::shared;

/// Octets for a handler, behind what the kernel puts there.
const FOR_A_HANDLER: usize = 8 * 1024;
/// What is reserved: the kernel needs 3 KiB of it with AVX-512, 11 KiB with AMX.
pub(crate) const SIZE: usize = 32 * 1024;

/// Lets the handlers of these signals run on such a stack. Where the processor's state is too large
/// for it, they stay where they are.
pub(crate) fn put_aside(signals: &[Signal]) -> Result<()> {
    // SAFETY: getauxval reads a table of the kernel's that nobody writes to.
    let needed = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize + FOR_A_HANDLER;
    if needed > SIZE {
        return Ok(());
    }
    let memory: &'static [AtomicU64] = shared::zeroed(SIZE / size_of::<AtomicU64>())?;
    let stack =
        libc::stack_t { ss_sp: memory.as_ptr().cast_mut().cast(), ss_flags: 0, ss_size: SIZE };
    let mut runtimes = libc::stack_t { ss_sp: std::ptr::null_mut(), ss_flags: 0, ss_size: 0 };
    // SAFETY: `memory` is SIZE octets that live for ever and that nobody else has; no handler runs
    // now, so the stack that was set before is not in use.
    Errno::result(unsafe { libc::sigaltstack(&raw const stack, &raw mut runtimes) })
        .map_err(Error::os("sigaltstack"))?;
    keep_from_children(runtimes);
    signals.iter().try_for_each(|signal| on_stack(*signal)).map_err(Error::os("sigaction"))
}

/// The stack that Rust's runtime had set for its report of a stack overflow: a mapping less to copy.
/// It stays in this process, where the runtime unmaps it at the end.
fn keep_from_children(stack: libc::stack_t) {
    if stack.ss_flags & libc::SS_DISABLE == 0 && !stack.ss_sp.is_null() {
        // SAFETY: only changes what a fork copies. The stack is this thread's alone, and a child,
        // whose handlers are gone, has the one set above.
        let _or_it_is_copied =
            unsafe { libc::madvise(stack.ss_sp, stack.ss_size, libc::MADV_DONTFORK) };
    }
}

/// SA_ONSTACK for a signal that has a handler.
fn on_stack(signal: Signal) -> nix::Result<()> {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all of `action` is live and may be written; with no new action it is only filled.
    Errno::result(unsafe {
        libc::sigaction(signal as i32, std::ptr::null(), action.as_mut_ptr())
    })?;
    // SAFETY: zeroed, then filled by the kernel.
    let mut action = unsafe { action.assume_init() };
    if matches!(action.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN) {
        return Ok(());
    }
    action.sa_flags |= libc::SA_ONSTACK;
    // SAFETY: the same handler as before, on the stack set above, which is large enough for it.
    let set = unsafe { libc::sigaction(signal as i32, &raw const action, std::ptr::null_mut()) };
    Errno::result(set).map(drop)
}
