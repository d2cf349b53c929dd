//! sum_bin_serv: adds two numbers, sent as they lie in memory, slide "Data Format string or binary": "pass
//! binary structure between client and server".
//!
//! Run: `sum_bin_serv`, then `sum_bin_cli 127.0.0.1`; type `1 2` and `-22 -77`: right. Then
//! `sum_bin_serv --order big --long 4`, and `sum_bin_cli --order little --long 4 127.0.0.1`; then with
//! `--long 8` at one end.
//! You see -16777314 for the sum of -22 and -77, and with longs of two sizes no answer, or one to half a
//! question.
//! Wrong on purpose: it "does not work when the client and server are run on hosts with different byte
//! orders or sizes of long integer". `--order` and `--long` make one machine behave as such hosts would.
//! sum_text_serv and sum_xdr_serv are the cures.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{ExitCode, exit};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::socket::{SockFlag, SockType, SockaddrStorage, bind, listen, socket};
use unp::machine::Machine;
use unp::{
    Fork, LISTENQ, Restart, Result, SERV_ADDR, SIG_CHLD_WAITPID, accept, err_sys, family, fork,
    listening, note, signal, words, writen,
};

fn main() -> ExitCode {
    unp::main(sum_bin_serv)
}

fn sum_bin_serv() -> Result {
    let usage = "usage: sum_bin_serv [--order little|big] [--long 4|8] [ADDR:PORT]";
    let line = words(["--order", "--long"], usage)?;
    let servaddr = line.address()?.unwrap_or(SERV_ADDR);
    let machine = Machine::new(&line)?;
    note(format_args!("{machine}"));
    let listenfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    bind(listenfd.as_raw_fd(), &SockaddrStorage::from(servaddr)).map_err(err_sys("bind error"))?;
    listen(&listenfd, LISTENQ).map_err(err_sys("listen error"))?;
    signal(Signal::SIGCHLD, SIG_CHLD_WAITPID, Restart::Yes).map_err(err_sys("signal error"))?;
    listening(&listenfd)?;
    loop {
        let connfd = match accept(&listenfd) {
            Ok((connfd, _cliaddr)) => connfd,
            Err(Errno::EINTR | Errno::ECONNABORTED) => continue, // back to loop
            Err(errno) => return Err(err_sys("accept error")(errno)),
        };
        if let Fork::Child = fork().map_err(err_sys("fork error"))? {
            drop(listenfd); //        close listening socket
            str_echo(connfd, machine)?; //     process the request
            exit(0);
        }
        drop(connfd); //              parent closes connected socket
    }
}

/// `struct args { long arg1; long arg2; }` comes, `struct result { long sum; }` goes.
fn str_echo(sockfd: OwnedFd, machine: Machine) -> Result {
    let mut sock = File::from(sockfd);
    loop {
        let args = match machine.read(&mut sock, 2) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            args => args.map_err(err_sys("readn error"))?,
        };
        let sum = args.into_iter().fold(0, i64::wrapping_add);
        writen(&sock, &machine.bytes(sum)).map_err(err_sys("writen error"))?;
    }
}
