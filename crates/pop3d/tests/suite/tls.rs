//! TLS, implicit and by STLS (RFC 2595): who has what, and that nothing said before counts after it.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::sys::signal::Signal;
use testkit::{
    Authority, CONCURRENT, MODELS, Peer, TLS_VERSIONS, TlsClient, children, command, each_model,
    has_ended, judged_within, run, title, wait_until,
};

use crate::common::{LETTER, POP3D, TestServer, as_root, text, until_dot};

/// A server with TLS, and who trusts it.
pub struct Site {
    pub authority: Authority,
    pub server: TestServer,
    pub client: TlsClient,
}

impl Site {
    pub fn new(letters: &[&str], options: &[&str]) -> Site {
        let authority = Authority::new();
        let pair = authority.pair("mail.test").options();
        let mut all: Vec<&str> = pair.iter().map(String::as_str).collect();
        all.extend(["--tls-listen", "127.0.0.1:0", "--auth-delay", "0"]);
        all.extend(options);
        let server = TestServer::with(letters, &all, "");
        let client = authority.client(&TLS_VERSIONS);
        Site { authority, server, client }
    }

    /// Where clients begin with a handshake.
    pub fn tls_addr(&self) -> SocketAddr {
        self.server.daemon.listening_for(" (tls)").parse().unwrap()
    }

    /// A client who has begun with a handshake, before the greeting.
    pub fn implicit(&self, client: &TlsClient) -> Peer {
        let mut peer = Peer::connect(self.tls_addr());
        peer.start_tls(client, "mail.test").unwrap();
        peer
    }

    /// A client under TLS by STLS.
    pub fn stls(&self, client: &TlsClient) -> Peer {
        let mut peer = self.server.client();
        peer.ask("STLS", "+OK begin TLS");
        peer.start_tls(client, "mail.test").unwrap();
        peer
    }

    /// A client under TLS that has logged in.
    pub fn mrose(&self) -> Peer {
        let mut peer = self.stls(&self.client);
        peer.ask("USER mrose", "+OK");
        peer.ask("PASS tanstaaf", "+OK");
        peer
    }

    /// The processes of this title.
    pub fn processes(&self, shown: &str) -> Vec<i32> {
        let log = fs::read_link(format!("/proc/{}/fd/2", self.server.daemon.pid())).unwrap();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let is_ours =
            |pid: &i32| fs::read_link(format!("/proc/{pid}/fd/2")).is_ok_and(|to| to == log);
        pids.filter(|pid| title(*pid) == shown).filter(is_ours).collect()
    }

    pub fn signer(&self) -> i32 {
        // Its descriptors are for root's eyes only, but its parent is the keeper.
        let keeper = self.processes("pop3d: keeper").pop().expect("a keeper");
        let signer = children(keeper).into_iter().find(|pid| title(*pid) == "pop3d: signer");
        signer.expect("a signer")
    }
}

fn capabilities(peer: &mut Peer) -> Vec<String> {
    peer.ask("CAPA", "+OK");
    until_dot(peer)
}

