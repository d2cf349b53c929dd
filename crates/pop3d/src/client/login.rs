//! Reads the password and logs in.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use accounts::sasl::{self, Bindings, Client};
use accounts::{Mechanisms, Secret, base64};
use forknet::{Connection, Error, Result};
use nix::sys::socket::{SockaddrStorage, getpeername};
use std::os::fd::AsRawFd;

use maild::hash::first_line;

use super::connection::ServerConnection;
use super::options::{Apop, Options};
use crate::protocol::apop;
use crate::protocol::command::MAX_COMMAND;

/// Reads the password from its file, the terminal, or standard input.
pub(crate) fn password(options: &Options) -> Result<Vec<u8>> {
    let password = match &options.password_file {
        Some(path) => from_file(path)?,
        None if io::stdin().is_terminal() => {
            let prompt = format!("Password of {} at {}: ", options.user, options.server);
            rpassword::prompt_password(prompt).map_err(Error::io("terminal"))?.into_bytes()
        }
        None => first_line(io::stdin().lock())?.as_bytes().to_vec(),
    };
    if password.is_empty() {
        return Err(Error::Refused("the password is empty".to_owned()));
    }
    Ok(password)
}

fn from_file(path: &Path) -> Result<Vec<u8>> {
    let what = || format!("password file {}", path.display());
    let file = File::open(path).map_err(Error::io(what()))?;
    let mode = file.metadata().map_err(Error::io(what()))?.permissions().mode();
    if mode & 0o077 != 0 {
        let mode = mode & 0o777;
        // best effort
        let _ = writeln!(io::stderr(), "pop3c: {}: mode {mode:03o} lets others read it", what());
    }
    Ok(first_line(BufReader::new(file))?.as_bytes().to_vec())
}

/// Returns whether the server is on this machine.
pub(crate) fn is_loopback(conn: &Connection) -> bool {
    let Ok(peer) = getpeername::<SockaddrStorage>(conn.fd().as_raw_fd()) else { return false };
    let v4 = peer.as_sockaddr_in().is_some_and(|address| address.ip().is_loopback());
    let v6 = peer.as_sockaddr_in6().is_some_and(|address| address.ip().is_loopback());
    v4 || v6
}

/// Logs in with APOP if the server offers it, otherwise with USER and PASS.
///
/// After a refused APOP the password is sent only on this machine or under TLS, because an attacker
/// in the middle could forge the refusal.
pub(crate) fn log_in<S: Read + Write>(
    conn: &mut ServerConnection<S>,
    options: &Options,
    password: &[u8],
    is_private: bool,
) -> Result<()> {
    let stamp = apop::timestamp_in(conn.greeting());
    let stamp = stamp.map(|stamp| String::from_utf8_lossy(stamp).into_owned());
    let Options { user, apop: when, .. } = options;
    match (when, stamp) {
        (Apop::Always, None) => {
            return Err(Error::Refused(format!("{}: APOP is not offered", options.server)));
        }
        (Apop::Never, _) | (Apop::Auto, None) => {}
        (Apop::Always | Apop::Auto, Some(stamp)) => {
            let digest = apop::digest(&stamp, password);
            match conn.command(format!("APOP {user} {digest}")) {
                Ok(_) => return Ok(()),
                Err(error) => {
                    let retry = *when == Apop::Auto && is_private && is_auth(&error);
                    if conn.is_broken() || !retry {
                        return Err(error);
                    }
                }
            }
        }
    }
    conn.command(format!("USER {user}"))?;
    conn.command([b"PASS ", password].concat()).map(|_| ())
}

