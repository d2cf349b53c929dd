//! Bad input: each gets a clear error, and nothing is lost.

use std::net::TcpListener;

use crate::common::{LETTER, POP3D, TestServer, as_root, text, users_file};
use testkit::{
    Peer, TempDir, children, command, descriptors, names, peak_memory, run, wait_until, zombies,
};

fn signs(replies: &[u8]) -> String {
    text(replies).lines().map(|line| line[..1].to_owned()).collect()
}

#[test]
fn case_31_unknown_empty_and_misplaced_commands_are_refused_and_the_session_lives() {
    let server = TestServer::new(&[LETTER]);
    let mut client = server.client();
    for line in ["", " ", "XYZZY", "STAT", "RETR 1", "QUIT 1", "CAPA x", "PASS x", "AUTH X", "STLS"]
    {
        client.ask(line, "-ERR");
    }
    client.ask("USER mrose", "+OK");
    client.ask("PASS tanstaaf", "+OK");
    for line in ["", "XYZZY", "STAT x", "QUIT 1", "USER mrose", "PASS x", "APOP a b", "UTF8", "R"] {
        client.ask(line, "-ERR");
    }
    client.ask("STAT", "+OK 1 22");
}

#[test]
fn case_34_nul_and_control_characters_are_refused() {
    let server = TestServer::new(&[]);
    let mut client = server.client();
    for line in [&b"USER m\0rose\r\n"[..], b"\0\r\n", b"US\0ER mrose\r\n", b"USER a\x1b\r\n"] {
        client.send(line);
        client.expect("-ERR");
    }
    client.ask("USER mrose", "+OK");
    client.send(b"PASS tanstaaf\0\r\n");
    client.expect("-ERR");
    client.ask("USER mrose", "+OK");
    client.ask("PASS tanstaaf", "+OK");
}

#[test]
fn case_36_a_line_of_255_octets_is_parsed_and_one_of_10_kb_is_one_err_with_its_tail_never_run() {
    let server = TestServer::new(&[LETTER]);
    let mut client = server.client();
    client.ask(&format!("USER {}", "x".repeat(248)), "+OK");
    client.ask(&format!("USER {}", "x".repeat(249)), "-ERR");
    client.ask("USER mrose", "+OK");
    client.ask("PASS tanstaaf", "+OK");
    for length in [256, 4095, 4096, 8191, 8192, 8193, 10_000] {
        client.send(format!("{}\r\nNOOP\r\n", "DELE 1 ".repeat(length / 7 + 1)));
        client.expect("-ERR");
        client.expect("+OK nothing done");
    }
    client.ask("STAT", "+OK 1 22");
}

#[test]
fn case_36_an_endless_line_costs_no_memory() {
    let server = TestServer::new(&[]);
    let mut client = server.client();
    let child = server.daemon.server_of(&client);
    for _ in 0..64 {
        client.send(vec![b'x'; 1 << 20]);
    }
    client.send("\r\n");
    client.expect("-ERR");
    client.ask("CAPA", "+OK");
    let kib = peak_memory(child);
    assert!(kib < 20 * 1024, "{kib} KiB at the highest");
}

#[test]
fn case_37_octet_by_octet_is_the_same_as_one_packet() {
    let server = TestServer::new(&[LETTER]);
    let dialogue = b"USER mrose\r\nPASS tanstaaf\r\nSTAT\r\nUIDL 1\nqUiT\r\n";
    let mut slow = server.client();
    for octet in dialogue.chunks(1) {
        slow.send(octet);
    }
    let slow = slow.rest();
    let mut fast = server.client();
    fast.send(dialogue);
    assert_eq!(text(&slow), text(&fast.rest()));
    assert_eq!(signs(&slow), "+++++");
}

#[test]
fn case_64_three_commands_in_one_packet_get_three_replies_in_order() {
    let server = TestServer::new(&[LETTER]);
    let mut client = server.client();
    client.send("USER mrose\r\nPASS tanstaaf\r\nSTAT\r\n");
    client.expect("+OK now PASS");
    client.expect("+OK maildrop has 1 message");
    client.expect("+OK 1 22");
}

