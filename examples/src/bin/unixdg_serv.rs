//! unixdg_serv: the echo server by UNIX-domain datagrams, slide "Dominios de comunicación": "solo
//! funciona en local".
//!
//! Run: `unixdg_serv ./unix.dg`, then `unixdg_cli ./unix.dg` and `unixdg_cli01 ./unix.dg`.
//! You see udpserv with another kind of address, and clients that cannot be answered: a client
//! without a name of its own (no bind) has no address for sendto.
//! (Here a datagram is never lost on the way. Instead the sender waits while the reader's queue is
//! full; so this server does not wait for its clients, and drops their answers then.)

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, recvfrom, sendto, socket,
};
use unp::{MAXDGRAM, Result, bind_unix, err_sys, listening_unix, note, words};

fn main() -> ExitCode {
    unp::main(unixdg_serv)
}

fn unixdg_serv() -> Result {
    let line = words([], "usage: unixdg_serv PATH")?;
    let [path] = line.words.as_slice() else { return Err(line.wrong()) };
    let sockfd = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    bind_unix(&sockfd, Path::new(path))?;
    listening_unix(Path::new(path));
    dg_echo(&sockfd)
}

fn dg_echo(sockfd: &OwnedFd) -> Result {
    let mut mesg = [0; MAXDGRAM];
    loop {
        let (n, cliaddr) = recvfrom::<UnixAddr>(sockfd.as_raw_fd(), &mut mesg)
            .map_err(err_sys("recvfrom error"))?;
        let Some(cliaddr) = cliaddr.filter(|address| !address.is_unnamed()) else {
            note(format_args!("{n} octets from a client without a name: it gets no answer"));
            continue;
        };
        let mesg = mesg.get(..n).unwrap_or_default();
        if let Err(errno) = sendto(sockfd.as_raw_fd(), mesg, &cliaddr, MsgFlags::MSG_DONTWAIT) {
            note(err_sys(format_args!("sendto {cliaddr}"))(errno));
        }
    }
}
