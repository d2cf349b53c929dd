//! Process titles for `ps`: the parent's count of clients, a child's client.

use std::fmt::{self, Display};
use std::time::{Duration, Instant};

use sys::proctitle;

use crate::net::listener::Listener;
use crate::net::peer::Peer;
use crate::serve::line::Line;

/// Shortest time between two titles of the parent. Under load the count changes with every client,
/// and each new title copies a page that the last child shares.
const MIN_INTERVAL: Duration = Duration::from_millis(10);

/// The variables of the environment that a server keeps. Those of service managers and superservers
/// were read before.
const VARIABLES: [&str; 5] = ["PATH", "TZ", "LANG", "RUST_LOG", "TERM"];

/// The title of a process that serves one client: `NAME: PEER`, and what [`Title::set`] adds. One that has no client
/// shows that alone.
///
/// In a process that serves several clients at once [`Title::set`] does nothing.
#[derive(Clone, Debug)]
pub struct Title(Shown);

#[derive(Clone, Debug)]
enum Shown {
    Nothing,
    Here(Titles, Peer),
    Working(Titles),
    /// By the process that has handed the client over.
    ByFront(Line),
}

impl Title {
    /// Returns a title that shows nothing.
    #[must_use]
    pub const fn none() -> Title {
        Title(Shown::Nothing)
    }

    pub(crate) fn of_front(line: Line) -> Title {
        Title(Shown::ByFront(line))
    }

    /// Shows `NAME: PEER TEXT`, cut where the space ends. Control characters become `?`; pass a
    /// client's text through [`crate::in_title`] first to keep it readable.
    pub fn set(&self, text: impl Display) {
        match &self.0 {
            Shown::Nothing => {}
            Shown::Here(titles, peer) => titles.show(format_args!("{peer} {text}")),
            Shown::Working(titles) => titles.show(text),
            Shown::ByFront(line) => line.send_title(&text.to_string()),
        }
    }
}

/// Shows the titles of a daemon, in the parent and in its children.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Titles {
    name: &'static str,
    /// What the parent counts, one of them.
    noun: &'static str,
}

impl Titles {
    /// Takes the space of the arguments and the environment for titles. Keeps only [`VARIABLES`] of
    /// the environment, because root's may hold secrets, which a client's process must not have.
    pub(crate) fn claim(name: &'static str) -> Titles {
        if let Err(errno) = proctitle::claim(&VARIABLES) {
            log::debug!("no process titles: {errno}");
        }
        Titles { name, noun: "client" }
    }

    /// Counts something else than clients.
    pub(crate) fn counting(self, noun: &'static str) -> Titles {
        Titles { noun, ..self }
    }

    /// Returns what the parent counts, one of them.
    pub(crate) fn noun(self) -> &'static str {
        self.noun
    }

    /// Shows `NAME: TEXT`, for a process that works at something.
    pub(crate) fn working(self, text: impl Display) -> Title {
        self.show(text);
        Title(Shown::Working(self))
    }

    /// Shows `NAME: PEER`, for a process that serves one client.
    pub(crate) fn client(self, peer: Peer) -> Title {
        self.show(peer);
        Title(Shown::Here(self, peer))
    }

    /// Shows `NAME: datagrams, *:7`.
    pub(crate) fn datagrams(self, sockets: &[Listener]) {
        self.show(format_args!("datagrams{}", Listed(sockets)));
    }

    /// Shows `NAME: parent, stopping, 3 clients`.
    pub(crate) fn stopping(self, clients: usize) {
        let (noun, s) = (self.noun, if clients == 1 { "" } else { "s" });
        self.show(format_args!("parent, stopping, {clients} {noun}{s}"));
    }

    /// Shows `NAME: TEXT`.
    pub(crate) fn show(self, text: impl Display) {
        proctitle::show(format_args!("{}: {text}", self.name));
    }
}

/// Formats as `, *:110, unix:/run/pop3d`.
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
    /// The count that is shown, and the time when it was set.
    shown: Option<(usize, Instant)>,
}

impl ParentTitle {
    pub(crate) fn new(titles: Titles) -> ParentTitle {
        ParentTitle { titles, shown: None }
    }

    /// Notes that another title was shown, so that the next one is written in any case.
    pub(crate) fn reset(&mut self) {
        self.shown = None;
    }

    /// Shows the count if it has changed, at most once per [`MIN_INTERVAL`]; returns the time until
    /// the next call.
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
        let noun = self.titles.noun;
        self.titles.show(format_args!("parent, {clients} of {limit} {noun}s{listed}"));
        self.shown = Some((clients, now));
        None
    }
}