#[test]
fn half_a_command_is_never_run() {
    let server = TestServer::new(&[LETTER]);
    for half in ["DELE 1\r\nQUIT", "DELE 1\r\nQUIT\r", "DELE 1\r\nQ"] {
        let mut client = server.mrose();
        client.send(half);
        client.shutdown_write();
        assert_eq!(signs(&client.rest()), "+", "{half:?}");
        assert_eq!(server.letters().len(), 1);
    }
}

#[test]
fn binary_junk_gets_errors_and_then_the_door_and_the_server_lives() {
    let server = TestServer::new(&[LETTER]);
    // A fixed sequence that looks like noise, and has every octet.
    let mut x = 1_u32;
    let mut noise = || {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (x >> 24) as u8
    };
    for _ in 0..5 {
        let junk: Vec<u8> = (0..200_000).map(|_| noise()).collect();
        let mut client = server.client();
        let _closed_on_us = client.try_send(&junk);
        let _closed_on_us = client.stream().shutdown(std::net::Shutdown::Write);
        assert!(client.is_closed());
    }
    let mut client = server.client();
    client.send("\u{fe}\u{ff}\r\n".repeat(200));
    let replies = client.rest();
    assert!(signs(&replies).chars().all(|sign| sign == '-'));
    assert!(text(&replies).ends_with("-ERR too many bad commands, goodbye\r\n"));
    server.mrose().ask("STAT", "+OK 1 22");
}

#[test]
fn case_65_a_connection_dropped_at_any_octet_deletes_nothing_and_leaves_no_zombie() {
    let server = TestServer::new(&[LETTER, LETTER]);
    let all_gone = || children(server.daemon.pid()).is_empty();
    drop(server.client());
    wait_until("the first child is gone", all_gone);
    let before = descriptors(server.daemon.pid());
    let dialogue = "USER mrose\r\nPASS tanstaaf\r\nDELE 1\r\nRETR 2\r\nQUIT\r";
    for cut in 0..=dialogue.len() {
        let mut client = Peer::connect(server.daemon.addr());
        client.send(&dialogue[..cut]);
        if cut % 2 == 0 { client.reset() } else { drop(client) }
    }
    drop(server.client()); // the last in the queue: once it is served, all others were
    wait_until("all children are gone", all_gone);
    assert_eq!(server.letters().len(), 2);
    assert!(zombies(server.daemon.pid()).is_empty());
    assert_eq!(descriptors(server.daemon.pid()), before);
}

