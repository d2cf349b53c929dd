//! AUTHORIZATION (RFC 1939 §4, §7; RFC 5034).

use accounts::base64;
use testkit::Peer;

use crate::common::{LETTER, TestServer, text, until_dot};

/// The response of PLAIN with the right password.
fn right() -> String {
    base64(b"\0mrose\0tanstaaf")
}

fn wrong() -> String {
    base64(b"\0mrose\0wrong")
}

#[test]
fn case_59_pass_before_user_is_an_error() {
    let server = TestServer::new(&[]);
    let mut client = server.client();
    client.ask("PASS tanstaaf", "-ERR");
    client.ask("USER mrose", "+OK");
    client.ask("CAPA x", "-ERR");
    client.ask("PASS tanstaaf", "-ERR PASS: USER comes right before");
    client.ask("USER mrose", "+OK");
    client.ask("PASS tanstaaf", "+OK");
}

#[test]
fn case_62_the_timestamp_of_a_greeting_is_unique() {
    let server = TestServer::new(&[]);
    let mut stamps: Vec<String> = (0..20)
        .map(|_| {
            let mut peer = Peer::connect(server.daemon.addr());
            let greeting = text(&peer.expect("+OK "));
            let start = greeting.find('<').expect("a timestamp");
            greeting[start..].trim_end().to_owned()
        })
        .collect();
    assert!(stamps.iter().all(|stamp| stamp.ends_with('>') && stamp.contains('@')), "{stamps:?}");
    stamps.sort();
    stamps.dedup();
    assert_eq!(stamps.len(), 20);
}

#[test]
fn case_64_commands_behind_the_login_in_the_same_packet_are_answered_in_order() {
    let server = TestServer::new(&[LETTER, LETTER]);
    let mut client = server.client();
    client.send("USER mrose\r\nPASS tanstaaf\r\nSTAT\r\nRETR 2\r\nDELE 2\r\nQUIT\r\n");
    let all = text(&client.rest());
    let expected = "+OK now PASS\r\n+OK maildrop has 2 messages (44 octets)\r\n+OK 2 44\r\n\
        +OK 22 octets\r\nSubject: one\r\n\r\nbody\r\n.\r\n+OK message 2 deleted\r\n+OK ";
    assert!(all.starts_with(expected), "{all}");
    assert_eq!(server.letters(), ["1.a.test"]);
    let mut client = server.client();
    client.send(format!("AUTH PLAIN {}\r\nSTAT\r\n", right()));
    client.expect("+OK maildrop has 1 message");
    client.expect("+OK 1 22");
    // A wrong password does not shift what follows it.
    let mut client = server.client();
    client.send("USER mrose\r\nPASS wrong\r\nSTAT\r\nUSER x\r\n");
    for expected in ["+OK now PASS", "-ERR [AUTH]", "-ERR STAT is not valid", "+OK now PASS"] {
        client.expect(expected);
    }
}

#[test]
fn case_94_the_reply_to_a_login_has_the_words_of_the_slides_where_sizes_are_known() {
    for (letters, expected) in [
        (
            &[("1.a.test,S=113,W=120", 120), ("2.a.test,S=220,W=230", 230)][..],
            "2 messages (350 octets)",
        ),
        (&[("1.a.test,S=113,W=120", 120)], "1 message (120 octets)"),
        (&[], "0 messages (0 octets)"),
    ] {
        let server = TestServer::new(&[]);
        for (name, size) in letters {
            // As many lines as S= and W= differ by.
            let lines = if *size == 120 { 7 } else { 10 };
            let text = "x".repeat(size - 2 * lines) + &"\n".repeat(lines);
            server.dir.file(&format!("mrose/Maildir/new/{name}"), &text);
        }
        let mut client = server.client();
        client.ask("USER mrose", "+OK");
        client.ask("PASS tanstaaf", &format!("+OK maildrop has {expected}\r\n"));
        client.ask("RSET", &format!("+OK maildrop has {expected}\r\n"));
        let mut digest = Peer::connect(server.daemon.addr());
        let stamp = text(&digest.expect("+OK "));
        client.ask("QUIT", "+OK");
        let stamp = &stamp[stamp.find('<').unwrap()..stamp.find('>').unwrap() + 1];
        let digest_of = pop3d::protocol::apop::digest(stamp, b"tanstaaf");
        let reply = format!("+OK maildrop has {expected}\r\n");
        digest.ask(&format!("APOP mrose {digest_of}"), &reply);
        digest.ask("QUIT", "+OK");
        let mut sasl = server.client();
        sasl.ask(&format!("AUTH PLAIN {}", right()), &reply);
    }
}

#[test]
fn case_68_auth_alone_lists_the_mechanisms() {
    let server = TestServer::new(&[]);
    let mut client = server.client();
    client.ask("AUTH", "+OK");
    assert_eq!(until_dot(&mut client), ["SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN"]);
    client.ask("auth ", "+OK");
    assert_eq!(until_dot(&mut client).len(), 4);
}

#[test]
fn case_69_a_star_cancels_and_another_attempt_works() {
    let server = TestServer::new(&[]);
    let mut client = server.client();
    for mechanism in ["PLAIN", "LOGIN", "CRAM-MD5"] {
        client.ask(&format!("AUTH {mechanism}"), "+ ");
        client.ask("*", "-ERR AUTH: cancelled");
    }
    client.ask("AUTH PLAIN", "+ ");
    client.ask(&right(), "+OK maildrop");
}

#[test]
fn case_70_without_an_initial_response_the_server_asks_for_one() {
    let server = TestServer::new(&[]);
    let mut client = server.client();
    assert_eq!(text(&client.ask("AUTH PLAIN", "+ ")), "+ \r\n");
    client.ask(&wrong(), "-ERR [AUTH]");
    client.ask("AUTH PLAIN", "+ ");
    client.ask(&right(), "+OK");
    client.ask("STAT", "+OK 0 0");
}

#[test]
fn case_71_a_lone_equals_sign_is_an_empty_response() {
    let server = TestServer::new(&[]);
    let mut client = server.client();
    // It is a response, so none is asked for; PLAIN has none that is empty.
    client.ask("AUTH PLAIN =", "-ERR AUTH: ");
    client.ask("AUTH LOGIN =", "-ERR");
    client.ask(&format!("AUTH PLAIN {}", right()), "+OK");
}

#[test]
fn case_72_a_second_auth_is_an_error() {
    let server = TestServer::new(&[LETTER]);
    let mut client = server.client();
    client.ask(&format!("AUTH PLAIN {}", right()), "+OK");
    client.ask(&format!("AUTH PLAIN {}", right()), "-ERR AUTH is not valid in this state");
    client.ask("AUTH", "-ERR");
    client.ask("STAT", "+OK 1 22");
    let mut client = server.client();
    client.ask("AUTH PLAIN", "+ ");
    client.ask("AUTH PLAIN", "-ERR");
}

#[test]
fn case_92_auth_is_for_wrong_credentials_alone() {
    let options = ["--auth-delay", "0", "--plaintext", "never"];
    let server = TestServer::with(&[], &options, "");
    let mut client = server.client();
    for command in ["USER mrose", "PASS x", "AUTH PLAIN", "AUTH LOGIN", "AUTH XYZ", "APOP x"] {
        let reply = text(&client.ask(command, "-ERR "));
        assert!(!reply.contains('['), "{command}: {reply}");
    }
    client.ask("APOP mrose 0123456789abcdef0123456789abcdef", "-ERR [AUTH] ");
}
