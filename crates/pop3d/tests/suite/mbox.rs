//! `--mail mbox:…`: maildrops that are one file, which deliveries and mail readers use too.

use std::fs::{self, File, Permissions, set_permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{
    Daemon, MODELS, Peer, TempDir, command, each_model, has_ended, names, processes, run, title,
    wait_until,
};

use crate::common::{POP3D, as_root, give, start, text, until_dot, users_file};
use crate::separation::mailbox_of;

/// Letters of these numbers in an mbox.
pub fn mbox_of(numbers: impl IntoIterator<Item = usize>) -> String {
    let letter = |n| format!("From levy Mon Nov 30 11:00:00 2026\nSubject: {n}\n\n>From {n}\n\n");
    numbers.into_iter().map(letter).collect()
}

/// A server with mrose's mbox, in a folder that is mrose's own.
pub struct Server {
    pub dir: TempDir,
    pub daemon: Daemon,
}

impl Server {
    fn with(mbox: &str, options: &[&str]) -> Server {
        let (dir, args) = Server::prepare(mbox, options);
        let daemon = start(&args.iter().map(String::as_str).collect::<Vec<_>>());
        Server { dir, daemon }
    }

    fn new(mbox: &str) -> Server {
        Server::with(mbox, &[])
    }

    /// Makes the files; returns the options.
    fn prepare(mbox: &str, options: &[&str]) -> (TempDir, Vec<String>) {
        let dir = TempDir::new();
        let home = dir.path().join("mrose");
        let users =
            users_file(&dir, &format!("mrose:{{PLAIN}}tanstaaf:::Rose:{}:\n", home.display()));
        fs::create_dir(&home).unwrap();
        give(&home);
        give(&dir.file("mrose/mbox", mbox));
        let mut args = vec!["--users".to_owned(), users.display().to_string()];
        args.extend(["--mail", "mbox:~/mbox", "--auth-delay", "0"].map(str::to_owned));
        args.extend(options.iter().map(|option| (*option).to_owned()));
        (dir, args)
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("mrose")
    }

    fn mbox(&self) -> PathBuf {
        self.home().join("mbox")
    }

    fn content(&self) -> String {
        fs::read_to_string(self.mbox()).unwrap()
    }

    fn append(&self, letters: &str) {
        let mut file = File::options().append(true).open(self.mbox()).unwrap();
        file.write_all(letters.as_bytes()).unwrap();
    }

    pub fn client(&self) -> Peer {
        login(&self.daemon, "+OK")
    }

    pub fn refused(&self, prefix: &str) {
        login(&self.daemon, prefix);
    }
}

/// A client that has logged in, with this reply.
fn login(daemon: &Daemon, reply: &str) -> Peer {
    let mut client = Peer::connect(daemon.addr());
    client.expect("+OK ");
    client.ask("USER mrose", "+OK");
    client.ask("PASS tanstaaf", reply);
    client
}

/// What is in a user's folder after a session: the mbox, and the file of the session's lock.
const FILES: [&str; 2] = [".mbox.pop3", "mbox"];

/// The process that has the locks of the mbox of this client's session.
pub fn lock_process(daemon: &Daemon, client: &Peer) -> i32 {
    let mailbox = mailbox_of(daemon, client);
    let is_it = |pid: &i32| {
        title(*pid).starts_with("pop3d: mbox lock of ") && testkit::children(mailbox).contains(pid)
    };
    processes().find(is_it).expect("a process that has the locks")
}

/// How often a process has gone to sleep, or waited for something; as proc(5) counts it.
fn times_slept(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.map_or(0, |count| count.trim().parse().expect("a number"))
}

fn lock_record(file: &File) -> nix::Result<()> {
    let whole = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_SETLK(&whole)).map(drop)
}

#[test]
fn letters_of_an_mbox_are_listed_sent_and_removed() {
    each_model(&MODELS, |model| {
        let server = Server::with(&mbox_of(1..=3), &["-m", model, "-n", "2"]);
        let mut client = server.client();
        client.ask("STAT", "+OK 3 66");
        client.ask("UIDL", "+OK");
        let uids = until_dot(&mut client);
        client.ask("RETR 2", "+OK 22 octets");
        assert_eq!(until_dot(&mut client), ["Subject: 2", "", "From 2"]);
        client.ask("TOP 3 0", "+OK");
        assert_eq!(until_dot(&mut client), ["Subject: 3", ""]);
        client.ask("DELE 1", "+OK");
        client.ask("DELE 3", "+OK");
        client.ask("RSET", "+OK");
        client.ask("DELE 1", "+OK");
        client.ask("QUIT", "+OK");
        assert_eq!(server.content(), mbox_of([2, 3]));
        assert_eq!(names(&server.home()), FILES);
        let mut client = server.client();
        client.ask("UIDL", "+OK");
        let uid = |row: &String| row.split(' ').nth(1).unwrap().to_owned();
        let again: Vec<_> = until_dot(&mut client).iter().map(uid).collect();
        assert_eq!(again, uids[1..].iter().map(uid).collect::<Vec<_>>());
    });
}

