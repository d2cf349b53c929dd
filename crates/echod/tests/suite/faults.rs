//! A log that is not read.

use std::io::{BufRead, BufReader, PipeReader, pipe};
use std::net::SocketAddr;
use std::process::{Child, Command};

use crate::common::{ECHOD, talk};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{Peer, wait_child};

/// The port from the log's line, which is all that is ever read of the log.
fn with_unread_log(args: &[&str]) -> (Child, SocketAddr, PipeReader) {
    let (reader, writer) = pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    let mut command = Command::new(ECHOD);
    command.args(["-l", "127.0.0.1:0"]).args(args).stderr(writer);
    let child = command.spawn().unwrap();
    drop(command);
    let mut log = BufReader::with_capacity(1, reader);
    let mut line = String::new();
    while !line.contains("listening on ") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "the server ended");
    }
    let addr = line.trim_end().split_once("listening on ").unwrap().1.parse().unwrap();
    (child, addr, log.into_inner())
}

#[test]
fn a_log_that_nobody_reads_stops_neither_the_server_nor_its_end() {
    for has_reader in [true, false] {
        let (mut echod, addr, reader) = with_unread_log(&["-t", "3"]);
        let _full = has_reader.then_some(reader);
        let mut silent: Vec<_> = (0..3).map(|_| Peer::connect(addr)).collect();
        for _ in 0..60 {
            talk(addr);
        }
        assert!(silent.iter_mut().all(|peer| peer.rest().is_empty()));
        kill(Pid::from_raw(echod.id() as i32), Signal::SIGTERM).unwrap();
        assert_eq!(wait_child(&mut echod, "the server ends").code(), Some(0));
    }
}
