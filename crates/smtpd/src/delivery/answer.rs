//! The processes that answer a session's questions, forked by the keeper, with its rights. What they read
//! of a user's they read as that user.

use accounts::Secret;
use forknet::Peer;
use maild::{LoginQuestion, Trouble, accepted};

use crate::delivery::deliver::deliver;
use crate::delivery::mailbox;
use crate::delivery::users::{Users, local_user, unreadable};
use crate::options::{Config, Vrfy};
use crate::protocol::address::Name;
use crate::protocol::question::{Question, Verdict, encode_users};

/// Exit code of a process that did not answer: the keeper closes the line.
const FAILED: i32 = 1;

/// Answers a question, in a process of its own; returns the exit code.
pub fn answer(config: &Config, mut asked: forknet::Question) -> i32 {
    let text = asked.take_text();
    if LoginQuestion::is_one(&text) {
        return log_in(config, asked, Secret::new(text));
    }
    let Some((peer, question)) = Question::decode(&text) else {
        log::warn!("a malformed question");
        return FAILED;
    };
    match question {
        Question::Room { bytes } => room(config, asked, peer, bytes),
        Question::Recipient { name, bytes } => recipient(config, asked, peer, &name, bytes),
        Question::User { name } => asked.answer(&user(config, &name)),
        Question::FullName { text } => asked.answer(&full_name(config, &text)),
        Question::Letter { id } => {
            let id = id.escape_ascii().to_string();
            deliver(config, asked, &format!("{peer}: letter {id}"))
        }
    }
}

/// Answers whether a login is right.
fn log_in(config: &Config, asked: forknet::Question, text: Secret) -> i32 {
    asked.show("a login");
    match maild::prove_from(&config.mail, asked, text) {
        Ok((asked, proved)) => asked.answer(&accepted(&proved.account.name)),
        Err(code) => code,
    }
}

/// Answers whether a user can receive a letter of this many bytes.
fn recipient(
    config: &Config,
    asked: forknet::Question,
    peer: Peer,
    name: &Name,
    bytes: u64,
) -> i32 {
    asked.show("a recipient");
    let found = Users::open(config).and_then(|users| users.find(name));
    let account = match found {
        Ok(Ok(account)) => account,
        Ok(Err(verdict)) => return asked.answer(&verdict.encode()),
        Err(error) => return asked.answer(&unreadable(&error).encode()),
    };
    let asked = asked.move_away();
    let verdict = match mailbox::check(&config.mail, &account) {
        Ok(free) if free >= bytes => Verdict::Accepted,
        Ok(_) => Verdict::NoRoom,
        Err(Trouble { why, .. }) => {
            let name = account.name.escape_ascii();
            log::warn!("{peer}: mailbox of '{name}': {why}");
            Verdict::Unusable
        }
    };
    asked.answer(&verdict.encode())
}

/// Answers whether there is room for this many bytes in the mailbox of the first user. Where that is
/// not known, there is, because each recipient's is looked at later.
fn room(config: &Config, asked: forknet::Question, peer: Peer, bytes: u64) -> i32 {
    asked.show("room for mail");
    let first = match Users::open(config).and_then(|users| users.first()) {
        Ok(Some(account)) => account,
        Ok(None) => return asked.answer(&Verdict::Accepted.encode()),
        Err(error) => return asked.answer(&unreadable(&error).encode()),
    };
    let asked = asked.move_away();
    let free = mailbox::check(&config.mail, &first);
    let verdict = if free.is_ok_and(|free| free < bytes) {
        log::warn!("{peer}: disk low: less than {bytes} bytes free for mail");
        Verdict::NoRoom
    } else {
        Verdict::Accepted
    };
    asked.answer(&verdict.encode())
}

/// Returns the answer about a user for VRFY.
fn user(config: &Config, name: &Name) -> Vec<u8> {
    if config.vrfy == Vrfy::None {
        return Verdict::Unknown.encode();
    }
    match Users::open(config).and_then(|users| users.find(name)) {
        Ok(Ok(account)) => encode_users(&[local_user(account)]),
        Ok(Err(verdict)) => verdict.encode(),
        Err(error) => unreadable(&error).encode(),
    }
}

/// Returns the answer about a full name for VRFY.
fn full_name(config: &Config, name: &[u8]) -> Vec<u8> {
    if config.vrfy == Vrfy::None {
        return Verdict::Unknown.encode();
    }
    match Users::open(config).and_then(|users| users.by_full_name(name)) {
        Ok(found) => encode_users(&found),
        Err(error) => unreadable(&error).encode(),
    }
}
