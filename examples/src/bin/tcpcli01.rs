//! tcpcli01: the slides' first echo client, "TCP Echo Client: main function" and "str_cli function".
//!
//! Run: `echod -l 127.0.0.1:9877`, then `cargo run -p examples --bin tcpcli01 127.0.0.1:9877`.
//! You see each line that you type come back.
//! Wrong on purpose: blocked in fgets, it does not notice that its server has died (kill the child
//! and watch: only the next line tells). echoc, which polls both, is the cure.
#![forbid(unsafe_code)]

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, connect, socket};

fn main() -> io::Result<()> {
    let usage = || io::Error::other("usage: tcpcli01 <IPaddress>:<port>");
    let address: SocketAddr =
        std::env::args().nth(1).and_then(|a| a.parse().ok()).ok_or_else(usage)?;
    let sockfd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None)?;
    connect(sockfd.as_raw_fd(), &SockaddrStorage::from(address))?;
    str_cli(io::stdin().lock(), TcpStream::from(sockfd))
}

fn str_cli(mut input: impl BufRead, mut sockfd: TcpStream) -> io::Result<()> {
    let mut server = BufReader::new(sockfd.try_clone()?);
    let (mut sendline, mut recvline) = (Vec::new(), Vec::new());
    while input.read_until(b'\n', &mut sendline)? > 0 {
        sockfd.write_all(&sendline)?;
        if server.read_until(b'\n', &mut recvline)? == 0 {
            return Err(io::Error::other("str_cli: server terminated prematurely"));
        }
        io::stdout().write_all(&recvline)?;
        sendline.clear();
        recvline.clear();
    }
    Ok(())
}
