//! What a local user tries against mailboxes, and folders that are not there.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use crate::common::{
    FRONT, Fixture, LEVY, OWNER, SMTPD, assert_alive, introduced, make_home, set_mode,
};
use testkit::{Daemon, each_model, names, root_can_judge};

/// Another user of mailboxes.
const MALLORY: u32 = 61_002;
/// Letters of the race; `make attacks` has more.
const RACES: usize = 300;

/// Sends the letters of the race.
fn letters_to_mallory(daemon: &Daemon) {
    let mut client = introduced(daemon);
    for _ in 0..RACES {
        client.send("MAIL FROM:<a@b.test>\r\nRCPT TO:<mallory@red.test>\r\nDATA\r\n");
        client.expect("250 ");
        let (rcpt, data) = (client.line(), client.line());
        if rcpt.starts_with(b"250 ") {
            assert!(data.starts_with(b"354 "), "{}", data.escape_ascii());
            client.send("x\r\n.\r\n");
            client.line();
        } else {
            assert!(rcpt.starts_with(b"451 "), "{}", rcpt.escape_ascii());
            client.ask("RSET", "250 ");
        }
    }
}

#[test]
fn a_link_in_place_of_a_mailbox_again_and_again_never_leads_to_another() {
    if !root_can_judge() {
        return;
    }
    let fixture = Fixture::with(&format!("mallory:*:{MALLORY}:{MALLORY}:m:HOME/mallory:\n"));
    let spool = testkit::TempDir::new();
    let pattern = format!("{}/%u", spool.path().display());
    let daemon = fixture.serve(&["--mail", &pattern]);
    set_mode(spool.path(), 0o777); // all users may write to it, as to /var/mail of some systems
    let own = spool.path().join("own");
    make_home(&own, MALLORY);
    let victims = [("of-rose", OWNER), ("of-root", 0)].map(|(name, owner)| {
        let victim = spool.path().join(name);
        make_home(&victim, owner);
        victim
    });
    let link = spool.path().join("mallory");
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for victim in victims.iter().cycle() {
                let _ = symlink(victim, &link);
                let _ = fs::remove_file(&link);
                let _ = fs::rename(&own, &link);
                let _ = fs::rename(&link, &own);
                if is_over.load(Relaxed) {
                    return;
                }
            }
        });
        let letters = std::panic::AssertUnwindSafe(|| letters_to_mallory(&daemon));
        let result = std::panic::catch_unwind(letters);
        is_over.store(true, Relaxed);
        if let Err(why) = result {
            std::panic::resume_unwind(why);
        }
    });
    for victim in &victims {
        assert_eq!(names(victim), [""; 0]);
    }
    // What was stored at all is mallory's.
    for entry in fs::read_dir(spool.path()).unwrap().flatten() {
        let owner = entry.metadata().unwrap().uid();
        assert!([MALLORY, OWNER, 0].contains(&owner));
    }
}

#[test]
fn a_mailbox_of_another_owner_is_a_temporary_failure() {
    if !root_can_judge() {
        return;
    }
    let fixture = Fixture::two_users();
    let spool = testkit::TempDir::new();
    let pattern = format!("{}/%u", spool.path().display());
    let daemon = fixture.serve(&["--mail", &pattern]);
    set_mode(spool.path(), 0o1777);
    let mailbox = spool.path().join("levy");
    for owner in [MALLORY, 0] {
        make_home(&mailbox, owner); // mallory was first
        let mut client = introduced(&daemon);
        client.ask("MAIL FROM:<a@b.test>", "250 ");
        client.ask("RCPT TO:<levy@red.test>", "451 4.3.0 ");
        daemon
            .wait_log(&format!("mailbox of 'levy': {}: belongs to uid {owner}", mailbox.display()));
        assert_eq!(names(&mailbox), [""; 0]);
        fs::remove_dir(&mailbox).unwrap();
    }
    // Nothing is made where others may write.
    let mut client = introduced(&daemon);
    client.ask("MAIL FROM:<a@b.test>", "250 ");
    client.ask("RCPT TO:<levy@red.test>", "451 4.3.0 ");
    assert_eq!(names(spool.path()), [""; 0]);
    set_mode(spool.path(), 0o755);
    assert_alive(&daemon);
}

