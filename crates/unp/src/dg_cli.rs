//! lib/dg_cli.c, for a socket that is connected.

use std::io::{self, BufRead, Write};
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::socket::{MsgFlags, recv, send};

use crate::constants::MAXDGRAM;
use crate::error::{Result, err_sys};
use crate::readline::readline;

/// Sends each line of `input` as a datagram and prints the one that comes back. It waits for that
/// without a timeout.
///
/// # Errors
/// As send(2) and recv(2) say.
pub fn dg_cli(mut input: impl BufRead, sockfd: &impl AsFd) -> Result {
    let sockfd = sockfd.as_fd().as_raw_fd();
    let (mut sendline, mut recvline) = (Vec::new(), [0; MAXDGRAM]);
    while readline(&mut input, &mut sendline).map_err(err_sys("fgets error"))? > 0 {
        send(sockfd, &sendline, MsgFlags::empty()).map_err(err_sys("send error"))?;
        let n = recv(sockfd, &mut recvline, MsgFlags::empty()).map_err(err_sys("recv error"))?;
        let recvline = recvline.get(..n).unwrap_or_default();
        io::stdout().write_all(recvline).map_err(err_sys("fputs error"))?;
    }
    Ok(())
}
