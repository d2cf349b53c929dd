//! `--chroot`, SIGHUP, limits.

use std::process::Command;

use crate::common::{Fixture, OWNER, SMTPD, in_data, introduced, make_home, set_mode, users_file};
use nix::sys::signal::Signal;
use testkit::{Daemon, TempDir, children, limit_of, names, root_can_judge};

/// A time zone of its own, 5 hours 45 minutes east, in a file that is not in the jail: tzfile(5),
/// both blocks.
fn zone(dir: &TempDir) -> String {
    let header = [&b"TZif2"[..], &[0; 15 + 12 + 4 + 3], b"\x01", &[0; 3], b"\x04"].concat();
    let block = [&20_700_i32.to_be_bytes()[..], b"\0\0", b"NPT\0"].concat();
    let octets = [&header[..], &block, &header, &block, b"\n<+0545>-5:45\n"].concat();
    dir.file("zone", octets).display().to_string()
}

#[test]
fn letters_arrive_inside_the_jail_with_the_time_zone_from_outside() {
    if !root_can_judge() {
        return;
    }
    let (jail, outside) = (TempDir::new(), TempDir::new());
    users_file(&jail, &format!("levy:{{PLAIN}}x:{OWNER}:{OWNER}:Levy:/levy:\n"));
    make_home(&jail.path().join("levy"), OWNER);
    let mut smtpd = Command::new(SMTPD);
    smtpd.env("TZ", zone(&outside));
    let root = jail.path().to_str().unwrap();
    let args = ["-u", "65534", "--chroot", root, "--users", "/users", "--hostname", "red.test"];
    let daemon = Daemon::spawn(smtpd, &args);
    let mut peer = in_data(&daemon);
    peer.send("hello\r\n.\r\n");
    peer.expect("250 ");
    peer.ask("QUIT", "221 ");
    let new = jail.path().join("levy/Maildir/new");
    let letter = std::fs::read_to_string(new.join(&names(&new)[0])).unwrap();
    assert!(letter.contains(" +0545"), "{letter}");
}

#[test]
fn case_18_after_sighup_a_new_user_gets_mail_and_the_others_session_goes_on() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut first = introduced(&daemon);
    first.ask("MAIL FROM:<hedrick@topaz.test>", "250 ");
    let users = std::fs::read_to_string(&fixture.users).unwrap();
    let home = fixture.dir.path().join("mrose").display().to_string();
    make_home(&fixture.dir.path().join("mrose"), OWNER);
    let new = fixture.dir.file("users.new", format!("{users}mrose:{{PLAIN}}x::::{home}:\n"));
    set_mode(&new, 0o600);
    std::fs::rename(fixture.dir.path().join("users.new"), &fixture.users).unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.wait_log("SIGHUP");
    let mut second = introduced(&daemon);
    second.ask("MAIL FROM:<hedrick@topaz.test>", "250 ");
    second.ask("RCPT TO:<mrose@red.test>", "250 ");
    first.ask("RCPT TO:<levy@red.test>", "250 ");
    first.ask("QUIT", "221 ");
}

#[test]
fn no_file_grows_much_over_the_longest_letter_unless_it_is_the_transcript() {
    let fixture = Fixture::new();
    let transcript = fixture.dir.path().join("transcript").display().to_string();
    for (more, expected) in [
        (&["--max-size", "10000"][..], Some(10_000 + (1 << 20))),
        (&["--max-size", "0"], None),
        (&["--max-size", "10000", "--transcript", &transcript], None),
    ] {
        let daemon = fixture.serve(more);
        let _client = introduced(&daemon);
        let child = children(daemon.pid())[0];
        assert_eq!(limit_of(child, "Max file size"), [expected; 2], "{more:?}");
        assert_eq!(limit_of(child, "Max core file size"), [Some(0); 2]);
    }
}
