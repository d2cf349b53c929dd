//! What a daemon tells about its protocol.

use std::time::Duration;

use crate::log::syslog::Facility;
use crate::net::transport::Transport;

/// What a daemon tells about its protocol.
#[derive(Debug)]
pub struct Service {
    /// The program's name, as it stands before its errors.
    pub name: &'static str,
    /// One line for `--help`.
    pub about: &'static str,
    /// The protocol's own port.
    pub port: u16,
    /// How long a client may be silent, unless `--timeout` says otherwise.
    pub idle: Duration,
    /// What happens when root starts the daemon without `--user`.
    pub root: RootPolicy,
    /// Under what `--syslog` logs.
    pub facility: Facility,
    /// Bytes of address space that a process with one client may take.
    pub memory: u64,
    /// Where its clients come from.
    pub transport: Transport,
}

/// What happens when root starts a daemon without saying `--user`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootPolicy {
    /// It serves as the user `nobody`.
    Nobody,
    /// It refuses and says why; `-u` names an ordinary user.
    Never,
}
