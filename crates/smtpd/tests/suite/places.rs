//! What happens where a letter goes: `~/.forward`, a command, an mbox, and one recipient's trouble.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::common::{BOB, Fixture, LEVY, below_trace, files, give, introduced};
use testkit::{Daemon, Peer, root_can_judge};

/// Writes a file of a user's home that the user may run.
fn write_own(fixture: &Fixture, user: &str, name: &str, text: &str, mode: u32) {
    let path = fixture.dir.file(&format!("{user}/{name}"), text);
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    give(&path, if user == "levy" { LEVY } else { BOB });
}

fn forward(fixture: &Fixture, user: &str, text: &str) {
    write_own(fixture, user, ".forward", text, 0o600);
}

fn begun(daemon: &Daemon) -> Peer {
    let mut peer = introduced(daemon);
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer
}

/// Sends a letter in the transaction that has begun, and reads the reply.
fn send(peer: &mut Peer, reply: &str) {
    peer.ask("DATA", "354 ");
    peer.send("Subject: x\r\n\r\nbody\r\n.\r\n");
    peer.expect(reply);
}

const TEXT: &str = "Subject: x\n\nbody\n";

#[test]
fn a_broken_mailbox_is_4xx_at_rcpt_for_its_user_and_the_others_get_the_letter() {
    let fixture = Fixture::two_users();
    write_own(&fixture, "levy", "Maildir", "no folder", 0o600);
    let daemon = fixture.serve(&[]);
    let mut peer = begun(&daemon);
    peer.ask("RCPT TO:<levy@red.test>", "451 4.3.0 ");
    peer.ask("RCPT TO:<bob@red.test>", "250 ");
    send(&mut peer, "250 ");
    assert_eq!(fixture.letter("bob"), TEXT);
    // Repaired, in the same session.
    fs::remove_file(fixture.maildir("levy")).unwrap();
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    send(&mut peer, "250 ");
    assert_eq!(fixture.letter("levy"), TEXT);
}

#[test]
fn what_was_set_aside_for_a_letter_that_comes_smaller_is_given_back_at_each_letter_of_a_session() {
    const SIZE: usize = 400_000;
    let fixture = Fixture::two_users();
    let daemon = fixture.serve(&[]);
    let mut peer = introduced(&daemon);
    for number in 1..=3 {
        peer.ask(&format!("MAIL FROM:<a@b.test> SIZE={SIZE}"), "250 ");
        peer.ask("RCPT TO:<levy@red.test>", "250 ");
        send(&mut peer, "250 ");
        let all = files(&fixture.maildir("levy").join("new"));
        assert_eq!(all.len(), number);
        for file in all {
            let bytes = 512 * fs::metadata(&file).unwrap().blocks();
            assert!(bytes < SIZE as u64 / 2, "{bytes}: {}", file.display());
        }
    }
}

#[test]
fn a_process_of_a_mailbox_serves_the_letters_of_a_session_and_sees_a_mailbox_that_was_replaced() {
    let fixture = Fixture::two_users();
    let daemon = fixture.serve(&[]);
    let mut peer = introduced(&daemon);
    for number in 1..=5 {
        peer.ask("MAIL FROM:<a@b.test>", "250 ");
        peer.ask("RCPT TO:<levy@red.test>", "250 ");
        send(&mut peer, "250 ");
        assert_eq!(fixture.letters("levy").len(), number);
    }
    fs::rename(fixture.maildir("levy"), fixture.dir.path().join("levy/old")).unwrap();
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    send(&mut peer, "250 ");
    assert_eq!(fixture.letters("levy").len(), 1);
}

#[test]
fn rset_and_the_end_of_a_session_leave_no_draft() {
    let fixture = Fixture::two_users();
    let daemon = fixture.serve(&[]);
    let mut peer = begun(&daemon);
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    assert_eq!(fixture.drafts("levy").len(), 1);
    peer.ask("RSET", "250 ");
    assert_eq!(fixture.drafts("levy").len(), 0);
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    drop(peer);
    fixture.assert_nothing();
}

#[test]
fn a_letter_for_several_mailboxes_of_one_owner_is_written_once() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = begun(&daemon);
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    peer.ask("RCPT TO:<bob@red.test>", "250 ");
    send(&mut peer, "250 ");
    let inode = |user: &str| {
        let letter = files(&fixture.maildir(user).join("new")).remove(0);
        let meta = letter.metadata().unwrap();
        (meta.ino(), meta.nlink())
    };
    assert_eq!(inode("levy"), inode("bob"));
    assert_eq!(inode("levy").1, 2, "no third name is left in tmp");
    assert_eq!((fixture.letter("levy"), fixture.letter("bob")), (TEXT.into(), TEXT.into()));
}

