//! A server with two users and an empty mailbox each.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use testkit::{Daemon, Peer, TempDir, open_files, processes, title};

pub const SMTPD: &str = env!("CARGO_BIN_EXE_smtpd");
pub const LETTER: &str = "Subject: meeting\r\n\r\nLet's get together Monday at 1pm.\r\n";

/// The user of mailboxes, where root runs the tests.
pub const OWNER: u32 = 61_001;
/// Users with mailboxes of their own.
pub const LEVY: u32 = 61_003;
pub const BOB: u32 = 61_004;
/// The user who talks to clients then.
pub const FRONT: &str = "65534";

/// A users file with levy and bob, and their homes.
pub struct Fixture {
    pub dir: TempDir,
    pub users: PathBuf,
}

impl Fixture {
    pub fn new() -> Fixture {
        Fixture::with("")
    }

    /// With a user id for each, where root runs the tests.
    pub fn two_users() -> Fixture {
        let fixture = Fixture::new();
        if geteuid().is_root() {
            let users = fs::read_to_string(&fixture.users).unwrap();
            let users =
                users.replace("levy:{PLAIN}x:::", &format!("levy:{{PLAIN}}x:{LEVY}:{LEVY}:"));
            let users = users.replace("bob:{PLAIN}x:::", &format!("bob:{{PLAIN}}x:{BOB}:{BOB}:"));
            fs::write(&fixture.users, users).unwrap();
            for (user, id) in [("levy", LEVY), ("bob", BOB)] {
                give(&fixture.dir.path().join(user), id);
            }
        }
        fixture
    }

    /// With more lines of the users file; `HOME` in them is the test's folder.
    pub fn with(users: &str) -> Fixture {
        let dir = TempDir::new();
        let home = dir.path().display().to_string();
        let lines =
            "# test users\nlevy:{PLAIN}x:::Levy Red,room 1:HOME/levy:\nbob:{PLAIN}x::::HOME/bob:\n";
        let users = users_file(&dir, &format!("{lines}{users}").replace("HOME", &home));
        for user in ["levy", "bob"] {
            make_home(&dir.path().join(user), OWNER);
        }
        Fixture { dir, users }
    }

    /// A server for `red.test`.
    pub fn serve(&self, more: &[&str]) -> Daemon {
        let users = self.users.display().to_string();
        let mut args = vec!["--users", &users, "--hostname", "red.test"];
        args.extend_from_slice(more);
        start(&args)
    }

    pub fn maildir(&self, user: &str) -> PathBuf {
        self.dir.path().join(user).join("Maildir")
    }

    /// The letters that a user has got, in the order of their names.
    pub fn letters(&self, user: &str) -> Vec<String> {
        let mut paths = files(&self.maildir(user).join("new"));
        paths.sort();
        let read = |path: &PathBuf| match std::fs::read(path) {
            Ok(text) => Some(String::from_utf8_lossy(&text).into()),
            Err(error) if error.kind() == ErrorKind::NotFound => None, // it was taken back meanwhile
            Err(error) => panic!("{}: {error}", path.display()),
        };
        paths.iter().filter_map(read).collect()
    }

    /// The one letter that a user has got, below its trace header.
    pub fn letter(&self, user: &str) -> String {
        let letters = self.letters(user);
        assert_eq!(letters.len(), 1, "{letters:?}");
        below_trace(&letters[0])
    }

    /// What lies in a user's `tmp`.
    pub fn drafts(&self, user: &str) -> Vec<PathBuf> {
        files(&self.maildir(user).join("tmp"))
    }

    /// Nothing was delivered to any user, and nothing is left over.
    pub fn assert_nothing(&self) {
        for user in ["levy", "bob"] {
            assert_eq!(self.letters(user), Vec::<String>::new(), "{user}");
            testkit::wait_until("no draft is left over", || self.drafts(user).is_empty());
        }
    }
}

/// Starts smtpd; where root runs the tests, with an ordinary user to talk to clients, and another one whose
/// mailboxes are.
pub fn start(args: &[&str]) -> Daemon {
    Daemon::start(SMTPD, &with_root(args))
}

/// These options, and those that root needs.
pub fn with_root(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).chain(as_root()).collect()
}

/// The options that root needs.
pub fn as_root() -> Vec<String> {
    if !geteuid().is_root() {
        return Vec::new();
    }
    ["-u", FRONT, "--mail-user", &OWNER.to_string()].map(str::to_owned).to_vec()
}

/// Makes a users file that others may not read, in a folder that the users of mailboxes can pass.
pub fn users_file(dir: &TempDir, text: &str) -> PathBuf {
    let path = dir.file("users", text);
    set_mode(&path, 0o600);
    set_mode(dir.path(), 0o711);
    path
}

/// Makes a folder that belongs to this user, if root runs the tests.
pub fn make_home(path: &Path, owner: u32) {
    fs::create_dir(path).unwrap();
    give(path, owner);
}

/// Gives a file or folder away, if root runs the tests.
pub fn give(path: &Path, owner: u32) {
    if geteuid().is_root() {
        chown(path, Some(owner), Some(owner)).unwrap();
    }
}

pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// The letter without `Return-Path:` and `Received:` of our own making, and without the empty line that follows them
/// where the text has no header.
pub fn below_trace(letter: &str) -> String {
    assert!(letter.starts_with("Return-Path: <"), "{letter}");
    let received = letter.split_once('\n').unwrap().1;
    let received = match received.strip_prefix("Delivered-To: ") {
        Some(to) => to.split_once('\n').unwrap().1, // of a letter that goes on
        None => received,
    };
    assert!(received.starts_with("Received: from "), "{letter}");
    let mut rest = received.split_once('\n').unwrap().1;
    while rest.starts_with('\t') {
        rest = rest.split_once('\n').unwrap().1;
    }
    rest.strip_prefix('\n').filter(|text| !text.is_empty()).unwrap_or(rest).to_owned()
}

/// A client that was greeted.
pub fn greeted(daemon: &Daemon) -> Peer {
    let mut peer = Peer::connect(daemon.addr());
    peer.expect("220 red.test ");
    peer
}

/// A client that has said EHLO.
pub fn introduced(daemon: &Daemon) -> Peer {
    let mut peer = greeted(daemon);
    peer.send("EHLO topaz.test\r\n");
    while peer.expect("250")[3] == b'-' {}
    peer
}

/// A client whose DATA was answered with 354: a letter from hedrick to levy.
pub fn in_data(daemon: &Daemon) -> Peer {
    let mut peer = introduced(daemon);
    peer.ask("MAIL FROM:<hedrick@topaz.test>", "250 2.1.0 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 2.1.5 ");
    peer.ask("DATA", "354 ");
    peer
}

/// The server still does what it is for: a letter arrives.
pub fn assert_alive(daemon: &Daemon) {
    let mut peer = in_data(daemon);
    peer.send("still alive\r\n.\r\n");
    peer.expect("250 ");
    peer.ask("QUIT", "221 ");
}

/// Processes of this server with a title: they log to the same place.
pub fn of_server(daemon: &Daemon, shown: &str) -> Vec<i32> {
    let log = open_files(daemon.pid())[&2].clone();
    let is_it = |pid: &i32| {
        let to = fs::read_link(format!("/proc/{pid}/fd/2"));
        let is_its = to.is_ok_and(|to| log.starts_with(&*to.to_string_lossy()));
        is_its && title(*pid).starts_with(shown)
    };
    processes().filter(is_it).collect()
}
