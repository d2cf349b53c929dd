//! Who may do what, seen by /proc alone: the processes that a client's session has, and what each is left
//! with. Where root runs the tests; with one user only there is less to say.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{chown, symlink};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

use crate::common::{
    FRONT, LETTER, OWNER, POP3D, TestServer, as_root, give, make_maildir, until_dot, users_file,
};
use testkit::{
    Daemon, Image, MODELS, Peer, each_model, has_ended, holders, open_files, rights_left,
    root_can_judge, title, wait_until,
};

/// Another user of mailboxes.
const MALLORY: u32 = 61_002;
/// A password that only its owner may know.
const CANARY: &str = "canary-that-sings-for-levy-alone";

/// The ids of a field of /proc/PID/status.
pub fn ids_of(pid: i32, field: &str) -> Vec<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.split_whitespace().map(str::to_owned).collect()
}

/// Checks that no process that holds the client has a right too many, the parent that has just accepted it
/// neither. Returns them.
fn check_holders(daemon: &Daemon, client: &Peer, state: &str) -> Vec<i32> {
    let mut all = Vec::new();
    wait_until("a process holds the client", || {
        all = holders(daemon.addr(), client);
        !all.is_empty()
    });
    let left: String = all.iter().map(|pid| rights_left(*pid)).collect();
    assert!(left.is_empty(), "{state}: {left}");
    all
}

#[test]
fn during_many_logins_no_process_that_holds_a_client_has_rights_to_lose() {
    each_model(&MODELS, |model| {
        let server = TestServer::with(&[LETTER], &["-m", model, "-n", "2"], "");
        let mut seen = 0;
        for _ in 0..20 {
            let mut client = server.client();
            client.send("USER mrose\r\nPASS tanstaaf\r\nSTAT\r\nQUIT\r\n");
            for _ in 0..5 {
                let all = holders(server.daemon.addr(), &client);
                let left: String = all.iter().map(|pid| rights_left(*pid)).collect();
                assert!(left.is_empty(), "{model}: {left}");
                seen += all.len();
            }
            client.expect("+OK now PASS");
            client.expect("+OK maildrop has 1 message");
            client.expect("+OK 1 22");
            client.expect("+OK ");
            assert!(client.is_closed());
        }
        assert!(seen > 0, "a process that holds a client was seen");
    });
}