#[test]
fn sizes_are_those_of_what_is_sent() {
    let letters = "From a\nSubject: 1\n\nx\nFrom here\n>From there\n>>From\n>> From\n.\n..x\n\n\nFrom b\r\n\
        Subject: 2\r\n\r\n>From c\r\n\r\n\r\nFrom d\nStatus: RO\n\n\nFrom e\n\nFrom f\n\nno end";
    let server = Server::new(letters);
    let mut client = server.client();
    client.ask("LIST", "+OK 5 messages");
    let rows = until_dot(&mut client);
    for (number, row) in (1..).zip(rows) {
        client.ask(&format!("RETR {number}"), "+OK");
        let lines = until_dot(&mut client);
        let stuffed = |line: &String| usize::from(line.starts_with('.'));
        let octets: usize = lines.iter().map(|line| line.len() + 2 - stuffed(line)).sum();
        assert_eq!(row, format!("{number} {octets}"), "{lines:?}");
        if number == 1 {
            let body = ["x", "From here", "From there", ">>From", ">> From", "..", "...x", ""];
            assert_eq!(lines[2..], body);
        }
    }
}

#[test]
fn a_user_without_an_mbox_has_no_letters_and_without_its_folder_cannot_be_served() {
    let server = Server::new("");
    server.client().ask("STAT", "+OK 0 0");
    fs::remove_file(server.mbox()).unwrap();
    let mut client = server.client();
    client.ask("STAT", "+OK 0 0");
    client.ask("QUIT", "+OK");
    assert_eq!(names(&server.home()), FILES[..1]);
    fs::remove_dir_all(server.home()).unwrap();
    server.refused("-ERR [SYS/TEMP]");
    let why = format!("login of 'mrose': {}: No such file or directory", server.home().display());
    server.daemon.wait_log(&why);
}

#[test]
fn a_file_that_is_no_mbox_is_never_an_empty_maildrop() {
    for wrong in ["Subject: 1\n\nx\n", "\nFrom a\n\n", "\0\0\0\0", "from a\n"] {
        let server = Server::new(wrong);
        server.refused("-ERR [SYS/TEMP]");
        server.daemon.wait_log("mbox: does not begin with \"From \"");
        assert_eq!(
            (server.content(), names(&server.home())),
            (wrong.to_owned(), FILES.map(Into::into).to_vec())
        );
    }
    let server = Server::new("");
    fs::rename(server.mbox(), server.home().join("elsewhere")).unwrap();
    symlink("elsewhere", server.mbox()).unwrap();
    server.refused("-ERR [SYS/PERM]");
    server.daemon.wait_log("mbox: Too many levels of symbolic links");
    fs::remove_file(server.mbox()).unwrap();
    fs::create_dir(server.mbox()).unwrap();
    server.refused("-ERR [SYS/");
}

#[test]
fn a_session_holds_up_no_delivery_and_keeps_what_is_delivered() {
    let server = Server::new(&mbox_of(1..=3));
    let mut client = server.client();
    assert_eq!(names(&server.home()), FILES);
    let file = File::options().append(true).open(server.mbox()).unwrap();
    lock_record(&file).unwrap();
    server.append(&mbox_of([4]));
    drop(file);
    client.ask("STAT", "+OK 3 66");
    for number in 1..=3 {
        client.ask(&format!("DELE {number}"), "+OK");
    }
    client.ask("QUIT", "+OK");
    assert_eq!(server.content(), mbox_of([4]));
    server.client().ask("STAT", "+OK 1 22");
}

#[test]
fn one_session_at_a_time() {
    let server = Server::new(&mbox_of(1..=3));
    let mut client = server.client();
    server.refused("-ERR [IN-USE]");
    client.ask("QUIT", "+OK");
    server.client();
}

