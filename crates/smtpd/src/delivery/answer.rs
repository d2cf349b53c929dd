//! The processes that answer a session's questions, forked by the keeper, with its rights. They open no folder of a
//! user's: for that they fork processes with that user's rights.

use std::io::ErrorKind;
use std::time::Duration;

use accounts::Secret;
use forknet::{Boxes, Peer};
use maild::{LoginQuestion, accepted_with_token};

use crate::delivery::deliver::{Letter, deliver};
use crate::delivery::filter;
use crate::delivery::log_once::{forget_client, set_client};
use crate::delivery::route::{Route, Router, Target};
use crate::delivery::transaction::{Found, Transaction};
use crate::delivery::verify;
use crate::options::{Config, Vrfy};
use crate::protocol::address::Name;
use crate::protocol::envelope::{Login, Way};
use crate::protocol::lookup::Commit;
use crate::protocol::question::{Question, Verdict, encode_moved};
use crate::protocol::records::Records;

/// Exit code of a process that did not answer: the keeper closes the line.
const FAILED: i32 = 1;

/// Exit code of a process after which the line can be used again.
const ENDED: i32 = 0;

/// Longest wait for the next question of a session, which ends with the process that asks.
const QUESTION_WAIT: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest wait for the next client of a worker: then nothing of it is left in memory.
const CLIENT_WAIT: Duration = Duration::from_secs(10);
/// Most clients of a worker in turn that one process answers for, a number.
const MAX_CLIENTS: u32 = 100;

/// Answers a session's questions, in a process of its own, up to a login, which is its last; returns the exit code. So
/// a session costs one process, and not one for each of its commands; and a worker's clients, one after the other, cost one
/// for a hundred of them.
pub fn answer(config: &Config, asked: forknet::Question) -> i32 {
    let mut transaction = Transaction::new(config, Boxes::new(asked));
    let (mut is_first, mut clients) = (true, 0);
    loop {
        let text = transaction.workers.boxes.take_text();
        if LoginQuestion::is_one(&text) {
            return last_login(transaction, is_first, Secret::new(text));
        }
        is_first = false;
        let Some((peer, question, records)) = decode(&mut transaction, text) else {
            return FAILED;
        };
        let is_next = question == Question::Next;
        clients += u32::from(is_next);
        let waited = match question {
            Question::Done => return done(transaction),
            Question::Next if clients >= MAX_CLIENTS => return done(transaction),
            Question::Filter { number } => {
                let boxes = &mut transaction.workers.boxes;
                filter::hand_over(config, (peer, number), boxes, QUESTION_WAIT)
            }
            question => {
                let Some(answer) = answer_to(&mut transaction, (peer, question), records) else {
                    return FAILED;
                };
                let wait = if is_next { CLIENT_WAIT } else { QUESTION_WAIT };
                transaction.workers.boxes.ask_back(&answer, wait)
            }
        };
        match waited {
            Ok(()) => {}
            Err(error) if is_next && error.kind() == ErrorKind::TimedOut => return ENDED,
            Err(error) => {
                log::debug!("{peer}: the session has ended: {}", forknet::reason(&error));
                return FAILED;
            }
        }
    }
}

/// Returns the answer to a question after which others may follow; `None` where the session has ended.
fn answer_to(
    transaction: &mut Transaction<'_>,
    (peer, question): (Peer, Question),
    records: Option<Records>,
) -> Option<Vec<u8>> {
    let config = transaction.config;
    Some(match question {
        Question::Recipient { name, bytes, way, login } => {
            recipient(transaction, (&name, &login), (bytes, way))
        }
        Question::Sender { name, login } => check_sender(config, &name, &login).encode(),
        Question::User { name } => verify::user(config, &name),
        Question::Members { name } => verify::members(config, &name),
        Question::FullName { text } => verify::full_name(config, &text),
        Question::Letter { id, sender, commit } => {
            letter(transaction, peer, (&id, &sender, commit), records?)?
        }
        Question::Next => {
            transaction.forget();
            forget_client();
            transaction.workers.boxes.end_client();
            transaction.workers.boxes.show("questions, idle");
            Verdict::Accepted.encode()
        }
        Question::Forget | Question::Filter { .. } | Question::Done => {
            transaction.forget();
            Verdict::Accepted.encode()
        }
    })
}

/// Answers a login, which this process can do if it knows the latest failures: the keeper has forked it for that.
fn last_login(transaction: Transaction<'_>, is_first: bool, text: Secret) -> i32 {
    let config = transaction.config;
    let Ok(asked) = transaction.workers.boxes.into_question() else { return FAILED };
    if !is_first {
        log::warn!("a login in a process that does not know the latest failures");
        return FAILED;
    }
    log_in(config, asked, text)
}

/// Reads a question, and what has come with it; `None` for one that the process which asks should not have sent.
fn decode(
    transaction: &mut Transaction<'_>,
    message: Vec<u8>,
) -> Option<(Peer, Question, Option<Records>)> {
    let (decoded, records) = match Records::new(message) {
        Ok(mut records) => (records.next_record().and_then(Question::decode), Some(records)),
        Err(message) => (Question::decode(&message), None),
    };
    let Some((peer, question)) = decoded else {
        log::warn!("a malformed question");
        return None;
    };
    if !transaction.workers.boxes.may_be_from(peer) {
        log::warn!("{peer}: asked by a process that has another client");
        return None;
    }
    transaction.workers.boxes.show("questions of a session");
    set_client(peer);
    transaction.set_peer(peer);
    Some((peer, question, records))
}

/// Receives a letter and has it delivered; returns the answer, `None` where the session has ended.
fn letter(
    transaction: &mut Transaction<'_>,
    peer: Peer,
    (id, sender, commit): (&[u8], &[u8], Commit),
    records: Records,
) -> Option<Vec<u8>> {
    let shown = format!("{peer}: letter {}", id.escape_ascii());
    transaction.workers.boxes.show("a letter");
    let letter = Letter { peer, id, sender, commit, shown: &shown };
    let answer = deliver(transaction, &letter, records);
    answer.inspect_err(|why| log::debug!("{shown}: {why}")).ok()
}

fn done(mut transaction: Transaction<'_>) -> i32 {
    transaction.forget();
    match transaction.workers.boxes.into_question() {
        Ok(asked) => asked.answer(&Verdict::Accepted.encode()),
        Err(_) => FAILED,
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
fn recipient(
    transaction: &mut Transaction<'_>,
    (name, login): (&Name, &Login),
    (bytes, way): (u64, Way),
) -> Vec<u8> {
    transaction.way = way;
    match transaction.recipient(name, bytes, login) {
        Ok(Found { moved_to: Some(address), .. }) => {
            let config = transaction.config;
            let told = if config.vrfy == Vrfy::None { "" } else { &address.text };
            encode_moved(told.as_bytes(), config.has_queue())
        }
        Ok(_) => Verdict::Accepted.encode(),
        Err(verdict) => verdict.encode(),
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
