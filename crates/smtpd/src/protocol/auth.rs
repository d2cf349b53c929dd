//! AUTH (RFC 4954).

use accounts::Mechanism;
use accounts::sasl::decode_initial;
use maild::{AuthFailure, Denied};

use crate::protocol::envelope::StartTls;
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::Reply;
use crate::protocol::state::Context;

pub(super) fn auth(context: &Context<'_>, argument: &[u8]) -> Outcome {
    if context.client.mechanisms.is_empty() {
        return Outcome::Reply(Reply::new(502, "5.5.1", "Command not implemented"));
    }
    if context.client.user.is_some() {
        return Outcome::Reply(Reply::new(503, "5.5.1", "Logged in already"));
    }
    let mut words = argument.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
    let (name, initial, more) = (words.next().unwrap_or_default(), words.next(), words.next());
    let mechanism = Mechanism::parse(name).filter(|it| context.client.mechanisms.contains(*it));
    match (mechanism, initial.map(decode_initial), more) {
        (_, _, Some(_)) => {
            Outcome::Reply(Reply::new(501, "5.5.4", "Syntax: AUTH mechanism [response]"))
        }
        (None, _, None) => Outcome::Reply(failure(AuthFailure::NotOffered)),
        (Some(_), Some(None), None) => Outcome::Reply(not_base64()),
        (Some(mechanism), None, None) => Outcome::Auth(mechanism, None),
        (Some(mechanism), Some(initial), None) => Outcome::Auth(mechanism, initial),
    }
}

/// Commands that `--submission` answers without a login (RFC 4954 §6), and BDAT, which asks for itself, because its bytes
/// are to be read first.
const WITHOUT_LOGIN: [&str; 9] =
    ["AUTH", "BDAT", "EHLO", "HELO", "HELP", "NOOP", "QUIT", "RSET", "STARTTLS"];

/// Returns the refusal of a command for which the client has to log in first.
pub(super) fn needed(context: &Context<'_>, verb: &str) -> Option<Reply> {
    if WITHOUT_LOGIN.contains(&verb) { None } else { login_needed(context) }
}

/// Returns the refusal of a client that has to log in first.
pub(super) fn login_needed(context: &Context<'_>) -> Option<Reply> {
    let is_needed = context.config.is_submission && context.client.user.is_none();
    is_needed.then(|| match (context.client.mechanisms.is_empty(), context.client.tls) {
        (true, StartTls::Offered) => Reply::new(530, "5.7.0", "Say STARTTLS first, then AUTH"),
        _ => Reply::new(530, "5.7.0", "Say AUTH first: letters are taken of users alone"),
    })
}

/// Returns the reply to a response that is not base64.
#[must_use]
pub fn not_base64() -> Reply {
    Reply::new(501, "5.5.2", "The response is not base64")
}

/// Returns the reply to AUTH that has failed (RFC 4954 §4, §6).
#[must_use]
pub fn failure(failure: AuthFailure) -> Reply {
    match failure {
        AuthFailure::NotOffered => Reply::new(504, "5.5.4", "No such mechanism here"),
        AuthFailure::Malformed(why) => Reply::new(501, "5.5.2", why),
        AuthFailure::Denied(Denied::Rejected) => {
            Reply::new(535, "5.7.8", "Wrong user name or password")
        }
        AuthFailure::Denied(_) => Reply::new(454, "4.7.0", "Login is not possible now, try later"),
    }
}
