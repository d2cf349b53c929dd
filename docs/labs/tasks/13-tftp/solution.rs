//! A TFTP client that fetches one file: `mine HOST:PORT REMOTE LOCAL`.
//!
//! It sends its last packet again when nothing comes, writes each block once, and heeds its server alone.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const BLOCK: usize = 512;
const PATIENCE: Duration = Duration::from_secs(1);
const RETRIES: u32 = 5;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, remote, local] = arguments.as_slice() else {
        eprintln!("usage: HOST:PORT REMOTE LOCAL");
        return ExitCode::from(2);
    };
    match get(server, remote, local) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{remote}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The Read Request: opcode 1, the name, 0, the mode, 0.
fn request(remote: &str) -> Vec<u8> {
    [b"\0\x01", remote.as_bytes(), b"\0octet\0"].concat()
}

fn get(server: &str, remote: &str, local: &str) -> io::Result<()> {
    let server = server.to_socket_addrs()?.next().ok_or(ErrorKind::NotFound)?;
    let mut talk = Talk {
        socket: UdpSocket::bind("127.0.0.1:0")?,
        to: server,
        known: false,
        last: request(remote),
    };
    let mut file = File::create(local)?;
    let mut packet = [0; 4 + BLOCK];
    let mut wanted: u16 = 1;
    talk.say()?;
    loop {
        let length = talk.hear(&mut packet)?;
        match packet.get(..length) {
            Some([0, 3, high, low, data @ ..]) => {
                let number = u16::from_be_bytes([*high, *low]);
                if number == wanted {
                    file.write_all(data)?;
                    wanted = wanted.wrapping_add(1);
                }
                // A block that was here already: its ACK was lost, or late.
                if number == wanted.wrapping_sub(1) {
                    talk.last = vec![0, 4, *high, *low];
                    talk.say()?;
                    if data.len() < BLOCK {
                        return Ok(());
                    }
                }
            }
            Some([0, 5, _, _, message @ ..]) => {
                let message = message.strip_suffix(b"\0").unwrap_or(message);
                return Err(io::Error::other(String::from_utf8_lossy(message)));
            }
            _ => {}
        }
    }
}

/// Our side of the transfer: whom we talk to, and what we said last.
struct Talk {
    socket: UdpSocket,
    to: SocketAddr,
    known: bool,
    last: Vec<u8>,
}

impl Talk {
    fn say(&self) -> io::Result<()> {
        self.socket.send_to(&self.last, self.to).map(drop)
    }

    /// The next packet of our server; what we said last is said again when none comes.
    fn hear(&mut self, packet: &mut [u8]) -> io::Result<usize> {
        for tried in 0..=RETRIES {
            if tried > 0 {
                self.say()?;
            }
            let until = Instant::now() + PATIENCE;
            while let Some(left) =
                until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            {
                self.socket.set_read_timeout(Some(left))?;
                match self.socket.recv_from(packet) {
                    Ok((length, peer)) if !self.known || peer == self.to => {
                        (self.to, self.known) = (peer, true);
                        return Ok(length);
                    }
                    Ok(_) => {} // somebody else
                    Err(error)
                        if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                    {
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Err(ErrorKind::TimedOut.into())
    }
}
