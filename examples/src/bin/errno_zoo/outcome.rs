//! The outcome of a row: its calls, their results, and the verdict.

use crate::namespace::Refused;
use crate::rows::{Row, Way};
use crate::tools::text;

/// From the best to the worst, for the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// A system call failed with the errno, and none with another.
    Provoked,
    /// This kernel does not give the errno, and the attempts show what it gives in its place.
    Gone,
    /// The calls could not be made, because there is no namespace or the kernel lacks a feature.
    NotTried,
    /// The call gave another errno, or succeeded.
    Another,
}

/// A row after it was tried.
#[derive(Debug)]
pub struct Outcome {
    /// The verdict on the row.
    pub verdict: Verdict,
    /// One line for each way: what was done, and its result if that is not the row's errno.
    pub done: Vec<String>,
}

impl Row {
    /// Tries all ways of the row in turn.
    pub fn provoke(&self, private: Result<&(), &Refused>) -> Outcome {
        let tried: Vec<_> = self.ways.iter().map(|way| self.go(way, private)).collect();
        let has = |verdict| tried.iter().any(|(one, _)| *one == verdict);
        let verdict = if has(Verdict::Another) {
            Verdict::Another
        } else if has(Verdict::Provoked) {
            Verdict::Provoked
        } else if has(Verdict::Gone) {
            Verdict::Gone
        } else {
            Verdict::NotTried
        };
        let mut done: Vec<_> = tried.into_iter().map(|(_, line)| line).collect();
        if let (Verdict::Gone, Some(why)) = (verdict, self.gone) {
            done.push(format!("NOT GIVEN by this kernel: {why}"));
        }
        Outcome { verdict, done }
    }

    fn go(&self, way: &Way, private: Result<&(), &Refused>) -> (Verdict, String) {
        if let (true, Err(refused)) = (way.private, private) {
            return (Verdict::NotTried, format!("NOT PROVOKED, {refused} ({})", way.done));
        }
        match (way.provoke)() {
            Err(step) => (
                Verdict::NotTried,
                format!("NOT PROVOKED, a step before it: {} ({})", text(step), way.done),
            ),
            Ok(Err(errno)) if errno == self.errno => (Verdict::Provoked, way.done.to_owned()),
            Ok(other) if self.gone.is_some() => (Verdict::Gone, came_to(way, other)),
            Ok(other) => (Verdict::Another, format!("ANOTHER RESULT: {}", came_to(way, other))),
        }
    }
}

fn came_to(way: &Way, result: nix::Result<()>) -> String {
    match result {
        Ok(()) => format!("{}: it succeeds", way.done),
        Err(errno) => format!("{}: {errno:?}", way.done),
    }
}
