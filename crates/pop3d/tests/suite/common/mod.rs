//! What the tests of the daemon share: a users file, a Maildir, a server, a client.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::unistd::geteuid;
use testkit::{Daemon, Peer, TempDir, names, run};

pub const POP3D: &str = env!("CARGO_BIN_EXE_pop3d");
pub const POP3C: &str = env!("CARGO_BIN_EXE_pop3c");
/// `tanstaaf`, as `openssl passwd -6` writes it.
pub const HASH: &str = "$6$saltsalt$JfDkfKepJJ8OUWRByLbPk38gXHsXisVEzfbhJNOdQONUSHJpsMS04wE7S46k63uzhSh1G0j2QJ1gqfWqZChQE.";
/// A letter of 22 octets.
pub const LETTER: &str = "Subject: one\n\nbody\n";

/// A server with the user mrose, password tanstaaf, and those that the test adds.
pub struct TestServer {
    pub dir: TempDir,
    pub daemon: Daemon,
}

impl TestServer {
    /// With these letters in mrose's Maildir.
    pub fn new(letters: &[&str]) -> TestServer {
        TestServer::with(letters, &["--auth-delay", "0"], "")
    }

    /// With options and more lines of the users file; `HOME` in them is the test's folder.
    pub fn with(letters: &[&str], options: &[&str], users: &str) -> TestServer {
        let dir = TempDir::new();
        let home = dir.path().to_str().unwrap().to_owned();
        let line = format!("mrose:{{PLAIN}}tanstaaf:::Rose:{home}/mrose:\n{users}");
        let file = users_file(&dir, &line.replace("HOME", &home));
        make_maildir(&dir.path().join("mrose/Maildir"));
        for (number, letter) in (1..).zip(letters) {
            dir.file(&format!("mrose/Maildir/new/{number}.a.test"), letter);
        }
        let args = [&["--users", file.to_str().unwrap()], options].concat();
        let daemon = start(&args);
        TestServer { dir, daemon }
    }

    /// With these lines of the users file alone.
    pub fn alone(options: &[&str], users: &str) -> TestServer {
        let dir = TempDir::new();
        let home = dir.path().to_str().unwrap().to_owned();
        let file = users_file(&dir, &users.replace("HOME", &home));
        make_maildir(&dir.path().join("mrose/Maildir"));
        let daemon = start(&[&["--users", file.to_str().unwrap()], options].concat());
        TestServer { dir, daemon }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn maildir(&self) -> PathBuf {
        self.path("mrose/Maildir")
    }

    /// A client that has received the greeting.
    pub fn client(&self) -> Peer {
        let mut peer = Peer::connect(self.daemon.addr());
        peer.expect("+OK ");
        peer
    }

    /// A client that is logged in.
    pub fn mrose(&self) -> Peer {
        let mut peer = self.client();
        peer.ask("USER mrose", "+OK");
        peer.ask("PASS tanstaaf", "+OK");
        peer
    }

    /// The names in `new`, sorted.
    pub fn letters(&self) -> Vec<String> {
        names(&self.maildir().join("new"))
    }

    /// Runs the client against the server, the password on its standard input.
    pub fn pop3c(&self, args: &[&str]) -> Output {
        self.pop3c_with(args, b"tanstaaf\n")
    }

    pub fn pop3c_with(&self, args: &[&str], stdin: &[u8]) -> Output {
        run(self.pop3c_command(args), stdin)
    }

    /// The client against the server, to be run; options first.
    pub fn pop3c_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(POP3C);
        let split = args.iter().position(|arg| !arg.starts_with('-')).unwrap_or(args.len());
        let (options, words) = args.split_at(split);
        command.args(options).args(["-u", "mrose"]);
        command.arg(self.daemon.addr().to_string()).args(words);
        command
    }
}

/// The user of mailboxes, where root runs the tests.
pub const OWNER: u32 = 61_001;
/// The user who talks to clients then.
pub const FRONT: &str = "65534";

/// Starts pop3d; where root runs the tests, with an ordinary user to talk to clients, and another one whose
/// mailboxes are.
pub fn start(args: &[&str]) -> Daemon {
    Daemon::start(POP3D, &[args, &as_root().iter().map(|it| &**it).collect::<Vec<_>>()].concat())
}

/// The options that root needs, unless they are given.
pub fn as_root() -> Vec<String> {
    if !geteuid().is_root() {
        return Vec::new();
    }
    ["-u", FRONT, "--mail-user", &OWNER.to_string()].map(str::to_owned).to_vec()
}

/// Makes a users file that others may not read, in a folder that the users of mailboxes can pass.
pub fn users_file(dir: &TempDir, text: &str) -> PathBuf {
    let path = dir.file("users", text);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
    path
}

/// Makes a Maildir, which belongs to the user of mailboxes.
pub fn make_maildir(path: &Path) {
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(path.join(part)).unwrap();
        give(&path.join(part));
    }
    give(path);
}

/// Gives a file or folder to the user of mailboxes, if root runs the tests.
pub fn give(path: &Path) {
    if geteuid().is_root() {
        chown(path, Some(OWNER), Some(OWNER)).unwrap();
    }
}

/// The lines of a listing or a message, up to its line of a dot.
pub fn until_dot(peer: &mut Peer) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let line = String::from_utf8(peer.line()).unwrap();
        let line = line.strip_suffix("\r\n").expect("a line that ends in CRLF").to_owned();
        if line == "." {
            return lines;
        }
        lines.push(line);
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
