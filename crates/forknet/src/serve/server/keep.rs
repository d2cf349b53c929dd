//! A server with a keeper, and with TLS; and one with a single client, which a superserver has accepted.

use std::io;
use std::sync::Arc;

use sys::fd;

use crate::error::{Error, Result};
use crate::net::connection::Connection;
use crate::net::endpoint::Endpoint;
use crate::net::listen;
use crate::net::listener::{Listener, Queue};
use crate::net::peer::Peer;
use crate::options::model::Model;
use crate::serve::exit_code::EXIT_OK;
use crate::serve::keeper::Keeper;
use crate::serve::question::{Keeping, Question};
use crate::serve::scoreboard::Slot;
use crate::serve::server::Server;
use crate::serve::session::{self, Client, Conn, SessionHost, Settings};
use crate::serve::signals;
use crate::serve::signer::{Identity, Signer};
use crate::setup::confinement::{Confinement, files_filter};
use crate::setup::rlimits::{self, Needs};
use crate::setup::{check, chroot, privdrop};

impl Server {
    /// Offers TLS under this identity, and on these addresses from the first byte on. Its keys are read by
    /// [`Server::keep`], with the rights of that moment, and again after SIGHUP.
    pub fn offer_tls(&mut self, identity: Arc<dyn Identity>, listen: Vec<Endpoint>) {
        (self.identity, self.listen_tls) = (Some(identity), listen);
    }

    /// socket, bind, listen for clients who begin with a TLS handshake.
    pub(super) fn listen_tls(&mut self) -> Result<()> {
        let (listeners, _) = listen::streams_and_datagrams(&self.listen_tls, self.queue(), false)?;
        self.listeners.extend(listeners.into_iter().map(Listener::with_tls));
        Ok(())
    }

    /// Options of the listening sockets.
    pub(super) fn queue(&self) -> Queue {
        Queue { backlog: self.options.backlog, receive_timeout: self.receive_timeout() }
    }

    /// Starts the keeper, which keeps the rights of this moment and answers the questions that sessions
    /// ask ([`Client::keeper`]); `answer` returns the exit code of the process that answers. With `--chroot`
    /// it enters that folder. `look` runs in the keeper before it keeps anything, and after SIGHUP in a process
    /// of its own; what it returns is [`Client::facts`] from then on: up to 512 KiB for processes that cannot
    /// look themselves. `noted` runs in the keeper with each note that a process that answers leaves
    /// ([`Question::note`](crate::Question::note)), so that those forked later know of it. Those that talk to clients then give up what they can.
    ///
    /// Call it after [`Server::detach`] and before [`Server::drop_privileges`].
    ///
    /// # Errors
    /// As [`Server::drop_privileges`]; socketpair(2) or fork(2) failed; an error of `look`, as
    /// [`Error::Refused`].
    pub fn keep(
        &mut self,
        look: impl Fn() -> Result<Vec<u8>>,
        answer: impl Fn(Question) -> i32,
        noted: impl FnMut(&[u8]),
    ) -> Result<()> {
        privdrop::target_user(self.options.user.as_deref(), self.service.root)?;
        if self.options.check {
            self.options.chroot.take().map_or(Ok(()), |folder| chroot::enter(&folder))?;
            self.identity.as_ref().map_or(Ok(()), |identity| identity.read().map(drop))?;
            return check::without_warnings(look);
        }
        let (clients, memory) = (self.clients(), self.service.memory);
        // More than there are clients: the keeper sees the end of a session a little later.
        let lines = usize::try_from(clients).unwrap_or(usize::MAX).saturating_mul(2).max(16);
        let has_workers = self.options.model == Model::Prefork && !self.options.inetd;
        let kind = (self.identity.is_some(), has_workers);
        let keeping = Keeping::new(self.titles, lines, self.timeouts(), kind);
        let folder = self.options.chroot.clone();
        let (keeper, facts) = Keeper::spawn(
            (keeping, self.identity.clone()),
            |look| {
                self.let_go();
                folder.as_deref().map_or(Ok(()), chroot::enter)?;
                let needs =
                    Needs { clients, processes: clients, is_shared: false, memory, file: None };
                rlimits::set(needs);
                rlimits::set(Needs { is_shared: true, ..needs }); // a descriptor for each line
                files_filter()?;
                let facts = look()?;
                let (daemon, inetd) = (self.options.daemon, self.options.inetd);
                if daemon || inetd {
                    let null = fd::null().map_err(Error::os("/dev/null"))?;
                    // Under inetd standard input and output are the client.
                    fd::replace_standard(&null, [true, true, daemon]).map_err(Error::os("dup2"))?;
                }
                Ok(facts)
            },
            &look,
            answer,
            noted,
        )?;
        if let Some(identity) = &self.identity {
            let control = keeper.signer().map_err(Error::os("signer"))?;
            self.signer = Some(Signer::new(Arc::clone(identity), control)?);
        }
        (self.keeper, self.facts) = (Some(keeper), facts);
        Ok(())
    }

    /// Closes, in a process that serves no client, all descriptors but those of the log.
    pub(super) fn let_go(&mut self) {
        self.listeners.clear();
        self.helper_sockets.clear();
        (self.client, self.transcript, self.starter, self.pid_file) = (None, None, None, None);
        (self.cleanup, self.keeper, self.signer) = (None, None, None);
        self.notifier.close();
    }

    /// Serves the one client of inetd's `nowait`, where this process is the child already.
    pub(super) fn serve_one(
        mut self,
        connection: Connection,
        peer: Peer,
        session: impl Fn(&mut Client) -> io::Result<()>,
    ) -> Result<()> {
        signals::restore().map_err(Error::os("sigaction"))?;
        self.notifier.ready(false);
        let timeouts = self.timeouts();
        let settings = Settings::new(
            SessionHost::Sequential,
            timeouts,
            self.titles,
            (self.options.proxy_from, self.replies),
        );
        self.transcript.into_iter().for_each(|(_, file)| settings.set_transcript(file));
        let mut conn = Conn::new(connection, peer, settings);
        if let Some(keeper) = self.keeper.take() {
            settings.set_facts(&self.facts);
            conn.set_line(Some(keeper.line(Some(peer)).map_err(Error::os("keeper"))?));
            if let Some(signer) = self.signer.take() {
                conn.set_signer(Some(signer.line().map_err(Error::os("signer"))?));
            }
            drop(keeper);
            Confinement::new(Model::Fork)?.enter().map_err(Error::os("confinement"))?;
        }
        match session::run(conn, Slot::unshared(peer), &session) {
            EXIT_OK => Ok(()),
            _ => Err(Error::Refused(format!("client {peer} failed"))),
        }
    }
}
