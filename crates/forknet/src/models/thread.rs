//! One thread per client: as the fork model, with pthread_create in place of fork.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use log::{info, warn};
use nix::unistd::gettid;

use crate::accept::Accepted;
use crate::bell::Bell;
use crate::children::account;
use crate::drain::drain;
use crate::error::{Result, reason};
use crate::fork::{EXIT_OK, contain};
use crate::lines;
use crate::listen::Listener;
use crate::parent::{Parent, Round};
use crate::pthread::Crew;
use crate::rw::refuse;
use crate::scoreboard::Progress;
use crate::server::{Client, one_client};
use crate::threads::Threads;

/// accept, create a thread, and round again. The signals stay blocked in all threads but this one.
#[inline(never)]
pub(crate) fn serve(
    mut parent: Parent,
    session: impl Fn(&mut Client) -> io::Result<()> + Send + Sync,
) -> Result<()> {
    let _kept = lines::collect(); // written before each wait
    let bell = Arc::new(Bell::new()?);
    parent.bell = Some(Arc::clone(&bell));
    let threads = Arc::clone(&parent.threads);
    let service = Service { session, bell, threads };
    Crew::with(|crew| {
        loop {
            let (accepting, clients) = (!parent.lets_wait(), service.threads.len());
            let ready = parent.wait(Round { accepting, clients })?;
            if parent.must_stop(service.threads.len()) {
                return drain(parent);
            }
            for listener in ready {
                if parent.lets_wait() {
                    break; // the one before has taken the last place, and the others wait
                }
                match parent.listeners.get(listener).map(Listener::accept) {
                    Some(Ok(accepted)) => service.serve_client(crew, &mut parent, accepted),
                    Some(Err(errno)) => parent.tolerate(listener, errno)?,
                    None => {}
                }
            }
        }
    })
}

/// What all threads share.
struct Service<S> {
    session: S,
    bell: Arc<Bell>,
    threads: Arc<Threads>,
}

impl<S: Fn(&mut Client) -> io::Result<()> + Send + Sync> Service<S> {
    /// pthread_create: the thread talks to the client and closes the connected socket.
    fn serve_client<'env>(&'env self, crew: &Crew<'env>, parent: &mut Parent, accepted: Accepted) {
        parent.reserve.recovered();
        let (peer, since) = (accepted.peer, Instant::now());
        let progress = match parent.admit(peer) {
            Ok(progress) => progress,
            Err(refusal) => {
                warn!("client {peer} refused: {refusal}");
                return refuse(&accepted.conn, &parent.busy);
            }
        };
        let number = self.threads.add(peer, progress, accepted.conn.as_raw_fd());
        // In a place of its own, so that a client without a thread can still be told.
        let seat = Arc::new(Mutex::new(Some(parent.client(accepted, progress))));
        let taken = Arc::clone(&seat);
        let life = move || {
            if let Some(client) = take(&taken) {
                self.talk(client, number, since, progress);
            }
        };
        if let Err(error) = crew.create(life) {
            warn!("client {peer} refused: thread: {}", reason(&error));
            self.threads.end(number);
            if let Some(client) = take(&seat) {
                client.conn.refuse(&parent.unavailable);
            }
        }
    }

    /// The thread's whole life. A panic ends it alone.
    fn talk(&self, mut client: Client, number: u64, since: Instant, progress: Progress) {
        let (peer, pid, thread) = (client.peer, std::process::id(), gettid());
        info!("client {peer} start: pid {pid}, thread {thread}");
        let code = contain(|| one_client(&mut client, &self.session));
        let did = account(progress, since.elapsed());
        match code {
            EXIT_OK => info!("client {peer} end: pid {pid}, thread {thread}, exit {code}, {did}"),
            _ => warn!("client {peer} end: pid {pid}, thread {thread}, exit {code}, {did}"),
        }
        let first = self.threads.end(number); // before the socket closes: see Threads
        drop(client);
        if first {
            self.bell.ring();
        }
    }
}

fn take(seat: &Mutex<Option<Client>>) -> Option<Client> {
    seat.lock().unwrap_or_else(PoisonError::into_inner).take()
}
