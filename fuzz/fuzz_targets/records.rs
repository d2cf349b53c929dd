//! The records that processes of a server send each other. The one that talks to a client may have been taken
//! over, and the keeper's processes read what it asks with the rights of root: what is no record is refused, what
//! is one is read as it was written.
#![no_main]

use accounts::checkpassword::{MAX_REPORT, Report, parse_request, request};
use accounts::{MAX_NAME, Secret, dovecot_auth};
use forklore_fuzz::option;
use forknet::{HandedClient, Peer};
use libfuzzer_sys::fuzz_target;
use maild::{Denied, LoginQuestion, Offer};
use smtpd::delivery::order::{Attempt, Tried, Writing};
use smtpd::duplicates::Known;
use smtpd::protocol::origin::{Origin, decode_recipients};
use smtpd::protocol::question::{
    Question, Verdict, decode_moved, decode_users, decode_verdicts, encode_moved, encode_users,
};
use smtpd::protocol::stored::Stored;
use tls::{Chains, SignatureRequest};

fuzz_target!(|data: &[u8]| {
    let (kind, record) = option(data);
    match kind % 8 {
        0 => login_question(record),
        1 => handed_client(record),
        2 => smtp_question(record),
        3 => verdicts(record),
        4 => users(record),
        5 => keys(record),
        6 => accounts_of_others(record),
        _ => {
            small(record);
            orders(record);
        }
    }
});

fn login_question(record: &[u8]) {
    let asked = Secret::from(record);
    let Some(question) = LoginQuestion::decode(&asked) else { return };
    assert!(LoginQuestion::is_one(record), "a question that the keeper of smtpd would not know");
    let again = question.encode().expect("what was read can be asked");
    assert_eq!(LoginQuestion::decode(&again), Some(question));
    // No record can be read in two ways: one that is longer or shorter is none.
    let longer = [record, b"\0"].concat();
    assert_eq!(LoginQuestion::decode(&Secret::new(longer)), None);
    let shorter = &record[..record.len() - 1];
    let unfinished = LoginQuestion::decode(&Secret::from(shorter));
    // Without fields a record is its first byte.
    assert!(unfinished.is_none(), "a record that was cut off");
}

fn handed_client(record: &[u8]) {
    let Some(client) = HandedClient::decode(record) else { return };
    assert_eq!(HandedClient::decode(&client.encode()), Some(client));
}

fn smtp_question(record: &[u8]) {
    let Some((peer, question)) = Question::decode(record) else { return };
    if let Some(again) = question.encode(peer) {
        assert_eq!(Question::decode(&again), Some((peer, question)));
    }
}

fn verdicts(record: &[u8]) {
    if let Some(verdicts) = decode_verdicts(record) {
        assert_eq!(Verdict::encode_all(&verdicts), record);
    }
    if let Some((address, is_sent_on)) = decode_moved(record) {
        assert_eq!(decode_moved(&encode_moved(address, is_sent_on)), Some((address, is_sent_on)));
    }
}

fn users(record: &[u8]) {
    let Some(users) = decode_users(record) else { return };
    let again = decode_users(&encode_users(&users)).expect("what was written");
    assert_eq!(again.len(), users.len());
}

fn keys(record: &[u8]) {
    if let Some(request) = SignatureRequest::decode(record) {
        assert_eq!(SignatureRequest::decode(&request.encode()), Some(request));
    }
    if let Some(chains) = Chains::decode(record) {
        assert_eq!(chains.encode(), record);
    }
}

fn accounts_of_others(record: &[u8]) {
    let _ = dovecot_auth::reply(record);
    let mut greeting = dovecot_auth::Greeting::default();
    let _ = record.split(|&byte| byte == b'\n').try_for_each(|line| greeting.line(line).map(drop));
    if let Ok(report) = Report::parse(record) {
        assert!(report.owner.uid != 0 && (1..=MAX_NAME).contains(&report.name.len()));
        assert!(record.len() <= MAX_REPORT);
        let again = report.encode().expect("what was read");
        assert_eq!(Report::parse(&again).expect("what was written"), report);
    }
    if let Some((name, password)) = parse_request(record) {
        let again = request(name, &password, b"");
        assert!(again.is_ok_and(|again| parse_request(again.as_bytes()).is_some()));
    }
}

/// What the process that delivers and those with users' rights say to each other.
fn orders(record: &[u8]) {
    if let Some(attempt) = Attempt::decode(record)
        && let Some(again) = attempt.encode()
    {
        assert_eq!(Attempt::decode(&again), Some(attempt));
    }
    if let Some(writing) = Writing::decode(record)
        && let Some(again) = writing.encode()
    {
        assert_eq!(Writing::decode(&again), Some(writing));
    }
    let tried = Tried::decode(record);
    assert_eq!(Tried::decode(&tried.encode()), tried);
    if let Some((stored, rest)) = Stored::decode(record) {
        assert_eq!([stored.encode(), rest.to_vec()].concat(), record);
        assert!(!stored.to_string().contains([' ', '\n']), "a word of the log");
    }
    if let Some(origin) = Origin::decode(record)
        && let Some(again) = origin.encode()
    {
        assert_eq!(Origin::decode(&again[1..]), Some(origin));
    }
    if let Some(recipients) = decode_recipients(record) {
        assert!(recipients.len() <= record.len());
    }
    if let Ok(text) = std::str::from_utf8(record) {
        let known = Known::of(text.to_owned(), 1_796_050_231).text();
        assert_eq!(Known::of(known.clone(), 1_796_050_231).text(), known);
    }
}

fn small(record: &[u8]) {
    if let Some(denied) = Denied::decode(record) {
        assert_eq!(denied.encode(), record);
    }
    if let Some(verdict) = Verdict::decode(record) {
        assert_eq!(verdict.encode(), record);
    }
    if let Some(peer) = Peer::parse(record) {
        assert_eq!(Peer::parse(peer.record().as_bytes()), Some(peer));
        assert!(!peer.to_string().contains(['\n', '\r']), "a peer is a word of the log");
    }
    let offer = Offer::decode(record);
    assert_eq!(Offer::decode(&offer.encode()).encode(), offer.encode());
}