#[test]
fn a_home_that_is_not_there_is_a_temporary_failure_and_nothing_is_made() {
    each_model(&["fork", "thread"], |model| {
        let fixture = Fixture::with("gone:*:::g:HOME/disk/gone:\nalone:*:::a:HOME/alone:\n");
        let daemon = fixture.serve(&["-m", model]);
        let mut client = introduced(&daemon);
        client.ask("MAIL FROM:<a@b.test>", "250 ");
        client.ask("RCPT TO:<gone@red.test>", "451 4.3.0 ");
        client.ask("RCPT TO:<alone@red.test>", "451 4.3.0 ");
        client.ask("RCPT TO:<levy@red.test>", "250 ");
        daemon.wait_log("WARN");
        daemon.wait_log("disk: No such file or directory");
        daemon.wait_log("alone: No such file or directory");
        client.ask("DATA", "354 ");
        client.send("x\r\n.\r\n");
        client.expect("250 ");
        assert_eq!(fixture.letter("levy"), "x\n");
        // A home that goes while the letter comes.
        let home = fixture.dir.path().join("bob");
        client.ask("MAIL FROM:<a@b.test>", "250 ");
        client.ask("RCPT TO:<bob@red.test>", "250 ");
        client.ask("DATA", "354 ");
        fs::remove_dir_all(&home).unwrap();
        client.send("x\r\n.\r\n");
        client.expect("451 4.3.0 ");
        assert_eq!(names(fixture.dir.path()), ["levy", "users"]);
    });
}

#[test]
fn no_letter_is_stored_with_the_rights_of_root() {
    if !root_can_judge() {
        return;
    }
    let fixture = Fixture::with("root:*:0:0:r:HOME/levy:\n");
    let users = fixture.users.display().to_string();
    // Without --mail-user, users without a user id have no mailbox.
    let args = ["-u", FRONT, "--users", &users, "--hostname", "red.test"];
    let daemon = Daemon::start(SMTPD, &args);
    let mut client = introduced(&daemon);
    client.ask("MAIL FROM:<a@b.test>", "250 ");
    client.ask("RCPT TO:<root@red.test>", "550 5.1.1 ");
    client.ask("RCPT TO:<levy@red.test>", "451 4.3.0 ");
    daemon.wait_log("no user id in the users file, and no --mail-user");
    let args = [&args[..], &["--mail-user", "0"]].concat();
    let output = testkit::run(testkit::command(SMTPD, &args), b"");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().next(), Some("smtpd: --mail-user '0': no session has root's rights"));
}

/// A letter to levy and bob, and the reply to each RCPT and to the letter, if it came to that.
fn to_both(daemon: &Daemon) -> Vec<String> {
    let mut client = introduced(daemon);
    client.ask("MAIL FROM:<a@b.test>", "250 ");
    client.send("RCPT TO:<levy@red.test>\r\nRCPT TO:<bob@red.test>\r\nDATA\r\n");
    let mut replies = vec![client.line(), client.line(), client.line()];
    if replies.pop().is_some_and(|reply| reply.starts_with(b"354 ")) {
        client.send("x\r\n.\r\n");
        replies.push(client.line());
    }
    replies.iter().map(|reply| String::from_utf8_lossy(&reply[..3]).into_owned()).collect()
}

#[test]
fn a_fifo_or_a_link_in_place_of_a_folder_blocks_nothing_and_leads_nowhere() {
    let fixture = Fixture::two_users();
    let victim = fixture.dir.path().join("victim");
    make_home(&victim, LEVY);
    set_mode(&victim, 0o777);
    let daemon = fixture.serve(&[]);
    assert_eq!(to_both(&daemon), ["250"; 3]);
    let link = |path: &Path| symlink(&victim, path).unwrap();
    let fifo = |path: &Path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for place in ["tmp", "new", "cur"] {
        for put in [&link as &dyn Fn(&Path), &fifo] {
            let path = fixture.maildir("bob").join(place);
            fs::remove_dir_all(&path).unwrap();
            put(&path);
            assert_eq!(to_both(&daemon), ["250", "451", "250"]);
            assert_alive(&daemon);
            fs::remove_file(&path).unwrap();
            assert_eq!(to_both(&daemon), ["250"; 3]);
        }
    }
    assert_eq!(names(&victim), [""; 0]);
}
