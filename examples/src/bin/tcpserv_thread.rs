//! tcpserv_thread: a thread for each client, slide "Применение потоков для обеспечения параллельной
//! работы сервера".
//!
//! Run: `tcpserv_thread`, then `tcpcli04 127.0.0.1`, and look at
//! `ps -L -o pid,lwp,stat,comm -p PID`.
//! You see one process with six threads: the one that accepts, and one for each connection. When
//! the clients have gone there is one again, and never a zombie: a thread needs no wait. The price:
//! a thread that crashes takes all clients with it.

use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::thread;

use nix::errno::Errno;
use nix::sys::socket::{SockFlag, SockType, SockaddrStorage, bind, listen, socket};
use unp::{LISTENQ, Result, accept, complain, err_sys, family, listening, servaddr, str_echo};

fn main() -> ExitCode {
    unp::main(tcpserv)
}

fn tcpserv() -> Result {
    let servaddr = servaddr("usage: tcpserv_thread [ADDR:PORT]")?;
    let listenfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    bind(listenfd.as_raw_fd(), &SockaddrStorage::from(servaddr)).map_err(err_sys("bind error"))?;
    listen(&listenfd, LISTENQ).map_err(err_sys("listen error"))?;
    listening(&listenfd)?;
    loop {
        let connfd = match accept(&listenfd) {
            Ok((connfd, _cliaddr)) => connfd,
            Err(Errno::EINTR | Errno::ECONNABORTED) => continue,
            Err(errno) => return Err(err_sys("accept error")(errno)),
        };
        thread::Builder::new()
            .name("func_client".into())
            .spawn(move || complain(str_echo(connfd))) // the thread owns connfd, and closes it
            .map_err(err_sys("pthread_create error"))?;
    }
}
