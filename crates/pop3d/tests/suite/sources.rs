//! Users who are another program's: `--checkpassword`, `--auth-socket`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use accounts::base64;
use nix::unistd::geteuid;
use testkit::{
    AuthServer, Daemon, Peer, Stopwatch, TempDir, checkpassword, command, judged_within, run,
};

use crate::common::{LETTER, OWNER, POP3D, make_maildir, start, until_dot, users_file};

struct Site {
    dir: TempDir,
    daemon: Daemon,
}

impl Site {
    fn with_program(uid: u32, options: &[&str]) -> Site {
        let dir = TempDir::new();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let home = dir.path().join("levy");
        make_maildir(&home.join("Maildir"));
        dir.file("levy/Maildir/new/1.a", LETTER);
        let program = checkpassword(&dir, uid, &home);
        let args = [&["--checkpassword", &program, "--auth-delay", "0"], options].concat();
        let daemon = start(&args);
        Site { dir, daemon }
    }

    fn client(&self) -> Peer {
        let mut peer = Peer::connect(self.daemon.addr());
        peer.expect("+OK ");
        peer
    }
}

fn log_in(peer: &mut Peer, name: &str, password: &str, expected: &str) {
    peer.ask(&format!("USER {name}"), "+OK");
    peer.ask(&format!("PASS {password}"), expected);
}

#[test]
fn a_program_of_checkpasswords_interface_says_who_may_log_in() {
    let site = Site::with_program(OWNER, &[]);
    let mut peer = site.client();
    peer.ask("CAPA", "+OK");
    assert!(until_dot(&mut peer).contains(&"SASL PLAIN LOGIN".to_owned()));
    log_in(&mut peer, "levy", "wrong", "-ERR [AUTH] wrong user name or password");
    log_in(&mut peer, "unknown", "tanstaaf", "-ERR [AUTH] wrong user name or password");
    for (password, why) in [
        ("exit2", "exit code 2"),
        ("temporary", "exit code 111"),
        ("killed", "ended by a signal"),
        ("liar", "exit code 0 and no report"),
        ("forged", "a report of uid"),
    ] {
        log_in(&mut peer, "levy", password, "-ERR [SYS/TEMP] ");
        site.daemon.wait_log(&format!("login of 'levy': checkpassword: {why}"));
    }
    peer.ask(&format!("AUTH PLAIN {}", base64(b"\0Levy\0tanstaaf")), "+OK maildrop has 1 ");
    peer.ask("STAT", "+OK 1 22");
    peer.ask("DELE 1", "+OK");
    peer.ask("QUIT", "+OK");
    assert!(testkit::names(&site.dir.path().join("levy/Maildir/new")).is_empty());
    let asked = fs::read_to_string(site.dir.path().join("log")).unwrap();
    assert!(asked.ends_with("levy -x two\n"), "its own arguments, and a small name: {asked}");
    assert!(!site.daemon.log().contains("tanstaaf"));
}

#[test]
fn names_are_compared_as_the_options_say_with_each_source() {
    let (lower, exact) = (["levy", "LEVY", "Levy"], ["levy"]);
    for (options, right, wrong) in [
        (&[][..], &lower[..], &["levy@red.test"][..]),
        (&["--names", "as-is"], &exact, &["LEVY", "Levy"]),
        (
            &["--names-domain", "cut"],
            &["levy@red.test", "Levy@RED.test", "levy"],
            &["lev@red.test"],
        ),
        (&["--names", "as-is", "--names-domain", "cut"], &["levy@red.test"], &["Levy@red.test"]),
    ] {
        let by_program = Site::with_program(OWNER, options);
        let dir = TempDir::new();
        make_maildir(&dir.path().join("levy/Maildir"));
        let home = dir.path().join("levy").display().to_string();
        let users = users_file(&dir, &format!("levy:{{PLAIN}}tanstaaf:::l:{home}:\n"));
        let args = [&["--users", users.to_str().unwrap(), "--auth-delay", "0"], options].concat();
        let by_file = start(&args);
        for address in [by_program.daemon.addr(), by_file.addr()] {
            let client = || {
                let mut peer = Peer::connect(address);
                peer.expect("+OK ");
                peer
            };
            for name in wrong {
                log_in(&mut client(), name, "tanstaaf", "-ERR [AUTH] ");
            }
            for name in right {
                let mut peer = client();
                log_in(&mut peer, name, "tanstaaf", "+OK ");
                peer.ask("QUIT", "+OK");
            }
        }
    }
}

#[test]
fn a_program_that_runs_us_as_root_logs_nobody_in() {
    if !testkit::root_can_judge() {
        return;
    }
    let site = Site::with_program(0, &[]);
    log_in(&mut site.client(), "levy", "tanstaaf", "-ERR [SYS/TEMP] ");
    site.daemon.wait_log("login of 'levy': checkpassword: exit code 111");
}

