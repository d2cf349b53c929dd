//! HELO and EHLO (RFC 5321 §4.1.1.1).

use crate::protocol::address::{format_ip_literal, is_hello_name, is_literal};
use crate::protocol::envelope::{Hello, StartTls};
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::Reply;
use crate::protocol::state::Context;

pub(super) fn helo(context: &Context<'_>, argument: &[u8]) -> Outcome {
    match hello(context, argument, false) {
        Ok((hello, reply)) => Outcome::Hello(hello, reply),
        Err(refusal) => Outcome::Reply(refusal),
    }
}

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
/// (RFC 5321 §4.1.4).
fn hello(context: &Context<'_>, argument: &[u8], extended: bool) -> Result<(Hello, Reply), Reply> {
    if !is_hello_name(argument) && !is_literal(argument) {
        return Err(Reply::new(501, "5.5.4", "Not a domain or address literal"));
    }
    // The checks above leave ASCII only.
    let name = String::from_utf8_lossy(argument).into_owned();
    let ip = context.client.ip;
    let from = ip.map(|ip| format!(" {}", format_ip_literal(ip))).unwrap_or_default();
    let hostname = &context.config.hostname;
    let reply = Reply::plain(250, format!("{hostname} greets {name}{from}"));
    Ok((Hello { name, extended }, reply))
}

fn add_extensions(context: &Context<'_>, reply: Reply) -> Reply {
    let reply = reply
        .and(format!("SIZE {}", context.config.max_size))
        .and("PIPELINING")
        .and("8BITMIME")
        .and("ENHANCEDSTATUSCODES");
    let reply = if context.may_verify() { reply.and("VRFY") } else { reply };
    let offers_tls = matches!(context.client.tls, StartTls::Offered | StartTls::Unavailable);
    let reply = if offers_tls { reply.and("STARTTLS") } else { reply };
    let may_log_in = context.client.user.is_none() && !context.client.mechanisms.is_empty();
    let reply = match may_log_in {
        true => reply.and(format!("AUTH {}", context.client.mechanisms)),
        false => reply,
    };
    reply.and("HELP")
}