fn pop3d(args: &[&str]) -> (Option<i32>, String, String) {
    let output = run(command(POP3D, args), b"");
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_missing_users_file_is_said_at_the_start() {
    let (code, _, error) = pop3d(&["--users", "/no/such/users", "-l", "127.0.0.1:0"]);
    assert_eq!(error, "pop3d: users /no/such/users: No such file or directory\n");
    assert_eq!(code, Some(1));
    let (code, _, error) = pop3d(&["--users", "/", "-l", "127.0.0.1:0"]);
    assert_eq!((code, error.as_str()), (Some(1), "pop3d: users /: Is a directory\n"));
}

#[test]
fn case_15_an_occupied_port_is_said_at_the_start() {
    let dir = TempDir::new();
    let users = users_file(&dir, "a:{PLAIN}x\n");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let (code, _, error) = pop3d(&["--users", users.to_str().unwrap(), "-l", &addr]);
    assert_eq!(code, Some(1));
    assert_eq!(error, format!("pop3d: bind {addr}: Address already in use\n"));
}

#[test]
fn case_27_under_inetd_the_one_client_is_standard_input() {
    let dir = TempDir::new();
    let users = users_file(&dir, &format!("a:{{PLAIN}}x:::a:{}:\n", dir.path().display()));
    crate::common::make_maildir(&dir.path().join("Maildir"));
    dir.file("Maildir/new/1.a", LETTER);
    let mut command = std::process::Command::new(POP3D);
    command.args(["-i", "-q", "--users", users.to_str().unwrap()]).args(as_root());
    let output = run(command, b"USER a\r\nPASS x\r\nSTAT\r\nDELE 1\r\nQUIT\r\n");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(signs(&output.stdout), "++++++");
    assert!(names(&dir.path().join("Maildir/new")).is_empty());
}

#[test]
fn a_users_file_that_is_a_fifo_is_refused_and_not_waited_for() {
    let dir = TempDir::new();
    let fifo = dir.path().join("users");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let users = fifo.to_str().unwrap();
    let (code, _, error) = pop3d(&["--users", users, "-l", "127.0.0.1:0"]);
    assert_eq!((code, error), (Some(1), format!("pop3d: users {users}: not a regular file\n")));
}

#[test]
fn a_wrong_option_is_named_and_exits_2() {
    for (args, said) in [
        (&["--plaintext", "maybe"][..], "--plaintext 'maybe'"),
        (&["--auth-delay", "soon"], "--auth-delay 'soon'"),
        (&["--mail", "/m/%d"], "--mail '/m/%d'"),
        (&["--frob"], "frob"),
        (&["extra"], "extra"),
    ] {
        let (code, out, error) = pop3d(args);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{args:?}");
        assert!(error.starts_with("pop3d: ") && error.contains(said), "{error}");
    }
    let (code, out, _) = pop3d(&["--help"]);
    assert_eq!(code, Some(0));
    for option in ["--users", "--mail", "--plaintext", "--auth-delay", "--hash", "--transcript"] {
        assert!(out.contains(option), "{option}");
    }
    assert!(out.contains("default 600"), "ten minutes of silence, RFC 1939 §3");
    assert!(pop3d(&["-V"]).1.starts_with("pop3d (forklore) "));
}

#[test]
fn hash_prints_a_field_that_logs_in() {
    let hash = |password: &[u8]| run(command(POP3D, &["--hash"]), password);
    let output = hash(b"two words \n");
    assert!(output.status.success());
    let field = text(&output.stdout);
    assert!(field.starts_with("$6$rounds=") && field.ends_with('\n'), "{field}");
    assert_ne!(field, text(&hash(b"two words ").stdout), "the salt differs");
    let users = format!("a:{}:::a:HOME/a:\n", field.trim_end());
    let server = TestServer::with(&[], &["--auth-delay", "0"], &users);
    std::fs::create_dir(server.path("a")).unwrap();
    let mut client = server.client();
    client.ask("USER a", "+OK");
    client.ask("PASS two words", "-ERR");
    client.ask("USER a", "+OK");
    client.ask("PASS two words ", "+OK");
    for refused in [&b""[..], b"\n", b"a\0b", &[b'x'; 300]] {
        let output = hash(refused);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
        assert!(text(&output.stderr).starts_with("pop3d: "));
    }
}

#[test]
fn each_scheme_of_hash_writes_a_field_that_logs_in() {
    let field = |scheme: &str| {
        let output = run(command(POP3D, &["--hash", "--scheme", scheme]), b"tanstaaf\n");
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).trim_end().to_owned()
    };
    for (scheme, start) in [
        ("argon2id", "$argon2id$v=19$"),
        ("sha512", "$6$rounds=50000$"),
        ("yescrypt", "$y$j9T$"),
        ("scram", "{SCRAM-SHA-256}15000,"),
        ("plain", "{PLAIN}tanstaaf"),
    ] {
        let field = field(scheme);
        assert!(field.starts_with(start), "{field}");
        let users = format!("a:{field}:::a:HOME/a:\n");
        let server = TestServer::alone(&["--auth-delay", "0"], &users);
        std::fs::create_dir(server.path("a")).unwrap();
        let mut client = server.client();
        client.ask("USER a", "+OK");
        client.ask("PASS wrong", "-ERR [AUTH]");
        client.ask("USER a", "+OK");
        client.ask("PASS tanstaaf", "+OK");
    }
    let output = run(command(POP3D, &["--hash", "--scheme", "md5"]), b"x\n");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr)
            .contains("--scheme 'md5': not argon2id, sha512, yescrypt, scram or plain")
    );
}

#[test]
fn a_bad_line_of_the_users_file_is_logged_by_number_and_the_others_count() {
    let users = "nopassword\n:{PLAIN}hush:1\nx:{PLAIN}hush:one\n\n# comment\nb:{PLAIN}x\n";
    let server = TestServer::with(&[], &["--mail", "/%u-has-no-mail"], users);
    let file = server.path("users").display().to_string();
    let mut client = server.client();
    client.ask("USER b", "+OK");
    client.ask("PASS x", "+OK");
    for line in ["2: no password", "3: no name", "4: the user id is no number"] {
        server.daemon.wait_log(&format!("users {file}:{line}"));
    }
    assert!(!server.daemon.log().contains("hush"));
}
