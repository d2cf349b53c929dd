//! The process that answers about a login, with the keeper's rights; after the right password the user's,
//! for good, with nothing but that mailbox: TRANSACTION and UPDATE.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use accounts::{Account, Owner};
use forknet::{Client, Leftover, confine_to, in_title, reason};
use log::{info, warn};
use maild::{Denied, Mechanism, Place, Proved, Trouble, accepted};
use mailstore::{
    Error, Folder, LockedMbox, MailKind, MaildirOptions, Maildrop, MboxIds, SpoolAt, SpoolLine,
};

use crate::options::Config;
use crate::protocol::Protocol;
use crate::protocol::authorization::Offers;
use crate::protocol::end_line::Login;
use crate::session::dialogue::{BUFFER, Session};
use crate::session::told::Told;

/// Longest wait for the lock of a maildrop, because a session may just be about to release it.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);
/// Time between two attempts to lock a maildrop.
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// Answers a question about a login, in a process of its own; after the right password it serves the
/// client. Returns the exit code.
pub fn answer(config: &Config, asked: forknet::Question) -> i32 {
    asked.show("a login");
    let (mut asked, proved) = match maild::prove(&config.mail, asked) {
        Ok(proved) => proved,
        Err(code) => return code,
    };
    if let Err(error) = asked.prepare_to_serve() {
        warn!("{}: socketpair: {}", proved.peer, reason(&error));
        return asked.answer(&Denied::Temporary.encode());
    }
    let (asked, opened) = open_as_owner(config, asked, &proved);
    let maildrop = match opened {
        Ok(maildrop) => maildrop,
        Err(denied) => return asked.answer(&denied.encode()),
    };
    let Proved { account: Account { name, .. }, mechanism, .. } = proved;
    let user = name.escape_ascii().to_string();
    asked.show(format_args!("mailbox of {}", in_title(user.as_bytes())));
    let who = (user, mechanism);
    asked.serve(&accepted(&name), |client, left| transaction(config, client, left, who, maildrop))
}

/// Opens the maildrop with its user's rights, for good.
fn open_as_owner(
    config: &Config,
    asked: forknet::Question,
    proved: &Proved,
) -> (forknet::Question, Result<Maildrop, Denied>) {
    let Proved { peer, account, .. } = proved;
    let (mut asked, opened) = match config.mail.mail.kind() {
        MailKind::Maildir => (asked, Ok(None)),
        MailKind::Mbox => {
            let (asked, line) = config.mail.open_spool(asked, account);
            (asked, line.map(Some))
        }
    };
    let opened = opened.and_then(|line| match line {
        None => open_maildir(config, account, &mut asked),
        Some(line) => open_mbox(line, config.mbox_ids, &mut asked),
    });
    let name = account.name.escape_ascii();
    let opened = opened.map_err(|Trouble { denied, why, .. }| {
        if denied == Denied::InUse {
            info!("{peer}: login of '{name}': {why}");
        } else {
            warn!("{peer}: login of '{name}': {why}");
        }
        denied
    });
    (asked, opened)
}

/// Becomes the owner of a Maildir, and opens it; this process has no other folder then.
fn open_maildir(
    config: &Config,
    account: &Account,
    asked: &mut forknet::Question,
) -> Result<Maildrop, Trouble> {
    let owner = config.mail.become_owner(account)?;
    let (folder, maildrop) = open(config, account, owner)?;
    asked.send_kept_note().map_err(|error| Trouble::temporary(reason(&error)))?; // --login-delay
    confine_to(folder, config.maildir.marks_seen).map_err(Trouble::temporary)?;
    Ok(maildrop)
}

/// Opens an mbox, whose owner this process is, and which it reads when it can open nothing any more.
fn open_mbox(
    line: SpoolLine,
    ids: MboxIds,
    asked: &mut forknet::Question,
) -> Result<Maildrop, Trouble> {
    let locked = LockedMbox::lock(SpoolAt::There(line))?;
    asked.send_kept_note().map_err(|error| Trouble::temporary(reason(&error)))?; // --login-delay
    confine_to(None::<Folder>, false).map_err(Trouble::temporary)?;
    Ok(locked.read(ids)?)
}

/// Opens the maildrop of an account, by its folder's descriptor; the folder is `None` where there is none
/// yet. Nothing is made.
pub fn open(
    config: &Config,
    account: &Account,
    owner: Owner,
) -> Result<(Option<Folder>, Maildrop), Trouble> {
    match config.mail.find_mailbox(account, owner)? {
        Place::There(folder) => {
            let maildrop = wait_for_lock(&folder, config.maildir)?;
            Ok((Some(folder), maildrop))
        }
        Place::Missing { parent, path, .. } => {
            config.mail.check_missing(&parent, &path, owner)?;
            info!("{}: no mailbox yet", path.display());
            Ok((None, Maildrop::none(&path)))
        }
    }
}

/// Opens a maildrop, waiting up to [`LOCK_TIMEOUT`] for its lock.
fn wait_for_lock(folder: &Folder, options: MaildirOptions) -> mailstore::Result<Maildrop> {
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        match Maildrop::open(folder, options) {
            Err(Error::InUse { .. }) if Instant::now() < deadline => {
                std::thread::sleep(LOCK_RETRY);
            }
            other => return other,
        }
    }
}

/// Serves a client whose login was right.
fn transaction(
    config: &Config,
    client: &mut Client,
    left: &Leftover,
    (user, mechanism): (String, Mechanism),
    maildrop: Maildrop,
) -> io::Result<()> {
    let Told { mechanisms, is_utf8, tls } = Told::decode(&client.facts);
    let plaintext = client.is_tls || config.mail.plaintext.allows(client.peer.is_loopback());
    let offers = Offers {
        plaintext,
        mechanisms,
        login_delay: config.login_delay(),
        last: config.last,
        ..Offers::default()
    };
    let (peer, since) = (client.peer.to_string(), client.conn.since());
    let names = (peer.clone(), config.host.clone());
    let login = Login { peer, user, mechanism, tls, is_utf8, since };
    let (protocol, reply) = Protocol::logged_in(names, offers, login, maildrop);
    let session = Session::new(BUFFER, (left, &mut client.conn), &mut client.transcript);
    session.with_title(client.title.clone()).transact(protocol, &reply)
}

impl<S: Read + Write> Session<'_, S> {
    /// Runs TRANSACTION and UPDATE; `reply` is that to the login.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn transact(mut self, mut protocol: Protocol, reply: &[u8]) -> io::Result<()> {
        let end = self.queue(reply).and_then(|()| self.converse(&mut protocol));
        self.end(protocol, end)
    }
}
