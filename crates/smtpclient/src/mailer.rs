//! Letters for one destination: by the first of its hosts that takes or refuses them.

use std::sync::Arc;

use crate::envelope::Envelope;
use crate::failure::{Failure, Outcome, Result, Stage, code};
use crate::letter::Letter;
use crate::route::{Destination, Route};
use crate::session::Session;
use crate::settings::Settings;
use crate::status::Status;

/// Sends letters to one destination, over one connection while it lasts.
#[derive(Debug)]
pub struct Mailer {
    settings: Arc<Settings>,
    route: Route,
    /// The session of the last letter, and the number of its server in the route.
    session: Option<(usize, Session)>,
    /// The first server that was not found to be out of service.
    first: usize,
    /// Failures of servers after which others were tried.
    earlier: Vec<Failure>,
}

impl Mailer {
    /// Finds the hosts of the destination; connects to none.
    ///
    /// # Errors
    /// There are none, for good or for now.
    pub fn new(settings: &Arc<Settings>, destination: Destination) -> Result<Mailer> {
        let route = Route::find(destination, settings)?;
        let settings = Arc::clone(settings);
        Ok(Mailer { settings, route, session: None, first: 0, earlier: Vec::new() })
    }

    /// Sends a letter; returns for each recipient, in their order, what has become of it. Those that a host puts off are
    /// tried at the next one (RFC 5321 §5.1), unless the host may have the letter.
    pub fn send(&mut self, envelope: &Envelope<'_>, letter: &mut dyn Letter) -> Vec<Outcome> {
        let mut outcomes: Vec<Option<Outcome>> = envelope.to.iter().map(|_| None).collect();
        let mut open: Vec<usize> = (0..envelope.to.len()).collect();
        let (mut number, mut before) = (self.start(), None);
        while !open.is_empty() {
            let Some(tried) = self.attempt(number, &envelope.only(&open), letter) else { break };
            self.earlier.extend(before.take());
            for (place, outcome) in open.iter().zip(tried.outcomes) {
                if let Some(slot) = outcomes.get_mut(*place) {
                    *slot = Some(merged(slot.take(), outcome));
                }
            }
            let failure = |place: usize| {
                let failed = outcomes.get(place)?.as_ref()?.as_ref().err();
                failed.filter(|failure| failure.tries_another())
            };
            open.retain(|place| failure(*place).is_some());
            before = open.first().and_then(|place| failure(*place)).cloned();
            number = if tried.is_stale { number } else { number + 1 };
        }
        if self.session.is_none() {
            self.first = 0;
        }
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| Err(no_address()))).collect()
    }

    /// Returns the number of the server that is tried first: the one of the last letter's session. Without a session,
    /// answers of the name server that are too old are asked for again.
    fn start(&mut self) -> usize {
        self.session.take_if(|(_, session)| !session.is_usable());
        if self.session.is_none() && self.route.renew(&self.settings) {
            self.first = 0;
        }
        self.session.as_ref().map_or(self.first, |(number, _)| *number)
    }

    /// Tries one server; `None` after the last.
    fn attempt(
        &mut self,
        number: usize,
        envelope: &Envelope<'_>,
        letter: &mut dyn Letter,
    ) -> Option<Tried> {
        let all = |failure: &Failure| envelope.to.iter().map(|_| Err(failure.clone())).collect();
        let kept = self.session.take_if(|(at, _)| *at == number);
        let is_reused = kept.is_some();
        let session = match kept {
            Some((_, session)) => Ok(session),
            None => {
                let target = self.route.get(number, &self.settings)?;
                target.and_then(|target| Session::open(&self.settings, &target))
            }
        };
        let mut session = match session {
            Ok(session) => session,
            Err(failure) => {
                if number == self.first {
                    self.first += 1;
                }
                return Some(Tried { outcomes: all(&failure), is_stale: false });
            }
        };
        let plain = session.needs_seven_bits(letter.facts()).then(|| letter.in_seven_bits());
        let outcomes = match plain.flatten() {
            Some(plain) => send_in_parts(&mut session, envelope, &mut &plain[..]),
            None => send_in_parts(&mut session, envelope, letter),
        };
        let is_lost = |outcome: &Outcome| outcome.as_ref().is_err_and(|failure| failure.is_lost);
        let mut is_stale = is_reused && outcomes.iter().any(is_lost);
        if session.refuses_chunks {
            let settings = Settings { use_chunking: false, ..Settings::clone(&self.settings) };
            (self.settings, is_stale) = (Arc::new(settings), true);
        }
        match &self.session {
            None if session.is_usable() => self.session = Some((number, session)),
            _ => session.quit(),
        }
        Some(Tried { outcomes, is_stale })
    }

    /// Returns the failures of servers after which others were tried, since the last call.
    pub fn take_earlier(&mut self) -> Vec<Failure> {
        std::mem::take(&mut self.earlier)
    }

    /// Ends the connection with QUIT.
    pub fn quit(mut self) {
        if let Some((_, session)) = self.session.take() {
            session.quit();
        }
    }
}