/// Logs in by SASL (RFC 5034), with the mechanism of `--sasl` or the strongest that the server offers.
/// `is_private` is true where the password may be sent.
pub(crate) fn authenticate<S: Read + Write>(
    conn: &mut ServerConnection<S>,
    options: &Options,
    password: &[u8],
    (bindings, is_private): (Bindings, bool),
) -> Result<()> {
    let refused = |why: String| Err(Error::Refused(format!("{}: {why}", options.server)));
    let offered = offered(conn)?;
    let server = sasl::Server { offered: offered.intersection(options.sasl), bindings };
    let Some(mechanism) = sasl::choose(&server, is_private) else {
        return refused(format!(
            "no mechanism of --sasl can be used; the server offers '{offered}'"
        ));
    };
    let server = sasl::Server { offered, ..server };
    let secret = Secret::from(password);
    let client = Client::new(mechanism, options.user.as_bytes(), &secret, &server);
    let mut client = client.map_err(|error| Error::Refused(error.to_string()))?;
    let mut initial = client.initial();
    let command = format!("AUTH {mechanism}");
    let in_one = initial.as_ref().map(|first| format!("{command} {}", in_base64(first)));
    let mut challenge = match in_one.filter(|line| line.len() + 2 <= MAX_COMMAND) {
        Some(line) => {
            initial = None;
            conn.exchange(line.as_bytes(), format!("{command} ********").as_bytes())?
        }
        None => conn.exchange(command.as_bytes(), command.as_bytes())?,
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
                challenge = conn.exchange(base64(response.as_bytes()).as_bytes(), b"********")?;
            }
            Err(why) => {
                let _ = conn.exchange(b"*", b"*"); // the server's reply changes nothing
                return refused(format!("AUTH {mechanism}: {why}"));
            }
        }
    }
    client.finish().or_else(|error| refused(format!("AUTH {mechanism}: {error}")))
}

/// `=` is an empty response (RFC 5034 §4).
fn in_base64(response: &Secret) -> String {
    if response.as_bytes().is_empty() { "=".to_owned() } else { base64(response.as_bytes()) }
}

/// Reads the mechanisms of CAPA (RFC 5034 §3); a server without that offers none.
fn offered<S: Read + Write>(conn: &mut ServerConnection<S>) -> Result<Mechanisms> {
    match conn.command("CAPA") {
        Ok(_) => {}
        Err(error) if conn.is_broken() => return Err(error),
        Err(_) => return Ok(Mechanisms::default()),
    }
    let rows = conn.listing("CAPA")?;
    let sasl = rows.iter().find_map(|row| {
        let (name, list) = row.split_at_checked(5)?;
        name.eq_ignore_ascii_case(b"SASL ").then(|| Mechanisms::parse(list))
    });
    Ok(sasl.unwrap_or_default())
}

/// Returns whether a refusal is about the credentials, not about a lock or a failure of the server.
fn is_auth(error: &Error) -> bool {
    let text = error.to_string();
    text.contains("-ERR [AUTH]") || !text.contains("-ERR [")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::connection::tests::server;
    use super::super::options;
    use super::*;

    const STAMP: &str = "+OK ready <1896.697170952@dbc.mtview.ca.us>\r\n";

    fn received(args: &[&str], sends: &str, local: bool) -> (bool, String) {
        let args = [args, &["-u", "mrose", "h", "stat"]].concat();
        let options = options::parse(args.iter().map(OsString::from).collect()).unwrap();
        let script = server(sends.as_bytes(), usize::MAX);
        let mut conn = ServerConnection::start(script, "h:110".into(), false).unwrap();
        let done = log_in(&mut conn, &options, b"tanstaaf", local).is_ok();
        (done, conn.received())
    }

    #[test]
    fn apop_is_used_if_offered() {
        let line = "APOP mrose c4c9334bac560ecc979e58001b3e22fb\r\n";
        assert_eq!(received(&[], &format!("{STAMP}+OK\r\n"), false), (true, line.into()));
        let plain = "USER mrose\r\nPASS tanstaaf\r\n";
        assert_eq!(received(&[], "+OK\r\n+OK\r\n+OK\r\n", false), (true, plain.into()));
        let never = ["--apop", "never"];
        assert_eq!(
            received(&never, &format!("{STAMP}+OK\r\n+OK\r\n"), false),
            (true, plain.into())
        );
        assert_eq!(received(&["--apop", "always"], "+OK\r\n", false), (false, String::new()));
    }

    #[test]
    fn after_a_refused_apop_the_password_is_sent_only_on_this_machine() {
        let sends = format!("{STAMP}-ERR [AUTH] no\r\n+OK\r\n+OK\r\n");
        assert!(!received(&[], &sends, false).1.contains("PASS"));
        assert!(received(&[], &sends, true).1.contains("PASS"));
        assert!(!received(&["--apop", "always"], &sends, true).1.contains("PASS"));
        let busy = format!("{STAMP}-ERR [IN-USE] no\r\n");
        assert!(!received(&[], &busy, true).1.contains("PASS"));
    }
}
