//! The processes that answer a session's questions, forked by the keeper, with its rights. Of users' folders
//! they see where they are, whose, and how much room is left; they open none of them.

use std::time::Duration;

use accounts::{Account, Secret};
use forknet::Peer;
use maild::{LoginQuestion, Trouble, accepted_with_token};

use crate::delivery::deliver::{Letter, deliver};
use crate::delivery::filter;
use crate::delivery::log_once::set_client;
use crate::delivery::route::{Route, Router, Target};
use crate::delivery::users::{Users, unreadable};
use crate::delivery::{mailbox, queue, verify};
use crate::options::{Config, Vrfy};
use crate::protocol::address::Name;
use crate::protocol::envelope::Login;
use crate::protocol::question::{Question, Verdict, encode_moved};

/// Exit code of a process that did not answer: the keeper closes the line.
const FAILED: i32 = 1;

/// Longest wait for the next question of a session, which ends with the process that asks.
const QUESTION_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Looks at the accounts and the folders at the start, and again after SIGHUP, with the keeper's rights; returns what
/// those must know who cannot look themselves.
///
/// # Errors
/// As [`Config::start`]; the queue cannot be used.
pub fn start(config: &Config) -> forknet::Result<Vec<u8>> {
    let offer = config.start()?;
    if let Some(options) = &config.relay.queue {
        let refused = |error: mailstore::Error| forknet::Error::Refused(format!("queue: {error}"));
        queue::make(options).map_err(refused)?;
    }
    Ok(offer)
}

/// Answers a session's questions, in a process of its own, up to a letter or a login, which are its last;
/// returns the exit code. So a letter costs one process, and not one for each of its commands.
pub fn answer(config: &Config, mut asked: forknet::Question) -> i32 {
    let mut is_first = true;
    loop {
        let text = asked.take_text();
        if LoginQuestion::is_one(&text) {
            if !is_first {
                log::warn!("a login in a process that does not know the latest failures");
                return FAILED;
            }
            return log_in(config, asked, Secret::new(text));
        }
        is_first = false;
        let Some((peer, question)) = Question::decode(&text) else {
            log::warn!("a malformed question");
            return FAILED;
        };
        if !asked.may_be_from(peer) {
            log::warn!("{peer}: asked by a process that has another client");
            return FAILED;
        }
        asked.show("questions of a session");
        set_client(peer);
        let answer = match question {
            Question::Room { bytes } => room(config, peer, bytes).encode(),
            Question::Recipient { name, bytes, login } => {
                match recipient(config, peer, (&name, &login), bytes) {
                    Ok(answer) => answer,
                    Err(account) => return ask_as_owner(config, asked, peer, &account, bytes),
                }
            }
            Question::Filter { number } => {
                match filter::hand_over(config, (peer, number), &mut asked, QUESTION_WAIT) {
                    Ok(()) => continue,
                    Err(_) => return FAILED,
                }
            }
            Question::Sender { name, login } => check_sender(config, &name, &login).encode(),
            Question::User { name } => verify::user(config, &name),
            Question::Members { name } => verify::members(config, &name),
            Question::FullName { text } => verify::full_name(config, &text),
            Question::Letter { id, sender, .. } => {
                return deliver(config, asked, &Letter::new(peer, id, sender));
            }
            Question::Done => return asked.answer(&Verdict::Accepted.encode()),
        };
        if let Err(error) = asked.ask_back(&answer, QUESTION_WAIT) {
            log::debug!("{peer}: the session has ended: {}", forknet::reason(&error));
            return FAILED;
        }
    }
}

/// Answers whether a login is right.
fn log_in(config: &Config, asked: forknet::Question, text: Secret) -> i32 {
    asked.show("a login");
    match maild::prove_from(&config.mail, asked, text) {
        Ok((asked, proved)) => {
            let token = config.mail.token(&proved.account.name);
            asked.answer(&accepted_with_token(&proved.account.name, &token))
        }
        Err(code) => code,
    }
}

/// Returns the answer whether a recipient can receive a letter of this many bytes.
///
/// # Errors
/// The mailbox looks as if it could not be used: its owner is to be asked, whose rights may differ.
fn recipient(
    config: &Config,
    peer: Peer,
    (name, login): (&Name, &Login),
    bytes: u64,
) -> Result<Vec<u8>, Account> {
    let routes = match Router::open(config).and_then(|router| router.expand(name)) {
        Ok(routes) => routes,
        Err(Verdict::Elsewhere) => return Ok(queue::admit(config, peer, login, bytes).encode()),
        Err(verdict) => return Ok(verdict.encode()),
    };
    if let Some(address) = routes.moved_to {
        let told = if config.vrfy == Vrfy::None { "" } else { &address.text };
        return Ok(encode_moved(told.as_bytes(), config.has_queue()));
    }
    let [Route { target: Target::Mailbox { account, .. }, .. }] = routes.all.as_slice() else {
        return Ok(Verdict::Accepted.encode());
    };
    let owner = config.mail.owner(account);
    match owner.and_then(|owner| mailbox::free_bytes(&config.mail, account, owner, is_root())) {
        Ok(free) if free >= bytes => Ok(Verdict::Accepted.encode()),
        Ok(_) => Ok(Verdict::NoRoom.encode()),
        Err(_) => Err(account.clone()),
    }
}

/// Becomes the owner of a mailbox, for good, and answers whether it can be used.
fn ask_as_owner(
    config: &Config,
    asked: forknet::Question,
    peer: Peer,
    account: &Account,
    bytes: u64,
) -> i32 {
    let (asked, is_root) = (asked.move_away(), is_root());
    let owner = config.mail.become_owner(account);
    let free = owner.and_then(|owner| mailbox::free_bytes(&config.mail, account, owner, is_root));
    let verdict = match free {
        Ok(free) if free >= bytes => Verdict::Accepted,
        Ok(_) => Verdict::NoRoom,
        Err(Trouble { why, .. }) => {
            log::warn!("{peer}: mailbox of '{}': {why}", account.name.escape_ascii());
            Verdict::Unusable
        }
    };
    asked.answer(&verdict.encode())
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Returns whether there is room for this many bytes in the mailbox of the first user. Where that is
/// not known, there is, because each recipient's is looked at later.
fn room(config: &Config, peer: Peer, bytes: u64) -> Verdict {
    let first = match Users::open(config).and_then(|users| users.first()) {
        Ok(Some(account)) => account,
        Ok(None) => return Verdict::Accepted,
        Err(error) => return unreadable(&error),
    };
    let owner = config.mail.owner(&first);
    match owner.and_then(|owner| mailbox::free_bytes(&config.mail, &first, owner, is_root())) {
        Ok(free) if free < bytes => {
            log::warn!("{peer}: disk low: less than {bytes} bytes free for mail");
            Verdict::NoRoom
        }
        _ => Verdict::Accepted,
    }
}

/// Returns whether an address is that of the user who has logged in, and of no other.
fn check_sender(config: &Config, name: &Name, login: &Login) -> Verdict {
    if !config.mail.has_logged_in(&login.name, &login.token) {
        return Verdict::Unknown;
    }
    match Router::open(config).and_then(|router| router.expand(name)) {
        Ok(routes) => match routes.all.as_slice() {
            [Route { target: Target::Mailbox { account, .. }, .. }]
                if account.name == login.name =>
            {
                Verdict::Accepted
            }
            _ => Verdict::Unknown,
        },
        Err(verdict) => verdict,
    }
}
