//! A queue, its runner, and the name server that leads to the test's mail server.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::unistd::{Gid, Uid, chown, geteuid};
use testkit::mail_server::{Came, MailServer};
use testkit::name_server::{NameServer, Says, address, mx};
use testkit::{NOBODY, Program, TempDir, names, run, wait_until};

pub const SMTPQ: &str = env!("CARGO_BIN_EXE_smtpq");

/// A queue with its name server.
pub struct Site {
    _dir: TempDir,
    pub queue: PathBuf,
    pub dns: NameServer,
    count: AtomicU32,
}

impl Site {
    /// A queue, and a name server that leads every domain below `.test` to 127.0.0.1 by an MX.
    pub fn new() -> Site {
        Site::with(|name, kind| match kind {
            "MX" if !name.starts_with("mx.") => Says::Records(vec![mx(10, &format!("mx.{name}"))]),
            "A" if name.starts_with("mx.") => Says::Records(vec![address("127.0.0.1")]),
            _ => Says::Records(Vec::new()),
        })
    }

    /// As [`Site::new`], with a zone of the test's own.
    pub fn with(zone: impl Fn(&str, &str) -> Says + Send + Sync + 'static) -> Site {
        let dir = TempDir::new();
        let queue = dir.path().join("queue");
        for part in ["", "tmp", "letters", "state", "hold"] {
            let folder = queue.join(part);
            fs::DirBuilder::new().mode(0o700).create(&folder).unwrap();
            give(&folder);
        }
        Site { _dir: dir, queue, dns: NameServer::start(zone), count: AtomicU32::new(0) }
    }

    /// Puts a letter into the queue; returns its name.
    pub fn put(&self, to: &[&str]) -> String {
        self.put_from("levy@topaz.test", to, "Subject: hello\n\nlet us go\n.\n")
    }

    /// As [`Site::put`], with an author and a text.
    pub fn put_from(&self, from: &str, to: &[&str], text: &str) -> String {
        self.put_lines(from, &to.iter().map(|to| format!("to <{to}>\n")).collect::<String>(), text)
    }

    /// As [`Site::put`], with the lines of the recipients.
    pub fn put_lines(&self, from: &str, to: &str, text: &str) -> String {
        let name = format!("{:06}", self.count.fetch_add(1, Ordering::Relaxed));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let envelope = format!(
            "forklore letter 1\nid {name}\narrived {now}\nclient 127.0.0.1:9\nfrom <{from}>\n{to}\n"
        );
        let draft = self.queue.join("tmp").join(&name);
        fs::write(&draft, envelope + text).unwrap();
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o600)).unwrap();
        give(&draft);
        fs::rename(draft, self.queue.join("letters").join(&name)).unwrap();
        name
    }

    /// The command with the options that every test needs.
    pub fn command(&self, port: &str, more: &[&str]) -> Command {
        let mut command = Command::new(SMTPQ);
        let resolver = self.dns.address().to_string();
        command.args(["--queue", self.queue.to_str().unwrap(), "--resolver", &resolver]);
        command.args(["--port", port, "--hostname", "topaz.test"]);
        if geteuid().is_root() {
            command.args(["-u", &NOBODY.to_string()]);
        }
        command.args(more);
        command
    }

    /// Sends what is due, and ends.
    pub fn once(&self, port: &str, more: &[&str]) -> Output {
        let output = run(self.command(port, &[&["--once"], more].concat()), b"");
        assert!(output.status.success(), "{}", said(&output));
        output
    }

    /// Starts the runner, and waits until it has seen the queue.
    pub fn start(&self, port: &str, more: &[&str]) -> Program {
        let runner = Program::spawn(self.command(port, more));
        runner.wait_errors(" letters\n");
        runner
    }

    /// Runs a command of the queue; returns what it says.
    pub fn ask(&self, args: &[&str]) -> String {
        let output = run(self.command("25", args), b"");
        assert!(output.status.success(), "{args:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The names in one of the queue's folders.
    pub fn names(&self, part: &str) -> Vec<String> {
        names(&self.queue.join(part))
    }

    /// The text of a file of one of the queue's folders; empty for none.
    pub fn text(&self, part: &str, name: &str) -> String {
        fs::read_to_string(self.queue.join(part).join(name)).unwrap_or_default()
    }

    /// Waits until no letter is left.
    pub fn wait_empty(&self) {
        wait_until("the queue is empty", || self.names("letters").is_empty());
    }
}

/// Gives a file to the user that the runner becomes.
fn give(path: &Path) {
    if geteuid().is_root() {
        chown(path, Some(Uid::from_raw(NOBODY)), Some(Gid::from_raw(NOBODY))).unwrap();
    }
}

/// What a program has said on standard error.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A server at which every letter waits for its reply until the sender is dropped.
pub fn stuck() -> (MailServer, Sender<()>) {
    stuck_at(|came| matches!(came, Came::Letter(_)))
}

/// The same at what is chosen.
pub fn stuck_at(
    is_kept: impl Fn(&Came) -> bool + Send + Sync + 'static,
) -> (MailServer, Sender<()>) {
    let (sender, receiver) = channel::<()>();
    let receiver = Mutex::new(receiver);
    let server = MailServer::start(move |came| {
        if is_kept(came) {
            let _ = receiver.lock().unwrap().recv();
        }
        None
    });
    (server, sender)
}
