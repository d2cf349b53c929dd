//! The echo protocol by datagrams (RFC 862): what comes in goes out again.

use std::io;

use echod::lines;
use forknet::Datagrams;

/// The largest datagram that is answered, in bytes. UDP carries 65,507 (65,527 by IPv6); a
/// UNIX-domain datagram may be as large as its sender's buffer.
const MAXMESG: usize = 512 * 1024;

/// Slide "UDP Echo Server: dg_echo function": one process answers all clients in turn. There is no
/// connection, and no end of file.
///
/// # Errors
/// A socket is broken.
pub fn dg_echo(sock: &mut Datagrams) -> io::Result<()> {
    let mut buffer = vec![0; MAXMESG];
    while let Some((mesg, cliaddr)) = sock.recvfrom(&mut buffer)? {
        sock.sendto(mesg, &cliaddr);
        if sock.transcript.is_on() {
            lines(mesg).for_each(|line| sock.transcript.client(line));
            lines(mesg).for_each(|line| sock.transcript.server(line));
        }
    }
    Ok(())
}
