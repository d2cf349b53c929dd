//! Task of lab 18: `why ADDR:PORT` says in one word what is the matter with a server: `open`, `refused`,
//! `unreachable` or `silent`.
//!
//! It waits for as long as connect does, and takes everything that fails for a refusal. Let it tell the
//! four apart, and say `silent` after a second without an answer. Others may happen: they are errors.

use std::os::fd::AsRawFd;
use std::process::ExitCode;

use nix::sys::socket::{SockFlag, SockType, SockaddrStorage, connect, socket};
use unp::{Result, err_sys, family, peeraddr, say};

fn main() -> ExitCode {
    unp::main(why)
}

fn why() -> Result {
    let servaddr = peeraddr("usage: why ADDR[:PORT]")?;
    let sockfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    let word = match connect(sockfd.as_raw_fd(), &SockaddrStorage::from(servaddr)) {
        Ok(()) => "open",
        Err(_) => "refused",
    };
    say(word)
}
