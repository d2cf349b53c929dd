//! A solution of lab 10: both formats are written out octet by octet, and an overflow is an answer.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;

use nix::sys::socket::{SockFlag, SockType, SockaddrStorage, bind, listen, socket};
use unp::{LISTENQ, Result, accept, complain, err_sys, family, listening, servaddr, writen};

fn main() -> ExitCode {
    unp::main(calculator)
}

fn calculator() -> Result {
    let servaddr = servaddr("usage: calculator [ADDR:PORT]")?;
    let listenfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    bind(listenfd.as_raw_fd(), &SockaddrStorage::from(servaddr)).map_err(err_sys("bind error"))?;
    listen(&listenfd, LISTENQ).map_err(err_sys("listen error"))?;
    listening(&listenfd)?;
    loop {
        let (connfd, _cliaddr) = accept(&listenfd).map_err(err_sys("accept error"))?;
        complain(answer_all(connfd));
    }
}

fn answer_all(connfd: OwnedFd) -> Result {
    let mut sock = BufReader::new(File::from(connfd));
    let mut question = [0; 11];
    loop {
        match sock.read_exact(&mut question) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            read => read.map_err(err_sys("read error"))?,
        }
        writen(sock.get_ref(), &answer(question)).map_err(err_sys("write error"))?;
    }
}

fn answer(question: [u8; 11]) -> [u8; 9] {
    let [op, l0, l1, r0, r1, r2, r3, r4, r5, r6, r7] = question;
    let left = i64::from(i16::from_be_bytes([l0, l1]));
    let right = i64::from_be_bytes([r0, r1, r2, r3, r4, r5, r6, r7]);
    let (otherwise, result) = match op {
        b'+' => (1, left.checked_add(right)),
        b'-' => (1, left.checked_sub(right)),
        b'*' => (1, left.checked_mul(right)),
        _ => (2, None),
    };
    let status = if result.is_some() { 0 } else { otherwise };
    let [r0, r1, r2, r3, r4, r5, r6, r7] = result.unwrap_or(0).to_be_bytes();
    [status, r0, r1, r2, r3, r4, r5, r6, r7]
}
