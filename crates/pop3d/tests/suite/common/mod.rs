//! What the tests of the daemon share: a users file, a Maildir, a server, a client.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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
        let file = dir.file("users", line.replace("HOME", &home));
        make_maildir(&dir.path().join("mrose/Maildir"));
        for (number, letter) in (1..).zip(letters) {
            dir.file(&format!("mrose/Maildir/new/{number}.a.test"), letter);
        }
        let args = [&["--users", file.to_str().unwrap()], options].concat();
        let daemon = Daemon::start(POP3D, &args);
        TestServer { dir, daemon }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn maildir(&self) -> PathBuf {
        self.path("mrose/Maildir")
    }

    /// A client that has heard the greeting.
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

pub fn make_maildir(path: &Path) {
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(path.join(part)).unwrap();
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
