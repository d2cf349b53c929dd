//! A progress bar for long transfers on a terminal.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A progress bar, hidden without a terminal.
pub(crate) struct ProgressMeter(ProgressBar);

impl ProgressMeter {
    /// Returns a bar for one letter written to standard output, hidden if that is the terminal.
    pub(crate) fn for_letter(octets: Option<u64>) -> ProgressMeter {
        let octets = octets.filter(|_| !io::stdout().is_terminal());
        ProgressMeter::new(octets, "{bytes}/{total_bytes} {wide_bar} {eta}")
    }

    /// Returns a bar for a number of letters, unless it is not wanted.
    pub(crate) fn for_letters(count: usize, is_wanted: bool) -> ProgressMeter {
        let count = Some(count as u64).filter(|_| is_wanted);
        ProgressMeter::new(count, "{pos}/{len} letters {wide_bar} {eta}")
    }

    fn new(length: Option<u64>, template: &str) -> ProgressMeter {
        let Some(length) = length.filter(|_| io::stderr().is_terminal()) else {
            return ProgressMeter(ProgressBar::hidden());
        };
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        ProgressMeter(bar)
    }

    /// Advances the bar.
    pub(crate) fn advance(&self, amount: usize) {
        self.0.inc(amount as u64);
    }
}

impl Drop for ProgressMeter {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
