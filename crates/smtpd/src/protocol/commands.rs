//! The table of commands: the states in which each is valid, its syntax, and its handler.

use Argument::{Needed, Nothing, Optional};

use crate::options::Config;
use crate::protocol::help::purpose;
use crate::protocol::outcome::Outcome;
use crate::protocol::params::{MAX_MAIL_EXTRA, MAX_RCPT_EXTRA};
use crate::protocol::reply::Reply;
use crate::protocol::state::{Context, State};
use crate::protocol::{auth, chunks, hello, transaction, verify};

/// Whether a command takes an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Argument {
    Nothing,
    Optional,
    Needed,
}

type Handler = fn(&Context<'_>, &[u8]) -> Outcome;

/// One row of the table.
pub(super) struct Command {
    pub(super) verb: &'static str,
    /// The states in which the command is valid. In others the reply is 503.
    pub(super) states: &'static [State],
    argument: Argument,
    /// The syntax, for HELP and 501; empty if the command is not implemented.
    pub(super) usage: &'static str,
    /// Bytes by which the parameters may make the line longer.
    pub(super) extra_length: usize,
    /// Whether the command is SMTP's or LMTP's alone.
    only: Option<Spoken>,
    /// Whether it writes to terminals, which needs `--terminal`.
    to_terminals: bool,
    pub(super) handler: Handler,
}

/// What the server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spoken {
    Smtp,
    /// RFC 2033.
    Lmtp,
}

const ANY: &[State] = &[State::Start, State::Ready, State::Mail, State::Rcpt, State::Chunks];
const READY: &[State] = &[State::Ready];
const NO_TRANSACTION: &[State] = &[State::Start, State::Ready];
const TRANSACTION: &[State] = &[State::Mail, State::Rcpt];

const MAIL_USAGE: &str = "MAIL FROM:<address> [SIZE=octets] [BODY=7BIT|8BITMIME] [SMTPUTF8] [RET=FULL|HDRS] \
    [ENVID=xtext]";
const RCPT_USAGE: &str =
    "RCPT TO:<address> [NOTIFY=NEVER|SUCCESS,FAILURE,DELAY] [ORCPT=type;xtext]";

const BDAT_USAGE: &str = "BDAT octets [LAST]";

const COMMANDS: &[Command] = &[
    command("HELO", ANY, Optional, "HELO domain", hello::helo).only(Spoken::Smtp),
    command("EHLO", ANY, Needed, "EHLO domain", hello::ehlo).only(Spoken::Smtp),
    command("LHLO", ANY, Needed, "LHLO domain", hello::ehlo).only(Spoken::Lmtp),
    command("MAIL", READY, Needed, MAIL_USAGE, transaction::mail).longer(MAX_MAIL_EXTRA),
    command("RCPT", TRANSACTION, Needed, RCPT_USAGE, transaction::rcpt).longer(MAX_RCPT_EXTRA),
    command("DATA", TRANSACTION, Nothing, "DATA", transaction::data),
    command("BDAT", ANY, Optional, BDAT_USAGE, chunks::bdat),
    command("STARTTLS", NO_TRANSACTION, Nothing, "STARTTLS", hello::starttls),
    command("AUTH", READY, Needed, "AUTH mechanism [response]", auth::auth),
    command("RSET", ANY, Nothing, "RSET", transaction::rset),
    command("VRFY", ANY, Needed, "VRFY name", verify::vrfy),
    command("EXPN", ANY, Needed, "EXPN group", verify::expn),
    command("NOOP", ANY, Optional, "NOOP [anything]", noop),
    command("HELP", ANY, Optional, "HELP [command]", help),
    command("QUIT", ANY, Nothing, "QUIT", quit),
    command("SEND", READY, Needed, "SEND FROM:<address>", transaction::send).writes_to_terminals(),
    command("SOML", READY, Needed, "SOML FROM:<address>", transaction::soml).writes_to_terminals(),
    command("SAML", READY, Needed, "SAML FROM:<address>", transaction::saml).writes_to_terminals(),
    not_implemented("TURN"),
];

const fn command(
    verb: &'static str,
    states: &'static [State],
    argument: Argument,
    usage: &'static str,
    handler: Handler,
) -> Command {
    Command {
        verb,
        states,
        argument,
        usage,
        extra_length: 0,
        only: None,
        to_terminals: false,
        handler,
    }
}

