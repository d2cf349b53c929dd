//! resolve: the resolver's four questions, slide "Direccionamiento en sockets": name to address
//! ("le das el nombre y te da la IP"), address to name ("le pones la dir IP y devulve el nombre"),
//! service to port, port to service.
//!
//! Run: `resolve name localhost`, `resolve name localhost pop3`, `resolve address 127.0.0.1 110`,
//! `resolve service smtp`, `resolve port 69 udp`.
//! You see getaddrinfo, getnameinfo, getservbyname and getservbyport answer. (The slides'
//! gethostbyname and gethostbyaddr support IPv4 only, and return static memory that the next call
//! overwrites.) "La libreria del resolver usa varios sistemas para resolver. Mira a estos por
//! prioridad": `--from files`, `dns`, `files,dns` or `dns,files` says which, in place of
//! /etc/nsswitch.conf. `--dns ADDR:PORT` asks that server, such as dnsstub, in place of those in
//! /etc/resolv.conf. The owner of an address chooses its name, so trust the name only if it
//! resolves back to the address.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::process::ExitCode;

use nix::libc::{NI_NAMEREQD, NI_NUMERICHOST};
use nix::sys::socket::{AddressFamily, SockType};
use unp::{
    Failure, NoAnswer, Result, Sources, ask_dns_server, err_quit, err_sys, getaddrinfo,
    getnameinfo, getservbyname, getservbyport, look_up_hosts_in, say, words,
};

/// Timeout for a DNS server, in seconds.
const DNS_TIMEOUT: u8 = 2;

fn main() -> ExitCode {
    unp::main(resolve)
}

fn resolve() -> Result {
    let usage = "usage: resolve [--from files|dns|files,dns|dns,files] [--dns ADDR:PORT]
       name HOST [SERVICE] | address ADDR [PORT] | service NAME [PROTOCOL] | port N [PROTOCOL]";
    let line = words(["--from", "--dns"], usage)?;
    match line.value::<String>("--from")?.as_deref() {
        None => {}
        Some("files") => look_up_hosts_in(Sources::Files),
        Some("dns") => look_up_hosts_in(Sources::Dns),
        Some("files,dns") => look_up_hosts_in(Sources::FilesDns),
        Some("dns,files") => look_up_hosts_in(Sources::DnsFiles),
        Some(_) => return Err(line.wrong()),
    }
    if let Some(server) = line.value::<SocketAddrV4>("--dns")? {
        ask_dns_server(server, DNS_TIMEOUT).map_err(err_sys("res_init error"))?;
    }
    let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u16>().map_err(|_| line.wrong());
    match words.as_slice() {
        ["name", host] => name(host, None),
        ["name", host, service] => name(host, Some(service)),
        ["address", ip] => address(ip.parse().map_err(|_| line.wrong())?),
        ["address", ip, port] => {
            let ip = ip.parse().map_err(|_| line.wrong())?;
            address(ip).and(service_of(SocketAddr::new(ip, number(port)?)))
        }
        ["service", name] => service(name, None),
        ["service", name, protocol] => service(name, Some(protocol)),
        ["port", text] => port(number(text)?, None),
        ["port", text, protocol] => port(number(text)?, Some(protocol)),
        _ => Err(line.wrong()),
    }
}

/// getaddrinfo: shows all addresses of a name, IPv4 and IPv6, in the order to try them.
fn name(host: &str, service: Option<&str>) -> Result {
    let found = getaddrinfo(host, service, AddressFamily::Unspec, SockType::Stream)
        .map_err(no_answer(format!("getaddrinfo {host}")))?;
    say(format_args!("canonical name: {}", found.canonical))?;
    for address in found.addresses {
        let family = if address.is_ipv4() { "AF_INET" } else { "AF_INET6" };
        match service {
            Some(_) => say(format_args!("{family} {address}"))?,
            None => say(format_args!("{family} {}", address.ip()))?,
        }
    }
    Ok(())
}

/// getnameinfo: shows the name of an address, and whether the name has that address.
fn address(ip: IpAddr) -> Result {
    let what = format!("getnameinfo {ip}");
    let (host, _port) =
        getnameinfo(SocketAddr::new(ip, 0), NI_NAMEREQD).map_err(no_answer(what))?;
    say(format_args!("{ip} is {host}"))?;
    let back = getaddrinfo(&host, None, AddressFamily::Unspec, SockType::Stream);
    match back.is_ok_and(|found| found.addresses.iter().any(|address| address.ip() == ip)) {
        true => say(format_args!("and {host} is {ip}")),
        false => say(format_args!("but {host} is not {ip}: do not believe it")),
    }
}

/// getnameinfo looks up the port too, as a TCP one (NI_DGRAM: UDP).
fn service_of(address: SocketAddr) -> Result {
    let what = format!("getnameinfo {address}");
    let (_ip, service) = getnameinfo(address, NI_NUMERICHOST).map_err(no_answer(what))?;
    say(format_args!("port {} is {service}", address.port()))
}

fn service(name: &str, protocol: Option<&str>) -> Result {
    let found = getservbyname(name, protocol);
    let found = found.ok_or_else(|| err_quit(format!("getservbyname {name}: no such service")))?;
    let aliases: String = found.aliases.iter().map(|alias| format!(", also {alias}")).collect();
    say(format_args!("{}{aliases}: port {}/{}", found.name, found.port, found.protocol))
}

fn port(port: u16, protocol: Option<&str>) -> Result {
    let found = getservbyport(port, protocol);
    let found = found.ok_or_else(|| err_quit(format!("getservbyport {port}: no such service")))?;
    say(format_args!("port {port}/{}: {}", found.protocol, found.name))
}

/// The resolver has error codes of its own, apart from errno.
fn no_answer(what: impl Display) -> impl FnOnce(NoAnswer) -> Failure {
    move |why| err_quit(format!("{what}: {why} ({})", why.symbol()))
}
