//! What the clients of mail have in common: the password, and a login by SASL.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use accounts::sasl::{self, Bindings, Client};
use accounts::{Mechanisms, Secret, base64};
use forknet::{Connection, Error, Result};
use nix::sys::socket::{SockaddrStorage, getpeername};

use crate::hash::first_line;

/// What `-v` shows of a response.
const STARS: &[u8] = b"********";

/// Reads the password in the first line of a file. A warning says so when others may read it.
///
/// # Errors
/// The file cannot be read, or its first line is empty.
pub fn password_in(path: &Path, program: &str) -> Result<Secret> {
    let what = || format!("password file {}", path.display());
    let file = File::open(path).map_err(Error::io(what()))?;
    let mode = file.metadata().map_err(Error::io(what()))?.permissions().mode();
    if mode & 0o077 != 0 {
        let mode = mode & 0o777;
        // best effort
        let _ =
            writeln!(io::stderr(), "{program}: {}: mode {mode:03o} lets others read it", what());
    }
    not_empty(first_line(BufReader::new(file))?)
}

/// Asks for the password on the terminal.
///
/// # Errors
/// There is no terminal, or the password is empty.
pub fn ask_password(user: &str, server: impl std::fmt::Display) -> Result<Secret> {
    let prompt = format!("Password of {user} at {server}: ");
    let password = rpassword::prompt_password(prompt).map_err(Error::io("terminal"))?;
    not_empty(Secret::from(password))
}

/// Refuses an empty password.
///
/// # Errors
/// It is empty.
pub fn not_empty(password: Secret) -> Result<Secret> {
    if password.as_bytes().is_empty() {
        return Err(Error::Refused("the password is empty".to_owned()));
    }
    Ok(password)
}

/// Returns whether the server is on this machine.
#[must_use]
pub fn is_loopback(conn: &Connection) -> bool {
    let Ok(peer) = getpeername::<SockaddrStorage>(conn.fd().as_raw_fd()) else { return false };
    let v4 = peer.as_sockaddr_in().is_some_and(|address| address.ip().is_loopback());
    let v6 = peer.as_sockaddr_in6().is_some_and(|address| address.ip().is_loopback());
    v4 || v6
}

/// A login by SASL, from the client's side.
#[derive(Debug)]
pub struct SaslLogin<'a> {
    /// The user.
    pub user: &'a str,
    /// The password.
    pub password: &'a Secret,
    /// The mechanisms of `--sasl`.
    pub allowed: Mechanisms,
    /// Those that the server lists.
    pub offered: Mechanisms,
    /// What the TLS connection can be bound by.
    pub bindings: Bindings,
    /// Whether the password may be sent: under TLS, or on this machine.
    pub is_private: bool,
    /// Longest command line of the protocol in bytes, its CRLF included.
    pub max_line: usize,
}

impl SaslLogin<'_> {
    /// Logs in with the strongest mechanism that both sides allow. `exchange` sends a line, of which `-v`
    /// shows the second text, and returns the server's next challenge in base64, or `None` once it has
    /// accepted the login.
    ///
    /// # Errors
    /// No mechanism is left; errors of `exchange`; the server's messages are malformed, or it cannot prove
    /// that it knows the user.
    pub fn run(
        self,
        mut exchange: impl FnMut(&[u8], &[u8]) -> Result<Option<Vec<u8>>>,
    ) -> Result<()> {
        let refused = |why: String| Err(Error::Refused(why));
        let SaslLogin { user, password, allowed, offered, bindings, is_private, max_line } = self;
        let server = sasl::Server { offered: offered.intersection(allowed), bindings };
        let Some(mechanism) = sasl::choose(&server, is_private) else {
            let why = "no mechanism of --sasl can be used";
            return refused(format!("{why}; the server offers '{offered}'"));
        };
        let server = sasl::Server { offered, ..server };
        let client = Client::new(mechanism, user.as_bytes(), password, &server);
        let mut client = client.map_err(|error| Error::Refused(error.to_string()))?;
        let mut initial = client.initial();
        let command = format!("AUTH {mechanism}");
        let in_one = initial.as_ref().map(|first| format!("{command} {}", in_base64(first)));
        let mut challenge = match in_one.filter(|line| line.len() + 2 <= max_line) {
            Some(line) => {
                initial = None;
                let shown = [command.as_bytes(), STARS].join(&b' ');
                exchange(line.as_bytes(), &shown)?
            }
            None => exchange(command.as_bytes(), command.as_bytes())?,
        };
        while let Some(text) = challenge {
            let response = match (initial.take(), sasl::decode(&text)) {
                (Some(first), _) => Ok(first),
                (None, Some(text)) => {
                    client.respond(text.as_bytes()).map_err(|error| error.to_string())
                }
                (None, None) => Err("a challenge that is not base64".to_owned()),
            };
            match response {
                Ok(response) => {
                    challenge = exchange(base64(response.as_bytes()).as_bytes(), STARS)?;
                }
                Err(why) => {
                    let _ = exchange(b"*", b"*"); // the server's reply changes nothing
                    return refused(format!("{command}: {why}"));
                }
            }
        }
        client.finish().or_else(|error| refused(format!("{command}: {error}")))
    }
}

/// `=` is an empty response (RFC 4954 §4, RFC 5034 §4).
fn in_base64(response: &Secret) -> String {
    if response.as_bytes().is_empty() { "=".to_owned() } else { base64(response.as_bytes()) }
}
