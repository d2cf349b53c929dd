//! AUTHORIZATION.

use super::*;

#[test]
fn pass_is_valid_only_right_after_user() {
    let home = Home::new(&[]);
    for (commands, expected) in [
        ("PASS tanstaaf\r\n", "-"),
        ("USER mrose\r\nNOOP\r\nPASS tanstaaf\r\n", "+--"),
        ("USER mrose\r\nCAPA 1\r\nPASS tanstaaf\r\n", "+--"),
        ("USER unknown\r\nUSER mrose\r\nPASS tanstaaf\r\n", "+++"),
        ("USER mrose\r\nPASS wrong\r\nPASS tanstaaf\r\n", "+--"),
        ("USER mrose\r\nPASS wrong\r\nUSER mrose\r\nPASS tanstaaf\r\n", "+-++"),
        ("USER mrose\r\nPASS\r\nUSER mrose\r\nPASS tanstaaf\r\n", "+-++"),
        ("USER\r\nUSER a b\r\nUSER \r\n", "---"),
    ] {
        let output = home.replies(&[commands.as_bytes()]);
        assert_eq!(signs(&output)[1..], *expected, "{commands:?}");
    }
}

#[test]
fn an_unknown_user_and_a_wrong_password_get_the_same_reply() {
    let home = Home::new(&[]);
    let known = home.replies(&[b"USER mrose\r\nPASS wrong\r\n"]);
    let unknown = home.replies(&[b"USER unknown\r\nPASS wrong\r\n"]);
    let behind_greeting = |output: &str| output.split_once("\r\n").unwrap().1.to_owned();
    assert_eq!(behind_greeting(&known), behind_greeting(&unknown));
    assert!(known.ends_with("-ERR [AUTH] wrong user name or password\r\n"));
}

#[test]
fn the_fifth_failed_login_ends_the_session() {
    let home = Home::new(&[]);
    let output = home.replies(&["USER mrose\r\nPASS x\r\n".repeat(9).as_bytes()]);
    assert_eq!(signs(&output), "++-+-+-+-+-");
    assert!(output.ends_with("-ERR [AUTH] too many failed logins, goodbye\r\n"));
}

#[test]
fn apop_logs_in_with_the_digest_of_this_session_only() {
    let home = Home::new(&[]);
    let with = |name: &str, secret: &[u8], stamp: Option<&str>| {
        let protocol = home.protocol(false);
        let greeting = protocol.greeting();
        let stamp = match stamp {
            Some(other) => other.to_owned(),
            None => String::from_utf8(apop::timestamp_in(&greeting).unwrap().to_vec()).unwrap(),
        };
        let line = format!("APOP {name} {}\r\n", apop::digest(&stamp, secret));
        let output = Rc::new(RefCell::new(Vec::new()));
        let stream = Stream { pieces: vec![line.into_bytes()], output: Rc::clone(&output) };
        home.converse(stream, protocol).unwrap();
        String::from_utf8(output.take().concat()).unwrap().split_once("\r\n").unwrap().1.to_owned()
    };
    assert_eq!(with("mrose", b"tanstaaf", None), "+OK maildrop has 0 messages (0 octets)\r\n");
    let refusal = "-ERR [AUTH] wrong user name or password\r\n";
    assert_eq!(with("mrose", b"wrong", None), refusal);
    assert_eq!(with("unknown", b"tanstaaf", None), refusal);
    assert_eq!(with("mrose", b"tanstaaf", Some("<1896.697170952@dbc.mtview.ca.us>")), refusal);
}

#[test]
fn apop_is_offered_only_if_a_user_has_a_secret() {
    let home = Home::new(&[]);
    home.write_users("mrose:$6$a$b\n");
    let output = home.replies(&[b"APOP mrose c4c9334bac560ecc979e58001b3e22fb\r\n"]);
    assert!(!output.contains('<'));
    assert_eq!(signs(&output), "+-");
}

#[test]
fn plaintext_is_refused_to_remote_clients_and_not_listed_by_capa() {
    let home = Home::new(&[]);
    let mut far = home.protocol(false);
    for line in [&b"USER mrose"[..], b"PASS tanstaaf", b"AUTH PLAIN", b"AUTH PLAIN AG1yb3NlAHg="] {
        assert!(
            matches!(far.line(line), Outcome::Reply(reply) if reply.starts_with(b"-ERR plaintext"))
        );
    }
    let capabilities = |protocol: &Protocol| String::from_utf8(protocol.capabilities()).unwrap();
    assert!(!capabilities(&far).contains("USER"));
    assert!(capabilities(&far).contains("\r\nSASL SCRAM-SHA-256 CRAM-MD5\r\n"));
    assert!(
        matches!(far.line(b"AUTH"), Outcome::Reply(reply) if reply.ends_with(b"CRAM-MD5\r\n.\r\n"))
    );
    let near = capabilities(&home.protocol(true));
    let tags: Vec<&str> = near.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(
        tags,
        [
            "+OK",
            "TOP",
            "UIDL",
            "USER",
            "SASL",
            "RESP-CODES",
            "AUTH-RESP-CODE",
            "PIPELINING",
            "UTF8",
            "LANG",
            "EXPIRE",
            "IMPLEMENTATION",
            "."
        ]
    );
    assert!(home.logged_in("CAPA\r\n").ends_with(near.as_str()));
}

#[test]
fn a_missing_users_file_and_a_broken_maildir_differ_from_a_wrong_password() {
    let home = Home::new(&[]);
    fs::remove_dir_all(home.maildir()).unwrap();
    fs::write(home.maildir(), "a file").unwrap();
    let output = home.replies(&[b"USER mrose\r\nPASS tanstaaf\r\n"]);
    assert!(output.ends_with("-ERR [SYS/PERM] the maildrop cannot be opened\r\n"), "{output}");
    fs::remove_file(home.users()).unwrap();
    let output = home.replies(&[b"USER mrose\r\nPASS tanstaaf\r\nQUIT\r\n"]);
    assert!(output.contains("-ERR [SYS/TEMP] "), "{output}");
    assert_eq!(signs(&output), "++-+");
}

#[test]
fn a_second_session_is_refused_until_the_first_is_over() {
    let home = Home::new(&[]);
    let mut first = home.protocol(true);
    for line in [&b"USER mrose"[..], b"PASS tanstaaf"] {
        assert!(matches!(home.line(&mut first, line), Outcome::Reply(_)));
    }
    let output = home.replies(&[b"USER mrose\r\nPASS tanstaaf\r\nQUIT\r\n"]);
    assert!(output.contains("\r\n-ERR [IN-USE] "), "{output}");
    assert!(first.update().starts_with(b"+OK"));
    home.logged_in("QUIT\r\n");
}

#[test]
fn a_name_may_contain_any_bytes() {
    let home = Home::new(&[]);
    let output =
        home.replies(&[b"USER ../../etc\xff\xfe\r\nPASS \xff\x01\r\nUSER a\x01\r\nQUIT\r\n"]);
    assert_eq!(signs(&output), "++--+");
    assert!(home.0.path().exists());
}
