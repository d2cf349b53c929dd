//! sum_xdr_serv: adds numbers, sent in an explicit format, slide "Data Format string or binary":
//! "explicitly define the format of datatypes (e. g. RPC's XDR -- external data representation)".
//!
//! Run: `sum_xdr_serv`, then `sum_xdr_cli 127.0.0.1`; type `1 2`, `-22 -77`,
//! `9223372036854775807 1`.
//! You see 3, -99, and that an overflow is an answer of its own.
//! It is right between any two machines: the format, in src/xdr.rs, defines the size and byte order
//! of a number, whatever a long is at either end; and the limit on the number of numbers.

use std::fs::File;
use std::io::BufReader;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{ExitCode, exit};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::socket::{SockFlag, SockType, SockaddrStorage, bind, listen, socket};
use unp::xdr::{Answer, Question, answer, read_question};
use unp::{
    Fork, LISTENQ, Restart, Result, SIG_CHLD_WAITPID, accept, err_sys, family, fork, listening,
    servaddr, signal, writen,
};

fn main() -> ExitCode {
    unp::main(sum_xdr_serv)
}

fn sum_xdr_serv() -> Result {
    let servaddr = servaddr("usage: sum_xdr_serv [ADDR:PORT]")?;
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
    loop {
        let result = match read_question(&mut sock).map_err(err_sys("read error"))? {
            Question::End => return Ok(()), // connection closed by other end
            Question::TooMany => Answer::TooMany,
            Question::Numbers(numbers) => {
                let sum = numbers.into_iter().map(i128::from).sum::<i128>();
                i64::try_from(sum).map_or(Answer::Overflow, Answer::Sum)
            }
        };
        writen(sock.get_ref(), &answer(result)).map_err(err_sys("writen error"))?;
        if result == Answer::TooMany {
            return Ok(()); // the start of the next question is unknown
        }
    }
}
