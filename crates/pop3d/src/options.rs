//! The daemon's own options.

use std::sync::Arc;

use forknet::{Endpoint, OwnOptions, Preset, Result, Row, Values};
use maild::{Logins, MailOptions, rows};
use mailstore::{MailKind, MaildirOptions, MboxIds, UniqueIds};
use nix::unistd::geteuid;
use tls::ServerIdentity;

/// The values of the daemon's own options.
#[derive(Debug, Clone)]
pub struct Config {
    /// Accounts and their mail.
    pub mail: MailOptions,
    /// This machine's name in the greeting.
    pub host: String,
    /// Who the server is under TLS, if it offers that.
    pub tls: Option<Arc<ServerIdentity>>,
    /// Where clients begin with TLS.
    pub listen_tls: Vec<Endpoint>,
    /// Whether LAST is offered.
    pub last: bool,
    /// How the letters of a Maildir are served.
    pub maildir: MaildirOptions,
    /// What the ids of an mbox are.
    pub mbox_ids: MboxIds,
}

/// `--login-delay`.
const LOGIN_DELAY: Row = Row {
    name: "login-delay",
    value: "S",
    default: Preset::Value("0"),
    help: "seconds from a user's login to the next one; 0: no limit",
    manual: "Let a user log in once in <s> seconds, from 0, which is no limit, to 86400. A login with the right password that         comes earlier gets \"-ERR [LOGIN-DELAY]\", and `CAPA` lists `LOGIN-DELAY` with the seconds. The time         counts from the last login that opened the mailbox; the server forgets it when it ends, and under `-i` it knows of none.",
    ..Row::EMPTY
};

/// `--last`.
const LAST: Row = Row {
    name: "last",
    help: "offer LAST, for clients older than 1994",
    manual: "Offer the command `LAST` (RFC 1460), which RFC 1725 took away: it tells the highest number of a message that \
        `RETR` or `DELE` had in this session; `RSET` sets it to 0.",
    ..Row::EMPTY
};

/// `--uidl`.
const UIDL: Row = Row {
    name: "uidl",
    value: "KIND",
    default: Preset::Value("name"),
    choices: &["name", "dovecot", "courier", "popa3d"],
    help: "what unique ids are: name, dovecot, courier or popa3d",
    manual: "What the ids of `UIDL` are. In a Maildir: `name`, a letter's file name before the flags, or a digest of it if that is \
        no id; `dovecot`, what Dovecot has told its clients by its default `pop3_uidl_format`, where its file \
        `dovecot-uidlist` lies in the Maildir; `courier`, what Courier has, by its file `courierpop3dsizelist`. So clients \
        that leave mail on the server fetch nothing again after a move. A letter that Dovecot's file does not have is \
        added to it, under Dovecot's lock, so that both servers give it the same id; one that Courier's does not have, \
        and every letter where the file is missing or not understood, has its name. In an mbox: `name`, a digest of the letter \
        and its separator, without the fields that mail readers change; `popa3d`, what popa3d has, a digest of `Received` and \
        other fields of the delivery, or where there are none the digest of `name`. Letters with one digest are numbered; where one of them \
        is removed, others keep their numbers in a field X-UIDL-Number of their headers.",
    ..Row::EMPTY
};

/// `--seen`.
const SEEN: Row = Row {
    name: "seen",
    help: "mark letters that were sent as seen",
    manual: "Mark letters of a Maildir that `RETR` has sent to their end as seen, so that other programs show them as read: \
        in `cur`, with the flag `S`. It is done when the session ends, however it ends. `TOP` marks nothing.",
    ..Row::EMPTY
};

