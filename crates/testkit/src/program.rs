//! A program that a test talks to line by line, as a user at a terminal would.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::daemon::wait_child;
use crate::process::state;
use crate::wait::{WATCHDOG, wait_until};

/// A program with a test at its standard input, output and error; killed when dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<Vec<u8>>,
    errors: Arc<Mutex<String>>,
    collector: JoinHandle<()>,
}

impl Program {
    /// Starts a program with its arguments.
    ///
    /// # Panics
    /// There is no such program.
    #[must_use]
    pub fn start(path: &str, args: &[&str]) -> Program {
        let mut command = Command::new(path);
        command.args(args);
        Program::spawn(command)
    }

    /// Starts a command that the test has prepared.
    ///
    /// # Panics
    /// As [`Program::start`].
    #[must_use]
    pub fn spawn(mut command: Command) -> Program {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program");
        let (sender, lines) = mpsc::channel();
        let output = child.stdout.take().unwrap();
        thread::spawn(move || each_line(output, |line| drop(sender.send(line))));
        let errors = Arc::new(Mutex::new(String::new()));
        let (stderr, text) = (child.stderr.take().unwrap(), Arc::clone(&errors));
        let collector = thread::spawn(move || {
            each_line(stderr, |line| {
                text.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
            });
        });
        Program { input: child.stdin.take(), child, lines, errors, collector }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Writes to its standard input.
    ///
    /// # Panics
    /// It has closed it.
    pub fn send(&mut self, text: &str) {
        let input = self.input.as_mut().expect("an input that is open");
        input.write_all(text.as_bytes()).expect("a program that reads");
    }

    /// The next line of its standard output, without the newline; `None` at the end of it.
    ///
    /// # Panics
    /// The watchdog bites.
    pub fn line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(WATCHDOG) {
            Ok(line) => Some(String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned()),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                panic!("watchdog: no line; on standard error: {}", self.errors())
            }
        }
    }

    /// Reads lines of its standard output until one holds `text`, and gives that one.
    ///
    /// # Panics
    /// The output ends before, or the watchdog bites.
    pub fn line_with(&mut self, text: &str) -> String {
        loop {
            match self.line() {
                Some(line) if line.contains(text) => return line,
                Some(_) => {}
                None => panic!("no line with '{text}'; on standard error: {}", self.errors()),
            }
        }
    }

    /// True while the kernel has it sleep in a system call. To be asked once it has printed what it
    /// prints last before the call that is meant.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        state(self.pid()) == Some('S')
    }

    /// True when it has printed nothing that was not read yet.
    #[must_use]
    pub fn has_said_nothing(&mut self) -> bool {
        self.lines.try_recv().is_err()
    }

    /// Sends a line and gives the one that comes back.
    ///
    /// # Panics
    /// It ends, or the watchdog bites.
    pub fn ask(&mut self, line: &str) -> String {
        self.send(&format!("{line}\n"));
        self.line().unwrap_or_else(|| panic!("it ended: {}", self.errors()))
    }

    /// Its standard error so far.
    ///
    /// # Panics
    /// Never, unless the reader panicked.
    #[must_use]
    pub fn errors(&self) -> String {
        self.errors.lock().unwrap().clone()
    }

    /// Waits until its standard error holds `text`.
    ///
    /// # Panics
    /// The watchdog bites.
    pub fn wait_errors(&self, text: &str) {
        let what = format!("standard error holds '{text}'");
        wait_until(&what, || self.errors().contains(text));
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// It is gone.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("a live program");
    }

    /// End of file for the program.
    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// True while it runs.
    ///
    /// # Panics
    /// Never on Linux.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end; its input is closed. Its standard error is complete then.
    ///
    /// # Panics
    /// It lives on, or a child of its own holds its standard error.
    pub fn wait(&mut self) -> ExitStatus {
        self.close_input();
        let status = wait_child(&mut self.child, "the program ends");
        wait_until("its standard error is closed", || self.collector.is_finished());
        status
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _status = self.child.wait();
    }
}

fn each_line(pipe: impl Read, mut take: impl FnMut(Vec<u8>)) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        take(std::mem::take(&mut line));
    }
}
