//! The setup of a daemon: superservers, detaching, pid file, privileges, limits.

pub(crate) mod check;
pub(crate) mod chroot;
pub(crate) mod cleanup;
pub(crate) mod confinement;
pub(crate) mod daemonize;
pub(crate) mod heap;
pub(crate) mod held_file;
pub(crate) mod inetd;
pub(crate) mod owned_file;
pub(crate) mod pidfile;
pub(crate) mod privdrop;
pub(crate) mod rlimits;
pub(crate) mod sd_notify;
pub(crate) mod systemd;
pub(crate) mod transcript_file;
pub(crate) mod ucspi;
