//! files: a copy by open, read, write and close, the French slides' "Appels Système Fondamentaux"
//! and "Accès Fichier": `actuel_len = read(fd, buffer, len)` takes a greatest length,
//! `actuel_len = write(fd, buffer, len)` an exact one, as the slide has it.
//!
//! Run: `files -v FROM TO`.
//! You see each call and what it returns. Not every read fills the buffer: the last does not, and
//! from a pipe or a terminal (`/dev/stdin`) none has to. And not every write takes all it is given,
//! whatever the slide says: `(ulimit -f 1; files -v FROM TO)` with more than 1 KiB stops in the
//! middle of one, and the next fails. Errors are those of errno: try a FROM that does not exist, a
//! folder, `/dev/full` as TO, TO the same file as FROM.
//! It is right: short reads and writes are continued, interrupted calls repeated, and an error of
//! close counts too (a network file system may report a full disk only then).

use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::signal::Signal;
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::unistd::{close, ftruncate, read, write};
use unp::{Failure, Restart, Result, SIG_IGN, err_quit, err_sys, note, signal, words};

const USAGE: &str = "usage: files [-v] FROM TO";

fn main() -> ExitCode {
    unp::main(|| {
        let line = words([], USAGE)?;
        match line.words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["-v", from, to] => copy(from, to, note),
            [from, to] if *from != "-v" => copy(from, to, |_| ()),
            _ => Err(line.wrong()),
        }
    })
}

fn copy(from: &str, to: &str, trace: fn(String)) -> Result {
    // A file over `ulimit -f` raises SIGXFSZ, which would kill the process. Ignored, write fails
    // with EFBIG.
    signal(Signal::SIGXFSZ, SIG_IGN, Restart::Yes).map_err(err_sys("signal error"))?;
    let call = format!("open(\"{from}\", O_RDONLY)");
    let source = open(from, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|errno| failed(trace, &call, errno))?;
    trace(format!("{call} = {}", source.as_raw_fd()));
    let call = format!("open(\"{to}\", O_WRONLY | O_CREAT, 0666)");
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_CLOEXEC;
    let target = open(to, flags, Mode::from_bits_truncate(0o666))
        .map_err(|errno| failed(trace, &call, errno))?;
    trace(format!("{call} = {}", target.as_raw_fd()));
    empty(&source, &target, to)?;
    let mut buffer = [0; 100];
    let call = format!("read({}, buffer, {})", source.as_raw_fd(), buffer.len());
    loop {
        match read(&source, &mut buffer) {
            Ok(actual_len) => {
                trace(format!("{call} = {actual_len}"));
                let Some(octets @ [_, ..]) = buffer.get(..actual_len) else { break };
                write_exactly(&target, octets, trace)?;
            }
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(failed(trace, &call, errno)),
        }
    }
    for fd in [source, target] {
        let call = format!("close({})", fd.as_raw_fd());
        close(fd).map_err(|errno| failed(trace, &call, errno))?;
        trace(format!("{call} = 0"));
    }
    Ok(())
}

/// Reports a failed call with -1 and errno. The program ends with perror's text.
fn failed(trace: fn(String), call: &str, errno: Errno) -> Failure {
    trace(format!("{call} = -1, errno = {errno:?}"));
    err_sys(call)(errno)
}

/// Empties the target, unless it is the source. O_TRUNC would empty it before that check.
fn empty(source: &OwnedFd, target: &OwnedFd, to: &str) -> Result {
    let stat = |fd| fstat(fd).map_err(err_sys("fstat"));
    let same = |a: &FileStat, b: &FileStat| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino);
    let (from_stat, to_stat) = (stat(source)?, stat(target)?);
    if to_stat.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFREG.bits() {
        return Ok(()); // a device or a pipe keeps nothing
    }
    if same(&from_stat, &to_stat) {
        return Err(err_quit(format!("{to} is the source itself, and would be emptied first")));
    }
    ftruncate(target, 0).map_err(err_sys(format!("ftruncate {to}")))
}

/// writen with a trace of every call: write returns the number of bytes written, and the rest is
/// still to be written.
fn write_exactly(target: &OwnedFd, mut octets: &[u8], trace: fn(String)) -> Result {
    while !octets.is_empty() {
        let call = format!("write({}, buffer, {})", target.as_raw_fd(), octets.len());
        match write(target, octets) {
            Ok(actual_len) => {
                trace(format!("{call} = {actual_len}"));
                octets = octets.get(actual_len..).unwrap_or_default();
            }
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(failed(trace, &call, errno)),
        }
    }
    Ok(())
}