/// What a server has made of a letter.
struct Tried {
    outcomes: Vec<Outcome>,
    /// The server has closed a connection that was kept for the letter, or takes no BDAT: it is asked again on a new one.
    is_stale: bool,
}

/// Sends a letter; to those who were too many for the server at once, with another transaction (RFC 5321 §4.5.3.1.10), as
/// long as it takes some.
fn send_in_parts(
    session: &mut Session,
    envelope: &Envelope<'_>,
    letter: &mut dyn Letter,
) -> Vec<Outcome> {
    let mut outcomes = session.send(envelope, letter);
    let mut has_taken = outcomes.iter().any(Result::is_ok);
    while has_taken && session.is_usable() {
        let is_over = |number: &usize| {
            let failure = outcomes.get(*number).and_then(|outcome| outcome.as_ref().err());
            failure.is_some_and(Failure::is_of_too_many)
        };
        let rest: Vec<usize> = (0..outcomes.len()).filter(is_over).collect();
        if rest.is_empty() {
            break;
        }
        let later = session.send(&envelope.only(&rest), letter);
        has_taken = later.iter().any(Result::is_ok);
        for (number, outcome) in rest.into_iter().zip(later) {
            if let Some(place) = outcomes.get_mut(number) {
                *place = outcome;
            }
        }
    }
    outcomes
}

/// Returns what counts of two attempts: the later one, unless it says less than the earlier.
fn merged(earlier: Option<Outcome>, later: Outcome) -> Outcome {
    match (earlier, later) {
        // What a host says about the letter counts more than that another does not serve; and where one that does not
        // serve now may do so later, one that never will is no reason to give up.
        (Some(Err(earlier)), Err(later))
            if later.stage < Stage::Mail
                && earlier.is_temporary()
                && (earlier.stage >= Stage::Mail || !later.is_temporary()) =>
        {
            Err(earlier)
        }
        (_, later) => later,
    }
}

fn no_address() -> Failure {
    let text = "no address to send to";
    Failure::new(Stage::Lookup, Status::NoHost, code(5, 4, 4), text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Reply;

    fn refused(stage: Stage, line: &str) -> Outcome {
        let reply = Reply::of_line(line.as_bytes()).unwrap();
        Err(Failure::refused(stage, "it", &reply, "h:25"))
    }

    fn text(outcome: Outcome) -> String {
        outcome.unwrap_err().text
    }

    #[test]
    fn a_reply_about_the_letter_counts_more_than_a_host_that_does_not_serve() {
        let later = refused(Stage::Recipient, "450 greylisted");
        let busy = refused(Stage::Greeting, "421 busy");
        let never = refused(Stage::Greeting, "554 no SMTP here");
        let unknown = refused(Stage::Recipient, "550 no such user");
        for (first, second, counts) in [
            (&later, &busy, &later),
            (&later, &never, &later),
            (&busy, &never, &busy),
            (&never, &busy, &busy),
            (&never, &never, &never),
            (&later, &unknown, &unknown),
            (&busy, &later, &later),
        ] {
            let merged = merged(Some(first.clone()), second.clone());
            assert_eq!(text(merged), text(counts.clone()));
        }
    }
}
