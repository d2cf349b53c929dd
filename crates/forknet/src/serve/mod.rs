//! Serving: the parent, its children, and one server design a file.

pub(crate) mod announcer;
pub(crate) mod children;
pub(crate) mod datagram_helper;
pub(crate) mod files;
pub(crate) mod fork;
pub(crate) mod hangup_pipe;
pub(crate) mod iterative;
pub(crate) mod keeper;
pub(crate) mod limits;
pub(crate) mod listeners;
pub(crate) mod master;
pub(crate) mod prefork;
pub(crate) mod reaper;
pub(crate) mod refusals;
pub(crate) mod scoreboard;
pub(crate) mod server;
pub(crate) mod server_end;
pub(crate) mod session;
pub(crate) mod signals;
pub(crate) mod spare_fd;
pub(crate) mod thread;
pub(crate) mod threads;
pub(crate) mod title;
pub(crate) mod udp;
pub(crate) mod udp_loop;
pub(crate) mod wakeup;
