//! Task of lab 10: a calculator. One client after the other, each with any number of questions.
//!
//! It reads and writes what C has in memory on most machines: `struct { char op; short left; long right; }`
//! and `struct { char status; long result; }`, gaps and all. Let it keep to the format that the lab
//! describes: big-endian, nothing padded; and think of what does not fit.

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
    let mut question = [0; 16];
    loop {
        match sock.read_exact(&mut question) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            read => read.map_err(err_sys("read error"))?,
        }
        writen(sock.get_ref(), &answer(question)).map_err(err_sys("write error"))?;
    }
}

fn answer(question: [u8; 16]) -> [u8; 16] {
    let [op, _, l0, l1, _, _, _, _, r0, r1, r2, r3, r4, r5, r6, r7] = question;
    let left = i64::from(i16::from_ne_bytes([l0, l1]));
    let right = i64::from_ne_bytes([r0, r1, r2, r3, r4, r5, r6, r7]);
    let (status, result) = match op {
        b'+' => (0, left.wrapping_add(right)),
        b'-' => (0, left.wrapping_sub(right)),
        b'*' => (0, left.wrapping_mul(right)),
        _ => (2, 0),
    };
    let [r0, r1, r2, r3, r4, r5, r6, r7] = result.to_ne_bytes();
    [status, 0, 0, 0, 0, 0, 0, 0, r0, r1, r2, r3, r4, r5, r6, r7]
}
