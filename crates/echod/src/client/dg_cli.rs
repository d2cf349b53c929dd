//! The echo client for datagrams.

use std::io::{self, BufRead, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use forknet::{Error, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, send};

/// Longest line of one datagram, in bytes: the most that UDP by IPv4 carries (RFC 768). Longer
/// lines are split.
const MAXLINE: usize = 65_507;

/// Slide "UDP Echo Client: dg_cli function": sends each line as a datagram, and prints its answer
/// before it reads the next line. The slide's client waits for ever for a lost answer; this one
/// fails after `timeout`.
///
/// `servers` are connected sockets, one for each address of the server's name. Until the first
/// answer, an address that refuses datagrams is replaced by the next one.
///
/// # Errors
/// All addresses refuse datagrams, no answer came in time, or standard input or output failed.
pub fn dg_cli(servers: Vec<OwnedFd>, timeout: Duration) -> Result<()> {
    let (mut stdin, mut stdout) = (io::stdin().lock(), io::stdout().lock());
    let mut servers = servers.into_iter().peekable();
    let (mut sendline, mut recvline) = (Vec::new(), vec![0; MAXLINE]);
    while fgets(&mut stdin, &mut sendline).map_err(Error::io("standard input"))? {
        let n = loop {
            let Some(sock) = servers.peek() else { return Ok(()) };
            match ask(sock, &sendline, &mut recvline, timeout) {
                Err(Errno::ECONNREFUSED) if servers.len() > 1 => drop(servers.next()),
                Err(Errno::ETIMEDOUT) => {
                    let why = format!("dg_cli: no answer within {timeout:?}");
                    return Err(Error::Refused(why));
                }
                answer => break answer.map_err(Error::os("dg_cli"))?,
            }
        };
        while servers.len() > 1 {
            servers.next_back(); // this server answers, so the others are not needed
        }
        let answer = recvline.get(..n).unwrap_or_default();
        let printed = stdout.write_all(answer).and_then(|()| stdout.flush());
        printed.map_err(Error::io("standard output"))?;
    }
    Ok(())
}

/// Reads the next line, or what fits into a datagram; returns false at the end of file.
fn fgets(stdin: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    Ok(stdin.take(MAXLINE as u64).read_until(b'\n', line)? > 0)
}

/// Sends a line and waits for the answer; fails with ETIMEDOUT without one in time.
fn ask(sock: &OwnedFd, line: &[u8], answer: &mut [u8], timeout: Duration) -> nix::Result<usize> {
    let fd = sock.as_raw_fd();
    let until = Instant::now() + timeout;
    send(fd, line, MsgFlags::MSG_NOSIGNAL)?;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let millis = left.as_nanos().div_ceil(1_000_000);
        let wait = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(sock.as_fd(), PollFlags::POLLIN)], wait) {
            Ok(0) if left.is_zero() => return Err(Errno::ETIMEDOUT),
            Ok(0) | Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno),
            Ok(_) => {}
        }
        match recv(fd, answer, MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_longer_than_a_datagram_is_split() {
        let text = [vec![b'x'; MAXLINE + 1], b"\nnext\nlast".to_vec()].concat();
        let (mut input, mut line, mut lengths) = (text.as_slice(), Vec::new(), Vec::new());
        while fgets(&mut input, &mut line).unwrap() {
            lengths.push(line.len());
        }
        assert_eq!(lengths, [MAXLINE, 2, 5, 4]);
    }
}
