//! unixstr_cli: the echo client over a UNIX-domain stream, slide "Dominios de comunicación".
//!
//! Run: `unixstr_serv ./unix.str`, then `unixstr_cli ./unix.str`.
//! You see tcpcli01, but for the address: str_cli does not know what kind of socket it has. (For a
//! stream the client needs no name: the answers come by the connection.)

use std::io;
use std::os::fd::AsRawFd;
use std::process::ExitCode;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use unp::{Result, err_sys, str_cli, words};

fn main() -> ExitCode {
    unp::main(unixstr_cli)
}

fn unixstr_cli() -> Result {
    let line = words([], "usage: unixstr_cli PATH")?;
    let [path] = line.words.as_slice() else { return Err(line.wrong()) };
    let servaddr = UnixAddr::new(path.as_str()).map_err(err_sys(path))?;
    let sockfd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    connect(sockfd.as_raw_fd(), &servaddr).map_err(err_sys("connect error"))?;
    str_cli(io::stdin().lock(), &sockfd)
}
