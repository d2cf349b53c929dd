//! Logs in.

use std::io::{Read, Write};

use accounts::Secret;
use accounts::sasl::Bindings;
use maild::client::SaslLogin;

use super::capabilities::Capabilities;
use super::connection::ServerConnection;
use super::options::{Apop, Options};
use super::status::{Failure, Result, Status};
use crate::protocol::apop;
use crate::protocol::command::MAX_COMMAND;

/// Has messages sent as they are: a server that knows UTF8 (RFC 6856) may send another header else.
pub(crate) fn ask_for_utf8<S: Read + Write>(conn: &mut ServerConnection<S>) -> Result<()> {
    if !Capabilities::ask(conn)?.utf8 {
        return Ok(());
    }
    match conn.command("UTF8") {
        Err(failure) if conn.is_broken() => Err(failure),
        _ => Ok(()), // one that refuses it goes on as without it (§2.1)
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
            let why = format!("{}: APOP is not offered", options.server);
            return Err(Failure::new(Status::Unavailable, why));
        }
        (Apop::Never, _) | (Apop::Auto, None) => {}
        (Apop::Always | Apop::Auto, Some(stamp)) => {
            let digest = apop::digest(&stamp, password.as_bytes());
            match conn.command(format!("APOP {user} {digest}")) {
                Ok(_) => return Ok(()),
                Err(failure) => {
                    let is_refused = failure.status == Status::NoPermission;
                    let retry = *when == Apop::Auto && is_private && is_refused;
                    if conn.is_broken() || !retry {
                        return Err(failure);
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
    let offered = Capabilities::ask(conn)?.sasl;
    let (user, allowed, max_line) = (&options.user[..], options.sasl, MAX_COMMAND);
    let login = SaslLogin { user, password, allowed, offered, bindings, is_private, max_line };
    let mut status = None;
    let done = login.run(|line, shown| {
        conn.exchange(line, shown).map_err(|failure| {
            status = Some(failure.status);
            failure.error
        })
    });
    // Without a refusal of the server: no mechanism is left, or it has not proved that it knows the user.
    done.map_err(|error| match status {
        Some(status) => Failure::because(status)(error),
        None => Failure::new(Status::Unavailable, format!("{}: {error}", options.server)),
    })
}

#[cfg(test)]
mod tests {
    use super::super::connection::tests::server;
    use super::super::options::tests::options;
    use super::*;

    const STAMP: &str = "+OK ready <1896.697170952@dbc.mtview.ca.us>\r\n";

    fn received(args: &[&str], sends: &str, local: bool) -> (bool, String) {
        let options = options(&[args, &["-u", "mrose", "h", "stat"]].concat()).unwrap();
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
