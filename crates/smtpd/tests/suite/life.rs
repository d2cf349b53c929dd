//! How the server starts, ends, and outlives its clients.

use crate::common::*;

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{Daemon, command, judged_within, run, wait_until};

/// Starts the server where it must fail; what it says.
fn complaint(args: &[&str], code: i32) -> String {
    let args = [&["--hostname", "red.test"], args].concat();
    let output = run(command(SMTPD, &args), b"");
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_missing_users_file_is_told_at_the_start() {
    let text = complaint(&["-l", "127.0.0.1:0", "--users", "/no/such/file"], 1);
    assert_eq!(text, "smtpd: users /no/such/file: No such file or directory\n");
}

#[test]
fn a_users_file_with_passwords_that_every_user_may_read_is_told_at_the_start() {
    let fixture = Fixture::new();
    set_mode(&fixture.users, 0o644);
    let users = fixture.users.display().to_string();
    let mut command = Command::new(SMTPD);
    command.args(["-l", "127.0.0.1:0", "-q", "--users", &users]).args(as_root());
    let output = run(command, b"");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    let why = "has passwords and is readable by every user (chmod 640)";
    assert_eq!(text, format!("smtpd: users {users}: {why}\n"));
}

#[test]
fn a_users_file_that_vanishes_later_is_451_and_logged() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    std::fs::remove_file(&fixture.users).unwrap();
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "451 4.3.0 ");
    peer.ask("VRFY levy", "451 4.3.0 ");
    daemon.wait_log("users");
    daemon.wait_log("No such file or directory");
    let home = fixture.dir.path().display();
    users_file(&fixture.dir, &format!("levy:x::::{home}/levy:\n"));
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
}

#[test]
fn case_15_an_occupied_port_is_told_and_exit_1() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let (addr, users) = (daemon.addr().to_string(), fixture.users.display().to_string());
    let text = complaint(&["-l", &addr, "--users", &users], 1);
    assert_eq!(text, format!("smtpd: bind {addr}: Address already in use\n"));
    assert_alive(&daemon);
}

#[test]
fn root_must_name_an_ordinary_user() {
    if !testkit::root_can_judge() {
        return; // Only root is asked to.
    }
    let fixture = Fixture::new();
    for user in [&[][..], &["-u", "root"]] {
        let mut command = Command::new(SMTPD);
        command.args(["-l", "127.0.0.1:0", "--users", &fixture.users.display().to_string()]);
        let output = run(
            {
                command.args(user);
                command
            },
            b"",
        );
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("-u"), "{output:?}");
    }
}

#[test]
fn case_17_sigterm_tells_idle_clients_421_and_the_server_exits_0() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut fresh = greeted(&daemon);
    let mut busy = introduced(&daemon);
    busy.ask("MAIL FROM:<a@b.test>", "250 ");
    busy.ask("RCPT TO:<levy@red.test>", "250 ");
    assert_eq!(daemon.stop().code(), Some(0));
    for peer in [&mut fresh, &mut busy] {
        peer.expect("421 4.3.2 red.test ");
        assert_eq!(peer.rest(), b"");
    }
    fixture.assert_nothing();
}

#[test]
fn case_17_a_letter_that_is_on_its_way_at_sigterm_still_arrives() {
    let fixture = Fixture::new();
    let mut daemon = fixture.serve(&[]);
    let mut peer = in_data(&daemon);
    peer.send("half\r\n");
    daemon.signal(Signal::SIGTERM);
    daemon.wait_log("stopping");
    peer.send("whole\r\n.\r\n");
    peer.expect("250 ");
    peer.expect("421 ");
    assert_eq!(daemon.wait().code(), Some(0));
    assert_eq!(fixture.letter("levy"), "half\nwhole\n");
}

#[test]
fn case_23_a_silent_client_is_told_421_4_4_2() {
    judged_within(Duration::from_secs(2), |watch| {
        let fixture = Fixture::new();
        let daemon = fixture.serve(&["-t", "3"]);
        let (mut silent, mut half) = (greeted(&daemon), in_data(&daemon));
        half.send("half a letter\r\n");
        watch.stop();
        silent.expect("421 4.4.2 red.test ");
        assert_eq!(silent.rest(), b"");
        half.expect("421 4.4.2 ");
        assert_eq!(half.rest(), b"");
        fixture.assert_nothing();
    });
}

#[test]
fn a_child_that_is_killed_in_data_leaves_a_file_in_tmp_at_most() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = in_data(&daemon);
    peer.send(format!("{}\r\n", "x".repeat(998)).repeat(1000));
    let child = testkit::children(daemon.pid())[0];
    kill(Pid::from_raw(child), Signal::SIGKILL).unwrap();
    assert!(peer.is_closed());
    wait_until("the child is reaped", || testkit::children(daemon.pid()).is_empty());
    assert_eq!(fixture.letters("levy"), Vec::<String>::new());
    assert!(fixture.drafts("levy").len() <= 1);
    assert_alive(&daemon);
    assert_eq!(fixture.letters("levy").len(), 1);
}

#[test]
fn binary_junk_half_commands_and_dropped_connections_hurt_nobody() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut seed = 1_u32;
    for round in 0..40 {
        let mut junk = Vec::new();
        for _ in 0..5000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            junk.push((seed >> 24) as u8);
        }
        let mut peer = greeted(&daemon);
        let _the_server_may_hang_up = peer.try_send(&junk);
        if round % 2 == 0 { peer.reset() } else { drop(peer) }
    }
    for half in ["E", "EHLO topaz.test", "EHLO topaz.test\r\nMAIL FROM:<a@b", "EHLO a\r\nQUI"] {
        let mut peer = greeted(&daemon);
        peer.send(half);
        peer.shutdown_write();
        let rest = String::from_utf8(peer.rest()).unwrap();
        assert!(!rest.contains("2.1.0") && !rest.contains("221"), "half a command was run: {rest}");
    }
    fixture.assert_nothing();
    assert_alive(&daemon);
    wait_until("all children are gone", || testkit::children(daemon.pid()).is_empty());
}

#[test]
fn a_client_that_reads_no_replies_and_goes_leaves_the_server_well() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&["-t", "3"]);
    let mut peer = greeted(&daemon);
    let noop = "NOOP\r\n".repeat(100_000);
    while peer.try_send(&noop).is_ok() {}
    assert_alive(&daemon);
}

#[test]
fn case_27_inetd_serves_standard_input() {
    let fixture = Fixture::new();
    let users = fixture.users.display().to_string();
    let args = ["-i", "--hostname", "red.test", "--users", &users];
    let inetd = command(SMTPD, &with_root(&args));
    let output = run(
        inetd,
        b"EHLO a.test\r\nMAIL FROM:<>\r\nRCPT TO:<bob@red.test>\r\nDATA\r\nhi\r\n.\r\nQUIT\r\n",
    );
    assert!(output.status.success(), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stdout)
            .ends_with("221 2.0.0 red.test closes the connection\r\n")
    );
    assert_eq!(fixture.letter("bob"), "hi\n");
}

#[test]
fn many_clients_at_once_deliver_many_letters() {
    let fixture = Fixture::new();
    let daemon: Daemon = fixture.serve(&[]);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..10).for_each(|_| assert_alive(&daemon)));
        }
    });
    assert_eq!(fixture.letters("levy").len(), 80);
    assert_eq!(fixture.drafts("levy"), Vec::<std::path::PathBuf>::new());
    wait_until("no child is left", || testkit::children(daemon.pid()).is_empty());
}
