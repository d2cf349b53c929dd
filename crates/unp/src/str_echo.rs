//! lib/str_echo.c, slide "TCP Echo Server: str_echo function".

use std::fs::File;
use std::io::BufReader;
use std::os::fd::OwnedFd;

use crate::error::{Result, err_sys};
use crate::readline::readline;
use crate::writen::writen;

/// Sends back every line that comes, until the client closes.
///
/// # Errors
/// The connection is lost.
pub fn str_echo(sockfd: OwnedFd) -> Result {
    let mut sock = BufReader::new(File::from(sockfd));
    let mut line = Vec::new();
    loop {
        if readline(&mut sock, &mut line).map_err(err_sys("readline error"))? == 0 {
            return Ok(()); // connection closed by other end
        }
        writen(sock.get_ref(), &line).map_err(err_sys("writen error"))?;
    }
}
