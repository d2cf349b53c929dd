//! boundaries: two writes, and what the other end reads, slide "Sockets tipo stream": a stream "no
//! mantiene separación entre mensajes", and of datagrams "si manda dos paquetes (write()) tiene que
//! hacer dos recogidas (read())".
//!
//! Run: `boundaries`.
//! You see one read take what two writes wrote to a stream, and need two for two datagrams; and that
//! a buffer which is too short loses the rest of a datagram, but nothing of a stream. (The sockets
//! are UNIX-domain ones, where nothing is lost on the way; TCP and UDP do the same.)

use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::{read, write};
use unp::{Result, err_sys, say, words};

fn main() -> ExitCode {
    unp::main(boundaries)
}

fn boundaries() -> Result {
    let line = words([], "usage: boundaries")?;
    if !line.words.is_empty() {
        return Err(line.wrong());
    }
    for (name, kind) in [("stream", SockType::Stream), ("datagram", SockType::Datagram)] {
        say(format_args!("{name}: write \"ONE\", write \"TWO\""))?;
        let (writer, reader) = two_writes(kind)?;
        for _ in 0..2 {
            read_into(&mut [0; 100], &reader)?;
        }
        drop(writer);
        say(format_args!("{name}: the same, read with a buffer of 2 octets"))?;
        let (writer, reader) = two_writes(kind)?;
        for _ in 0..4 {
            read_into(&mut [0; 2], &reader)?;
        }
        drop(writer);
    }
    Ok(())
}

fn two_writes(kind: SockType) -> Result<(OwnedFd, OwnedFd)> {
    let (writer, reader) = socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_NONBLOCK)
        .map_err(err_sys("socketpair error"))?;
    for message in [b"ONE", b"TWO"] {
        write(&writer, message).map_err(err_sys("write error"))?;
    }
    Ok((writer, reader))
}

fn read_into(buffer: &mut [u8], reader: &impl AsFd) -> Result {
    match read(reader, buffer) {
        Ok(n) => {
            let text = buffer.get(..n).unwrap_or_default().escape_ascii();
            say(format_args!("    read: {n} octets, \"{text}\""))
        }
        Err(errno) => say(format_args!("    read: nothing there ({errno:?})")),
    }
}