#[test]
fn a_mailbox_of_another_user_than_the_program_says_is_a_temporary_error() {
    if !testkit::root_can_judge() {
        return;
    }
    let site = Site::with_program(OWNER + 1, &[]);
    log_in(&mut site.client(), "levy", "tanstaaf", "-ERR [SYS/TEMP] ");
    site.daemon.wait_log(&format!("belongs to uid {OWNER}, not {}", OWNER + 1));
}

#[test]
fn options_that_cannot_stand_together_are_named() {
    let fails = |args: &[&str]| {
        let output = run(command(POP3D, args), b"");
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (args, said) in [
        (&["--users", "/u", "--checkpassword", "/p"][..], "--users and --checkpassword: only one"),
        (&["--users", "/u", "--auth-socket", "/s"], "--auth-socket and --users: only one of them"),
        (
            &["--checkpassword", "/p", "--auth-socket", "/s"],
            "--checkpassword and --auth-socket: only",
        ),
        (&["--checkpassword", "p"], "--checkpassword 'p': not an absolute path"),
    ] {
        let (code, text) = fails(args);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(said), "{text}");
    }
    if geteuid().is_root() {
        let (code, text) = fails(&["--auth-socket", "/s", "--check", "-u", "65534"]);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("--auth-socket: as root it needs --mail-user"), "{text}");
    }
    let (code, text) = fails(&["--checkpassword", "/no/program", "--check", "-u", "65534"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("checkpassword /no/program: No such file or directory"), "{text}");
    let dir = TempDir::new();
    let program = dir.file("check", "#!/bin/sh\n");
    for (mode, why) in [(0o775, "users other than root may change it"), (0o644, "cannot be run")] {
        fs::set_permissions(&program, fs::Permissions::from_mode(mode)).unwrap();
        let (code, text) =
            fails(&["--checkpassword", program.to_str().unwrap(), "--check", "-u", "65534"]);
        assert_eq!(code, Some(1));
        assert!(text.ends_with(&format!("check: {why}\n")), "{text}");
    }
}

#[test]
fn an_auth_server_says_who_may_log_in_and_has_other_exchanges_itself() {
    let dir = TempDir::new();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let server = AuthServer::start(&dir);
    make_maildir(&dir.path().join("mail/levy"));
    dir.file("mail/levy/new/1.a", LETTER);
    let mail = format!("{}/mail/%u", dir.path().display());
    let socket = server.path().to_str().unwrap();
    let daemon = start(&["--auth-socket", socket, "--mail", &mail, "--auth-delay", "0"]);
    let client = || {
        let mut peer = Peer::connect(daemon.addr());
        peer.expect("+OK ");
        peer
    };
    let mut peer = client();
    peer.ask("CAPA", "+OK");
    assert!(until_dot(&mut peer).contains(&"SASL SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN".to_owned()));
    log_in(&mut peer, "levy", "wrong", "-ERR [AUTH] wrong user name or password");
    log_in(&mut peer, "levy", "down", "-ERR [SYS/TEMP] ");
    daemon.wait_log("login of 'levy': auth socket: a temporary error of the server");
    log_in(&mut peer, "levy", "gone", "-ERR [SYS/TEMP] ");
    daemon.wait_log("the server has ended");
    log_in(&mut peer, "LEVY", "tanstaaf", "+OK maildrop has 1 ");
    peer.ask("QUIT", "+OK");

    let mut peer = client();
    let challenge = format!("+ {}", base64(b"<1@dovecot>"));
    for (digest, expected) in [("f", "-ERR [AUTH]"), ("0123456789abcdef", "+OK maildrop has 1 ")] {
        peer.ask("AUTH CRAM-MD5", &challenge);
        peer.ask(&base64(format!("levy {}", digest.repeat(2)).as_bytes()), expected);
    }
    peer.ask("STAT", "+OK 1 22");
    daemon.wait_log("login of 'levy' failed (AUTH CRAM-MD5)");
    let initial = base64(b"n,,n=le=2Cvy\x01,r=x");
    client().ask(&format!("AUTH SCRAM-SHA-256 {initial}"), "-ERR [AUTH]");
    daemon.wait_log(r"login of 'le,vy\x01' failed (AUTH SCRAM-SHA-256)");
    let heard = server.heard();
    let request = heard.iter().find(|line| line.starts_with("AUTH\t1\tPLAIN\t")).unwrap();
    assert!(
        request.starts_with("AUTH\t1\tPLAIN\tservice=pop3\tnologin\trip=127.0.0.1\tsecured\tresp=")
    );
}

/// Most time of the guesses of a try.
const GUESSING: Duration = Duration::from_secs(50);

/// After the failure `fail` has been seen ten times in a minute, the login `right` of the same name waits, and is accepted.
fn check_guesses_wait(
    daemon: &Daemon,
    watch: &Stopwatch,
    fail: impl Fn(&mut Peer),
    right: impl Fn(&mut Peer),
) {
    let client = || {
        let mut peer = Peer::connect(daemon.addr());
        peer.expect("+OK ");
        peer
    };
    (0..10).for_each(|_| fail(&mut client()));
    let said = "login of 'levy': too many logins have failed, checked later";
    assert!(!daemon.log().contains(said));
    right(&mut client());
    watch.stop();
    daemon.wait_log(said);
}