/// The process with the rights of the client's user.
pub(crate) fn mailbox_of(daemon: &Daemon, client: &Peer) -> i32 {
    let mut found = None;
    wait_until("the client has a process of the mailbox", || {
        let all = holders(daemon.addr(), client);
        found = all.into_iter().find(|pid| title(*pid).starts_with("pop3d: mailbox of "));
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn in_no_state_has_a_process_that_holds_the_client_rights_to_lose() {
    let letter = format!("Subject: long\n\n{}", "x\n".repeat(8_000_000));
    each_model(&MODELS, |model| {
        let server = TestServer::with(&[&letter], &["-m", model, "-n", "2"], "");
        let mut client = server.client();
        check_holders(&server.daemon, &client, "greeting");
        client.ask("USER mrose", "+OK");
        client.ask("PASS wrong", "-ERR [AUTH]");
        check_holders(&server.daemon, &client, "after a wrong password");
        client.ask("USER mrose", "+OK");
        client.ask("PASS tanstaaf", "+OK");
        let all = check_holders(&server.daemon, &client, "TRANSACTION");
        assert_eq!(all.len(), 2, "front and the mailbox's process");
        client.send("RETR 1\r\n"); // more than the socket takes
        client.expect("+OK ");
        let during = check_holders(&server.daemon, &client, "RETR");
        assert_eq!(during.iter().collect::<BTreeSet<_>>(), all.iter().collect());
        let mailbox = mailbox_of(&server.daemon, &client);
        assert_eq!(title(mailbox), "pop3d: mailbox of mrose");
        if geteuid().is_root() {
            let owner = OWNER.to_string();
            assert_eq!(ids_of(mailbox, "Uid:"), [&owner[..]; 4]);
            assert_eq!(ids_of(mailbox, "Gid:"), [&owner[..]; 4]);
            assert!(ids_of(mailbox, "Groups:").is_empty(), "no group but its own");
            for front in all.into_iter().filter(|pid| *pid != mailbox) {
                assert_eq!(ids_of(front, "Uid:"), [FRONT; 4]);
                let root = format!("/proc/{front}/root/");
                assert_eq!(fs::read_dir(&root).unwrap().count(), 0, "{root} is empty");
            }
        }
    });
}

#[test]
fn a_password_of_another_user_is_in_no_process_of_a_session() {
    let users = format!("levy:{{PLAIN}}{CANARY}:::Levy:HOME/levy:\n");
    each_model(&MODELS, |model| {
        let server = TestServer::with(&[LETTER], &["-m", model, "-n", "1"], &users);
        if !testkit::can_take_over(server.daemon.pid()) {
            return;
        }
        make_maildir(&server.path("levy/Maildir"));
        // Levy's own session comes before, so that prefork workers and threads have read it.
        let mut levy = server.client();
        levy.ask("USER levy", "+OK");
        levy.ask(&format!("PASS {CANARY}"), "+OK");
        levy.ask("QUIT", "+OK");
        drop(levy);
        let mut client = server.client();
        client.ask("USER mrose", "+OK");
        client.ask("PASS wrong", "-ERR [AUTH]");
        client.ask("USER mrose", "+OK");
        client.ask("PASS tanstaaf", "+OK");
        let all = holders(server.daemon.addr(), &client);
        assert_eq!(all.len(), 2);
        let shared = ["thread", "iterative"].contains(&model);
        for pid in all {
            let image = Image::of(pid);
            // Its options name the folder of the test.
            let folder = server.path("levy").parent().unwrap().display().to_string();
            assert!(!image.find(folder.as_bytes()).is_empty(), "what is there can be found");
            let is_front = !title(pid).starts_with("pop3d: mailbox of ");
            if is_front && shared {
                continue; // it has read levy's password from levy
            }
            assert_eq!(image.find(CANARY.as_bytes()), [], "{model}: {}", title(pid));
        }
    });
}

#[test]
fn a_link_that_is_put_in_place_of_a_mailbox_again_and_again_never_leads_to_another() {
    if !root_can_judge() {
        return;
    }
    let users = format!("mallory:{{PLAIN}}x:{MALLORY}:{MALLORY}:m:HOME/mallory:\n");
    let spool = testkit::TempDir::new();
    let pattern = format!("{}/%u", spool.path().display());
    let server = TestServer::with(&[], &["--mail", &pattern, "--auth-delay", "0"], &users);
    // Every user may write to the spool, as to /var/mail of some systems.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(spool.path(), mode).unwrap();
    let victims = ["of-rose", "of-root"].map(|name| spool.path().join(name));
    for victim in &victims {
        make_maildir(victim);
        fs::write(victim.join("new/1.a.test"), LETTER).unwrap();
    }
    chown(&victims[1], Some(0), Some(0)).unwrap();
    let link = spool.path().join("mallory");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for victim in victims.iter().cycle() {
                let _gone = fs::remove_file(&link);
                symlink(victim, &link).unwrap();
                if is_over.load(Relaxed) {
                    return;
                }
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut refused = 0;
            for _ in 0..300 {
                let mut client = server.client();
                client.send("USER mallory\r\nPASS x\r\nSTAT\r\nQUIT\r\n");
                client.expect("+OK");
                let login = String::from_utf8(client.line()).unwrap();
                let is_empty = login.starts_with("+OK maildrop has 0 messages");
                assert!(is_empty || login.starts_with("-ERR [SYS/"), "{login}");
                refused += usize::from(!is_empty);
            }
            assert!(refused > 0, "the link was never seen");
        }));
        is_over.store(true, Relaxed);
        if let Err(why) = result {
            std::panic::resume_unwind(why);
        }
    });
    for victim in &victims {
        assert_eq!(testkit::names(&victim.join("new")).len(), 1);
    }
}