#[test]
fn forward_leads_to_another_user_and_to_the_mailbox_itself_once_each() {
    let fixture = Fixture::two_users();
    forward(&fixture, "levy", "\\levy, bob\nbob\n");
    forward(&fixture, "bob", "levy, \\bob\n"); // a loop
    let daemon = fixture.serve(&[]);
    let mut peer = begun(&daemon);
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    send(&mut peer, "250 ");
    assert_eq!((fixture.letter("levy"), fixture.letter("bob")), (TEXT.into(), TEXT.into()));
}

#[test]
fn a_forward_that_cannot_be_followed_has_letters_wait() {
    let fixture = Fixture::two_users();
    let daemon = fixture.serve(&[]);
    for (text, why) in [
        ("\"open", "quotes"),
        ("x@elsewhere.test", "no --queue"),
        (":include:/etc/passwd", ":include:"),
    ] {
        forward(&fixture, "levy", text);
        let mut peer = begun(&daemon);
        peer.ask("RCPT TO:<levy@red.test>", "451 4.3.0 ");
        daemon.wait_log(why);
    }
    write_own(&fixture, "levy", ".forward", "bob", 0o622);
    let mut peer = begun(&daemon);
    peer.ask("RCPT TO:<levy@red.test>", "451 4.3.0 ");
    daemon.wait_log(".forward: others than its owner may write to it");
    fixture.assert_nothing();
}

#[test]
fn a_command_and_a_file_of_forward_have_the_rights_of_the_user() {
    let fixture = Fixture::two_users();
    let home = fixture.dir.path().join("levy");
    let (seen, kept) = (home.join("seen"), home.join("kept"));
    forward(&fixture, "levy", &format!("\"|cat >{}\", {}", seen.display(), kept.display()));
    let daemon = fixture.serve(&[]);
    let mut peer = begun(&daemon);
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    send(&mut peer, "250 ");
    let text = fs::read_to_string(&seen).unwrap();
    assert!(text.starts_with("Return-Path: <a@b.test>\n"), "{text}");
    assert_eq!(below_trace(&text), TEXT);
    let mbox = fs::read_to_string(&kept).unwrap();
    assert!(mbox.starts_with("From a@b.test ") && mbox.ends_with("\n\nbody\n\n"), "{mbox}");
    if root_can_judge() {
        for path in [&seen, &kept] {
            assert_eq!(path.metadata().unwrap().uid(), LEVY);
        }
    }
    // A user without a shell gets none by that.
    let users = fs::read_to_string(&fixture.users).unwrap();
    let line = format!("{}:", home.display());
    fs::write(&fixture.users, users.replace(&line, &format!("{line}/usr/sbin/nologin"))).unwrap();
    let mut peer = begun(&daemon);
    peer.ask("RCPT TO:<levy@red.test>", "451 4.3.0 ");
    daemon.wait_log("the user's shell is not in /etc/shells");
}

#[test]
fn a_command_of_forward_runs_in_the_home_and_knows_whose_it_is() {
    let fixture = Fixture::two_users();
    forward(&fixture, "levy", "\"|echo $USER $LOGNAME $HOME $EXTENSION $RECIPIENT >about\"");
    let daemon = fixture.serve(&[]);
    let mut peer = begun(&daemon);
    peer.ask("RCPT TO:<levy+books@red.test>", "250 ");
    send(&mut peer, "250 ");
    let home = fixture.dir.path().join("levy");
    let about = fs::read_to_string(home.join("about")).unwrap();
    assert_eq!(about, format!("levy levy {} books levy+books@red.test\n", home.display()));
}

#[test]
fn an_address_is_never_an_option_of_the_command_that_delivers() {
    let fixture = Fixture::two_users();
    let daemon = fixture.serve(&["--mda", "/bin/echo %f %e"]);
    let mut peer = begun(&daemon);
    peer.ask("RCPT TO:<levy+-x@red.test>", "550 5.3.0 ");
    daemon.wait_log("'-x' would be an option of --mda");
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<-oQ@b.test>", "250 ");
    peer.ask("RCPT TO:<levy+x@red.test>", "250 ");
    send(&mut peer, "550 5.3.0 ");
    daemon.wait_log("'-oQ@b.test' would be an option of --mda");
}

#[test]
fn what_goes_to_dev_null_is_taken_and_nothing_is_written() {
    let fixture = Fixture::two_users();
    forward(&fixture, "bob", "/dev/null");
    let daemon =
        crate::aliases::serve(&fixture, "noreply: /dev/null\nboth: /dev/null, levy\n", &[]);
    for (name, letters) in [("noreply", 0), ("bob", 0), ("both", 1)] {
        let mut peer = begun(&daemon);
        peer.ask(&format!("RCPT TO:<{name}@red.test>"), "250 ");
        send(&mut peer, "250 ");
        daemon.wait_log(&format!("to=<{name}@red.test>"));
        assert_eq!(fixture.letters("levy").len(), letters, "{name}");
        assert!(fixture.letters("bob").is_empty(), "{name}");
    }
}