#[test]
fn locks_of_other_programs_are_respected() {
    let server = Server::new(&mbox_of(1..=3));
    let file = File::options().append(true).open(server.mbox()).unwrap();
    lock_record(&file).unwrap();
    server.refused("-ERR [IN-USE]");
    drop(file);
    let dotlock = server.home().join("mbox.lock");
    fs::write(&dotlock, std::process::id().to_string()).unwrap();
    server.refused("-ERR [IN-USE]");
    fs::remove_file(&dotlock).unwrap();
    // UPDATE waits, 15 s at most: on a machine that is slower than this test it ends without its turn.
    let mut client = server.client();
    let updating = lock_process(&server.daemon, &client);
    client.ask("DELE 1", "+OK");
    fs::write(&dotlock, std::process::id().to_string()).unwrap();
    let before = times_slept(updating);
    client.send("QUIT\r\n");
    // It reads the question, finds the lock taken, sleeps, and finds it taken again.
    wait_until("the lock is tried twice", || {
        times_slept(updating) >= before + 3 || has_ended(updating)
    });
    assert_eq!(server.content(), mbox_of(1..=3));
    fs::remove_file(&dotlock).unwrap();
    let reply = text(&client.line());
    let left = if reply.starts_with("+OK") { mbox_of([2, 3]) } else { mbox_of(1..=3) };
    assert!(reply.starts_with("+OK") || reply.starts_with("-ERR [SYS/TEMP]"), "{reply}");
    assert_eq!((server.content(), names(&server.home())), (left, FILES.map(Into::into).to_vec()));
}

#[test]
fn the_lock_of_a_process_that_has_ended_is_stale() {
    let server = Server::new(&mbox_of(1..=3));
    let mut ended = std::process::Command::new("true").spawn().unwrap();
    let pid = ended.id();
    ended.wait().unwrap();
    fs::write(server.home().join("mbox.lock"), format!("{pid}\n")).unwrap();
    let mut client = server.client();
    client.ask("DELE 2", "+OK");
    client.ask("QUIT", "+OK");
    assert_eq!(
        (server.content(), names(&server.home())),
        (mbox_of([1, 3]), FILES.map(Into::into).to_vec())
    );
    server.daemon.wait_log("a stale lock, removed");
}

#[test]
fn an_mbox_that_another_program_changes_loses_nothing() {
    let server = Server::new(&mbox_of(1..=3));
    let mut client = server.client();
    client.ask("DELE 1", "+OK");
    let now = mbox_of([1]) + &mbox_of([3]).replace("Subject", "Status: RO\nSubject");
    fs::write(server.mbox(), &now).unwrap();
    client.ask("RETR 2", "-ERR [SYS/TEMP]");
    client.ask("QUIT", "-ERR [SYS/TEMP] some deleted messages not removed");
    assert_eq!((server.content(), names(&server.home())), (now, FILES.map(Into::into).to_vec()));
    server
        .daemon
        .wait_log("mbox: another program has changed it during the session; no letter was removed");
}

#[test]
fn mode_and_owner_of_an_mbox_stay() {
    let server = Server::new(&mbox_of(1..=3));
    set_permissions(server.mbox(), Permissions::from_mode(0o640)).unwrap();
    let before = fs::metadata(server.mbox()).unwrap();
    let mut client = server.client();
    client.ask("DELE 1", "+OK");
    client.ask("QUIT", "+OK");
    let after = fs::metadata(server.mbox()).unwrap();
    let all = |it: &fs::Metadata| (it.mode(), it.uid(), it.gid(), it.mtime(), it.mtime_nsec());
    assert_eq!(all(&after), all(&before));
    assert_ne!(after.ino(), before.ino(), "a new file");
}

/// The mbox is as it was or as it is to be, and the next session is served.
fn loses_nothing(daemon: &Daemon, home: &Path, what: &str) {
    let now = fs::read_to_string(home.join("mbox")).unwrap();
    assert!(now == mbox_of(1..=3) || now == mbox_of([2]), "{what}: {now}");
    let mut client = login(daemon, "+OK");
    let count = now.matches("Subject").count();
    client.ask("STAT", &format!("+OK {count} {}", 22 * count));
    client.ask("DELE 1", "+OK");
    client.ask("QUIT", "+OK");
    assert_eq!(names(home), FILES, "{what}");
}

#[test]
fn a_kill_of_either_process_in_update_loses_nothing() {
    for round in 0..24 {
        let server = Server::new(&mbox_of(1..=3));
        let mut client = server.client();
        let mailbox = mailbox_of(&server.daemon, &client);
        let locks = lock_process(&server.daemon, &client);
        let victim = if round % 2 == 0 { mailbox } else { locks };
        client.send("DELE 1\r\nDELE 3\r\nQUIT\r\n");
        for _ in 0..round / 2 * 20_000 {
            std::hint::spin_loop();
        }
        let _ = kill(Pid::from_raw(victim), Signal::SIGKILL); // it may have ended
        wait_until("both have ended", || has_ended(mailbox) && has_ended(locks));
        loses_nothing(&server.daemon, &server.home(), &format!("round {round}"));
    }
}

