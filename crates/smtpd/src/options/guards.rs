//! The options that keep unwanted clients and letters away.

use std::path::PathBuf;
use std::time::Duration;

use forknet::{Preset, Result, Row, Values};

use super::milters::Milters;

/// Longest `--greet-pause` in seconds: the client waits five minutes (RFC 5321 §4.5.3.2.1).
const MAX_GREET_PAUSE: f64 = 240.0;

/// The values of these options.
#[derive(Debug, Clone, Default)]
pub struct Guards {
    /// Most letters of one session; 0 is no limit.
    pub max_letters: u32,
    /// Time that a client has to wait for the greeting.
    pub greet_pause: Duration,
    /// The file of rules about clients, names, senders and recipients.
    pub access: Option<PathBuf>,
    /// Filters.
    pub milters: Milters,
}

impl Guards {
    /// Reads the options.
    ///
    /// # Errors
    /// [`forknet::Error::Usage`] names the option that is wrong.
    pub(super) fn read(values: &Values) -> Result<Guards> {
        let pause = values.seconds_within("greet-pause", 0.0..=MAX_GREET_PAUSE)?;
        Ok(Guards {
            max_letters: values.number("max-letters", 0..=u32::MAX)?,
            greet_pause: pause.unwrap_or_default(),
            access: values.path("access")?,
            milters: Milters::read(values)?,
        })
    }
}

pub(super) const MAX_LETTERS: Row = Row {
    name: "max-letters",
    value: "N",
    default: Preset::Value("10000"),
    help: "letters of a session; 0 = no limit",
    manual: "Letters of one session, refused ones among them; after these `MAIL` is answered with 421 \
        and the session ends. 0 is no limit.",
    ..Row::EMPTY
};

pub(super) const GREET_PAUSE: Row = Row {
    name: "greet-pause",
    value: "S",
    default: Preset::Value("0"),
    help: "seconds before the greeting; who speaks in them is refused",
    manual: "Greet a client only after <s> seconds. One that speaks before, as programs that send \
        unwanted mail do and RFC 5321 does not allow, gets 554 and the session ends. Clients that \
        `--access` permits are greeted at once.",
    ..Row::EMPTY
};

pub(super) const ACCESS: Row = Row {
    name: "access",
    value: "FILE",
    help: "rules: who is permitted, refused, deferred",
    manual: "Take, refuse or put off what these rules name, one a line: `client` and an address, \
        `<address>/<bits>` or `unix`; `helo` and a name, or `.<domain>` for it and those below it; `from` or \
        `to` and an address, `@<domain>`, `@.<domain>` with those below it, or `<name>@`; `from <>` for \
        notifications; `*` for all. Quotes and the spelling of a domain make no difference, nor in `to` a sub-address and \
        the other names of this host. Then `permit`, `refuse` (554 in place of the greeting, else 550), or `defer` (421, else \
        450), and behind these two a text for the reply. `#` begins a comment. At each of the four steps the first line that \
        matches decides; after `permit` later steps are not looked at: for the session, up to the next `HELO`, or for \
        the letter. Up to 256 KiB; read at the start and at SIGHUP, and if there is a mistake in it then, the old \
        rules go on. It must belong to root or to the user who starts the server, and only its owner may write to it.",
    ..Row::EMPTY
};
