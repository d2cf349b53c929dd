//! What `ps` shows of a process: the parent its clients, a child the one it serves.

use std::fmt::{self, Display};
use std::time::{Duration, Instant};

use sys::proctitle;

use crate::net::listener::Listener;
use crate::net::peer::Peer;

/// Under load the count of clients changes with every client, and to write it is to copy a page that the
/// last child still has too. Shortest time between two counts.
const MIN_INTERVAL: Duration = Duration::from_millis(10);

/// The variables that a server keeps of its environment, for itself and its children. What a service manager
/// or superserver has passed was read before.
const VARIABLES: [&str; 5] = ["PATH", "TZ", "LANG", "RUST_LOG", "TERM"];

/// The title of a process that serves one client: `NAME: PEER`, and what [`Title::set`] adds.
///
/// Where a process serves several clients at once there is no title to set, and [`Title::set`] does
/// nothing.
#[derive(Clone, Copy, Debug)]
pub struct Title(Option<(Titles, Peer)>);

impl Title {
    /// One that shows nothing.
    #[must_use]
    pub const fn none() -> Title {
        Title(None)
    }

    /// Shows `NAME: PEER TEXT`. What does not fit is cut off. Control characters become `?`, but
    /// what a client chose should go through [`crate::in_title`] first, so that one can still read it.
    pub fn set(&self, text: impl Display) {
        if let Some((titles, peer)) = self.0 {
            titles.show(format_args!("{peer} {text}"));
        }
    }
}

/// Shows the titles of a daemon, in the parent and in its children.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Titles {
    name: &'static str,
}

impl Titles {
    /// Takes the space of the arguments and the environment for titles; until the first one it
    /// reads as before. Of the environment only PATH, TZ, LANG, RUST_LOG and TERM are left: the rest is
    /// no business of a client's process, and root's may hold a secret.
    pub(crate) fn claim(name: &'static str) -> Titles {
        if let Err(errno) = proctitle::claim(&VARIABLES) {
            log::debug!("no process titles: {errno}");
        }
        Titles { name }
    }

    /// `NAME: PEER`: from now on this process serves one client.
    pub(crate) fn client(self, peer: Peer) -> Title {
        self.show(peer);
        Title(Some((self, peer)))
    }

    /// `NAME: datagrams, *:7`
    pub(crate) fn datagrams(self, sockets: &[Listener]) {
        self.show(format_args!("datagrams{}", Listed(sockets)));
    }

    /// `NAME: parent, stopping, 3 clients`
    pub(crate) fn stopping(self, clients: usize) {
        let s = if clients == 1 { "" } else { "s" };
        self.show(format_args!("parent, stopping, {clients} client{s}"));
    }

    /// `NAME: TEXT`, for a process that is neither.
    pub(crate) fn show(self, text: impl Display) {
        proctitle::show(format_args!("{}: {text}", self.name));
    }
}

/// `, *:110, unix:/run/pop3d`
struct Listed<'l>(&'l [Listener]);

impl Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|listener| write!(f, ", {listener}"))
    }
}

/// The parent's title, which counts its clients: `NAME: parent, 3 of 256 clients, *:110`.
#[derive(Debug)]
pub(crate) struct ParentTitle {
    titles: Titles,
    /// The count that is shown, and since when.
    shown: Option<(usize, Instant)>,
}

impl ParentTitle {
    pub(crate) fn new(titles: Titles) -> ParentTitle {
        ParentTitle { titles, shown: None }
    }

    /// The process has shown another title: the next one is to be written whatever it says.
    pub(crate) fn reset(&mut self) {
        self.shown = None;
    }

    /// Shows the count if it is another one and the last one has stood for a while; else tells after how
    /// long to come again.
    pub(crate) fn show(
        &mut self,
        clients: usize,
        limit: usize,
        listeners: &[Listener],
    ) -> Option<Duration> {
        let now = Instant::now();
        if let Some((shown, at)) = self.shown {
            let rest = MIN_INTERVAL.saturating_sub(now.duration_since(at));
            if shown == clients {
                return None;
            }
            if !rest.is_zero() {
                return Some(rest);
            }
        }
        let listed = Listed(listeners);
        self.titles.show(format_args!("parent, {clients} of {limit} clients{listed}"));
        self.shown = Some((clients, now));
        None
    }
}
