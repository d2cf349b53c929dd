//! HELO and EHLO (RFC 5321 §4.1.1.1), and LHLO (RFC 2033 §4.1).

use crate::options::hostname::{MAX_DOMAIN, is_domain};
use crate::protocol::address::ascii;
use crate::protocol::envelope::{Hello, StartTls};
use crate::protocol::literal::{format_ip_literal, is_literal};
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::Reply;
use crate::protocol::state::Context;

pub(super) fn helo(context: &Context<'_>, argument: &[u8]) -> Outcome {
    match hello(context, argument, false) {
        Ok((hello, reply)) => Outcome::Hello(hello, reply),
        Err(refusal) => Outcome::Reply(refusal),
    }
}

/// EHLO, and LHLO, which is answered in the same way (RFC 2033 §4.1).
pub(super) fn ehlo(context: &Context<'_>, argument: &[u8]) -> Outcome {
    match hello(context, argument, true) {
        Ok((hello, reply)) => Outcome::Hello(hello, add_extensions(context, reply)),
        Err(refusal) => Outcome::Reply(refusal),
    }
}

/// STARTTLS (RFC 3207 §4).
pub(super) fn starttls(context: &Context<'_>, _: &[u8]) -> Outcome {
    Outcome::Reply(match context.client.tls {
        StartTls::Offered => return Outcome::StartTls(Reply::new(220, "2.0.0", "Begin TLS")),
        StartTls::Unavailable => Reply::new(454, "4.7.0", "TLS is not available now"),
        StartTls::UnderTls => Reply::new(503, "5.5.1", "The session is under TLS already"),
        StartTls::Never => Reply::new(502, "5.5.1", "The server has no certificate"),
    })
}

/// Checks the name and returns the greeting. The name is not compared with the client's address
/// (RFC 5321 §4.1.4). Printers, telephones and scripts have names with blanks, umlauts and underscores, bare
/// addresses, or none in HELO: all of these are taken, and kept out of harm's way where they are written.
fn hello(context: &Context<'_>, argument: &[u8], extended: bool) -> Result<(Hello, Reply), Reply> {
    let is_lawful = is_domain(argument) || is_literal(argument);
    if context.config.strict && !is_lawful {
        return Err(Reply::new(501, "5.5.4", "Not a domain or address literal"));
    }
    if extended && argument.is_empty() {
        return Err(Reply::new(501, "5.5.4", "The name is missing"));
    }
    if argument.len() > MAX_DOMAIN || argument.iter().any(u8::is_ascii_control) {
        return Err(Reply::new(501, "5.5.4", "Not a name of up to 255 printable octets"));
    }
    let is_lmtp = context.config.lmtp;
    let said = Hello { name: argument.to_vec(), extended, is_lmtp };
    context.policy.hello(&context.client, &said)?;
    let name = ascii(argument);
    let ip = context.client.ip;
    let from = ip.map(|ip| format!(" {}", format_ip_literal(ip))).unwrap_or_default();
    let hostname = &context.config.hostname;
    let to = if name.is_empty() { "you" } else { &name };
    let reply = Reply::plain(250, format!("{hostname} greets {to}{from}"));
    Ok((said, reply))
}

fn add_extensions(context: &Context<'_>, reply: Reply) -> Reply {
    let reply = reply
        .and(format!("SIZE {}", context.config.max_size))
        .and("PIPELINING")
        .and("8BITMIME")
        .and("SMTPUTF8")
        .and("DSN")
        .and("CHUNKING")
        .and("ENHANCEDSTATUSCODES");
    let reply = match context.may_verify() {
        true => reply.and("VRFY").and("EXPN"),
        false => reply,
    };
    let offers_tls = matches!(context.client.tls, StartTls::Offered | StartTls::Unavailable);
    let reply = if offers_tls { reply.and("STARTTLS") } else { reply };
    let may_log_in = context.client.user.is_none() && !context.client.mechanisms.is_empty();
    let reply = match may_log_in {
        true => reply.and(format!("AUTH {}", context.client.mechanisms)),
        false => reply,
    };
    reply.and("HELP")
}
