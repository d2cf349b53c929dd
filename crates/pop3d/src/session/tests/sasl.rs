//! AUTH (RFC 5034).

use super::*;

/// base64 of `NUL mrose NUL tanstaaf`.
const RIGHT: &str = "AG1yb3NlAHRhbnN0YWFm";
/// The same with the password `wrong`.
const WRONG: &str = "AG1yb3NlAHdyb25n";

/// What a user with a `{PLAIN}` secret can use without TLS.
const ALL: &str = "SCRAM-SHA-256\r\nCRAM-MD5\r\nPLAIN\r\nLOGIN";

#[test]
fn auth_alone_lists_the_mechanisms() {
    let output = Home::new(&[]).replies(&[b"AUTH\r\n"]);
    assert!(output.ends_with(&format!("+OK mechanisms follow\r\n{ALL}\r\n.\r\n")), "{output}");
}

#[test]
fn plain_logs_in_with_an_initial_response_or_after_a_challenge() {
    let home = Home::new(&[]);
    for (commands, expected) in [
        (format!("AUTH PLAIN {RIGHT}\r\nSTAT\r\n"), "++"),
        (format!("auth plain\r\n{RIGHT}\r\nSTAT\r\n"), "+++"),
        (format!("AUTH PLAIN\r\n*\r\nAUTH PLAIN\r\n{RIGHT}\r\nSTAT\r\n"), "+-+++"),
        (format!("AUTH PLAIN {WRONG}\r\nSTAT\r\n"), "--"),
        (format!("AUTH PLAIN =\r\nAUTH PLAIN {RIGHT}\r\nSTAT\r\n"), "-++"),
        ("AUTH PLAIN\r\nSTAT\r\nSTAT\r\n".into(), "+--"),
        ("AUTH XOAUTH2\r\nSTAT\r\n".into(), "--"),
        (format!("AUTH PLAIN {RIGHT} x\r\nSTAT\r\n"), "--"),
        (format!("AUTH PLAIN {RIGHT}\r\nAUTH PLAIN {RIGHT}\r\nSTAT\r\n"), "+-+"),
        (format!("USER mrose\r\nAUTH PLAIN {WRONG}\r\nPASS tanstaaf\r\n"), "+--"),
    ] {
        let output = home.replies(&[commands.as_bytes()]);
        assert_eq!(signs(&output)[1..], *expected, "{commands:?}: {output}");
    }
}

#[test]
fn a_response_may_be_longer_than_a_command_up_to_its_limit() {
    let home = Home::new(&[]);
    let session = |length: usize| format!("AUTH PLAIN\r\n{}\r\nCAPA x\r\n", "A".repeat(length));
    let long = home.replies(&[session(1024).as_bytes()]);
    assert!(long.contains("PLAIN is"), "{long}");
    assert_eq!(signs(&long), "++--");
    let endless = home.replies(&[session(10_000).as_bytes()]);
    assert!(endless.contains("too long"), "{endless}");
    assert_eq!(signs(&endless), "++--");
    let initial = home.replies(&[format!("AUTH PLAIN {}\r\n", "A".repeat(300)).as_bytes()]);
    assert!(initial.contains("255"), "{initial}");
}

#[test]
fn failed_authentications_count_as_failed_logins() {
    let home = Home::new(&[]);
    let output = home.replies(&[format!("AUTH PLAIN {WRONG}\r\n").repeat(9).as_bytes()]);
    assert_eq!(signs(&output), "+-----");
}

#[test]
fn a_response_is_masked_in_the_transcript() {
    let home = Home::new(&[]);
    let mut protocol = home.protocol(true);
    assert_eq!(protocol.masked(b"NOOP"), b"NOOP");
    assert_eq!(protocol.masked(format!("AUTH PLAIN {RIGHT}").as_bytes()), b"AUTH PLAIN ********");
    assert!(matches!(protocol.line(b"AUTH PLAIN"), Outcome::LogIn(Attempt::Auth(_, None))));
    assert!(matches!(protocol.challenge(b""), Outcome::Reply(reply) if reply == b"+ \r\n"));
    assert_eq!(protocol.masked(RIGHT.as_bytes()), b"********");
    assert_eq!(protocol.masked(b"*"), b"*");
}