#[test]
fn the_exit_code_of_the_command_that_delivers_is_the_reply() {
    for (code, reply) in
        [(0, "250 "), (75, "451 4.3.0 "), (67, "550 5.1.1 "), (77, "550 5.3.0 "), (1, "451 4.3.0 ")]
    {
        let fixture = Fixture::two_users();
        let script = format!("#!/bin/sh\ncat >\"$1\"; echo \"it ends\"; exit {code}\n");
        let path = fixture.dir.program("mda", &script);
        let mda = format!("{} %h/seen-%u", path.display());
        let daemon = fixture.serve(&["--mda", &mda]);
        let mut peer = begun(&daemon);
        peer.ask("RCPT TO:<levy@red.test>", "250 ");
        send(&mut peer, reply);
        let seen = fixture.dir.path().join("levy/seen-levy");
        assert_eq!(below_trace(&fs::read_to_string(&seen).unwrap()), TEXT);
        if code != 0 {
            daemon.wait_log("it ends");
        }
        assert!(!Path::new(&fixture.maildir("levy")).exists());
    }
}

#[test]
fn an_mbox_gets_letters_one_behind_the_other_and_lines_that_look_like_a_begin_are_quoted() {
    let fixture = Fixture::two_users();
    let daemon = fixture.serve(&["--mail", "mbox:~/mbox"]);
    for sender in ["a@b.test", ""] {
        let mut peer = introduced(&daemon);
        peer.ask(&format!("MAIL FROM:<{sender}>"), "250 ");
        peer.ask("RCPT TO:<levy@red.test>", "250 ");
        peer.ask("DATA", "354 ");
        peer.send("Subject: x\r\n\r\nFrom here\r\n.\r\n");
        peer.expect("250 ");
    }
    let path = fixture.dir.path().join("levy/mbox");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("From a@b.test "), "{text}");
    assert!(text.contains("\n\nFrom MAILER-DAEMON "), "{text}");
    assert_eq!(text.matches("\n\n>From here\n\n").count(), 2, "{text}");
    if root_can_judge() {
        assert_eq!(path.metadata().unwrap().uid(), LEVY);
    }
    // One that is none is refused at RCPT.
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/null", &path).unwrap();
    let mut peer = begun(&daemon);
    peer.ask("RCPT TO:<levy@red.test>", "451 4.3.0 ");
    daemon.wait_log("mbox: is not a regular file");
}

/// A folder as /var/mail is: root's, with a group that may make files in it.
#[test]
fn in_a_folder_of_roots_an_mbox_is_appended_to_and_made_with_the_folders_group() {
    if !root_can_judge() {
        return;
    }
    const MAIL: u32 = 8;
    let fixture = Fixture::two_users();
    let spool = fixture.dir.path().join("spool");
    fs::create_dir(&spool).unwrap();
    std::os::unix::fs::chown(&spool, Some(0), Some(MAIL)).unwrap();
    fs::set_permissions(&spool, fs::Permissions::from_mode(0o2775)).unwrap();
    fs::write(spool.join("other"), "From other\n").unwrap(); // an empty one may be no mounted disk
    let daemon = fixture.serve(&["--mail", &format!("mbox:{}/%u", spool.display())]);
    for _ in 0..2 {
        let mut peer = begun(&daemon);
        peer.ask("RCPT TO:<levy@red.test>", "250 ");
        peer.ask("RCPT TO:<bob@red.test>", "250 ");
        send(&mut peer, "250 ");
    }
    for (user, uid) in [("levy", LEVY), ("bob", BOB)] {
        let path = spool.join(user);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches("From a@b.test ").count(), 2, "{text}");
        let found = path.metadata().unwrap();
        assert_eq!((found.uid(), found.mode() & 0o007), (uid, 0), "{user}");
    }
    assert_eq!(testkit::names(&spool), ["bob", "levy", "other"]);
    // A command of a user's ~/.forward does not have that group.
    let seen = fixture.dir.path().join("levy/groups");
    forward(&fixture, "levy", &format!("\"|id -G >{}\"\n", seen.display()));
    let mut peer = begun(&daemon);
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    send(&mut peer, "250 ");
    let groups = fs::read_to_string(&seen).unwrap();
    assert!(!groups.split_whitespace().any(|group| group == MAIL.to_string()), "{groups}");
}
