//! Default dispositions of SIGSEGV and SIGBUS, which Rust's runtime would catch.
//!
//! The runtime catches them to report a stack overflow, and gives every thread a signal stack for
//! that: mmap, mprotect, three calls of sigaltstack, munmap, a third of a thread's cost. The
//! process dies of the signal anyway, and a server logs the signal that killed a child. The only
//! way to prevent it: the runtime skips a signal that is not at its default when the program
//! starts.

use nix::sys::signal::Signal;

use crate::signal::restore_default;

/// The signals that the runtime would catch.
const SIGNALS: [libc::c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// The C library calls it before the runtime starts.
// SAFETY: an entry of this section is the address of a function that is called once, by the only thread.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = ignore;

/// Ignores the signals, unless the program's starter or a sanitizer has set another action. A fault
/// of the processor ends a process that ignores them, too.
extern "C" fn ignore() {
    for signal in SIGNALS {
        // SAFETY: SIG_DFL and SIG_IGN run no code; signal(2) touches no memory.
        unsafe {
            let before = libc::signal(signal, libc::SIG_IGN);
            if before != libc::SIG_DFL {
                libc::signal(signal, before);
            }
        }
    }
}

/// Restores the default of the signals; call it first in `main`. No error is documented for it.
pub fn restore() {
    let _ = restore_default(&[Signal::SIGSEGV, Signal::SIGBUS]);
}
