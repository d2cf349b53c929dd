//! unixdg_cli01: a client for UNIX-domain datagrams that has no name, slide "Asignación de
//! direcciones": bind.
//!
//! Run: `unixdg_serv ./unix.dg`, then `unixdg_cli01 ./unix.dg`, and type a line.
//! You see the server say that the client has no name, and the client wait for ever.
//! Wrong on purpose: it is udpcli01 with another address, and does not call bind. For UDP the
//! kernel then chooses a port; a UNIX-domain socket stays without a name and cannot be answered.
//! unixdg_cli is the cure.

use std::io;
use std::os::fd::AsRawFd;
use std::process::ExitCode;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use unp::{Result, dg_cli, err_sys, words};

fn main() -> ExitCode {
    unp::main(unixdg_cli)
}

fn unixdg_cli() -> Result {
    let line = words([], "usage: unixdg_cli01 PATH")?;
    let [path] = line.words.as_slice() else { return Err(line.wrong()) };
    let servaddr = UnixAddr::new(path.as_str()).map_err(err_sys(path))?;
    let sockfd = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    connect(sockfd.as_raw_fd(), &servaddr).map_err(err_sys("connect error"))?;
    dg_cli(io::stdin().lock(), &sockfd)
}
