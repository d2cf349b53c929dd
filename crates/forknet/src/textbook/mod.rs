//! What the slides' own programs need of the system where nix has no safe call: `fork`, `accept` and
//! `signal`, each as the slide has it and safe to call from `forbid(unsafe_code)`.
//!
//! The daemons use none of this; theirs is the rest of this crate.

mod accept;
mod fork;
mod say;
mod sigchldwait;
mod sigchldwaitpid;
mod sigflag;
mod signal;
mod signame;

pub use accept::accept;
pub use fork::fork;
pub use sigflag::{came, take, times};
pub use signal::{
    Restart, SAY_ITS_NAME, SET_A_FLAG, SIG_CHLD_WAIT, SIG_CHLD_WAITPID, SIG_DFL, SIG_IGN, Sigfunc,
    signal,
};

pub use crate::fork::Fork;
