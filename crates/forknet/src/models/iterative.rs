//! One client after the other, by the one process there is: the slides' iterative server.

use std::io;
use std::time::Instant;

use log::{info, warn};

use crate::accept::Accepted;
use crate::attention::{Attention, Interrupts};
use crate::children::account;
use crate::drain::drain;
use crate::error::Result;
use crate::fork::{EXIT_OK, contain};
use crate::lines;
use crate::listen::Listener;
use crate::parent::{Parent, Round};
use crate::rw::refuse;
use crate::server::{Client, one_client};

/// Slide "El servidor atiende la peticion personalmente" (the server attends to the request in
/// person): accept, serve, close, and round again. Who comes meanwhile waits in
/// the backlog.
#[inline(never)]
pub(crate) fn serve(
    mut parent: Parent,
    session: impl Fn(&mut Client) -> io::Result<()>,
) -> Result<()> {
    let _kept = lines::collect(); // written before each wait
    loop {
        let ready = parent.wait(Round { accepting: true, clients: 0 })?;
        if parent.must_stop(0) {
            return drain(parent);
        }
        for listener in ready {
            match parent.listeners.get(listener).map(Listener::accept) {
                Some(Ok(accepted)) => serve_client(&mut parent, accepted, &session),
                Some(Err(errno)) => parent.tolerate(listener, errno)?,
                None => {}
            }
            // The signal is heard already, so the next wait would not end by it; and a listener that
            // is not ours was not shut down, and is quiet.
            if parent.must_stop(1) {
                return drain(parent);
            }
        }
    }
}

/// The session runs in this process, and so signals come in while it waits: SIGTERM stops the
/// listening at once, and ends the session when `--grace` is over.
fn serve_client(
    parent: &mut Parent,
    accepted: Accepted,
    session: impl Fn(&mut Client) -> io::Result<()>,
) {
    parent.reserve.recovered();
    let (peer, since) = (accepted.peer, Instant::now());
    let progress = match parent.children.admit(peer) {
        Ok(progress) => progress,
        Err(refusal) => {
            warn!("client {peer} refused: {refusal}");
            return refuse(&accepted.conn, &parent.busy);
        }
    };
    let pid = std::process::id();
    info!("client {peer} start: pid {pid}");
    let mut client = parent.client(accepted, progress);
    client.conn.attend(Some(Attention::Signals(Box::new(Interrupts {
        signals: parent.signals,
        listeners: parent.listeners.iter().filter_map(Listener::own_copy).collect(),
        beside: parent.beside.take(),
        grace: parent.options.grace,
        tell_idle: parent.tell_idle,
        client: peer.to_string(),
        ends_at: None,
    }))));
    let code = contain(|| one_client(&mut client, session));
    if let Some(Attention::Signals(interrupts)) = client.conn.attention() {
        parent.beside = interrupts.beside;
    }
    let did = account(progress, since.elapsed());
    match code {
        EXIT_OK => info!("client {peer} end: pid {pid}, exit {code}, {did}"),
        _ => warn!("client {peer} end: pid {pid}, exit {code}, {did}"),
    }
    parent.children.dismiss(peer, progress);
    parent.tally.covered(); // the client's title stood there
}