#[test]
fn a_kill_at_any_call_of_update_loses_nothing() {
    for (call, when) in [
        ("linkat", 2),
        ("fchmod", 1),
        ("utimensat", 1),
        ("fsync", 1),
        ("renameat", 1),
        ("fsync", 2),
        ("unlinkat", 8),
        ("unlinkat", 10),
    ] {
        let inject = format!("{call}:signal=KILL:when={when}");
        let Some(mut strace) = testkit::injected(call, &[&inject]) else { return };
        let (dir, args) = Server::prepare(&mbox_of(1..=3), &[]);
        strace.arg(POP3D).args(["-l", "127.0.0.1:0"]);
        let daemon = Daemon::spawn(strace, &[args.clone(), as_root()].concat());
        let mut client = login(&daemon, "+OK");
        client.send("DELE 1\r\nDELE 3\r\nQUIT\r\n");
        client.rest();
        drop(daemon);
        let plain =
            Server { dir, daemon: start(&args.iter().map(String::as_str).collect::<Vec<_>>()) };
        let lock = fs::read_to_string(plain.home().join("mbox.lock")).unwrap_or_default();
        let holder = PathBuf::from(format!("/proc/{}/stat", lock.trim()));
        wait_until("the holder of the lock is no zombie any more", || {
            lock.is_empty() || !holder.exists()
        });
        loses_nothing(&plain.daemon, &plain.home(), &inject);
    }
}

#[test]
fn a_full_disk_in_update_loses_nothing() {
    for inject in
        ["fsync:error=ENOSPC", "fsync:error=EIO", "renameat:error=EIO", "fchmod:error=EROFS"]
    {
        let call = inject.split(':').next().unwrap();
        let Some(mut strace) = testkit::injected(call, &[inject]) else { return };
        let (dir, args) = Server::prepare(&mbox_of(1..=3), &[]);
        strace.arg(POP3D).args(["-l", "127.0.0.1:0"]);
        let daemon = Daemon::spawn(strace, &[args, as_root()].concat());
        let mut client = login(&daemon, "+OK");
        client.ask("DELE 1", "+OK");
        client.ask("QUIT", "-ERR [SYS/");
        let home = dir.path().join("mrose");
        assert_eq!(fs::read_to_string(home.join("mbox")).unwrap(), mbox_of(1..=3), "{inject}");
        assert_eq!(names(&home), FILES, "{inject}");
    }
}

#[test]
fn a_pattern_that_names_no_file_is_refused() {
    for (pattern, why) in
        [("mbox:", "the pattern is empty"), ("mbox:~", "not a file"), ("mbox:/%x", "placeholders")]
    {
        let dir = TempDir::new();
        let users = users_file(&dir, "");
        let args =
            ["--check", "-u", "nobody", "--users", users.to_str().unwrap(), "--mail", pattern];
        let output = run(command(POP3D, &args), b"");
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert!(
            said.starts_with(&format!("pop3d: --mail '{pattern}': ")) && said.contains(why),
            "{said}"
        );
    }
}

#[test]
fn ids_are_those_of_popa3d_on_wish() {
    let fields = "Received: from a by b; Mon, 30 Nov 2026 11:00:00 +0000\nMessage-ID: <1@x>\n";
    let mbox = mbox_of([1]).replacen("Subject", &format!("{fields}Subject"), 1) + &mbox_of([2]);
    let server = Server::with(&mbox, &["--uidl", "popa3d"]);
    let mut client = server.client();
    client.ask("UIDL", "+OK");
    let lengths: Vec<_> = until_dot(&mut client).iter().map(String::len).collect();
    assert_eq!(lengths, [2 + 16, 2 + 32], "popa3d's digest; without its fields our own");
    let mail = ["--mail", "mbox:~/mbox"];
    for (options, why) in [
        (&["--uidl", "popa3d"][..], "--uidl 'popa3d': is for --mail mbox:PATH"),
        (&[mail[0], mail[1], "--uidl", "dovecot"], "--uidl 'dovecot': is for Maildirs"),
        (&[mail[0], mail[1], "--seen"], "--seen is for Maildirs"),
    ] {
        let output = run(command(POP3D, &[&["--check"], options].concat()), b"");
        assert!(!output.status.success());
        assert!(text(&output.stderr).starts_with(&format!("pop3d: {why}")), "{output:?}");
    }
}
