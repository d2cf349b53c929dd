//! Users who are another program's: `--checkpassword`, `--auth-socket`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

use accounts::{base64, from_base64};
use nix::unistd::geteuid;
use testkit::{Daemon, Peer, TempDir, command, run};

use crate::common::{LETTER, OWNER, POP3D, make_maildir, start, until_dot, users_file};

/// A program of checkpassword's interface: it knows levy, his password and where his home is. With other
/// passwords it does what they say.
const PROGRAM: &str = r#"#!/usr/bin/env python3
import os, sys
data = os.read(3, 512).split(b"\0")
name, password = data[0], data[1]
open("@LOG", "a").write(name.decode() + " " + " ".join(sys.argv[1:-2]) + "\n")
if password == b"exit2":
    sys.exit(2)
if password == b"temporary":
    sys.exit(111)
if password == b"killed":
    os.kill(os.getpid(), 9)
if password == b"liar":
    sys.exit(0)
if password == b"forged":
    os.write(1, b"1\0" + b"1\0levy\0@HOME\0")
    sys.exit(0)
if name != b"levy" or password != b"tanstaaf":
    sys.exit(1)
os.close(3)
if os.getuid() == 0 and @UID:
    os.setgroups([])
    os.setgid(@UID)
    os.setuid(@UID)
os.execve(sys.argv[-2], sys.argv[-2:], {"USER": "levy", "HOME": "@HOME"})
"#;

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
        let log = dir.path().join("log").display().to_string();
        let text = PROGRAM.replace("@LOG", &log).replace("@HOME", home.to_str().unwrap());
        let program = dir.file("check", text.replace("@UID", &uid.to_string()));
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let program = format!("{} -x two", program.display());
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

/// A server of Dovecot's auth protocol; notes the lines that it has heard.
struct AuthServer {
    path: PathBuf,
    heard: Arc<Mutex<Vec<String>>>,
}

impl AuthServer {
    fn start(dir: &TempDir) -> AuthServer {
        let path = dir.path().join("auth");
        let listener = UnixListener::bind(&path).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&heard);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let notes = Arc::clone(&notes);
                thread::spawn(move || serve(stream.unwrap(), &notes));
            }
        });
        AuthServer { path, heard }
    }
}

fn serve(mut stream: UnixStream, notes: &Mutex<Vec<String>>) {
    let greeting = "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tCRAM-MD5\nSPID\t1\nCUID\t1\nCOOKIE\tx\nDONE\n";
    if stream.write_all(greeting.as_bytes()).is_err() {
        return;
    }
    for line in BufReader::new(stream.try_clone().unwrap()).lines() {
        let Ok(line) = line else { return };
        notes.lock().unwrap().push(line.clone());
        let fields: Vec<&str> = line.split('\t').collect();
        let answer = match fields.as_slice() {
            ["AUTH", _, "CRAM-MD5", ..] => format!("CONT\t1\t{}\n", base64(b"<1@dovecot>")),
            ["CONT", _, response] => {
                let response = from_base64(response.as_bytes()).unwrap();
                let is_right = response.as_bytes() == b"levy 0123456789abcdef0123456789abcdef";
                if is_right { "OK\t1\tuser=Levy\n".into() } else { "FAIL\t1\tuser=levy\n".into() }
            }
            ["AUTH", _, "PLAIN", .., response] => {
                let response = from_base64(response.strip_prefix("resp=").unwrap().as_bytes());
                match response.unwrap().as_bytes() {
                    b"\0levy\0tanstaaf" => "OK\t1\tuser=levy\n".into(),
                    b"\0levy\0down" => "FAIL\t1\tuser=levy\ttemp\n".into(),
                    b"\0levy\0gone" => return,
                    _ => "FAIL\t1\tuser=levy\n".to_owned(),
                }
            }
            _ => continue,
        };
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
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
    let socket = server.path.to_str().unwrap();
    let daemon = start(&["--auth-socket", socket, "--mail", &mail, "--auth-delay", "0"]);
    let client = || {
        let mut peer = Peer::connect(daemon.addr());
        peer.expect("+OK ");
        peer
    };
    let mut peer = client();
    peer.ask("CAPA", "+OK");
    assert!(until_dot(&mut peer).contains(&"SASL CRAM-MD5 PLAIN LOGIN".to_owned()));
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
    let heard = server.heard.lock().unwrap().clone();
    let request = heard.iter().find(|line| line.starts_with("AUTH\t1\tPLAIN\t")).unwrap();
    assert!(
        request.starts_with("AUTH\t1\tPLAIN\tservice=pop3\tnologin\trip=127.0.0.1\tsecured\tresp=")
    );
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
