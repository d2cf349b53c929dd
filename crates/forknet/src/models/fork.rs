//! One process per client: the slides' concurrent server.

use std::io;
use std::os::fd::OwnedFd;

use log::warn;
use nix::errno::Errno;

use crate::accept::{Peer, Verdict, accept, verdict};
use crate::drain::drain;
use crate::error::{Error, Result, strerror};
use crate::fork::{Fork, child, fork};
use crate::lines;
use crate::rw::{Connection, refuse};
use crate::scoreboard::Progress;
use crate::server::{Client, Parent, one_client};
use crate::transcript::Transcript;

/// Slide "Final (correct) Version of TCP Echo Server": accept, fork, close, and round again.
pub(crate) fn serve(
    mut parent: Parent,
    session: impl Fn(&mut Client) -> io::Result<()>,
) -> Result<()> {
    let _kept = lines::collect(); // written before each wait
    loop {
        let ready = parent.wait()?; // ppoll: the only place where signals come in
        if parent.must_stop() {
            return drain(parent);
        }
        for listener in ready {
            match parent.listeners.get(listener).map(accept) {
                Some(Ok((conn, peer))) => serve_client(&mut parent, conn, peer, &session),
                Some(Err(errno)) => tolerate(&mut parent, listener, errno)?,
                None => {}
            }
        }
    }
}

/// fork: the child talks to the client, the parent closes the connected socket.
fn serve_client(
    parent: &mut Parent,
    conn: OwnedFd,
    peer: Peer,
    session: impl Fn(&mut Client) -> io::Result<()>,
) {
    parent.reserve.recovered();
    let Some(progress) = parent.children.admit() else {
        warn!("client {peer} refused: {} clients are served already", parent.children.len());
        return refuse(&conn, &parent.busy);
    };
    match fork() {
        Ok(Fork::Child) => child(|| talk(parent, conn, peer, progress, session)), // never returns
        Ok(Fork::Parent(pid)) => parent.children.add(pid, peer, progress, 0), // conn closes here
        Err(errno) => {
            warn!("client {peer} refused: fork: {}", strerror(errno));
            parent.children.dismiss(progress);
            refuse(&conn, &parent.unavailable);
        }
    }
}

/// The child's half: no listener, no handler of the parent's; the conversation; the exit code.
fn talk(
    parent: &mut Parent,
    conn: OwnedFd,
    peer: Peer,
    progress: Progress,
    session: impl Fn(&mut Client) -> io::Result<()>,
) -> i32 {
    let title = parent.titles.client(peer);
    let shutdown = parent.become_child();
    let mut conn = Connection::socket(conn, parent.timeout, progress);
    conn.heed(shutdown);
    let transcript = Transcript::of(parent.transcript.take(), peer);
    one_client(Client { conn, peer, transcript, title }, session)
}

/// An error of accept is the server's end only when the listener itself is broken.
fn tolerate(parent: &mut Parent, listener: usize, errno: Errno) -> Result<()> {
    let Some(listener) = parent.listeners.get(listener) else { return Ok(()) };
    match verdict(errno) {
        Verdict::GoRound => Ok(()),
        Verdict::Exhausted => {
            parent.reserve.answer(listener, &parent.unavailable, errno);
            Ok(())
        }
        Verdict::Fatal => Err(Error::os(format!("accept {listener}"))(errno)),
    }
}
