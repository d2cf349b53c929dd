//! The mail transaction: MAIL, RCPT, DATA, RSET (RFC 5321 §3.3).

use crate::protocol::address::{self, Path, Tolerance};
use crate::protocol::envelope::{Envelope, Recipient, Way};
use crate::protocol::forms;
use crate::protocol::outcome::Outcome;
use crate::protocol::params;
use crate::protocol::reply::Reply;
use crate::protocol::state::{Context, State};

/// MAIL (RFC 5321 §4.1.1.2).
pub(super) fn mail(context: &Context<'_>, argument: &[u8]) -> Outcome {
    begin(context, argument, Way::Mail)
}

/// SEND (RFC 821 §3.4).
pub(super) fn send(context: &Context<'_>, argument: &[u8]) -> Outcome {
    begin(context, argument, Way::Send)
}

/// SOML.
pub(super) fn soml(context: &Context<'_>, argument: &[u8]) -> Outcome {
    begin(context, argument, Way::SendOrMail)
}

/// SAML.
pub(super) fn saml(context: &Context<'_>, argument: &[u8]) -> Outcome {
    begin(context, argument, Way::SendAndMail)
}

fn begin(context: &Context<'_>, argument: &[u8], way: Way) -> Outcome {
    let most = context.config.guards.max_letters;
    if most > 0 && context.letters_read >= most {
        let text = "Too many letters in one session, closing; connect again for more";
        return Outcome::Close(Reply::new(421, "4.7.0", text));
    }
    match sender(context, argument) {
        Ok(envelope) => {
            let envelope = Envelope { way, ..envelope };
            Outcome::Sender(envelope, Reply::new(250, "2.1.0", "Sender accepted"))
        }
        Err(refusal) => Outcome::Reply(refusal),
    }
}

/// Parses the reverse-path and the declared size.
fn sender(context: &Context<'_>, argument: &[u8]) -> Result<Envelope, Reply> {
    let config = context.config;
    let (path, rest) = path(context, argument, (b"FROM:", "5.1.7"), Tolerance::SENDER)?;
    let params = params::mail(rest)?;
    if !path.is_ascii() && !params.utf8 {
        return Err(Reply::new(550, "5.6.7", "A sender that is not in ASCII needs SMTPUTF8"));
    }
    let size = params.size.unwrap_or(0);
    if config.max_size > 0 && size > config.max_size {
        return Err(Reply::new(552, "5.3.4", "The letter is too large"));
    }
    if config.is_submission && path != Path::Null {
        context.users.check_sender(&path)?;
    }
    let sender = match path {
        Path::Null => String::new(),
        Path::Mailbox(mailbox) => mailbox.text,
        Path::Name(name) => qualify(&name, config.first_domain())?,
    };
    let envelope = Envelope { sender, params, ..Envelope::default() };
    context.policy.sender(&context.client, &envelope)?;
    Ok(envelope)
}

/// Adds our first domain, in which RCPT finds users, to a sender without one, such as the slides' `MAIL FROM:<frol>`.
fn qualify(name: &[u8], domain: &str) -> Result<String, Reply> {
    let text = format!("<{}@{domain}>", address::local_part_utf8(name));
    match address::path(text.as_bytes(), Tolerance::NONE) {
        Ok((Path::Mailbox(mailbox), _)) => Ok(mailbox.text),
        _ => Err(Reply::new(501, "5.1.7", "Bad sender: it needs a domain")),
    }
}

/// Parses `FROM:` or `TO:` in any case, an optional space, and the path. Returns the path and the
/// rest.
fn path<'b>(
    context: &Context<'_>,
    argument: &'b [u8],
    (word, status): (&[u8], &'static str),
    tolerance: Tolerance,
) -> Result<(Path, &'b [u8]), Reply> {
    let syntax = || format!("Syntax: {}<address>", word.escape_ascii());
    let (head, rest) = argument.split_at_checked(word.len()).unwrap_or((argument, &[]));
    if !head.eq_ignore_ascii_case(word) {
        return Err(Reply::new(501, "5.5.4", syntax()));
    }
    let path = rest.trim_ascii_start();
    if context.config.strict_space && path.len() < rest.len() {
        return Err(Reply::new(501, "5.5.4", syntax()));
    }
    let tolerance = if context.config.strict { Tolerance::NONE } else { tolerance };
    address::path(path, tolerance).map_err(|bad| Reply::new(501, status, bad.0))
}

/// RCPT (RFC 5321 §4.1.1.3).
pub(super) fn rcpt(context: &Context<'_>, argument: &[u8]) -> Outcome {
    match recipient(context, argument) {
        Ok((recipient, reply)) => Outcome::Recipient(recipient, reply),
        Err(refusal) => Outcome::NoRecipient(refusal),
    }
}

fn recipient(context: &Context<'_>, argument: &[u8]) -> Result<(Recipient, Reply), Reply> {
    let (path, rest) = path(context, argument, (b"TO:", "5.1.3"), Tolerance::RECIPIENT)?;
    let params = params::rcpt(rest, context.envelope.params.utf8)?;
    if !path.is_ascii() && !context.envelope.params.utf8 {
        let text = "A recipient that is not in ASCII needs MAIL with SMTPUTF8";
        return Err(Reply::new(553, "5.6.7", text));
    }
    // Without a domain only the postmaster is valid (RFC 5321 §4.1.1.3).
    if matches!(&path, Path::Name(name) if !name.eq_ignore_ascii_case(b"postmaster")) {
        return Err(Reply::new(501, "5.1.3", "The recipient needs a domain"));
    }
    if context.envelope.accepted.len() >= context.config.max_recipients {
        return Err(Reply::new(452, "4.5.3", "Too many recipients"));
    }
    context.policy.address(&forms::of_recipient(context.config, &path))?;
    let (recipient, reply) =
        context.users.recipient(&path, context.envelope.size(), context.envelope.way)?;
    let recipient = Recipient { params, ..recipient };
    context.policy.recipient(&recipient)?;
    Ok((recipient, reply))
}

/// DATA (RFC 5321 §4.1.1.4). If all recipients were refused, so is the letter (RFC 2920 §3.1). It
/// is refused temporarily if each of them was, because a 5yz means that the same sequence of
/// commands must not be repeated (RFC 5321 §4.2.1).
pub(super) fn data(context: &Context<'_>, _: &[u8]) -> Outcome {
    if context.state == State::Rcpt {
        return match context.policy.data() {
            Ok(()) => Outcome::Data,
            Err(refusal) => Outcome::Reply(refusal),
        };
    }
    Outcome::Reply(no_recipients(context))
}

/// Returns the reply to DATA and BDAT without a recipient; that of LMTP is always 503 (RFC 2033 §4.2).
pub(super) fn no_recipients(context: &Context<'_>) -> Reply {
    if context.config.lmtp {
        return Reply::new(503, "5.5.1", "No valid recipients");
    }
    if context.envelope.deferred > 0 && context.envelope.rejected == 0 {
        let text = "No recipient can be taken now, try again later";
        return Reply::new(451, "4.3.0", text);
    }
    Reply::new(554, "5.5.1", "No valid recipients")
}

/// RSET (RFC 5321 §4.1.1.5).
pub(super) fn rset(_: &Context<'_>, _: &[u8]) -> Outcome {
    Outcome::Reset(Reply::new(250, "2.0.0", "Forgotten"))
}
