//! byteorder: how a number lies in memory, and how it must lie in a socket's address. Slide "Si
//! meto el n de puerto desde little endian a tcp (big endian) hay que convertirlo"; Stevens'
//! intro/byteorder.c asks the same with a union.
//!
//! Run: `byteorder`, or `byteorder 8080`.
//! You see the bytes of 0x0102 and 0x01020304 as they are here and after htons and htonl; and that
//! a socket which is bound without htons has another port: 38182 in place of 9877.
//! Wrong on purpose is only the last bind. On a big-endian machine it would be right by accident,
//! which is how such programs come to be shipped.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::process::ExitCode;

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, setsockopt, socket, sockopt,
};
use unp::{Result, SERV_PORT, err_sys, hex, say, words};

fn main() -> ExitCode {
    unp::main(byteorder)
}

fn byteorder() -> Result {
    let line = words([], "usage: byteorder [PORT]")?;
    let port = match line.words.as_slice() {
        [] => SERV_PORT,
        [port] => port.parse().map_err(|_| line.wrong())?,
        _ => return Err(line.wrong()),
    };
    say(match 0x0102_u16.to_ne_bytes() {
        [1, 2] => "this machine is big-endian: the high octet comes first",
        _ => "this machine is little-endian: the low octet comes first",
    })?;
    in_memory("0x0102", &0x0102_u16.to_ne_bytes())?;
    in_memory("htons(0x0102)", &htons(0x0102).to_ne_bytes())?;
    in_memory("0x01020304", &0x0102_0304_u32.to_ne_bytes())?;
    in_memory("htonl(0x01020304)", &htonl(0x0102_0304).to_ne_bytes())?;
    in_memory(&format!("port {port}"), &port.to_ne_bytes())?;
    in_memory(&format!("htons({port})"), &htons(port).to_ne_bytes())?;
    for (sin_port, what) in [(htons(port), format!("htons({port})")), (port, port.to_string())] {
        match bound_to(sin_port) {
            Ok(port) => say(format_args!("sin_port = {what}: bound to port {port}"))?,
            Err(failure) => say(format_args!("sin_port = {what}: {failure}"))?,
        }
    }
    Ok(())
}

fn in_memory(what: &str, octets: &[u8]) -> Result {
    say(format_args!("{what:18} in memory: {}", hex(octets)))
}

/// htons(3): converts from the host's byte order to the network's. ntohs is the same.
fn htons(hostshort: u16) -> u16 {
    hostshort.to_be()
}

/// htonl(3).
fn htonl(hostlong: u32) -> u32 {
    hostlong.to_be()
}

/// Another address of this machine in 127.0.0.0/8, because the servers of the other programs use
/// 127.0.0.1.
const LOOPBACK: Ipv4Addr = Ipv4Addr::new(127, 98, 77, 1);

/// Binds a socket to an address with `sin_port` as given in memory. Returns the actual port.
fn bound_to(sin_port: u16) -> Result<u16> {
    let sockfd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    setsockopt(&sockfd, sockopt::ReuseAddr, &true).map_err(err_sys("setsockopt error"))?;
    // Rust's addresses take a port in the host's order and do the htons themselves. That is undone
    // here, so that sin_port has the given bytes.
    let sin = SocketAddrV4::new(LOOPBACK, u16::from_be(sin_port));
    bind(sockfd.as_raw_fd(), &SockaddrIn::from(sin)).map_err(err_sys(format!("bind {sin}")))?;
    let here: SockaddrIn = getsockname(sockfd.as_raw_fd()).map_err(err_sys("getsockname error"))?;
    Ok(here.port())
}
