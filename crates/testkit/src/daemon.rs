//! A daemon under test, and programs that run to their end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

use crate::peer::Peer;
use crate::process::{children, title};
use crate::wait::{WATCHDOG, holds_within, wait_until};

/// A daemon that was started on a free loopback port; killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: Arc<Mutex<String>>,
    addr: Option<SocketAddr>,
}

impl Daemon {
    /// Starts a binary (`env!("CARGO_BIN_EXE_echod")`) and waits until it listens. Adds
    /// `-l 127.0.0.1:0` unless `-l` is there, and `-u root` when root runs the test without `-u`.
    ///
    /// # Panics
    /// It ends instead, or says nothing within the watchdog's time.
    #[must_use]
    pub fn start<S: AsRef<str>>(binary: &str, args: &[S]) -> Daemon {
        Daemon::spawn(Command::new(binary), args)
    }

    /// As [`Daemon::start`], with a command that the test has prepared (environment, limits).
    ///
    /// # Panics
    /// As [`Daemon::start`].
    #[must_use]
    pub fn spawn<S: AsRef<str>>(mut command: Command, args: &[S]) -> Daemon {
        add_args(&mut command, args);
        if !args.iter().any(|arg| matches!(arg.as_ref(), "-l" | "--listen")) {
            command.args(["-l", "127.0.0.1:0"]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        Daemon::adopt(command.spawn().expect("the daemon's binary"))
    }

    /// Starts one of the examples' servers, which have none of the daemons' options: its arguments are
    /// `args` and `127.0.0.1:0`. The log holds its standard output too.
    ///
    /// # Panics
    /// As [`Daemon::start`].
    #[must_use]
    pub fn example(binary: &str, args: &[&str]) -> Daemon {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut command = Command::new(binary);
        command.args(args).arg("127.0.0.1:0").stdin(Stdio::null());
        command.stdout(writer.try_clone().unwrap()).stderr(writer);
        let child = command.spawn().expect("the example's binary");
        drop(command); // and with it the writing ends of the pipe
        Daemon::listens(child, reader)
    }

    /// A daemon that the test has started itself, its standard error a pipe: waits until it listens.
    ///
    /// # Panics
    /// As [`Daemon::start`].
    #[must_use]
    pub fn adopt(mut child: Child) -> Daemon {
        let stderr = child.stderr.take().unwrap();
        Daemon::listens(child, stderr)
    }

    fn listens(child: Child, output: impl Read + Send + 'static) -> Daemon {
        let log = Arc::new(Mutex::new(String::new()));
        collect(output, Arc::clone(&log));
        let mut daemon = Daemon { child, log, addr: None };
        wait_until("the daemon listens", || {
            let log = daemon.log();
            let ended = daemon.child.try_wait().unwrap();
            assert!(ended.is_none(), "the daemon ended ({ended:?}) before it listened: {log}");
            log.contains("listening on ")
        });
        daemon.addr = daemon.listening(1).first().and_then(|at| at.parse().ok());
        daemon
    }

    /// The first address it listens on.
    ///
    /// # Panics
    /// That is no HOST:PORT.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr.expect("a daemon that listens on HOST:PORT")
    }

    /// All it listens on, as the log says it, once there are this many lines: they come one by one.
    ///
    /// # Panics
    /// There are not within the watchdog's time.
    #[must_use]
    pub fn listening(&self, count: usize) -> Vec<String> {
        let lines = || -> Vec<String> {
            let log = self.log();
            let at = |line: &str| line.split_once("listening on ").map(|(_, at)| at.to_owned());
            log.lines().filter_map(at).collect()
        };
        wait_until("all listeners are logged", || lines().len() >= count);
        lines()
    }

    /// The first address that it listens on for this kind, ` (tls)` or ` (udp)`, as the log says it.
    ///
    /// # Panics
    /// There is none within the watchdog's time.
    #[must_use]
    pub fn listening_for(&self, kind: &str) -> String {
        let find = || {
            let all = self.listening(1);
            all.iter().find_map(|at| at.strip_suffix(kind)).map(str::to_owned)
        };
        wait_until(&format!("a listener of{kind} is logged"), || find().is_some());
        find().unwrap()
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// The process that serves this client: the child whose title names it, or else the daemon.
    ///
    /// # Panics
    /// The peer's socket is none any more.
    #[must_use]
    pub fn server_of(&self, peer: &Peer) -> i32 {
        let name = peer.stream().local_addr().unwrap().to_string();
        let names_it = |pid: &i32| {
            let title = title(*pid);
            let shown = title.split_once(": ").map_or("", |(_, shown)| shown);
            shown.split(' ').next() == Some(&name)
        };
        children(self.pid()).into_iter().find(names_it).unwrap_or(self.pid())
    }

    /// Everything it has logged so far.
    ///
    /// # Panics
    /// Never, unless a reader of the log panicked.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until the log holds `text`.
    pub fn wait_log(&self, text: &str) {
        wait_until(&format!("the log holds '{text}'; it is:\n{}", self.log()), || {
            self.log().contains(text)
        });
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// It is gone.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("a live daemon");
    }

    /// SIGTERM, and waits for the end.
    #[must_use]
    pub fn stop(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// It lives on.
    pub fn wait(&mut self) -> ExitStatus {
        wait_child(&mut self.child, "the daemon ends")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let children = children(self.pid());
        let _ended_already = self.child.kill();
        let _status = self.child.wait();
        for pid in children {
            let _ended_already = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        if thread::panicking() {
            eprintln!("--- log of the daemon:\n{}---", self.log());
        }
    }
}

/// A daemon to be run without [`Daemon::start`]: because it must fail, or under inetd. Adds
/// `-u root` when root runs the test without `-u`.
#[must_use]
pub fn command<S: AsRef<str>>(binary: &str, args: &[S]) -> Command {
    let mut command = Command::new(binary);
    add_args(&mut command, args);
    command
}

fn add_args<S: AsRef<str>>(command: &mut Command, args: &[S]) {
    command.args(args.iter().map(AsRef::as_ref));
    if geteuid().is_root() && !args.iter().any(|arg| arg.as_ref() == "-u") {
        command.args(["-u", "root"]);
    }
}

fn collect(output: impl Read + Send + 'static, log: Arc<Mutex<String>>) {
    thread::spawn(move || {
        let mut reader = BufReader::new(output);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            log.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
}

/// Waits for the end of a program that a test has started itself.
///
/// # Panics
/// It lives on for longer than the watchdog allows; it is killed then.
pub fn wait_child(child: &mut Child, what: &str) -> ExitStatus {
    wait_within(child, WATCHDOG, what)
}

fn wait_within(child: &mut Child, limit: Duration, what: &str) -> ExitStatus {
    let mut ended = None;
    let is_over = holds_within(limit, || {
        ended = child.try_wait().unwrap();
        ended.is_some()
    });
    if !is_over {
        let _ended_just_now = child.kill();
        let _status = child.wait();
    }
    ended.unwrap_or_else(|| panic!("watchdog: timeout waiting until {what}"))
}

/// Runs a program to its end with `stdin` as its standard input.
///
/// # Panics
/// It lives longer than the watchdog allows; it is killed then.
#[must_use]
pub fn run(mut command: Command, stdin: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program");
    let mut input = child.stdin.take().unwrap();
    let stdin = stdin.to_vec();
    let writer = thread::spawn(move || drop(input.write_all(&stdin)));
    let mut stdout = child.stdout.take().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let out = thread::spawn(move || all(&mut stdout));
    let err = thread::spawn(move || all(&mut stderr));
    let status = wait_within(&mut child, WATCHDOG * 3, &format!("{command:?} ends"));
    writer.join().unwrap();
    Output { status, stdout: out.join().unwrap(), stderr: err.join().unwrap() }
}

fn all(pipe: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).unwrap();
    bytes
}
