//! Moving a Maildir from another server: ids that clients know already, and what other programs see afterwards.

use std::fs;

use crate::common::{LETTER, TestServer, give, until_dot};

fn uidl(server: &TestServer) -> Vec<String> {
    let mut client = server.mrose();
    client.ask("UIDL", "+OK");
    let rows = until_dot(&mut client);
    client.ask("QUIT", "+OK");
    rows
}

const DOVECOT: &str =
    "3 V1275660208 N3 G3085f01b7f11094c501100008c4a11c1\n1 W22 :1.a.test\n2 Pold :2.a.test\n";

#[test]
fn with_uidl_dovecot_ids_are_those_of_its_list_and_go_on_where_it_ends() {
    let server = TestServer::with(&[LETTER; 3], &["--uidl", "dovecot"], "");
    let list = server.maildir().join("dovecot-uidlist");
    fs::write(&list, DOVECOT).unwrap();
    give(&list);
    let expected = ["1 000000014c0907b0", "2 old", "3 000000034c0907b0"];
    assert_eq!(uidl(&server), expected);
    assert_eq!(fs::read_to_string(&list).unwrap(), format!("{DOVECOT}3 :3.a.test\n"));
    // A letter that was moved and flagged keeps its id.
    let maildir = server.maildir();
    fs::rename(maildir.join("new/3.a.test"), maildir.join("cur/3.a.test:2,RS")).unwrap();
    assert_eq!(uidl(&server), expected);
    assert!(!maildir.join("dovecot-uidlist.lock").exists());
}

#[test]
fn with_uidl_courier_ids_are_those_of_its_list() {
    let server = TestServer::with(&[LETTER; 2], &["--uidl", "courier"], "");
    let list = server.maildir().join("courierpop3dsizelist");
    fs::write(&list, "/3 2 1275660208\n1.a.test:2,S 22 1:1275660208:0\n").unwrap();
    give(&list);
    assert_eq!(uidl(&server), ["1 UID1-1275660208", "2 2.a.test"]);
}

#[test]
fn with_a_list_that_is_not_understood_ids_are_names_and_the_log_says_so() {
    let server = TestServer::with(&[LETTER], &["--uidl", "dovecot"], "");
    let list = server.maildir().join("dovecot-uidlist");
    fs::write(&list, "3 V1 N9\n1 no colon\n").unwrap();
    give(&list);
    assert_eq!(uidl(&server), ["1 1.a.test"]);
    server.daemon.wait_log("dovecot-uidlist:2: not understood; the ids are names");
}

#[test]
fn with_seen_what_retr_has_sent_is_marked_when_the_session_ends_however_it_ends() {
    let server = TestServer::with(&[LETTER; 4], &["--seen"], "");
    let names = |part: &str| testkit::names(&server.maildir().join(part));
    let mut client = server.mrose();
    client.ask("RETR 1", "+OK");
    until_dot(&mut client);
    client.ask("TOP 2 9", "+OK");
    until_dot(&mut client);
    client.ask("RETR 4", "+OK");
    until_dot(&mut client);
    client.ask("DELE 4", "+OK");
    assert_eq!(names("new").len(), 4);
    client.ask("QUIT", "+OK");
    assert_eq!(names("new"), ["2.a.test", "3.a.test"]);
    assert_eq!(names("cur"), ["1.a.test:2,S"]);
    let before = uidl(&server);
    let mut client = server.mrose();
    client.ask("RETR 2", "+OK");
    until_dot(&mut client);
    drop(client);
    testkit::wait_until("the letter is marked", || names("cur").len() == 2);
    assert_eq!(names("cur"), ["1.a.test:2,S", "2.a.test:2,S"]);
    assert_eq!(uidl(&server), before);
}

#[test]
fn without_seen_nothing_is_marked() {
    let server = TestServer::new(&[LETTER]);
    let mut client = server.mrose();
    client.ask("RETR 1", "+OK");
    until_dot(&mut client);
    client.ask("QUIT", "+OK");
    assert_eq!(server.letters(), ["1.a.test"]);
}

#[test]
fn a_letter_under_the_name_of_another_changes_no_id() {
    let server = TestServer::new(&[LETTER; 2]);
    let maildir = server.maildir();
    fs::rename(maildir.join("new/1.a.test"), maildir.join("cur/1.a.test:2,S")).unwrap();
    let ids = |server: &TestServer| -> Vec<String> {
        let rows = uidl(server).into_iter();
        rows.map(|row| row.split_once(' ').unwrap().1.to_owned()).collect()
    };
    assert_eq!(ids(&server), ["1.a.test", "2.a.test"]);
    fs::write(maildir.join("new/1.a.test"), "Subject: twin\n\n").unwrap();
    let mut twins = ids(&server);
    twins.sort();
    assert!(twins.len() == 3 && twins.contains(&"1.a.test".to_owned()), "{twins:?}");
    assert!(twins.contains(&"2.a.test".to_owned()), "{twins:?}");
    fs::rename(maildir.join("new/1.a.test"), maildir.join("cur/1.a.test:2,F")).unwrap();
    let mut moved = ids(&server);
    moved.sort();
    assert_eq!(moved, twins);
}

#[test]
fn with_uidl_popa3d_the_ids_of_an_mbox_are_those_of_popa3d() {
    // What popa3d 1.0.3 answers stands beside the mbox; crates/mailstore tests the ids themselves.
    let beside = |name: &str| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../mailstore/src/mbox/index");
        fs::read(format!("{folder}/{name}")).unwrap()
    };
    let expected = String::from_utf8(beside("popa3d.uidl")).unwrap();
    let options = ["--mail", "mbox:~/mbox", "--uidl", "popa3d"];
    let server = TestServer::with(&[], &options, "");
    give(&server.path("mrose"));
    fs::write(server.path("mrose/mbox"), beside("popa3d.mbox")).unwrap();
    give(&server.path("mrose/mbox"));
    let rows = uidl(&server);
    for (number, id) in (1..).zip(expected.lines()) {
        assert_eq!(rows[number - 1], format!("{number} {id}"));
    }
}
