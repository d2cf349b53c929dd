//! One process per client: the slides' concurrent server.

use std::io;

use log::warn;

use crate::accept::Accepted;
use crate::drain::drain;
use crate::error::{Result, strerror};
use crate::fork::{Fork, child, fork};
use crate::lines;
use crate::listen::Listener;
use crate::parent::{Parent, Round};
use crate::rw::refuse;
use crate::scoreboard::Progress;
use crate::server::{Client, one_client};
use crate::stack::at_the_top_of_a_page;

/// Slide "Final (correct) Version of TCP Echo Server": accept, fork, close, and round again.
pub(crate) fn serve(parent: Parent, session: impl Fn(&mut Client) -> io::Result<()>) -> Result<()> {
    at_the_top_of_a_page(|| rounds(parent, session)).unwrap_or(Ok(()))
}

#[inline(never)]
fn rounds(mut parent: Parent, session: impl Fn(&mut Client) -> io::Result<()>) -> Result<()> {
    let _kept = lines::collect(); // written before each wait
    loop {
        let round = round(&mut parent);
        let ready = parent.wait(round)?; // ppoll: the only place where signals come in
        if parent.must_stop(parent.children.len()) {
            return drain(parent);
        }
        for listener in ready {
            if parent.lets_wait() {
                break; // the one before has taken the last place, and the others wait
            }
            match parent.listeners.get(listener).map(Listener::accept) {
                Some(Ok(accepted)) => serve_client(&mut parent, accepted, &session),
                Some(Err(errno)) => parent.tolerate(listener, errno)?,
                None => {}
            }
        }
    }
}

/// Under `--over queue` a server without a place leaves the listeners alone.
pub(crate) fn round(parent: &mut Parent) -> Round {
    Round { accepting: !parent.lets_wait(), clients: parent.children.len() }
}

/// fork: the child talks to the client, the parent closes the connected socket.
///
/// Never inlined: see [`Parent::wait`].
#[inline(never)]
fn serve_client(
    parent: &mut Parent,
    accepted: Accepted,
    session: impl Fn(&mut Client) -> io::Result<()>,
) {
    parent.reserve.recovered();
    let peer = accepted.peer;
    let progress = match parent.admit(peer) {
        Ok(progress) => progress,
        Err(refusal) => {
            warn!("client {peer} refused: {refusal}");
            return refuse(&accepted.conn, &parent.busy);
        }
    };
    match fork() {
        Ok(Fork::Child) => child(|| talk(parent, accepted, progress, session)), // never returns
        Ok(Fork::Parent(pid)) => parent.children.add(pid, peer, progress, 0),   // conn closes here
        Err(errno) => {
            warn!("client {peer} refused: fork: {}", strerror(errno));
            parent.children.dismiss(peer, progress);
            refuse(&accepted.conn, &parent.unavailable);
        }
    }
}

/// The child's half: no listener, no handler of the parent's; the conversation; the exit code.
fn talk(
    parent: &mut Parent,
    accepted: Accepted,
    progress: Progress,
    session: impl Fn(&mut Client) -> io::Result<()>,
) -> i32 {
    parent.become_child();
    one_client(&mut parent.client(accepted, progress), session)
}
