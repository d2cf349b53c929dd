//! AUTH (RFC 5034) over the wire, with each mechanism.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use accounts::password::Keys;
use accounts::sasl::{Client, Server};
use accounts::{Mechanism, Secret, base64, from_base64};
use nix::sys::signal::Signal;
use testkit::{MODELS, Peer, each_model, wait_until};

use crate::common::{HASH, LETTER, TestServer, text, until_dot};

/// The mechanisms that need no TLS.
const ALL: [Mechanism; 4] =
    [Mechanism::ScramSha256, Mechanism::CramMd5, Mechanism::Plain, Mechanism::Login];

/// The field of a user whose password is tanstaaf.
fn scram_field() -> String {
    Keys::derive(b"tanstaaf", b"0123456789abcdef", 4096).to_field()
}

fn client(mechanism: Mechanism, name: &str, password: &str) -> Client {
    let password = Secret::from(password.as_bytes());
    Client::new(mechanism, name.as_bytes(), &password, &Server::default()).unwrap()
}

fn challenge(line: &[u8]) -> Option<Vec<u8>> {
    let line = line.strip_prefix(b"+ ")?.strip_suffix(b"\r\n").expect("a line");
    Some(from_base64(line).expect("base64").as_bytes().to_vec())
}

/// Logs in; returns the last reply.
pub(crate) fn log_in(
    peer: &mut Peer,
    mechanism: Mechanism,
    name: &str,
    password: &str,
    waits: bool,
) -> String {
    let mut client = client(mechanism, name, password);
    let initial = client.initial().filter(|_| !waits);
    let first = match &initial {
        Some(initial) => format!("AUTH {mechanism} {}", base64(initial.as_bytes())),
        None => format!("AUTH {mechanism}"),
    };
    peer.send(format!("{first}\r\n"));
    let mut reply = peer.line();
    if waits && mechanism.takes_initial_response() && mechanism != Mechanism::Login {
        assert_eq!(reply, b"+ \r\n");
        client = self::client(mechanism, name, password);
        let message = client.initial().unwrap();
        peer.send(format!("{}\r\n", base64(message.as_bytes())));
        reply = peer.line();
    }
    while let Some(challenge) = challenge(&reply) {
        let response = client.respond(&challenge).unwrap();
        peer.send(format!("{}\r\n", base64(response.as_bytes())));
        reply = peer.line();
    }
    text(&reply)
}

#[test]
fn case_73_each_mechanism_logs_in_with_and_without_an_initial_response() {
    for model in ["fork", "prefork", "thread", "iterative"] {
        let options = ["--auth-delay", "0", "--model", model, "-n", "2"];
        let server = TestServer::with(&[LETTER], &options, "");
        for mechanism in ALL {
            for waits in [false, true] {
                let mut peer = server.client();
                let refused = log_in(&mut peer, mechanism, "mrose", "wrong", waits);
                assert!(refused.starts_with("-ERR [AUTH] "), "{model} {mechanism}: {refused}");
                let reply = log_in(&mut peer, mechanism, "mrose", "tanstaaf", waits);
                assert!(reply.starts_with("+OK maildrop has 1 "), "{model} {mechanism}: {reply}");
                peer.ask("STAT", "+OK 1 22");
                peer.ask("QUIT", "+OK");
                assert!(peer.is_closed());
            }
            server.daemon.wait_log(&format!("login of 'mrose' failed (AUTH {mechanism})"));
        }
    }
}

#[test]
fn stored_keys_log_in_by_scram_and_by_password_but_not_by_cram_md5() {
    let server = TestServer::with(
        &[],
        &["--auth-delay", "0"],
        &format!("s:{}:::s:HOME/s:\nh:{HASH}:::h:HOME/h:\n", scram_field()),
    );
    for name in ["s", "h"] {
        std::fs::create_dir(server.path(name)).unwrap();
    }
    for mechanism in ALL {
        for name in ["s", "h"] {
            let can =
                mechanism.sends_password() || (name, mechanism) == ("s", Mechanism::ScramSha256);
            let reply = log_in(&mut server.client(), mechanism, name, "tanstaaf", false);
            let expected = if can { "+OK " } else { "-ERR [AUTH] wrong user name or password" };
            assert!(reply.starts_with(expected), "{mechanism} {name}: {reply}");
        }
    }
    server.daemon.wait_log("login of 's': the user's password is stored in a form for other");
}

