//! Guessing at passwords: too many failures make answers wait.
//!
//! ```text
//!  keeper: the table of failures <------ note: two hashes --+
//!    | fork, with a copy of the table                       |
//!    +--> process that answers: whose turn is it? -- check -+ (wrong)
//! ```
//! A process knows the failures that were noted before it was forked. So of the logins that are checked at
//! the same time, at most one for each client, each may be beyond the limit.

use std::net::IpAddr;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use accounts::Turn;
use forknet::{Peer, Question, reason};
use log::{debug, info, warn};

use crate::credentials::Denied;
use crate::options::MailOptions;

/// Longest wait for an answer. A mail program waits longer than that (RFC 1939 has no limit, RFC 5321
/// §4.5.3.2 five minutes).
const MAX_WAIT: Duration = Duration::from_secs(10);
/// Exit code of a process that has answered.
const ANSWERED: i32 = 0;

/// Who tries to log in, as it is counted.
#[derive(Debug)]
pub(crate) struct Guesser {
    address: Option<IpAddr>,
    /// In its canonical form; empty for what can be no name, which counts as one name too.
    name: Option<Vec<u8>>,
    shown: String,
}

impl MailOptions {
    /// Returns who tries to log in. `name` is `None` where it is not known yet.
    ///
    /// Clients on this machine have no address that counts: a webmail program may be all users. Nor has a
    /// proxy that tells none.
    pub(crate) fn guesser(&self, peer: Peer, name: Option<&[u8]>) -> Guesser {
        let address = match peer {
            Peer::Ip(address) | Peer::Told(address) => Some(address.ip().to_canonical()),
            Peer::Proxy(_) | Peer::Unix | Peer::Pipe => None,
        };
        let shown = format!("{peer}: login of '{}'", name.unwrap_or_default().escape_ascii());
        let name = name.map(|name| self.names.canonical(name).unwrap_or_default());
        Guesser { address: address.filter(|address| !address.is_loopback()), name, shown }
    }

    /// Waits until a login may be checked.
    ///
    /// # Errors
    /// It may not, which was answered, or the one that asked has ended; the exit code of this process.
    pub(crate) fn await_turn(&self, asked: Question, who: &Guesser) -> Result<Question, i32> {
        let Some(guesses) = self.guesses() else { return Ok(asked) };
        let turn = guesses.lock().unwrap_or_else(PoisonError::into_inner).turn(
            Instant::now(),
            who.address,
            who.name.as_deref(),
        );
        let (wait, is_checked) = match turn {
            Turn::Now => return Ok(asked),
            Turn::Later(wait) => (wait, true),
            Turn::NotYet(wait) => (wait, false),
        };
        let then = if is_checked { "checked later" } else { "not checked" };
        info!("{}: too many logins have failed, {then}", who.shown);
        if let Err(error) = asked.pause(wait.min(MAX_WAIT)) {
            debug!("{}: {}", who.shown, reason(&error));
            return Err(ANSWERED);
        }
        if is_checked { Ok(asked) } else { Err(asked.answer(&Denied::NotChecked.encode())) }
    }

    /// Notes for the keeper that a login has failed.
    pub(crate) fn note_failure(&self, asked: &Question, who: &Guesser) {
        let Some(guesses) = self.guesses() else { return };
        let guesses = guesses.lock().unwrap_or_else(PoisonError::into_inner);
        let failure = guesses.failure(who.address, who.name.as_deref());
        if let Err(error) = asked.note(&failure) {
            warn!("{}: the failure is not counted: {}", who.shown, reason(&error));
        }
    }

    /// Takes what a process has noted, a failure or a login; in the keeper.
    pub fn noted(&self, note: &[u8]) {
        if let Ok(login) = note.try_into() {
            return self.noted_login(login);
        }
        match (self.guesses(), note.try_into()) {
            (Some(guesses), Ok(failure)) => {
                let mut guesses = guesses.lock().unwrap_or_else(PoisonError::into_inner);
                guesses.failed(Instant::now(), failure);
            }
            _ => warn!("a malformed note"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows;

    fn options() -> MailOptions {
        const ROWS: &[forknet::Row] = &[
            rows::USERS,
            rows::MAIL,
            rows::MAIL_USER,
            rows::NAMES,
            rows::NAMES_DOMAIN,
            rows::PLAINTEXT,
            rows::AUTH_DELAY,
            rows::CHANNEL_BINDING,
        ];
        MailOptions::read(&forknet::parse("maild", "", ROWS, Vec::new()).unwrap()).unwrap()
    }

    #[test]
    fn addresses_of_this_machine_and_of_proxies_do_not_count_and_names_do() {
        let options = options();
        let at = |address: &str| address.parse().unwrap();
        for (peer, counts) in [
            (Peer::Ip(at("192.0.2.1:1")), true),
            (Peer::Told(at("[2001:db8::1]:1")), true),
            (Peer::Ip(at("127.0.0.2:1")), false),
            (Peer::Ip(at("[::1]:1")), false),
            (Peer::Told(at("[::ffff:127.0.0.1]:1")), false),
            (Peer::Proxy(Some(at("192.0.2.1:1"))), false),
            (Peer::Proxy(None), false),
            (Peer::Unix, false),
            (Peer::Pipe, false),
        ] {
            let who = options.guesser(peer, Some(b"Levy"));
            assert_eq!(who.address.is_some(), counts, "{peer}");
            assert_eq!(who.name.as_deref(), Some(&b"levy"[..]));
        }
        let who = options.guesser(Peer::Unix, Some(b"no\0name"));
        assert_eq!(
            (who.name.as_deref(), &*who.shown),
            (Some(&b""[..]), "unix: login of 'no\\x00name'")
        );
        assert!(options.guesser(Peer::Unix, None).name.is_none());
    }
}
