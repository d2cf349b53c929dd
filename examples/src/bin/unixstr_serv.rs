//! unixstr_serv: the echo server over a UNIX-domain stream, slide "Dominios de comunicación":
//! "dominio PF_UNIX: dentro de una máquina", "formato de direcciones de las FIFO (archivos)".
//!
//! Run: `unixstr_serv ./unix.str`, then `unixstr_cli ./unix.str`; look at `ls -l unix.str`.
//! You see tcpserv04 with another kind of address, and nothing else changed: the name is a file (of
//! type `s`), and its permissions say who may connect.
//! The file stays when the server ends, and the next bind would fail with EADDRINUSE, so it is
//! unlinked first.

use std::path::Path;
use std::process::{ExitCode, exit};

use nix::errno::Errno;
use nix::sys::signal::SIGCHLD;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, listen, socket};
use unp::{
    Fork, LISTENQ, Restart, Result, SIG_CHLD_WAITPID, accept, bind_unix, err_sys, fork,
    listening_unix, signal, str_echo, words,
};

fn main() -> ExitCode {
    unp::main(unixstr_serv)
}

fn unixstr_serv() -> Result {
    let line = words([], "usage: unixstr_serv PATH")?;
    let [path] = line.words.as_slice() else { return Err(line.wrong()) };
    let listenfd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    bind_unix(&listenfd, Path::new(path))?;
    listen(&listenfd, LISTENQ).map_err(err_sys("listen error"))?;
    signal(SIGCHLD, SIG_CHLD_WAITPID, Restart::Yes).map_err(err_sys("signal error"))?;
    listening_unix(Path::new(path));
    loop {
        let connfd = match accept(&listenfd) {
            Ok((connfd, _cliaddr)) => connfd,
            Err(Errno::EINTR | Errno::ECONNABORTED) => continue,
            Err(errno) => return Err(err_sys("accept error")(errno)),
        };
        if let Fork::Child = fork().map_err(err_sys("fork error"))? {
            drop(listenfd);
            str_echo(connfd)?;
            exit(0);
        }
    }
}
