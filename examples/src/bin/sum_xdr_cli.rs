//! sum_xdr_cli: the client of sum_xdr_serv, slide "Data Format string or binary": "explicitly
//! define the format of datatypes".
//!
//! Run: see sum_xdr_serv. Up to eight numbers a line.
//! You see the bytes sent, and the sum. They are the same on every machine.

use std::fs::File;
use std::io::{self, BufRead, ErrorKind};
use std::os::fd::AsRawFd;
use std::process::ExitCode;

use nix::sys::socket::{SockFlag, SockType, SockaddrStorage, connect, socket};
use unp::sscanf::long;
use unp::xdr::{Answer, MAX_NUMBERS, question, read_answer};
use unp::{Result, err_quit, err_sys, family, hex, note, peeraddr, readline, say, writen};

fn main() -> ExitCode {
    unp::main(sum_xdr_cli)
}

fn sum_xdr_cli() -> Result {
    let servaddr = peeraddr("usage: sum_xdr_cli ADDR[:PORT]")?;
    let sockfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    connect(sockfd.as_raw_fd(), &SockaddrStorage::from(servaddr))
        .map_err(err_sys("connect error"))?;
    str_cli(io::stdin().lock(), File::from(sockfd))
}

fn str_cli(mut input: impl BufRead, mut sockfd: File) -> Result {
    let mut sendline = Vec::new();
    while readline(&mut input, &mut sendline).map_err(err_sys("fgets error"))? > 0 {
        let Some(question) = numbers(&sendline).and_then(|numbers| question(&numbers)) else {
            note(format_args!("numbers of 64 bits, please, {MAX_NUMBERS} at most"));
            continue;
        };
        note(format_args!("sent {}", hex(&question)));
        writen(&sockfd, &question).map_err(err_sys("writen error"))?;
        match read_answer(&mut sockfd) {
            Ok(Answer::Sum(sum)) => say(sum)?,
            Ok(Answer::Overflow) => say("the sum does not fit into 64 bits")?,
            Ok(Answer::TooMany) => return Err(err_quit("str_cli: too many numbers")),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                return Err(err_quit("str_cli: server terminated prematurely"));
            }
            Err(error) => return Err(err_sys("read error")(error)),
        }
    }
    Ok(())
}

/// Returns all numbers of a line, `None` if it contains anything else.
fn numbers(line: &[u8]) -> Option<Vec<i64>> {
    let mut numbers = Vec::new();
    let mut rest = line.trim_ascii();
    while !rest.is_empty() {
        let (number, behind) = long(rest)?;
        numbers.push(number);
        rest = behind.trim_ascii_start();
    }
    Some(numbers)
}
