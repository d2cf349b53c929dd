//! unixdg_cli: a client for UNIX-domain datagrams, slide "Asignación de direcciones": bind.
//!
//! Run: `unixdg_serv ./unix.dg`, then `unixdg_cli ./unix.dg` or `unixdg_cli ./unix.dg ./my.dg`.
//! You see every line come back: the client binds a name of its own before it sends, and the
//! server's recvfrom finds it there. `./my.dg` is a file, which the client removes at its end;
//! without one, Linux chooses a name that is not a file and disappears with its socket (unix(7),
//! "Autobind").

use std::fs::remove_file;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::ExitCode;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, connect, socket};
use unp::{Result, bind_unix, dg_cli, err_sys, words};

fn main() -> ExitCode {
    unp::main(unixdg_cli)
}

fn unixdg_cli() -> Result {
    let line = words([], "usage: unixdg_cli PATH [MY-PATH]")?;
    let (path, mine) = match line.words.as_slice() {
        [path] => (path, None),
        [path, mine] => (path, Some(Path::new(mine))),
        _ => return Err(line.wrong()),
    };
    let servaddr = UnixAddr::new(path.as_str()).map_err(err_sys(path))?;
    let sockfd = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    match mine {
        Some(mine) => bind_unix(&sockfd, mine),
        None => bind(sockfd.as_raw_fd(), &UnixAddr::new_unnamed()).map_err(err_sys("bind error")),
    }?;
    let talked = connect(sockfd.as_raw_fd(), &servaddr)
        .map_err(err_sys("connect error"))
        .and_then(|()| dg_cli(io::stdin().lock(), &sockfd));
    mine.map_or(Ok(()), remove_file).map_err(err_sys("unlink error"))?;
    talked
}
