//! The table of commands: in which state each is done, and how it is written.

use Argument::{Needed, Nothing, Optional};

use crate::dialogue::{Action, Dialogue};
use crate::reply::Reply;

/// Where the session stands (RFC 5321 §4.1.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Before HELO or EHLO.
    Start,
    /// No transaction.
    Ready,
    /// MAIL was accepted, no recipient yet.
    Mail,
    /// There is a recipient.
    Rcpt,
    /// The letter itself comes; no command does.
    Data,
}

/// Whether a command takes an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Argument {
    Nothing,
    Optional,
    Needed,
}

/// One row of the table of commands.
pub(crate) struct Command {
    pub(crate) verb: &'static str,
    /// In which states it is done; in the others the answer is 503.
    pub(crate) when: &'static [State],
    pub(crate) argument: Argument,
    /// How it is written, for HELP and 501; empty for what is not implemented.
    pub(crate) usage: &'static str,
    pub(crate) act: Act,
}

const ALWAYS: &[State] = &[State::Start, State::Ready, State::Mail, State::Rcpt];

pub(crate) type Act = fn(&mut Dialogue<'_>, &[u8]) -> Action;

const fn done(
    verb: &'static str,
    when: &'static [State],
    argument: Argument,
    usage: &'static str,
    act: Act,
) -> Command {
    Command { verb, when, argument, usage, act }
}

/// Known, but not done: 502 (RFC 5321 §4.2.4).
const fn not_done(verb: &'static str) -> Command {
    let act = |_: &mut Dialogue<'_>, _: &[u8]| {
        Action::Answer(Reply::new(502, "5.5.1", "Command not implemented"))
    };
    Command { verb, when: ALWAYS, argument: Optional, act, usage: "" }
}

const TRANSACTION: &[State] = &[State::Mail, State::Rcpt];
const MAIL: &str = "MAIL FROM:<address> [SIZE=octets] [BODY=7BIT|8BITMIME]";

// The closures stay: a method as such would tie the table to one lifetime.
#[expect(clippy::redundant_closure_for_method_calls)]
const COMMANDS: &[Command] = &[
    done("HELO", ALWAYS, Needed, "HELO domain", |d, name| d.greet(name, false)),
    done("EHLO", ALWAYS, Needed, "EHLO domain", |d, name| d.greet(name, true)),
    done("MAIL", &[State::Ready], Needed, MAIL, |d, from| d.mail(from)),
    done("RCPT", TRANSACTION, Needed, "RCPT TO:<address>", |d, to| d.rcpt(to)),
    done("DATA", TRANSACTION, Nothing, "DATA", |d, _| d.data()),
    done("RSET", ALWAYS, Nothing, "RSET", |d, _| d.rset()),
    done("VRFY", ALWAYS, Needed, "VRFY name", |d, name| d.vrfy(name)),
    done("NOOP", ALWAYS, Optional, "NOOP [anything]", |_, _| noop()),
    done("HELP", ALWAYS, Optional, "HELP [command]", |_, verb| help(verb)),
    done("QUIT", ALWAYS, Nothing, "QUIT", |d, _| d.quit()),
    not_done("EXPN"),
    not_done("SEND"),
    not_done("SOML"),
    not_done("SAML"),
    not_done("TURN"),
    not_done("STARTTLS"),
    not_done("AUTH"),
    not_done("BDAT"),
];

/// The row of the command that a line begins with, and the rest of the line. Any case will do, and
/// any white space behind the verb (RFC 5321 §4.1.1).
pub(crate) fn find(line: &[u8]) -> Option<(&'static Command, &[u8])> {
    let end = line.iter().position(|b| matches!(b, b' ' | b'\t')).unwrap_or(line.len());
    let (verb, rest) = line.split_at_checked(end)?;
    Some((row(verb)?, rest))
}

fn row(verb: &[u8]) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| verb.eq_ignore_ascii_case(command.verb.as_bytes()))
}

impl Command {
    /// There is an argument where none belongs, or none where one is needed.
    pub(crate) fn is_argument_wrong(&self, argument: &[u8]) -> bool {
        match self.argument {
            Nothing => !argument.is_empty(),
            Needed => argument.is_empty(),
            Optional => false,
        }
    }

    fn is_done(&self) -> bool {
        !self.usage.is_empty()
    }
}

fn noop() -> Action {
    Action::Answer(Reply::new(250, "2.0.0", "OK"))
}

fn help(argument: &[u8]) -> Action {
    if argument.is_empty() {
        let known = COMMANDS.iter().filter(|command| command.is_done());
        let verbs: Vec<&str> = known.map(|command| command.verb).collect();
        let reply = Reply::new(214, "2.0.0", "Commands:").and(verbs.join(" "));
        return Action::Answer(reply.and("HELP and a command tells how it is written"));
    }
    Action::Answer(match row(argument).filter(|command| command.is_done()) {
        Some(command) => Reply::new(214, "2.0.0", command.usage),
        None => Reply::new(504, "5.5.4", "No help for that"),
    })
}
