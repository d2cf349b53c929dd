//! Where the ids of an account are, and under which name.
//!
//! The name is that of the account in the accounts file, or else `USER@HOST:PORT`, whichever way the host was
//! typed: small letters, without a dot at the end, `localhost` for the addresses of this machine, and without
//! the port where that is 110 or 995, because both lead to the same mail.

use std::net::IpAddr;
use std::path::PathBuf;

use forknet::HostPort;

use crate::client::options::{Fetch, Options};
use crate::client::status::{Failure, Result, Status};
use crate::client::target::{Target, home};

/// Ports whose maildrops are the same: POP3, without TLS and with it.
const STANDARD_PORTS: [u16; 2] = [110, 995];

/// The files of an account.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) folder: PathBuf,
    pub(super) file: PathBuf,
    pub(super) lock: PathBuf,
    /// Where earlier versions, or runs without the accounts file, have the ids.
    pub(super) old: Vec<PathBuf>,
    /// The Maildir that letters are delivered to.
    pub(super) maildir: Option<PathBuf>,
}

impl Place {
    /// Returns where the ids are: in the folder of `--ids`; for the command line alone in the Maildir that
    /// it delivers to; else in `~/.pop3c`.
    pub(super) fn of(options: &Options, fetch: &Fetch) -> Result<Place> {
        let Options { name, user, server, .. } = options;
        let maildir = match &fetch.target {
            Target::Maildir(path) => Some(path.clone()),
            _ => None,
        };
        let key = name.clone().unwrap_or_else(|| account(user, server));
        let key = escaped(&key);
        let in_maildir = maildir.clone().filter(|_| name.is_none());
        let hidden = if fetch.ids.is_none() && in_maildir.is_some() { ".pop3c." } else { "" };
        let folder = fetch.ids.clone().or(in_maildir).or_else(|| Some(home()?.join(".pop3c")));
        let folder = folder.ok_or_else(|| {
            let why = "no folder for the ids: HOME is not set, and there is no --ids";
            Failure::new(Status::Config, why)
        })?;
        let file = folder.join(format!("{hidden}seen.{key}"));
        let lock = folder.join(format!("{hidden}lock.{key}"));
        let mut old = Vec::new();
        if let Some(maildir) = &maildir {
            let canonical =
                maildir.join(format!(".pop3c.seen.{}", escaped(&account(user, server))));
            let typed = old_names(user, server).into_iter();
            old.extend(typed.map(|name| maildir.join(format!(".pop3c.seen.{}", escaped(&name)))));
            old.push(canonical);
            old.retain(|path| *path != file);
            old.dedup();
        }
        Ok(Place { folder, file, lock, old, maildir })
    }
}

/// `USER@HOST:PORT`.
fn account(user: &str, server: &HostPort) -> String {
    let host = server.host.trim_end_matches('.').to_ascii_lowercase();
    let host = match host.parse::<IpAddr>() {
        Ok(address) if is_here(address) => "localhost".to_owned(),
        Ok(address) => address.to_string(),
        Err(_) => host,
    };
    match server.port {
        port if STANDARD_PORTS.contains(&port) => format!("{user}@{host}"),
        port => format!("{user}@{host}:{port}"),
    }
}

/// 127.0.0.1 and ::1. Others of 127.0.0.0/8 may be other servers.
fn is_here(address: IpAddr) -> bool {
    ["127.0.0.1", "::1"].iter().any(|here| here.parse() == Ok(address))
}

/// The names that earlier versions gave: with the host as typed, and with the port.
fn old_names(user: &str, server: &HostPort) -> Vec<String> {
    let HostPort { host, port } = server;
    let mut hosts = vec![host.clone()];
    let plain = host.trim_end_matches('.').to_ascii_lowercase();
    let is_here = plain.parse().is_ok_and(is_here) || plain == "localhost";
    if is_here {
        hosts.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    }
    hosts.push(plain);
    hosts.sort();
    hosts.dedup();
    hosts.iter().map(|host| format!("{user}@{host}:{port}")).collect()
}

/// Escapes an account for a file name.
fn escaped(account: &str) -> String {
    let mut name = String::new();
    for b in account.bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'@' | b':' => {
                name.push(char::from(b));
            }
            _ => name.push_str(&format!("%{b:02X}")),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_the_same_whichever_way_its_host_is_typed() {
        for (host, port, expected) in [
            ("localhost", 1100, "u@localhost:1100"),
            ("LOCALHOST.", 1100, "u@localhost:1100"),
            ("127.0.0.1", 1100, "u@localhost:1100"),
            ("::1", 1100, "u@localhost:1100"),
            ("0:0::1", 110, "u@localhost"),
            ("127.0.0.2", 110, "u@127.0.0.2"),
            ("Red.Test", 110, "u@red.test"),
            ("red.test.", 995, "u@red.test"),
            ("red.test", 2110, "u@red.test:2110"),
        ] {
            assert_eq!(account("u", &HostPort { host: host.into(), port }), expected);
        }
    }

    #[test]
    fn a_file_name_has_no_slash_and_no_blank() {
        assert_eq!(escaped("../a b@h:110"), "..%2Fa%20b@h:110");
    }
}
