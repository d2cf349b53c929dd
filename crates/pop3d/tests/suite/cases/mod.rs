//! The cases of docs/cases.md about POP3 that no other file of this suite shows, a test each.

mod authorization;
mod capabilities;
mod client;
mod commands;
mod framing;
mod limits;
mod log;
mod transaction;
mod utf8;

use testkit::Peer;

use crate::common::until_dot;

/// Asks for a listing; returns its lines.
fn listing(client: &mut Peer, command: &str) -> Vec<String> {
    client.ask(command, "+OK");
    until_dot(client)
}
