//! SIGSEGV and SIGBUS, which Rust's runtime would catch.
//!
//! It does so to say in words that a stack has overflowed, and gives every thread a stack for that report:
//! mmap, mprotect, sigaltstack three times, munmap, a third of what a thread costs. The process dies of the
//! signal all the same, and a server logs by what signal a child has died. The runtime leaves a signal
//! alone that is not at its default when the program starts, and has no other way to be told.

use nix::sys::signal::Signal;

use crate::signal::restore_default;

/// The signals that the runtime would catch.
const SIGNALS: [libc::c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// Called by the C library before the runtime starts, with arguments that it does not need.
// SAFETY: an entry of this section is the address of a function that is called once, by the only thread.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = ignore;

/// Ignores the signals, unless the program's starter or a sanitizer has set something else already. A fault
/// of the processor's ends a process that ignores them too.
extern "C" fn ignore() {
    for signal in SIGNALS {
        // SAFETY: SIG_DFL and SIG_IGN run no code; signal(2) touches no memory of ours.
        unsafe {
            let before = libc::signal(signal, libc::SIG_IGN);
            if before != libc::SIG_DFL {
                libc::signal(signal, before);
            }
        }
    }
}

/// First thing in `main`: gives the signals their default back. Nothing has to be done about an error, for
/// there is none that is documented.
pub fn restore() {
    let _ = restore_default(&[Signal::SIGSEGV, Signal::SIGBUS]);
}
