//! Where a domain's mail goes, asked of a name server on loopback, an honest one and others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod addresses;
mod answers;
mod mx;
mod tlsa;

use std::time::Duration;

use dns::{Domain, Resolver};
use testkit::name_server::{NameServer, Says};

/// Longest wait for an answer that comes, however slow the machine is.
const PATIENT: Duration = Duration::from_secs(30);
/// Wait for one that does not come.
const SHORT: Duration = Duration::from_millis(200);

fn name(text: &str) -> Domain {
    Domain::parse(text.as_bytes()).unwrap()
}

/// Starts a server and a resolver that asks it.
fn ask(zone: impl Fn(&str, &str) -> Says + Send + Sync + 'static) -> (NameServer, Resolver) {
    let server = NameServer::start(zone);
    let resolver = Resolver::of_server(server.address()).patience(PATIENT, 1);
    (server, resolver)
}

/// Returns the kinds that were asked for, with the names.
fn asked(server: &NameServer) -> Vec<String> {
    server.asked().iter().map(|it| format!("{} {}", it.kind, it.name)).collect()
}
