//! `--terminal`: where the terminals of users are.

use std::path::PathBuf;

use forknet::{Result, Row, Values};

/// Where the terminals of users are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Terminals {
    /// utmp(5) says on which terminal of `/dev` a user is logged in.
    Utmp,
    /// A user's terminal has the user's name in this folder.
    Folder(PathBuf),
}

/// The option.
pub const ROW: Row = Row {
    name: "terminal",
    value: "[DIR]",
    help: "have SEND, SOML and SAML write to terminals: those of utmp, or DIR/name",
    manual: "Take `SEND`, `SOML` and `SAML` (RFC 821 §3.4), which are 502 otherwise. `SEND` writes the letter to the \
        terminal of the user; who has none that takes messages is refused with 450. `SOML` then delivers to the \
        mailbox, and `SAML` does both. The terminal is the one on which utmp(5) says that the user is logged in and \
        which takes messages (mesg(1)); with <dir> it is <dir>`/`<name>, a terminal, a link to one, a pipe or a \
        file, which the user may write to, or which stands itself in a folder that only root may write to. \
        A process with the rights of the user writes to it, and no control character of the letter. A letter over 64 \
        KiB is refused.",
    ..Row::EMPTY
};

/// Reads the option.
///
/// # Errors
/// Those of [`Values::path`].
pub fn read(values: &Values) -> Result<Option<Terminals>> {
    Ok(match values.path("terminal")? {
        Some(folder) => Some(Terminals::Folder(folder)),
        None => values.is_given("terminal").then_some(Terminals::Utmp),
    })
}
