//! A bar on the terminal for work that takes long; nothing where there is no terminal.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar, or nothing.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// For one letter that goes to standard output: only where that is not the terminal itself.
    pub(crate) fn of_letter(octets: Option<u64>) -> Progress {
        let octets = octets.filter(|_| !io::stdout().is_terminal());
        Progress::new(octets, "{bytes}/{total_bytes} {wide_bar} {eta}")
    }

    /// For so many letters.
    pub(crate) fn of_letters(count: usize) -> Progress {
        Progress::new(Some(count as u64), "{pos}/{len} letters {wide_bar} {eta}")
    }

    fn new(length: Option<u64>, template: &str) -> Progress {
        let Some(length) = length.filter(|_| io::stderr().is_terminal()) else {
            return Progress(ProgressBar::hidden());
        };
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Progress(bar)
    }

    /// So much more is done.
    pub(crate) fn advance(&self, amount: usize) {
        self.0.inc(amount as u64);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
