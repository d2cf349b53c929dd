//! What has become of a letter's recipients, while it is sent.

use crate::envelope::Envelope;
use crate::failure::{Failure, Outcome, Stage, code};
use crate::letter::Facts;
use crate::session::Session;
use crate::settings::EightBit;
use crate::status::Status;

/// What has become of the recipients so far.
pub(crate) struct Progress<'a> {
    pub(crate) envelope: &'a Envelope<'a>,
    pub(crate) outcomes: Vec<Option<Outcome>>,
    /// The numbers of those that RCPT is sent for, and of those that the server takes.
    pub(crate) asked: Vec<usize>,
    pub(crate) taken: Vec<usize>,
    /// MAIL was refused: the replies to RCPT then (503) are about none of them.
    pub(crate) is_refused: bool,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(envelope: &'a Envelope<'a>) -> Progress<'a> {
        let outcomes = envelope.to.iter().map(|_| None).collect();
        Progress { envelope, outcomes, asked: Vec::new(), taken: Vec::new(), is_refused: false }
    }

    /// Returns MAIL, and RCPT for each that is asked for.
    pub(crate) fn commands(&self, session: &Session, facts: Facts) -> Vec<Vec<u8>> {
        let mut commands = vec![self.envelope.mail(&session.extensions, facts)];
        let to = self.asked.iter().filter_map(|number| self.envelope.to.get(*number));
        let is_kept = session.extensions.utf8 || session.settings.eight_bit == EightBit::Send;
        commands.extend(to.map(|recipient| recipient.rcpt(&session.extensions, is_kept)));
        commands
    }

    pub(crate) fn set(&mut self, number: usize, outcome: Outcome) {
        if let Some(place) = self.outcomes.get_mut(number) {
            *place = Some(outcome);
        }
    }

    /// Returns all outcomes; those that are missing are this failure.
    pub(crate) fn outcomes(self, failure: Option<&Failure>) -> Vec<Outcome> {
        let missing = || {
            let text = "no answer about the recipient";
            let none = || Failure::new(Stage::Mail, Status::Protocol, code(4, 5, 0), text);
            Err(failure.cloned().unwrap_or_else(none))
        };
        self.outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect()
    }
}