#[test]
fn a_session_under_tls_is_served_to_its_end_and_its_dialogue_is_written() {
    let letter = format!("Subject: long\n\n{}", "a line of it\n".repeat(100_000));
    each_model(&MODELS, |model| {
        for version in TLS_VERSIONS {
            let site = Site::new(&[&letter, LETTER], &["-m", model, "--transcript", "/dev/stderr"]);
            let client = site.authority.client(&[version]);
            let mut implicit = site.implicit(&client);
            implicit.expect("+OK ");
            implicit.ask("USER mrose", "+OK");
            implicit.ask("PASS tanstaaf", "+OK maildrop has 2 messages");
            implicit.ask("RETR 1", "+OK ");
            assert_eq!(until_dot(&mut implicit).len(), 100_002);
            implicit.ask("DELE 1", "+OK");
            implicit.ask("QUIT", "+OK");
            assert!(implicit.is_closed());
            drop(implicit);
            let mut stls = site.stls(&client);
            let name = stls.stream().local_addr().unwrap();
            // In one record, and more than one read of the box.
            stls.send(format!(
                "USER mrose\r\nPASS tanstaaf\r\n{}QUIT\r\n",
                "NOOP\r\n".repeat(3000)
            ));
            stls.expect("+OK now PASS");
            stls.expect("+OK maildrop has 1 message");
            let rest = text(&stls.rest());
            assert_eq!(rest.lines().count(), 3001, "{rest}");
            let number = if version.version == TLS_VERSIONS[0].version { "1.2" } else { "1.3" };
            site.server.daemon.wait_log(&format!("{name}: TLSv{number} "));
            site.server.daemon.wait_log(&format!("client {name} end: pid "));
            let log = site.server.daemon.log();
            assert!(log.contains("C: PASS ********") && !log.contains("tanstaaf"), "{log}");
            assert!(log.contains("C: RETR 1") && !log.contains("exit 1"), "{log}");
        }
    });
}

#[test]
fn case_77_what_is_said_before_stls_does_not_count_after_it() {
    each_model(&MODELS, |model| {
        let site = Site::new(&[LETTER], &["-m", model]);
        let mut peer = site.server.client();
        // An intruder in the middle puts commands behind STLS (CVE-2011-0411).
        peer.send("USER mrose\r\nSTLS\r\nUSER mallory\r\nPASS mallory\r\nQUIT\r\n");
        peer.expect("+OK now PASS");
        peer.expect("+OK begin TLS");
        peer.start_tls(&site.client, "mail.test").unwrap();
        peer.ask("PASS tanstaaf", "-ERR PASS: USER comes right before");
        peer.ask("USER mrose", "+OK");
        peer.ask("PASS tanstaaf", "+OK maildrop has 1 message");
        peer.ask("QUIT", "+OK");
        drop(peer);
        // What comes in the clear once TLS is awaited ends the session.
        let mut peer = site.server.client();
        peer.ask("STLS", "+OK");
        peer.send("USER mrose\r\n");
        assert!(!peer.rest().starts_with(b"+OK"));
        site.server.daemon.wait_log("TLS handshake: ");
    });
}

#[test]
fn failed_logins_before_stls_count_after_it() {
    let site = Site::new(&[], &[]);
    let mut peer = site.server.client();
    for _ in 0..4 {
        peer.ask("USER mrose", "+OK");
        peer.ask("PASS wrong", "-ERR");
    }
    peer.ask("STLS", "+OK");
    peer.start_tls(&site.client, "mail.test").unwrap();
    peer.ask("USER mrose", "+OK");
    peer.ask("PASS wrong", "-ERR [AUTH] too many failed logins");
    assert!(peer.is_closed());
}

#[test]
fn case_74_stls_is_offered_where_it_can_be_used_and_passwords_where_they_may_be_sent() {
    let site = Site::new(&[], &["--plaintext", "never"]);
    let mut peer = site.server.client();
    let clear = capabilities(&mut peer);
    assert!(clear.contains(&"STLS".into()) && !clear.contains(&"USER".into()), "{clear:?}");
    peer.ask("USER mrose", "-ERR plaintext login");
    peer.ask("STLS now", "-ERR");
    peer.ask("STLS", "+OK");
    peer.start_tls(&site.client, "mail.test").unwrap();
    let secured = capabilities(&mut peer);
    assert!(!secured.contains(&"STLS".into()) && secured.contains(&"USER".into()), "{secured:?}");
    peer.ask("STLS", "-ERR STLS: the session is under TLS already");
    peer.ask("USER mrose", "+OK");
    peer.ask("PASS tanstaaf", "+OK");
    let inside = capabilities(&mut peer);
    assert!(!inside.contains(&"STLS".into()) && inside.contains(&"USER".into()), "{inside:?}");
    peer.ask("STLS", "-ERR");

    let without = TestServer::new(&[]);
    let mut peer = without.client();
    assert!(!capabilities(&mut peer).contains(&"STLS".into()));
    peer.ask("STLS", "-ERR STLS: the server has no certificate");
}

