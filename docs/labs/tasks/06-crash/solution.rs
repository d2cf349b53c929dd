//! Task of lab 06, solved with poll: it waits for the server and for its user at once, and writes only what
//! the socket takes. The end of file from the server is a good end when nothing is due any more.
//!
//! tcpcli02 does the same with select.

use std::io::{stdin, stdout};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    MsgFlags, Shutdown, SockFlag, SockType, SockaddrStorage, connect, send, shutdown, socket,
};
use nix::unistd::read;
use unp::{MAXLINE, Result, err_quit, err_sys, family, peeraddr, writen};

fn main() -> ExitCode {
    unp::main(client)
}

fn client() -> Result {
    let servaddr = peeraddr("usage: client ADDR[:PORT]")?;
    let sockfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    connect(sockfd.as_raw_fd(), &SockaddrStorage::from(servaddr))
        .map_err(err_sys("connect error"))?;
    str_cli(&sockfd)
}

fn str_cli(sockfd: &OwnedFd) -> Result {
    let (input, mut octets) = (stdin(), [0; MAXLINE]);
    let (mut unsent, mut due, mut typing) = (Vec::new(), 0_usize, true);
    loop {
        let to_send = if unsent.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
        let mut fds = vec![PollFd::new(sockfd.as_fd(), PollFlags::POLLIN | to_send)];
        if typing && unsent.is_empty() {
            fds.push(PollFd::new(input.as_fd(), PollFlags::POLLIN));
        }
        poll(&mut fds, PollTimeout::NONE).map_err(err_sys("poll error"))?;
        let mut ready = fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        let sock = ready.next().unwrap_or(PollFlags::empty());
        let typed = ready.any(|input| !input.is_empty());
        if sock.intersects(PollFlags::POLLIN | PollFlags::POLLERR | PollFlags::POLLHUP) {
            let n = read(sockfd, &mut octets).map_err(err_sys("read error"))?; // ECONNRESET
            if n == 0 {
                let well = !typing && due == 0;
                return if well { Ok(()) } else { Err(err_quit("the server is gone")) };
            }
            writen(&stdout(), octets.get(..n).unwrap_or_default()).map_err(err_sys("output"))?;
            due = due.saturating_sub(n);
        }
        if sock.contains(PollFlags::POLLOUT) {
            match send(sockfd.as_raw_fd(), &unsent, MsgFlags::MSG_DONTWAIT) {
                Ok(n) => drop(unsent.drain(..n)),
                Err(Errno::EAGAIN) => {}
                Err(errno) => return Err(err_sys("send error")(errno)), // EPIPE, and no SIGPIPE
            }
        }
        if typed {
            let n = read(&input, &mut octets).map_err(err_sys("input"))?;
            unsent.extend_from_slice(octets.get(..n).unwrap_or_default());
            due += n;
            typing = n > 0;
            if !typing {
                shutdown(sockfd.as_raw_fd(), Shutdown::Write).map_err(err_sys("shutdown"))?;
            }
        }
    }
}
