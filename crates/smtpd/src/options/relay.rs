//! Mail that goes elsewhere: the queue, who may put letters into it, and `--submission`.

use std::path::PathBuf;

use accounts::Owner;
use forknet::{Network, Peer, Preset, Result, Row, Values};
use nix::unistd::{getegid, geteuid};

/// The value of `--relay-from` by which no client may relay without a login.
const NO_ONE: &str = "none";

/// `--queue`.
pub(super) const QUEUE: Row = Row {
    name: "queue",
    value: "DIR",
    help: "where letters for other servers wait; none without it",
    manual: "The folder of the queue, in which letters for other servers wait, for clients that may send there: see \
        `--relay-from`. It belongs to the user of `--mail-user`, without that to the one of `-u`; in a folder that only \
        root can change it is made. A letter that was acknowledged is in `letters` in it, on the disk. Without \
        this option no letter goes elsewhere.",
    ..Row::EMPTY
};

/// `--relay-from`.
pub(super) const RELAY_FROM: Row = Row {
    name: "relay-from",
    value: "CIDR",
    default: Preset::Rule("this machine"),
    repeats: true,
    help: "who may send elsewhere without a login; repeatable, or none",
    manual: "A network, or one address, whose clients may send letters elsewhere without a login; `none` for no \
        client. Without this option they are those on this machine, over TCP or a UNIX-domain socket, but none that \
        came through a proxy. Every client that has logged in may send elsewhere too, and no other one, however an \
        address is written.",
    ..Row::EMPTY
};

/// `--submission`.
pub(super) const SUBMISSION: Row = Row {
    name: "submission",
    help: "for mail programs only: login needed, header completed",
    manual: "Serve mail programs and not other servers (RFC 6409), at all addresses: who has not logged in gets 530 to \
        every `MAIL`, and the sender must be an address of the user, or empty, and so must each address in \"From:\", else the letter \
        is refused with 550. What is missing of \"Date:\", \"Message-ID:\" and \"From:\" is \
        added, and names without a domain in \"From:\" get the first of `--domain`. For port 25 another server is \
        started.",
    ..Row::EMPTY
};

/// The queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueOptions {
    /// Its folder.
    pub folder: PathBuf,
    /// Whose it is.
    pub owner: Owner,
}

/// What the options say of mail that goes elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relay {
    /// Where letters for other servers wait.
    pub queue: Option<QueueOptions>,
    /// Whose clients may send elsewhere without a login; `None`: those on this machine.
    from: Option<Vec<Network>>,
}

impl Relay {
    pub(super) fn read(values: &Values, mail_user: Option<Owner>) -> Result<Relay> {
        let texts = values.texts("relay-from");
        let network = |text: &String| {
            let why =
                "not a network such as 192.0.2.0/24 or 2001:db8::/32, not an address, not none";
            Network::parse(text).ok_or_else(|| values.wrong("relay-from", text, why))
        };
        let from = match texts.as_slice() {
            [] => None,
            [only] if only == NO_ONE => Some(Vec::new()),
            all => Some(all.iter().map(network).collect::<Result<_>>()?),
        };
        let queue = match values.path("queue")? {
            None => None,
            Some(folder) => {
                Some(QueueOptions { folder, owner: owner(values, mail_user, "queue")? })
            }
        };
        Ok(Relay { queue, from })
    }

    /// Returns whether a client may send letters elsewhere without a login. One whose address a proxy has told
    /// is not on this machine, whatever the address.
    #[must_use]
    pub fn is_ours(&self, peer: Peer) -> bool {
        match (&self.from, peer) {
            (None, peer) => peer.is_loopback(),
            (Some(_), Peer::Proxy(_) | Peer::Unix | Peer::Pipe) => false,
            (Some(networks), Peer::Ip(address) | Peer::Told(address)) => {
                networks.iter().any(|network| network.contains(address.ip()))
            }
        }
    }
}

/// Returns whose rights are used for mail that is no single user's, as an option needs it.
///
/// # Errors
/// Root must say whose.
pub fn owner(values: &Values, mail_user: Option<Owner>, option: &str) -> Result<Owner> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    if uid != 0 {
        return Ok(Owner { uid, gid });
    }
    if let Some(owner) = mail_user {
        return Ok(owner);
    }
    let user = values.knows("user").then(|| values.text("user")).flatten();
    let why = || values.conflict(&[option], format!("--{option} needs -u or --mail-user"));
    let user = user.ok_or_else(why)?;
    let (uid, gid) = forknet::user_ids(&user)?;
    Ok(Owner { uid, gid })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Relay> {
        let args = args.iter().map(std::ffi::OsString::from).collect();
        let rows = &[QUEUE, RELAY_FROM];
        Relay::read(&forknet::parse("smtpd", "", rows, args)?, Some(Owner { uid: 7, gid: 8 }))
    }

    fn peers() -> [Peer; 7] {
        let at = |text: &str| text.parse().unwrap();
        [
            Peer::Ip(at("127.0.0.2:5")),
            Peer::Ip(at("[::1]:5")),
            Peer::Unix,
            Peer::Pipe,
            Peer::Ip(at("192.0.2.9:5")),
            Peer::Told(at("127.0.0.1:5")),
            Peer::Proxy(Some(at("127.0.0.1:5"))),
        ]
    }

    #[test]
    fn clients_on_this_machine_may_relay_and_none_that_a_proxy_tells_of() {
        let relay = read(&[]).unwrap();
        let allowed = peers().map(|peer| relay.is_ours(peer));
        assert_eq!(allowed, [true, true, true, true, false, false, false]);
        assert_eq!(relay.queue, None);
    }

    #[test]
    fn only_the_networks_that_are_named_may_relay() {
        let relay = read(&["--relay-from", "192.0.2.0/24", "--relay-from", "::1"]).unwrap();
        let allowed = peers().map(|peer| relay.is_ours(peer));
        assert_eq!(allowed, [false, true, false, false, true, false, false]);
        let relay = read(&["--relay-from", "none"]).unwrap();
        assert_eq!(peers().map(|peer| relay.is_ours(peer)), [false; 7]);
        for bad in ["", "red.test", "192.0.2.0/33", "None"] {
            let error = read(&["--relay-from", bad]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("--relay-from '{bad}'")), "{error}");
        }
    }
}
