//! The parent's title, which counts its clients.

use std::time::{Duration, Instant};

use crate::listen::Listener;
use crate::title::Titles;

/// Under load the count changes with every client, and to write it is to copy a page that the last
/// child still has too. So often is enough for whoever looks.
const AT_MOST_EVERY: Duration = Duration::from_millis(10);

/// Shows how many clients there are, soon enough.
#[derive(Debug)]
pub(crate) struct Tally {
    titles: Titles,
    shown: Option<(usize, Instant)>,
}

impl Tally {
    pub(crate) fn new(titles: Titles) -> Tally {
        Tally { titles, shown: None }
    }

    /// The process has shown another title: the next one is to be written whatever it says.
    pub(crate) fn covered(&mut self) {
        self.shown = None;
    }

    /// Shows the count if it is another one, and if that was not done just now; else tells after how
    /// long to come again.
    pub(crate) fn show(
        &mut self,
        clients: usize,
        limit: usize,
        listeners: &[Listener],
    ) -> Option<Duration> {
        let now = Instant::now();
        if let Some((shown, at)) = self.shown {
            let rest = AT_MOST_EVERY.saturating_sub(now.duration_since(at));
            if shown == clients {
                return None;
            }
            if !rest.is_zero() {
                return Some(rest);
            }
        }
        self.titles.parent(clients, limit, listeners);
        self.shown = Some((clients, now));
        None
    }
}
