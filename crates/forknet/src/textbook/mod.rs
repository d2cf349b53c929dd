//! What the slides' own programs need of the system where nix has no safe call: `fork`, `accept` and
//! `signal`, the resolver, the services and out-of-band data, each as the slide has it and safe to call from
//! `forbid(unsafe_code)`.
//!
//! The daemons use none of this; theirs is the rest of this crate.

mod accept;
mod fork;
mod resolv_conf;
mod resolver;
mod say;
mod services;
mod sigchldwait;
mod sigchldwaitpid;
mod sigflag;
mod signal;
mod signame;
mod sigtwice;
mod urgent;

pub use accept::accept;
pub use fork::fork;
pub use resolv_conf::{Sources, ask_dns_server, look_up_hosts_in};
pub use resolver::{Found, NoAnswer, getaddrinfo, getnameinfo};
pub use services::{Service, getservbyname, getservbyport};
pub use sigflag::{came, take, times};
pub use signal::{
    Restart, SAY_ITS_NAME, SEND_IT_AGAIN, SET_A_FLAG, SIG_CHLD_WAIT, SIG_CHLD_WAITPID, SIG_DFL,
    SIG_IGN, Sigfunc, signal,
};
pub use urgent::{set_owner, sockatmark};

pub use crate::fork::Fork;
