//! sum_text_serv: adds two numbers, sent as text, slide "Data Format string or binary": "in
//! str_echo: sscanf converts string to long integer, snprintf converts long back to string".
//!
//! Run: `sum_text_serv`, then `sum_text_cli 127.0.0.1`; type `1 2`, `-22 -77`, `one two`.
//! You see 3, -99 and `input error`. It is tcpserv04 with another str_echo.
//! It is right between any two machines: a digit is the same byte everywhere. (A sum that does not
//! fit into a long is an input error too; on the slide the result is undefined.)

use std::fs::File;
use std::io::BufReader;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{ExitCode, exit};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::socket::{SockFlag, SockType, SockaddrStorage, bind, listen, socket};
use unp::sscanf::two_longs;
use unp::{
    Fork, LISTENQ, Restart, Result, SIG_CHLD_WAITPID, accept, err_sys, family, fork, listening,
    readline, servaddr, signal, writen,
};

fn main() -> ExitCode {
    unp::main(sum_text_serv)
}

fn sum_text_serv() -> Result {
    let servaddr = servaddr("usage: sum_text_serv [ADDR:PORT]")?;
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
            str_echo(connfd)?; //     process the request
            exit(0);
        }
        drop(connfd); //              parent closes connected socket
    }
}

fn str_echo(sockfd: OwnedFd) -> Result {
    let mut sock = BufReader::new(File::from(sockfd));
    let mut line = Vec::new();
    loop {
        if readline(&mut sock, &mut line).map_err(err_sys("readline error"))? == 0 {
            return Ok(()); // connection closed by other end
        }
        let line = match two_longs(&line).and_then(|(arg1, arg2)| arg1.checked_add(arg2)) {
            Some(sum) => format!("{sum}\n"),
            None => "input error\n".to_owned(),
        };
        writen(sock.get_ref(), line.as_bytes()).map_err(err_sys("writen error"))?;
    }
}