#[test]
fn case_74_what_some_user_could_use_is_offered_in_both_states() {
    let hash = format!("mrose:{HASH}:::Rose:HOME/mrose:\n");
    let scram = format!("mrose:{}:::Rose:HOME/mrose:\n", scram_field());
    let plain = "mrose:{PLAIN}tanstaaf:::Rose:HOME/mrose:\n".to_owned();
    for (users, near, far) in [
        (hash, "PLAIN LOGIN", ""),
        (scram, "SCRAM-SHA-256 PLAIN LOGIN", "SCRAM-SHA-256"),
        (plain, "SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN", "SCRAM-SHA-256 CRAM-MD5"),
    ] {
        for (plaintext, expected) in [("loopback", near), ("never", far)] {
            let options = ["--auth-delay", "0", "--plaintext", plaintext];
            let server = TestServer::alone(&options, &users);
            let mut peer = server.client();
            assert_eq!(offered(&mut peer), expected);
            peer.ask("AUTH", "+OK");
            assert_eq!(until_dot(&mut peer).join(" "), expected);
            for mechanism in ALL {
                if !expected.split(' ').any(|name| name == mechanism.name()) {
                    peer.ask(&format!("AUTH {mechanism}"), "-ERR");
                }
            }
            if let Some(mechanism) =
                expected.split(' ').find_map(|it| Mechanism::parse(it.as_bytes()))
            {
                let reply = log_in(&mut peer, mechanism, "mrose", "tanstaaf", false);
                assert!(reply.starts_with("+OK "), "{reply}");
                assert_eq!(offered(&mut peer), expected);
            }
        }
    }
}

/// The mechanisms of CAPA.
fn offered(peer: &mut Peer) -> String {
    peer.ask("CAPA", "+OK");
    let lines = until_dot(peer);
    let list = lines.iter().find_map(|line| line.strip_prefix("SASL "));
    list.unwrap_or_default().to_owned()
}

#[test]
fn an_unknown_user_has_a_salt_too_and_always_the_same() {
    let users = format!("s:{}:::s:HOME/s:\n", scram_field());
    let server = TestServer::with(&[], &["--auth-delay", "0"], &users);
    let salt = |name: &str| {
        let mut peer = server.client();
        let initial = client(Mechanism::ScramSha256, name, "x").initial().unwrap();
        peer.send(format!("AUTH SCRAM-SHA-256 {}\r\n", base64(initial.as_bytes())));
        let message = text(&challenge(&peer.line()).unwrap());
        peer.ask("*", "-ERR AUTH: cancelled");
        message.split_once(",s=").unwrap().1.to_owned()
    };
    for name in ["s", "mrose", "unknown", "unknown2"] {
        assert_eq!(salt(name), salt(name), "{name}");
    }
    assert_ne!(salt("unknown"), salt("unknown2"));
    assert_eq!(salt("unknown").len(), salt("s").len());
    assert!(salt("unknown").ends_with(",i=4096") && salt("s").ends_with(",i=4096"));
}

