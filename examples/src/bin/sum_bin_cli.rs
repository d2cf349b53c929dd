//! sum_bin_cli: the client of sum_bin_serv, slide "Data Format string or binary": "pass binary
//! structure between client and server".
//!
//! Run: see sum_bin_serv.
//! You see the bytes sent and received, and the sum that they are for this machine, or for the one
//! that `--order` and `--long` describe. `--wait S` waits S seconds for an answer.
//! Wrong on purpose, like its server; sum_text_cli and sum_xdr_cli are the cures.

use std::fs::File;
use std::io::{self, BufRead, ErrorKind};
use std::os::fd::AsRawFd;
use std::process::ExitCode;

use nix::sys::socket::{
    SockFlag, SockType, SockaddrStorage, connect, setsockopt, socket, sockopt::ReceiveTimeout,
};
use nix::sys::time::{TimeVal, TimeValLike};
use unp::machine::Machine;
use unp::sscanf::two_longs;
use unp::{Result, err_quit, err_sys, family, hex, note, readline, say, words, writen};

fn main() -> ExitCode {
    unp::main(sum_bin_cli)
}

fn sum_bin_cli() -> Result {
    let usage = "usage: sum_bin_cli [--order little|big] [--long 4|8] [--wait SECONDS] ADDR[:PORT]";
    let line = words(["--order", "--long", "--wait"], usage)?;
    let servaddr = line.address()?.ok_or_else(|| line.wrong())?;
    let machine = Machine::new(&line)?;
    let timeout = line.seconds("--wait", 2.0)?;
    let sockfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    setsockopt(&sockfd, ReceiveTimeout, &TimeVal::microseconds(timeout.as_micros() as i64))
        .map_err(err_sys("setsockopt error"))?;
    connect(sockfd.as_raw_fd(), &SockaddrStorage::from(servaddr))
        .map_err(err_sys("connect error"))?;
    note(format_args!("{machine}"));
    str_cli(io::stdin().lock(), File::from(sockfd), machine)
}

/// `struct args { long arg1; long arg2; }` goes, `struct result { long sum; }` comes.
fn str_cli(mut input: impl BufRead, mut sockfd: File, machine: Machine) -> Result {
    let mut sendline = Vec::new();
    while readline(&mut input, &mut sendline).map_err(err_sys("fgets error"))? > 0 {
        let numbers = two_longs(&sendline).filter(|(a, b)| machine.holds(*a) && machine.holds(*b));
        let Some((arg1, arg2)) = numbers else {
            note("two numbers, please, that fit into a long");
            continue;
        };
        let args = [machine.bytes(arg1), machine.bytes(arg2)].concat();
        note(format_args!("sent {}", hex(&args)));
        writen(&sockfd, &args).map_err(err_sys("writen error"))?;
        let result = machine.read(&mut sockfd, 1).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => err_quit("str_cli: server terminated prematurely"),
            ErrorKind::WouldBlock => err_quit("no answer: does the server wait for more octets?"),
            _ => err_sys("readn error")(error),
        })?;
        for sum in result {
            note(format_args!("got  {}", hex(&machine.bytes(sum))));
            say(sum)?;
        }
    }
    Ok(())
}
