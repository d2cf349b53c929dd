//! A program that helps to answer a question: it reads bytes from descriptor 3, and sends a report over its
//! standard output, as the interface of checkpassword wants.

use std::ffi::CString;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use log::debug;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, execve, setsid};
use sys::fd::{null, place};
use sys::fork::{Fork, OneTask, child, fork};
use sys::scm_rights::{Sender, pair, receive_from, tell_senders};
use sys::signal::restore_default;

use crate::net::interrupt::poll_timeout;

/// The descriptor that the program reads, a number.
const INPUT: i32 = 3;
/// The number of its standard output.
const OUTPUT: i32 = 1;
/// Longest wait between two looks at the program.
const LOOK: Duration = Duration::from_millis(10);
/// Exit code of a process that could not run the program, as that of a temporary error (checkpassword).
const CANNOT_RUN: i32 = 111;
/// Longest report in bytes; what is longer is none.
const MAX_REPORT: usize = 8 * 1024;

/// What a program has left.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` where a signal has ended it.
    pub code: Option<i32>,
    /// Its first message, and the uid and gid of the process that has sent it, as the kernel says.
    pub report: Option<(Vec<u8>, u32, u32)>,
}

/// Runs a program with these arguments, the first of which is its path, and waits for its end.
///
/// # Errors
/// `TimedOut` when it has not ended within the limit: it was killed, with all in its session's group.
pub fn run_program(arguments: &[CString], input: &[u8], limit: Duration) -> io::Result<Ended> {
    let until = Instant::now() + limit;
    let (reader, mut writer) = io::pipe()?;
    let (ours, theirs) = pair()?;
    tell_senders(&ours)?;
    let pid = match fork(OneTask::check()?)? {
        Fork::Parent(pid) => pid,
        Fork::Child => child(|| {
            let failed = execute(arguments, &reader.into(), &theirs);
            let program = arguments.first().map(|it| it.to_string_lossy().into_owned());
            log::error!("{}: {}", program.unwrap_or_default(), failed.desc());
            CANNOT_RUN
        }),
    };
    drop((reader, theirs));
    // A pipe has room for it; EPIPE where the program does not read.
    if let Err(error) = writer.write_all(input) {
        debug!("program {pid}: {error}");
    }
    drop(writer);
    watch(pid, &ours, until)
}

fn watch(pid: Pid, socket: &OwnedFd, until: Instant) -> io::Result<Ended> {
    let (mut report, mut has_ended_output) = (None, false);
    let mut look = |wait: Duration| {
        if has_ended_output || report.is_some() {
            std::thread::sleep(wait);
            return;
        }
        let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        if let Err(errno) = poll(&mut fds, poll_timeout(wait)) {
            debug!("poll: {}", errno.desc());
        }
        let mut buffer = vec![0; MAX_REPORT];
        match receive_from(socket, &mut buffer) {
            Ok((0, _)) => has_ended_output = true,
            Ok((length, Some(Sender { uid, gid }))) => {
                buffer.truncate(length);
                report = Some((buffer, uid, gid));
            }
            Ok((_, None)) | Err(_) => {}
        }
    };
    loop {
        match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) if Instant::now() < until => look(LOOK),
            Ok(WaitStatus::StillAlive) => {
                let _ = kill(Pid::from_raw(-pid.as_raw()), Signal::SIGKILL); // its own session
                let _ = kill(pid, Signal::SIGKILL);
                waitpid(pid, None)?;
                return Err(Errno::ETIMEDOUT.into());
            }
            Ok(WaitStatus::Exited(_, code)) => {
                look(Duration::ZERO);
                return Ok(Ended { code: Some(code), report });
            }
            Ok(_) => return Ok(Ended { code: None, report: None }),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Becomes the program; returns why not.
fn execute(arguments: &[CString], input: &OwnedFd, output: &OwnedFd) -> Errno {
    let run = || {
        restore_default(&[Signal::SIGPIPE, Signal::SIGXFSZ])?;
        setsid()?;
        let null = null()?;
        // Out of the way of the numbers that are given now.
        let (input, output) = (beyond(input)?, beyond(output)?);
        place(&null, 0)?;
        place(&output, OUTPUT)?;
        place(&input, INPUT)?;
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/sbin:/usr/bin:/sbin:/bin".into());
        let environment = CString::new(format!("PATH={path}")).map_err(|_| Errno::EINVAL)?;
        let program = arguments.first().ok_or(Errno::EINVAL)?;
        execve(program, arguments, &[environment])
    };
    match run() {
        Ok(never) => match never {},
        Err(errno) => errno,
    }
}

/// Copies a descriptor to a number above those that the program is given.
fn beyond(fd: &OwnedFd) -> nix::Result<OwnedFd> {
    sys::fd::copy_above(fd, INPUT)
}