#[test]
fn case_69_an_exchange_may_be_cancelled_and_another_login_follows() {
    let server = TestServer::new(&[]);
    let initial = client(Mechanism::ScramSha256, "mrose", "tanstaaf").initial().unwrap();
    let first = format!("AUTH SCRAM-SHA-256 {}", base64(initial.as_bytes()));
    for mechanism in ALL {
        let mut peer = server.client();
        peer.ask(&first, "+ ");
        peer.ask("*", "-ERR AUTH: cancelled");
        peer.ask(&first, "+ ");
        peer.ask("not base64!", "-ERR AUTH: the response is not base64");
        peer.ask(&first, "+ ");
        peer.ask(&base64(b"c=biws,r=another,p=AAAA"), "-ERR AUTH: ");
        peer.ask("STAT", "-ERR");
        peer.ask("AUTH CRAM-MD5 AAAA", "-ERR AUTH: the mechanism takes no initial response");
        peer.ask("AUTH XOAUTH2", "-ERR AUTH: no such mechanism here");
        peer.ask("AUTH SCRAM-SHA-256-PLUS", "-ERR AUTH: no such mechanism here");
        let reply = log_in(&mut peer, mechanism, "mrose", "tanstaaf", false);
        assert!(reply.starts_with("+OK "), "{mechanism}: {reply}");
    }
    let mut peer = server.client();
    peer.ask(&first, "+ ");
    peer.ask("*", "-ERR AUTH: cancelled");
    peer.ask("USER mrose", "+OK");
    peer.ask("PASS tanstaaf", "+OK");
}

#[test]
fn after_the_proof_the_client_has_the_last_word() {
    let server = TestServer::new(&[]);
    for (last, expected) in [("*", "-ERR AUTH: cancelled"), ("eA==", "-ERR AUTH: ")] {
        let mut peer = server.client();
        let mut client = client(Mechanism::ScramSha256, "mrose", "tanstaaf");
        let initial = client.initial().unwrap();
        peer.send(format!("AUTH SCRAM-SHA-256 {}\r\n", base64(initial.as_bytes())));
        let response = client.respond(&challenge(&peer.line()).unwrap()).unwrap();
        peer.send(format!("{}\r\n", base64(response.as_bytes())));
        assert!(client.respond(&challenge(&peer.line()).unwrap()).unwrap().is_empty());
        peer.ask(last, expected);
        peer.ask("STAT", "-ERR");
        // The maildrop is opened only when the client has agreed.
        server.mrose();
    }
}

#[test]
fn a_maildrop_in_use_is_told_by_each_mechanism() {
    let server = TestServer::new(&[]);
    let _first = server.mrose();
    for mechanism in ALL {
        let reply = log_in(&mut server.client(), mechanism, "mrose", "tanstaaf", false);
        assert!(reply.starts_with("-ERR [IN-USE] "), "{mechanism}: {reply}");
    }
}

/// The mechanisms that CAPA lists.
fn listed(peer: &mut Peer) -> Vec<String> {
    peer.ask("CAPA", "+OK");
    let mechanisms = until_dot(peer).into_iter().filter(|line| line.starts_with("SASL "));
    mechanisms.collect()
}

#[test]
fn what_is_offered_follows_the_users_file_at_sighup() {
    each_model(&MODELS, |model| {
        let users = format!("mrose:{HASH}:::Rose:HOME/mrose:\n");
        let server = TestServer::alone(&["-m", model, "-n", "2"], &users);
        let clear = server.path("users");
        let home = server.dir.path().display().to_string();
        assert_eq!(listed(&mut server.client()), ["SASL PLAIN LOGIN"]);
        let field = "{PLAIN}tanstaaf";
        fs::write(&clear, users.replace(HASH, field).replace("HOME", &home)).unwrap();
        assert_eq!(listed(&mut server.client()), ["SASL PLAIN LOGIN"], "not before SIGHUP");
        server.daemon.signal(Signal::SIGHUP);
        let all = ["SASL SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN"];
        wait_until("new clients are offered all", || listed(&mut server.client()) == all);
        let mut peer = server.mrose();
        assert_eq!(listed(&mut peer), all, "in TRANSACTION the same");
        peer.ask("QUIT", "+OK");

        fs::set_permissions(&clear, fs::Permissions::from_mode(0o666)).unwrap();
        server.daemon.signal(Signal::SIGHUP);
        server.daemon.wait_log(": new clients are offered the same as before");
        assert_eq!(listed(&mut server.client()), all);
    });
}
