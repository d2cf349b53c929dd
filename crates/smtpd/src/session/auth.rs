//! The exchange of AUTH (RFC 4954 §4) between the client's lines and the keeper.

use std::io;
use std::time::{Duration, Instant};

use accounts::sasl::Terms;
use accounts::{Mechanism, Secret};
use forknet::{Line, Peer};
use maild::{Asker, Auth, AuthFailure, AuthStep, Denied};

use crate::protocol::auth::failure;
use crate::protocol::envelope::Login;
use crate::protocol::reply::Reply;

/// Failed logins that end the session.
const MAX_FAILED_LOGINS: u32 = 5;

/// What the logins of a session need.
#[derive(Debug)]
pub(super) struct Logins {
    pub(super) line: Option<Line>,
    pub(super) peer: Peer,
    pub(super) terms: Terms,
    /// The accounts are another program's.
    pub(super) is_relayed: bool,
    /// Time from a failed login to its reply.
    pub(super) delay: Duration,
    pub(super) failed: u32,
}

/// The lines of the client.
pub(super) trait Responses {
    /// Sends a challenge and reads the response; `None` where there is none, which was answered.
    fn response(&mut self, challenge: &[u8]) -> io::Result<Option<Secret>>;
}

/// How an exchange has ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// This user, in printable form, is logged in.
    LoggedIn(String, Login),
    /// Without a login, and without a reply that is still to be sent.
    Answered,
    /// By this reply; after a wrong proof it is sent at this time, so that guessing is slow and the time does not
    /// reveal whether the user exists. The last one allowed ends the session.
    Failed { reply: Reply, due: Option<Instant>, is_last: bool },
}

impl Logins {
    /// Runs an exchange.
    pub(super) fn run(
        &mut self,
        (mechanism, initial): (Mechanism, Option<Secret>),
        client: &mut dyn Responses,
    ) -> io::Result<Ended> {
        let mut due = Instant::now() + self.delay;
        let mut asker = Asker::new(self.line.clone(), self.peer);
        let how = (&self.terms, self.is_relayed);
        let (mut auth, mut step) = Auth::start(how, mechanism, initial, &mut asker);
        loop {
            let why = match step {
                AuthStep::Accepted(accepted) => {
                    let user = accepted.name.escape_ascii().to_string();
                    log::info!("{}: {user} logged in (AUTH {mechanism})", self.peer);
                    let (name, token) = (accepted.name, accepted.token);
                    return Ok(Ended::LoggedIn(user, Login { name, token }));
                }
                AuthStep::Failed(why) => why,
                AuthStep::Challenge(challenge) => {
                    let response = client.response(&challenge);
                    let Ok(Some(response)) = response else {
                        asker.cancel();
                        return response.map(|_| Ended::Answered);
                    };
                    due = Instant::now() + self.delay;
                    step = auth.step(response, &mut asker);
                    continue;
                }
            };
            asker.cancel(); // where the client's message was malformed
            if why != AuthFailure::Denied(Denied::Rejected) {
                return Ok(Ended::Failed { reply: failure(why), due: None, is_last: false });
            }
            let (name, how) = asker.last();
            log::info!("{}: login of '{name}' failed ({how})", self.peer);
            return Ok(self.rejected(due));
        }
    }

    fn rejected(&mut self, due: Instant) -> Ended {
        self.failed += 1;
        let is_last = self.failed >= MAX_FAILED_LOGINS;
        let reply = if is_last {
            log::info!("{}: {MAX_FAILED_LOGINS} failed logins, session ended", self.peer);
            Reply::new(421, "4.7.0", "Too many failed logins, closing")
        } else {
            failure(AuthFailure::Denied(Denied::Rejected))
        };
        Ended::Failed { reply, due: Some(due), is_last }
    }
}
