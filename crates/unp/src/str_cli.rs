//! lib/str_cli.c, slide "TCP Echo Client: str_cli function".

use std::io::{self, BufRead, Write};
use std::os::fd::AsFd;

use crate::error::{Result, err_quit, err_sys};
use crate::readline::{buffered, readline};
use crate::writen::writen;

/// Sends each line of `input` and prints what comes back for it. It waits for one thing at a time,
/// so it does not notice the server while it waits for a line to be typed.
///
/// # Errors
/// The connection is lost, or the server closes before the user does.
pub fn str_cli(mut input: impl BufRead, sockfd: &impl AsFd) -> Result {
    let mut sock = buffered(sockfd);
    let (mut sendline, mut recvline) = (Vec::new(), Vec::new());
    while readline(&mut input, &mut sendline).map_err(err_sys("fgets error"))? > 0 {
        writen(sockfd, &sendline).map_err(err_sys("writen error"))?;
        if readline(&mut sock, &mut recvline).map_err(err_sys("readline error"))? == 0 {
            return Err(err_quit("str_cli: server terminated prematurely"));
        }
        io::stdout().write_all(&recvline).map_err(err_sys("fputs error"))?;
    }
    Ok(())
}
