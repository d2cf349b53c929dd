//! The table, 100 columns wide because that fits on a projector.

use std::io::{self, Write};

use crate::namespace::Refused;
use crate::outcome::{Outcome, Verdict};
use crate::rows::Row;
use crate::tools::text;

/// Columns: symbol and number, perror(), the slide's cause, what was done. Two spaces between them.
const WIDTHS: [usize; 4] = [15, 22, 27, 30];

/// Prints the titles.
pub fn head() {
    lines(&["errno", "perror()", "cause", "what was done"].map(|title| vec![title.to_owned()]));
    lines(&WIDTHS.map(|width| vec!["-".repeat(width)]));
}

/// Prints one row.
pub fn row(row: &Row, outcome: &Outcome) {
    let symbol = vec![format!("{:?}", row.errno), format!("{:>5}", row.errno as i32)];
    let done = outcome.done.iter().flat_map(|line| wrap(line, WIDTHS[3])).collect();
    lines(&[symbol, wrap(&text(row.errno), WIDTHS[1]), wrap(row.cause, WIDTHS[2]), done]);
    say("");
}

/// Prints the counts.
pub fn foot(verdicts: &[Verdict], refused: Option<&Refused>) {
    let count = |wanted| verdicts.iter().filter(|verdict| **verdict == wanted).count();
    say(&format!(
        "{} of {} provoked, {} not given by this kernel, {} with another result, {} not tried",
        count(Verdict::Provoked),
        verdicts.len(),
        count(Verdict::Gone),
        count(Verdict::Another),
        count(Verdict::NotTried),
    ));
    if let Some(refused) = refused {
        say(&refused.to_string());
    }
}

/// Prints four cells side by side.
fn lines(cells: &[Vec<String>; 4]) {
    let height = cells.iter().map(Vec::len).max().unwrap_or_default();
    for at in 0..height {
        let cells = cells.iter().map(|cell| cell.get(at).map_or("", String::as_str));
        let line: Vec<_> =
            cells.zip(WIDTHS).map(|(cell, width)| format!("{cell:width$}")).collect();
        say(line.join("  ").trim_end());
    }
}

fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}"); // best effort
}

/// Breaks a text at its spaces.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