#[test]
fn a_mailbox_of_another_owner_is_a_temporary_failure() {
    if !root_can_judge() {
        return;
    }
    let server = TestServer::new(&[LETTER]);
    for owner in [MALLORY, 0] {
        chown(server.maildir(), Some(owner), None).unwrap();
        let mut client = server.client();
        client.ask("USER mrose", "+OK");
        client.ask("PASS tanstaaf", "-ERR [SYS/TEMP] the maildrop cannot be opened");
        server.daemon.wait_log(&format!("mrose/Maildir: belongs to uid {owner}, not {OWNER}"));
    }
    give(&server.maildir());
    server.mrose().ask("STAT", "+OK 1 22");
}

#[test]
fn a_session_has_the_user_id_of_the_users_file_and_never_roots() {
    if !root_can_judge() {
        return;
    }
    let users =
        format!("mallory:{{PLAIN}}x:{MALLORY}:{OWNER}:m:HOME/m:\nroot:{{PLAIN}}x:0:0:r:HOME/m:\n");
    let server = TestServer::with(&[], &["--auth-delay", "0"], &users);
    let home = server.path("m");
    fs::create_dir(&home).unwrap();
    chown(&home, Some(MALLORY), Some(OWNER)).unwrap();
    let mut client = server.client();
    client.ask("USER root", "+OK");
    client.ask("PASS x", "-ERR [AUTH]");
    client.ask("USER Mallory", "+OK"); // telephones capitalise
    client.ask("PASS x", "+OK");
    let mailbox = mailbox_of(&server.daemon, &client);
    assert_eq!(title(mailbox), "pop3d: mailbox of mallory");
    assert_eq!(ids_of(mailbox, "Uid:"), [&MALLORY.to_string()[..]; 4]);
    assert_eq!(ids_of(mailbox, "Gid:"), [&OWNER.to_string()[..]; 4]);
    server.daemon.wait_log("user id 0: no session has root's rights");
}

/// The keeper of a server: it logs to the same place.
pub(crate) fn keeper_of(daemon: &Daemon) -> i32 {
    let log = open_files(daemon.pid())[&2].clone();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let mut keepers = pids.filter(|pid| {
        // Another user's cannot be read, and is not ours.
        let to = fs::read_link(format!("/proc/{pid}/fd/2"));
        title(*pid) == "pop3d: keeper" && to.is_ok_and(|to| log.starts_with(&*to.to_string_lossy()))
    });
    keepers.next().expect("a keeper")
}

