//! Standard input as a superserver hands it over.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Stdio;

use crate::common::{ECHOD, early, talk};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{children, command, file_of_descriptor, run, wait_child};

/// How many sockets a process has open.
fn sockets(pid: i32) -> usize {
    let files = (0..64).filter_map(|fd| file_of_descriptor(pid, fd));
    files.filter(|file| file.to_string_lossy().starts_with("socket:")).count()
}

#[test]
fn case_27_under_inetd_standard_input_is_the_client() {
    let (server, mut client) = tcp_pair();
    let mut echod = inetd(&OwnedFd::from(server), &["-i"]);
    client.write_all(b"hello").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut echo = String::new();
    client.read_to_string(&mut echo).unwrap();
    assert_eq!(echo, "hello"); // and no log line, though standard error is the client too
    assert!(wait_child(&mut echod, "echod ends").success());
}

#[test]
fn under_inetd_a_pipe_works_too() {
    let output = run(command(ECHOD, &["-i", "-q"]), b"hello");
    assert!(output.status.success());
    assert_eq!(output.stdout, b"hello");
}

#[test]
fn case_27_under_inetd_wait_the_passed_listener_is_served() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let mut echod = inetd(&OwnedFd::from(listener), &["-i"]);
    for _ in 0..3 {
        let _served = talk(addr);
        for child in children(echod.id() as i32) {
            // One that is just ending has closed all; none has the listener beside its client.
            assert!(sockets(child) <= 1, "{} sockets", sockets(child));
        }
    }
    kill(Pid::from_raw(echod.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(wait_child(&mut echod, "echod ends").code(), Some(0));
}

#[test]
fn case_27_under_inetd_wait_the_server_ends_when_nobody_comes_for_the_idle_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let mut client = early(addr);
    let mut echod = inetd(&OwnedFd::from(listener), &["-i", "-t", "0.5"]);
    client.expect("hello");
    drop(client);
    assert_eq!(wait_child(&mut echod, "echod ends").code(), Some(0));
}

/// As inetd starts it: descriptors 0, 1 and 2 are one socket.
fn inetd(socket: &OwnedFd, args: &[&str]) -> std::process::Child {
    let twin = || Stdio::from(socket.try_clone().unwrap());
    let mut command = command(ECHOD, args);
    command.stdin(twin()).stdout(twin()).stderr(twin()).spawn().unwrap()
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0, client)
}

#[test]
fn under_inetd_not_even_a_bad_rust_log_is_told_to_the_client() {
    let (server, mut client) = tcp_pair();
    let mut command = command(ECHOD, &["-i"]);
    let server = OwnedFd::from(server);
    command.env("RUST_LOG", "a=b=c").stderr(server.try_clone().unwrap()).stdin(server);
    client.shutdown(Shutdown::Write).unwrap();
    assert!(command.status().unwrap().success());
    drop(command); // its copies of the socket
    let mut heard = String::new();
    client.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "");
}