#[test]
fn a_ticket_that_one_process_has_given_is_taken_by_another() {
    each_model(&MODELS, |model| {
        let site = Site::new(&[], &["-m", model, "-n", "3"]);
        for version in TLS_VERSIONS {
            let client = site.authority.client(&[version]);
            let mut first = site.implicit(&client);
            first.expect("+OK ");
            assert!(!first.is_resumed());
            // Where clients are served at once, the first one keeps its process busy.
            let held = CONCURRENT.contains(&model).then_some(first);
            for _ in 0..3 {
                let mut next = site.stls(&client);
                assert!(next.is_resumed(), "{version:?}");
                next.ask("QUIT", "+OK"); // after the ticket, which it takes up once
            }
            drop(held);
        }
    });
}

#[test]
fn under_inetd_too_stls_leads_to_a_session_under_tls() {
    let authority = Authority::new();
    let options = authority.pair("mail.test").options();
    let server = TestServer::new(&[LETTER]); // for its users and mailbox
    let inetd = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = Peer::connect(inetd.local_addr().unwrap());
    let accepted = OwnedFd::from(inetd.accept().unwrap().0);
    let mut command = std::process::Command::new(POP3D);
    command.args(["-i", "-q", "--users"]).arg(server.path("users")).args(options).args(as_root());
    command.stdin(accepted.try_clone().unwrap()).stdout(accepted);
    let mut child = command.spawn().unwrap();
    drop(command); // and the copies of the client's socket with it
    client.expect("+OK ");
    client.ask("STLS", "+OK");
    client.start_tls(&authority.client(&TLS_VERSIONS), "mail.test").unwrap();
    client.ask("USER mrose", "+OK");
    client.ask("PASS tanstaaf", "+OK maildrop has 1 message");
    client.ask("QUIT", "+OK");
    assert!(client.is_closed());
    drop(client);
    assert!(testkit::wait_child(&mut child, "the session ends").success());
}

#[test]
fn sighup_reads_the_files_again_and_a_broken_pair_keeps_the_old_one() {
    each_model(&MODELS, |model| {
        let site = Site::new(&[], &["-m", model, "-n", "2"]);
        let shown = || {
            let client = site.authority.client(&TLS_VERSIONS);
            let mut peer = site.implicit(&client);
            peer.expect("+OK ");
            peer.certificate()
        };
        let folder = site.authority.folder().join("mail.test.crt");
        let first = shown();
        let renewed = site.authority.pair("mail.test");
        assert_ne!(first, renewed.shown());
        assert_eq!(first, shown(), "not before SIGHUP");
        site.server.daemon.signal(Signal::SIGHUP);
        site.server.daemon.wait_log("TLS: new clients meet the certificates as they are now");
        wait_until("new clients meet the new certificate", || shown() == renewed.shown());

        fs::copy(site.authority.pair("other.test").certificate, &folder).unwrap();
        site.server.daemon.signal(Signal::SIGHUP);
        let why =
            format!("not the key of {}: the old certificates and keys go on", folder.display());
        site.server.daemon.wait_log(&why);
        for _ in 0..3 {
            assert_ne!(shown(), first);
        }
    });
}

#[test]
fn the_name_that_a_client_asks_for_chooses_the_certificate() {
    let authority = Authority::new();
    let [one, two] = ["one.test", "two.test"].map(|name| authority.pair(name));
    let options = [one.options(), two.options()].concat();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let server = TestServer::with(&[], &options, "");
    for (name, pair) in [("one.test", one), ("two.test", two)] {
        let mut peer = server.client();
        peer.ask("STLS", "+OK");
        peer.start_tls(&authority.client(&TLS_VERSIONS), name).unwrap();
        assert_eq!(peer.certificate(), pair.shown());
    }
}