fn end(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

#[test]
fn if_front_or_the_mailboxs_process_is_killed_the_session_ends_and_nothing_is_removed() {
    each_model(&["fork", "prefork"], |model| {
        let server = TestServer::with(&[LETTER], &["-m", model, "-n", "2"], "");
        for kills_front in [true, false] {
            let mut client = server.mrose();
            client.ask("DELE 1", "+OK");
            let mailbox = mailbox_of(&server.daemon, &client);
            let front = server.daemon.server_of(&client);
            assert_ne!(front, mailbox);
            end(if kills_front { front } else { mailbox });
            assert!(client.is_closed());
            wait_until("the other has ended too", || has_ended(mailbox) && has_ended(front));
            let how = if kills_front { "SIGKILL" } else { "exit 1" };
            let name = client.stream().local_addr().map(|it| it.to_string());
            let name = name.unwrap_or_default();
            wait_until(&format!("the end is logged: {}", server.daemon.log()), || {
                let log = server.daemon.log();
                let ended = format!("client {name} end: pid {front}, ");
                log.lines().any(|line| line.contains(&ended) && line.contains(how))
            });
            assert_eq!(server.letters().len(), 1);
        }
        server.mrose().ask("STAT", "+OK 1 22");
    });
}

#[test]
fn without_its_keeper_a_server_ends_with_the_next_client_and_sessions_go_on() {
    let mut server = TestServer::new(&[LETTER]);
    let mut client = server.mrose();
    let keeper = keeper_of(&server.daemon);
    end(keeper);
    wait_until("the keeper has ended", || has_ended(keeper)); // before that it takes a line
    client.ask("STAT", "+OK 1 22");
    let next = Peer::connect(server.daemon.addr());
    server.daemon.wait_log("the keeper has ended");
    drop(next);
    assert_eq!(server.daemon.wait().code(), Some(1));
    client.ask("STAT", "+OK 1 22");
}

#[test]
fn a_session_in_one_packet_is_served_to_its_end_and_counted_whole() {
    each_model(&MODELS, |model| {
        let server = TestServer::with(&[LETTER], &["-m", model], "");
        let mut client = server.client();
        let name = client.stream().local_addr().unwrap();
        let dialogue = "USER mrose\r\nPASS tanstaaf\r\nSTAT\r\nRETR 1\r\nQUIT\r\n";
        client.send(dialogue);
        client.expect("+OK now PASS");
        client.expect("+OK maildrop has 1 message");
        client.expect("+OK 1 22");
        client.expect("+OK 22 octets");
        assert_eq!(until_dot(&mut client), ["Subject: one", "", "body"]);
        client.expect("+OK ");
        assert!(client.is_closed());
        drop(client);
        let counted = format!(", exit 0, {} bytes in, ", dialogue.len());
        wait_until(&format!("the end is logged: {}", server.daemon.log()), || {
            let log = server.daemon.log();
            let ended = format!("client {name} end: pid ");
            log.lines().any(|line| line.contains(&ended) && line.contains(&counted))
        });
    });
}

#[test]
fn a_server_that_ends_leaves_no_keeper_and_no_mailbox() {
    each_model(&MODELS, |model| {
        let server = TestServer::with(&[LETTER], &["-m", model, "--grace", "0.1"], "");
        let client = server.mrose();
        let (keeper, mailbox) = (keeper_of(&server.daemon), mailbox_of(&server.daemon, &client));
        server.daemon.signal(Signal::SIGTERM);
        wait_until("all have ended", || has_ended(keeper) && has_ended(mailbox));
    });
}

#[test]
fn a_daemon_and_its_keeper_leave_the_command_that_started_them() {
    let dir = testkit::TempDir::new();
    let users =
        users_file(&dir, &format!("mrose:{{PLAIN}}tanstaaf:::Rose:{}:\n", dir.path().display()));
    let (pid_file, socket) = (dir.path().join("pid"), dir.path().join("pop3"));
    let mut command = std::process::Command::new(POP3D);
    command.arg("-d").arg("-p").arg(&pid_file).arg("--users").arg(users);
    command.arg("-l").arg(format!("unix:{}", socket.display())).args(as_root());
    let output = testkit::run(command, b""); // returns when the last copy of its pipes is closed
    assert!(output.status.success(), "{output:?}");
    let pid: i32 = fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    let mut client = UnixStream::connect(&socket).unwrap();
    client.set_read_timeout(Some(testkit::WATCHDOG)).unwrap();
    let mut greeting = [0; 4];
    client.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"+OK ");
    drop(client);
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    wait_until("it has ended and removed its files", || {
        has_ended(pid) && !pid_file.exists() && !socket.exists()
    });
}

#[test]
fn under_inetd_too_no_process_that_holds_the_client_has_rights() {
    let dir = testkit::TempDir::new();
    let line = format!("mrose:{{PLAIN}}tanstaaf:::Rose:{}:\n", dir.path().display());
    let users = users_file(&dir, &line);
    make_maildir(&dir.path().join("Maildir"));
    let inetd = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = inetd.local_addr().unwrap();
    let mut client = Peer::connect(address);
    let accepted = OwnedFd::from(inetd.accept().unwrap().0);
    let mut command = std::process::Command::new(POP3D);
    command.args(["-i", "-q", "--users", users.to_str().unwrap()]).args(as_root());
    command.stdin(accepted.try_clone().unwrap()).stdout(accepted);
    let mut child = command.spawn().unwrap();
    drop(command); // and the copies of the client's socket with it
    client.expect("+OK ");
    let all = holders(address, &client);
    assert_eq!(all, [child.id() as i32]);
    assert_eq!(rights_left(all[0]), "");
    client.ask("USER mrose", "+OK");
    client.ask("PASS tanstaaf", "+OK");
    let all = holders(address, &client);
    assert_eq!(all.len(), 2, "front and the mailbox's process");
    assert_eq!(all.into_iter().map(rights_left).collect::<String>(), "");
    client.ask("QUIT", "+OK");
    drop(client);
    assert!(testkit::wait_child(&mut child, "the session ends").success());
}
