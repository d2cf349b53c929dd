//! A TFTP client that fetches one file: `mine HOST:PORT REMOTE LOCAL`.
//!
//! It works as long as no packet is lost, repeated or sent by somebody else. Mend that: docs/labs/13-tftp.md.

use std::fs::File;
use std::io::{self, Write};
use std::net::UdpSocket;
use std::process::ExitCode;

const BLOCK: usize = 512;

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
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let mut file = File::create(local)?;
    let mut packet = [0; 4 + BLOCK];
    socket.send_to(&request(remote), server)?;
    loop {
        let (length, peer) = socket.recv_from(&mut packet)?;
        match packet.get(..length) {
            // DATA: opcode 3, the block's number, and what the block holds
            Some([0, 3, high, low, data @ ..]) => {
                file.write_all(data)?;
                socket.send_to(&[0, 4, *high, *low], peer)?;
                if data.len() < BLOCK {
                    return Ok(());
                }
            }
            // ERROR: opcode 5, a code, a message, 0
            Some([0, 5, _, _, message @ ..]) => {
                let message = message.strip_suffix(b"\0").unwrap_or(message);
                return Err(io::Error::other(String::from_utf8_lossy(message)));
            }
            _ => {}
        }
    }
}