/// Each option's row, and what the manual page adds to common ones.
pub const OPTIONS: OwnOptions = OwnOptions {
    rows: &[
        rows::USERS,
        rows::CHECKPASSWORD,
        rows::AUTH_SOCKET,
        rows::MAIL,
        rows::MAIL_USER,
        rows::NAMES,
        rows::NAMES_DOMAIN,
        rows::PLAINTEXT,
        rows::CHANNEL_BINDING,
        rows::AUTH_DELAY,
        LOGIN_DELAY,
        LAST,
        UIDL,
        SEEN,
        tls::rows::CERT,
        tls::rows::KEY,
        tls::rows::LISTEN,
        rows::HASH,
        rows::SCHEME,
    ],
    notes: &[
        ("max-clients", "One more gets \"-ERR [SYS/TEMP] too many clients, try again later\"."),
        ("over", "it gets \"-ERR [SYS/TEMP] too many clients, try again later\""),
        (
            "chroot",
            "The users file, the Maildirs and the files of TLS are inside, and relative names among them count from \
                <dir>.",
        ),
        (
            "mail",
            " What is missing of a Maildir is a temporary error (\"-ERR [SYS/TEMP]\") and a warning in the log, because a client \
                that finds an empty maildrop forgets which letters it has: a home, any folder on the way, and `new` or `cur` \
                in the Maildir. Only a user who has no mail yet has an empty maildrop: where a home belongs to its user or to \
                root, and the Maildir in it is missing; or where a folder without '~' in its path has something in it, such \
                as the mailboxes of other users, and not this one. An empty one is taken for the place of a disk \
                that is not mounted. With `mbox:` before it a user's mail is one file, in the form mboxrd: `mbox:~/mbox`, `mbox:/var/mail/%u`. \
                A user without the file has no mail; without its folder, or with a file that does not begin as an mbox, \
                the login is a temporary error. It is locked by fcntl(2) and by `FILE.lock` while it is read at the login and \
                changed at `QUIT`, so that letters can be delivered in between; what is removed is removed by a new file that takes \
                its place, with the same mode, group and times. Where another program has changed the letters meanwhile, none is removed. \
                In a folder of root's in which a group can make files, as /var/mail is, a process of its own has that group, and nothing else has.",
        ),
        ("auth-socket", " The mailboxes belong to `--mail-user` and lie where `--mail` says."),
        ("transcript", "Passwords and digests are masked."),
        ("plaintext", " It is about `PASS`, `AUTH PLAIN` and `AUTH LOGIN`."),
        (
            "user",
            "It is the user of the processes that talk to clients, in an empty folder as their root. \
                After the login a session has a process with the rights of its own user, for good.",
        ),
    ],
};

impl Config {
    /// Reads the options.
    ///
    /// # Errors
    /// [`forknet::Error::Usage`] names the option that is wrong.
    pub fn read(values: &Values) -> Result<Config> {
        let mail = MailOptions::read(values)?;
        let has_owner = mail.mail_user.is_some() || !geteuid().is_root();
        if matches!(mail.logins, Logins::Socket(_)) && !has_owner {
            let why = "--auth-socket: as root it needs --mail-user, whose the mailboxes are";
            return Err(values.conflict(&["auth-socket"], why));
        }
        let (tls, listen_tls) = tls::from_options(values)?.unzip();
        let listen_tls = listen_tls.unwrap_or_default();
        let uidl = values.choice("uidl")?;
        let (ids, mbox_ids) = match uidl {
            "dovecot" => (UniqueIds::Dovecot, MboxIds::Content),
            "courier" => (UniqueIds::Courier, MboxIds::Content),
            "popa3d" => (UniqueIds::Name, MboxIds::Popa3d),
            _ => (UniqueIds::Name, MboxIds::Content),
        };
        let is_mbox = mail.mail.kind() == MailKind::Mbox;
        let others = if is_mbox { &["dovecot", "courier"][..] } else { &["popa3d"] };
        if others.contains(&uidl) {
            let why = if is_mbox { "is for Maildirs" } else { "is for --mail mbox:PATH" };
            return Err(values.wrong("uidl", uidl, why));
        }
        if is_mbox && values.is_given("seen") {
            return Err(values.conflict(&["seen", "mail"], "--seen is for Maildirs"));
        }
        let maildir = MaildirOptions { ids, marks_seen: values.is_given("seen") };
        let last = values.is_given("last");
        Ok(Config { mail, host: host(), tls, listen_tls, last, maildir, mbox_ids })
    }

    /// Returns the seconds of `--login-delay`, rounded up; `None` without a limit.
    #[must_use]
    pub fn login_delay(&self) -> Option<u64> {
        let delay = self.mail.login_delay;
        let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
        (seconds > 0).then_some(seconds)
    }

    /// Looks at the accounts, with the keeper's rights; returns an [`maild::Offer`] for those who cannot look
    /// themselves.
    ///
    /// # Errors
    /// `users FILE: reason`.
    pub fn start(&self) -> Result<Vec<u8>> {
        self.mail.warn_of_spool();
        Ok(self.mail.start()?.encode())
    }
}

/// Returns the name of this machine for the greeting: letters, digits, dots and hyphens.
fn host() -> String {
    let name = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
    let is_valid = |name: &String| {
        let known = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
        (1..=255).contains(&name.len()) && name.bytes().all(known) // RFC 1035 §2.3.4
    };
    name.ok().filter(is_valid).unwrap_or_else(|| "localhost".to_owned())
}
