//! tcpcli04: five connections to one server, slide "Client Terminates All Five Connections".
//!
//! Run: `echod -l 127.0.0.1:9877 --reap wait`, then
//! `cargo run -p examples --bin tcpcli04 127.0.0.1:9877`, type a line, end with Ctrl-D, and look:
//! `ps -o pid,ppid,stat,comm --ppid PID-OF-ECHOD`.
//! You see zombies (Z): the five FINs end five children at once, and signals are not queued.
//! With `--reap waitpid` there is none, with `--reap none` there are five.
#![forbid(unsafe_code)]

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, connect, socket};

fn main() -> io::Result<()> {
    let usage = || io::Error::other("usage: tcpcli04 <IPaddress>:<port>");
    let address: SocketAddr =
        std::env::args().nth(1).and_then(|a| a.parse().ok()).ok_or_else(usage)?;
    let mut sockfd = Vec::new();
    for _ in 0..5 {
        let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None)?;
        connect(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
        sockfd.push(TcpStream::from(fd));
    }
    sockfd.first().map_or(Ok(()), str_cli) // the first does the talking; exit closes all five
}

fn str_cli(mut sockfd: &TcpStream) -> io::Result<()> {
    let mut server = BufReader::new(sockfd);
    let mut recvline = Vec::new();
    for sendline in io::stdin().lock().split(b'\n') {
        sockfd.write_all(&[sendline?.as_slice(), b"\n"].concat())?;
        if server.read_until(b'\n', &mut recvline)? == 0 {
            return Err(io::Error::other("str_cli: server terminated prematurely"));
        }
        io::stdout().write_all(&recvline)?;
        recvline.clear();
    }
    Ok(())
}