/// Returns the row of a command that is known but not implemented: 502 (RFC 5321 §4.2.4).
const fn not_implemented(verb: &'static str) -> Command {
    let handler: Handler =
        |_, _| Outcome::Reply(Reply::new(502, "5.5.1", "Command not implemented"));
    command(verb, ANY, Optional, "", handler)
}

/// Splits a line into the row of its command and the rest. Ignores the verb's case, and accepts any
/// white space after it (RFC 5321 §4.1.1).
pub(super) fn find(line: &[u8]) -> Option<(&'static Command, &[u8])> {
    let end = line.iter().position(|b| matches!(b, b' ' | b'\t')).unwrap_or(line.len());
    let (verb, rest) = line.split_at_checked(end)?;
    Some((row(verb)?, rest))
}

/// Returns what stands between the blanks and tabs around it. Other white space, a form feed, is a part of it.
pub(super) fn without_blanks(text: &[u8]) -> &[u8] {
    let is_other = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let start = text.iter().position(is_other).unwrap_or(text.len());
    let end = text.iter().rposition(is_other).map_or(start, |last| last + 1);
    text.get(start..end).unwrap_or_default()
}

/// Methods of HTTP (RFC 9110 §9): a browser, or a page in one, that was led here.
const HTTP_METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI"];

/// Returns whether a line begins with a method of HTTP.
pub(super) fn is_http(line: &[u8]) -> bool {
    let verb = line.split(|b| *b == b' ').next().unwrap_or_default();
    HTTP_METHODS.iter().any(|method| verb == method.as_bytes())
}

fn row(verb: &[u8]) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| verb.eq_ignore_ascii_case(command.verb.as_bytes()))
}

impl Command {
    /// Allows a longer line.
    const fn longer(mut self, bytes: usize) -> Command {
        self.extra_length = bytes;
        self
    }

    /// Makes the command one that writes to terminals, with the parameters of MAIL.
    const fn writes_to_terminals(mut self) -> Command {
        self.to_terminals = true;
        self.longer(MAX_MAIL_EXTRA)
    }

    const fn only(mut self, spoken: Spoken) -> Command {
        self.only = Some(spoken);
        self
    }

    /// Returns whether the command belongs to what the server speaks.
    pub(super) fn is_known(&self, config: &Config) -> bool {
        let spoken = if config.lmtp { Spoken::Lmtp } else { Spoken::Smtp };
        self.only.is_none_or(|only| only == spoken)
    }

    /// Returns the reply in place of the command's own where the server does not do it.
    pub(super) fn refusal(&self, config: &Config) -> Option<Reply> {
        let text = "The command writes to terminals, for which the server needs --terminal";
        (self.to_terminals && config.terminal.is_none()).then(|| Reply::new(502, "5.5.1", text))
    }

    /// Returns whether the argument is missing or not allowed.
    pub(super) fn is_argument_wrong(&self, argument: &[u8]) -> bool {
        match self.argument {
            Nothing => !argument.is_empty(),
            Needed => argument.is_empty(),
            Optional => false,
        }
    }

    fn is_implemented(&self) -> bool {
        !self.usage.is_empty()
    }
}

fn noop(_: &Context<'_>, _: &[u8]) -> Outcome {
    Outcome::Reply(Reply::new(250, "2.0.0", "OK"))
}

fn quit(context: &Context<'_>, _: &[u8]) -> Outcome {
    let text = format!("{} closes the connection", context.config.hostname);
    Outcome::Close(Reply::new(221, "2.0.0", text))
}

fn help(context: &Context<'_>, argument: &[u8]) -> Outcome {
    let is_done = |it: &&Command| {
        it.is_implemented() && it.is_known(context.config) && it.refusal(context.config).is_none()
    };
    if argument.is_empty() {
        let implemented = COMMANDS.iter().filter(is_done);
        let verbs: Vec<&str> = implemented.map(|command| command.verb).collect();
        let reply = Reply::new(214, "2.0.0", "Commands:").and(verbs.join(" "));
        return Outcome::Reply(reply.and("HELP and a command tells how it is written"));
    }
    Outcome::Reply(match row(argument).filter(is_done) {
        Some(Command { verb, usage, .. }) => {
            Reply::new(214, "2.0.0", format!("{usage}: {}", purpose(verb).unwrap_or_default()))
        }
        None => Reply::new(504, "5.5.4", "No help for that"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_knows_the_purpose_of_each_command() {
        for command in COMMANDS.iter().filter(|command| command.is_implemented()) {
            assert!(purpose(command.verb).is_some(), "{}", command.verb);
        }
    }
}