#[test]
fn a_handshake_that_stalls_or_fails_ends_the_session_with_one_line_of_the_log() {
    each_model(&MODELS, |model| {
        let site = Site::new(&[], &["-m", model, "-t", "0.2"]);
        let mut silent = Peer::connect(site.tls_addr());
        assert!(silent.is_closed());
        let mut stalls = Peer::connect(site.tls_addr());
        stalls.send([22, 3, 1, 2, 0, 1]); // the beginning of a ClientHello
        assert!(stalls.is_closed());
        let mut junk = Peer::connect(site.tls_addr());
        junk.send("USER mrose\r\nPASS tanstaaf\r\n");
        assert!(!junk.rest().starts_with(b"+OK"));
        for peer in [silent, stalls, junk] {
            let name = peer.stream().local_addr().unwrap();
            site.server.daemon.wait_log(&format!("client {name} end: "));
            let log = site.server.daemon.log();
            let lines = log.lines().filter(|line| line.contains(&format!("{name}: ")));
            assert_eq!(lines.count(), 1, "{log}");
            assert!(log.contains(&format!("{name}: TLS handshake: ")), "{log}");
        }
    });
}

#[test]
fn a_client_who_does_not_read_holds_up_nobody_else_and_is_ended() {
    let line = format!("{}\n", "x".repeat(70));
    let letter = format!("Subject: long\n\n{}", line.repeat(200_000));
    judged_within(Duration::from_secs(3), |watch| {
        let site = Site::new(&[&letter], &["-t", "4"]);
        let mut peer = site.mrose();
        let mailbox = site.processes("pop3d: mailbox of mrose").pop().unwrap();
        peer.send("RETR 1\r\n"); // more than the sockets take
        watch.stop();
        wait_until("the mailbox's process gives up", || has_ended(mailbox));
        let mut other = site.mrose();
        other.ask("STAT", "+OK 1 ");
        drop(peer);
    });
}

#[test]
fn a_client_too_many_who_begins_with_a_handshake_hears_nothing_in_the_clear() {
    let site = Site::new(&[], &["-c", "1"]);
    let mut first = site.implicit(&site.client);
    first.expect("+OK ");
    assert_eq!(Peer::connect(site.tls_addr()).rest(), b"");
    first.ask("QUIT", "+OK");
}

#[test]
fn what_is_wrong_with_the_options_or_files_is_said_at_the_start() {
    let authority = Authority::new();
    let (pair, other) = (authority.pair("mail.test"), authority.pair("other.test"));
    let server = TestServer::new(&[]);
    let users = server.path("users");
    let start = |options: &[&str]| {
        let args = [&["--users", users.to_str().unwrap(), "-l", "127.0.0.1:0"], options].concat();
        let args = args.into_iter().map(str::to_owned).chain(as_root()).collect::<Vec<_>>();
        let output = run(command(POP3D, &args), b"");
        (output.status.code(), text(&output.stderr))
    };
    let [cert, key] = [&pair.certificate, &pair.key].map(|path| path.to_str().unwrap());
    let (code, why) = start(&["--tls-cert", cert]);
    assert!(code == Some(2) && why.contains("--tls-cert and --tls-key come in pairs"), "{why}");
    let (code, why) = start(&["--tls-listen", "127.0.0.1:0"]);
    assert!(code == Some(2) && why.contains("--tls-listen needs --tls-cert"), "{why}");
    let wrong = ["--tls-cert", cert, "--tls-key", other.key.to_str().unwrap()];
    for check in [&[][..], &["--check"]] {
        let (code, why) = start(&[&wrong[..], check].concat());
        assert!(code == Some(1) && why.contains(&format!("not the key of {cert}")), "{why}");
    }
    let (code, why) = start(&["--tls-cert", cert, "--tls-key", key, "--check"]);
    assert_eq!((code, &why[..]), (Some(0), ""));
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(&pair.key, open).unwrap();
    let (code, why) = start(&["--tls-cert", cert, "--tls-key", key]);
    assert!(code == Some(1) && why.contains("other users may read or write it"), "{why}");
}
