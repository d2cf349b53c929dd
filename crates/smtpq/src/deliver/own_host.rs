//! The mail server of this host, for letters whose best host we are ourselves: notifications to our own users.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use mailstore::QueueEnvelope;
use smtpclient::{Destination, Enhanced, Failure, Mailer, Settings, Stage, Status, TlsUse};

use crate::options::Config;

/// Status of a domain whose mail would come back to this host (RFC 3463 §3.5).
const LOOP: Enhanced = Enhanced { class: 5, subject: 4, detail: 6 };

/// Returns the address of that server.
pub(super) fn address(config: &Config) -> SocketAddr {
    config.local.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, config.port).into())
}

/// Returns what sends to that server, where this is why other hosts get no letter for a domain: we are the best of its hosts
/// ourselves, or it is our own name, which DNS need not know. Nothing leaves the machine, so there is no TLS.
pub(super) fn mailer(
    config: &Config,
    domain: &str,
    settings: &Settings,
    why: &Failure,
) -> Option<Mailer> {
    let is_own_name = domain.eq_ignore_ascii_case(&config.hostname) && why.status == Status::NoHost;
    if why.stage != Stage::Lookup || !(why.code == LOOP || is_own_name) {
        return None;
    }
    let settings = Settings { tls: TlsUse::Never, ..settings.clone() };
    let (name, addresses) = (config.hostname.clone(), vec![address(config)]);
    let destination = Destination::Host { name, addresses, tlsa: Vec::new() };
    Mailer::new(&Arc::new(settings), destination).ok()
}

/// Returns whether that server gets this letter. A letter from elsewhere should not have come into this queue, and without
/// an option it comes back, as RFC 5321 §5.1 wants it: it could go round in a circle. A notification cannot come back.
pub(super) fn gets(config: &Config, envelope: &QueueEnvelope) -> bool {
    config.local.is_some() || envelope.sender.is_empty()
}
