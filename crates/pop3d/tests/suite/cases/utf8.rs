//! UTF8 and LANG (RFC 6856).

use super::listing;
use crate::common::{LETTER, TestServer, text};

/// A letter with UTF-8 in its header and in its body.
const LETTER_OF_JÜRGEN: &str = "From: Jürgen Müller <jm@example.test>\n\
    To: <jörg@example.test>, bob@example.test\n\
    Subject: schöne Grüße\n\
    Content-Type: text/plain; charset=utf-8\n\
    \n\
    .grün\nzwei\n";

/// Its header for a client that has not said UTF8.
const SURROGATE: [&str; 5] = [
    "From: =?utf-8?q?J=C3=BCrgen_M=C3=BCller?= <jm@example.test>",
    "To: =?utf-8?q?=3Cj=C3=B6rg=40example=2Etest=3E?= :;, bob@example.test",
    "Subject: =?utf-8?q?sch=C3=B6ne_Gr=C3=BC=C3=9Fe?=",
    "Content-Type: text/plain; charset=utf-8",
    "",
];

#[test]
fn case_78_utf8_after_the_login_is_an_error() {
    let server = TestServer::new(&[LETTER]);
    let mut client = server.mrose();
    client.ask("UTF8", "-ERR UTF8 is not valid in this state");
    client.ask("STAT", "+OK 1 22");
    let mut client = server.client();
    client.ask("UTF8 x", "-ERR");
    client.ask("utf8", "+OK");
    client.ask("UTF8", "+OK");
}

#[test]
fn case_90_a_header_in_utf8_is_sent_as_it_is_after_utf8_and_in_encoded_words_without() {
    for model in ["fork", "prefork", "thread", "iterative"] {
        let server = TestServer::with(&[LETTER_OF_JÜRGEN, LETTER], &["-m", model, "-n", "1"], "");
        let mut client = server.client();
        client.ask("UTF8", "+OK");
        client.ask("USER mrose", "+OK");
        client.ask("PASS tanstaaf", "+OK");
        let wire = LETTER_OF_JÜRGEN.replace('\n', "\r\n").replace("\r\n.", "\r\n..");
        let size = wire.len() - 1;
        client.ask("LIST 1", &format!("+OK 1 {size}\r\n"));
        client.ask("RETR 1", &format!("+OK {size} octets"));
        assert_eq!(text(&client.take(wire.len() + 3)), wire + ".\r\n");
        client.ask("QUIT", "+OK");
        drop(client);

        let mut client = server.mrose();
        let reply = text(&client.ask("RETR 1", "+OK "));
        let size: usize = reply.split(' ').nth(1).unwrap().parse().unwrap();
        let got = crate::common::until_dot(&mut client);
        assert_eq!(got[..5], SURROGATE, "{model}");
        assert_eq!(got[5..], ["..grün", "zwei"]);
        let sent: usize = got.iter().map(|line| line.len() + 2).sum();
        assert_eq!(sent - 1, size, "the size of the reply, without the stuffing");
        client.ask("LIST 1", &format!("+OK 1 {size}\r\n"));
        assert_eq!(listing(&mut client, "TOP 1 0"), SURROGATE);
        assert_eq!(listing(&mut client, "TOP 1 1")[5..], ["..grün"]);
        client.ask("RETR 2", "+OK 22 octets");
        crate::common::until_dot(&mut client);
        client.ask("QUIT", "+OK");
    }
}

#[test]
fn case_90_pop3c_fetches_letters_as_they_are() {
    let server = TestServer::new(&[LETTER_OF_JÜRGEN]);
    let dir = testkit::TempDir::new();
    let output = server.pop3c(&["--delete", "fetch", dir.path().to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let new = dir.path().join("new");
    let stored = testkit::names(&new);
    let stored = std::fs::read_to_string(new.join(&stored[0])).unwrap();
    assert_eq!(stored, LETTER_OF_JÜRGEN);
    assert!(server.letters().is_empty());
}

#[test]
fn case_90_a_header_that_is_too_long_to_be_made_ascii_needs_utf8() {
    let letter = format!("A: ü\n{}\nx\n", "B: c\n".repeat(20_000));
    let server = TestServer::new(&[&letter, LETTER]);
    let mut client = server.mrose();
    client.ask("RETR 1", "-ERR [UTF8] ");
    client.ask("TOP 1 0", "-ERR [UTF8] ");
    client.ask("RETR 2", "+OK 22 octets");
    crate::common::until_dot(&mut client);
    client.ask("QUIT", "+OK");
    drop(client);
    let mut client = server.client();
    client.ask("UTF8", "+OK");
    client.ask("USER mrose", "+OK");
    client.ask("PASS tanstaaf", "+OK");
    assert_eq!(listing(&mut client, "RETR 1").len(), 20_003);
}

#[test]
fn case_91_lang_lists_the_languages_and_takes_one_of_them_in_both_states() {
    let server = TestServer::new(&[LETTER]);
    let (before, after) = (server.client(), server.mrose());
    for mut client in [before, after] {
        let listed = listing(&mut client, "LANG");
        let tags: Vec<&str> = listed.iter().map(|row| row.split(' ').next().unwrap()).collect();
        assert_eq!(tags, ["en", "i-default"]);
        for (range, reply) in [
            ("en", "+OK en "),
            ("EN", "+OK en "),
            ("en-GB", "+OK en "),
            ("i-default", "+OK i-default "),
            ("*", "+OK en "),
            ("MUL", "-ERR "),
            ("uga", "-ERR "),
            ("eng", "-ERR "),
            ("en de", "-ERR "),
        ] {
            client.ask(&format!("LANG {range}"), reply);
        }
        client.ask("NOOP x", "-ERR");
    }
}
