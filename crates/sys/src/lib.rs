//! The kernel's calls, and a few of the C library's, as safe functions: one file per manual page.
//!
//! This is the only crate with `unsafe` in it. It logs nothing, reads no option and has no policy.
//! Where nix has a safe call, callers use nix.

pub mod alarm;
pub mod capability;
pub mod errqueue;
pub mod fatal_signal;
pub mod fd;
pub mod flock;
pub mod fork;
mod generation;
pub mod getaddrinfo;
pub mod getdents;
pub mod getgroups;
pub mod getnameinfo;
pub mod getrandom;
pub mod getservbyname;
pub mod gso;
pub mod inotify;
pub mod io_submit;
pub mod landlock;
pub mod lease;
pub mod localtime;
pub mod nss;
pub mod owned_file;
pub mod passwd;
pub mod pidfd;
pub mod private_memory;
pub mod proctitle;
pub mod resolver;
pub mod scm_rights;
pub mod seccomp;
pub mod shared_memory;
pub mod sigaction;
pub mod signal;
pub mod sockatmark;
pub mod socket;
pub mod stack_overflow;
pub mod statx;
pub mod sync_file_range;
pub mod udp;
pub mod wait;
pub mod wipe;
