//! Reads the password and logs in.

use std::io::{self, IsTerminal, Read, Write};

use accounts::sasl::Bindings;
use accounts::{Mechanisms, Secret};
use forknet::{Error, Result};
use maild::client::{SaslLogin, ask_password, not_empty, password_in};
use maild::hash::first_line;

use super::connection::ServerConnection;
use super::options::{Apop, Options};
use crate::protocol::apop;
use crate::protocol::command::MAX_COMMAND;

/// Reads the password from its file, the terminal, or standard input.
pub(crate) fn password(options: &Options) -> Result<Secret> {
    match &options.password_file {
        Some(path) => password_in(path, "pop3c"),
        None if io::stdin().is_terminal() => ask_password(&options.user, &options.server),
        None => not_empty(first_line(io::stdin().lock())?),
    }
}

/// Logs in with APOP if the server offers it, otherwise with USER and PASS.
///
/// After a refused APOP the password is sent only on this machine or under TLS, because an attacker
/// in the middle could forge the refusal.
pub(crate) fn log_in<S: Read + Write>(
    conn: &mut ServerConnection<S>,
    options: &Options,
    password: &Secret,
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
            let digest = apop::digest(&stamp, password.as_bytes());
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
    conn.command([b"PASS ", password.as_bytes()].concat()).map(|_| ())
}

/// Logs in by SASL (RFC 5034), with the mechanism of `--sasl` or the strongest that the server offers.
/// `is_private` is true where the password may be sent.
pub(crate) fn authenticate<S: Read + Write>(
    conn: &mut ServerConnection<S>,
    options: &Options,
    password: &Secret,
    (bindings, is_private): (Bindings, bool),
) -> Result<()> {
    let offered = offered(conn)?;
    let (user, allowed, max_line) = (&options.user[..], options.sasl, MAX_COMMAND);
    let login = SaslLogin { user, password, allowed, offered, bindings, is_private, max_line };
    login.run(|line, shown| conn.exchange(line, shown)).map_err(|error| match error {
        Error::Refused(why) if !why.starts_with(&options.server.to_string()) => {
            Error::Refused(format!("{}: {why}", options.server))
        }
        error => error,
    })
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
        let done = log_in(&mut conn, &options, &Secret::from(&b"tanstaaf"[..]), local).is_ok();
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