#[test]
fn guesses_at_passwords_that_another_program_knows_are_counted() {
    judged_within(GUESSING, |watch| {
        let site = Site::with_program(OWNER, &[]);
        let fail = |peer: &mut Peer| log_in(peer, "levy", "wrong", "-ERR [AUTH]");
        let right = |peer: &mut Peer| log_in(peer, "levy", "tanstaaf", "+OK ");
        check_guesses_wait(&site.daemon, watch, fail, right);
    });
}

#[test]
fn guesses_in_exchanges_with_another_program_are_counted_by_the_name_that_they_show() {
    judged_within(GUESSING, |watch| {
        let dir = TempDir::new();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let server = AuthServer::start(&dir);
        make_maildir(&dir.path().join("mail/levy"));
        let mail = format!("{}/mail/%u", dir.path().display());
        let socket = server.path().to_str().unwrap();
        let daemon = start(&["--auth-socket", socket, "--mail", &mail, "--auth-delay", "0"]);
        let cram_md5 = |peer: &mut Peer, digest: &str, expected: &str| {
            peer.ask("AUTH CRAM-MD5", "+ ");
            peer.ask(&base64(format!("levy {}", digest.repeat(2)).as_bytes()), expected);
        };
        let fail = |peer: &mut Peer| cram_md5(peer, "f", "-ERR [AUTH]");
        check_guesses_wait(&daemon, watch, fail, |peer| cram_md5(peer, "0123456789abcdef", "+OK "));
    });
}

#[test]
fn names_are_compared_as_the_options_say_with_an_auth_server_too() {
    for (options, name, accepted) in [
        (&[][..], "LEVY", true),
        (&[], "levy@red.test", false),
        (&["--names", "as-is"], "Levy", false),
        (&["--names-domain", "cut"], "LEVY@red.test", true),
        (&["--names-domain", "cut"], "lev@red.test", false),
    ] {
        let dir = TempDir::new();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let server = AuthServer::start(&dir);
        make_maildir(&dir.path().join("mail/levy"));
        let mail = format!("{}/mail/%u", dir.path().display());
        let socket = server.path().to_str().unwrap();
        let args = [&["--auth-socket", socket, "--mail", &mail, "--auth-delay", "0"], options];
        let daemon = start(&args.concat());
        let mut peer = Peer::connect(daemon.addr());
        peer.expect("+OK ");
        log_in(&mut peer, name, "tanstaaf", if accepted { "+OK " } else { "-ERR [AUTH] " });
    }
}

#[test]
fn the_name_that_an_auth_server_tells_is_compared_as_the_options_say() {
    for (options, name) in [(&["--names-domain", "cut"][..], "levy"), (&[], "levy@red.test")] {
        let dir = TempDir::new();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let server = AuthServer::start(&dir);
        make_maildir(&dir.path().join("mail").join(name));
        let mail = format!("{}/mail/%u", dir.path().display());
        let socket = server.path().to_str().unwrap();
        let args = [&["--auth-socket", socket, "--mail", &mail, "--auth-delay", "0"], options];
        let daemon = start(&args.concat());
        let mut peer = Peer::connect(daemon.addr());
        peer.expect("+OK ");
        peer.ask("AUTH CRAM-MD5", "+ ");
        let response = base64(b"Levy@RED.test 0123456789abcdef0123456789abcdef");
        peer.ask(&response, "+OK maildrop has 0 ");
    }
}

#[test]
fn an_auth_server_that_does_not_answer_is_a_temporary_error_until_it_does() {
    let dir = TempDir::new();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
    make_maildir(&dir.path().join("mail/levy"));
    let mail = format!("{}/mail/%u", dir.path().display());
    let socket = dir.path().join("auth");
    let args = ["--auth-socket", socket.to_str().unwrap(), "--mail", &mail, "--auth-delay", "0"];
    let daemon = start(&args);
    daemon.wait_log("No such file or directory");
    let mut peer = Peer::connect(daemon.addr());
    peer.expect("+OK ");
    log_in(&mut peer, "levy", "tanstaaf", "-ERR [SYS/TEMP] ");
    let _server = AuthServer::start(&dir);
    log_in(&mut peer, "levy", "tanstaaf", "+OK ");
}

#[test]
fn the_systems_accounts_are_read_by_root() {
    if !testkit::root_can_judge() {
        return;
    }
    assert!(geteuid().is_root());
    let daemon = start(&["--users", "system", "--auth-delay", "0"]);
    let mut peer = Peer::connect(daemon.addr());
    peer.expect("+OK ");
    for name in ["root", "daemon", "unknown"] {
        log_in(&mut peer, name, "wrong", "-ERR [AUTH] wrong user name or password");
    }
}
