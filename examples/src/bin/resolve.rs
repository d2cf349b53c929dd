//! resolve: the resolver's four questions, slide "Direccionamiento en sockets": name to address ("le das
//! el nombre y te da la IP"), address to name ("le pones la dir IP y devulve el nombre"), service to port,
//! port to service.
//!
//! Run: `resolve name localhost`, `resolve name localhost pop3`, `resolve address 127.0.0.1 110`,
//! `resolve service smtp`, `resolve port 69 udp`.
//! You see getaddrinfo, getnameinfo, getservbyname and getservbyport answer. (The slides' gethostbyname and
//! gethostbyaddr know IPv4 only, and answer in memory that the next call writes over.)
//! "La libreria del resolver usa varios sistemas para resolver. Mira a estos por prioridad": `--from files`,
//! `dns`, `files,dns` or `dns,files` says which, in place of /etc/nsswitch.conf. `--dns ADDR:PORT` asks
//! that server, such as dnsstub, in place of those in /etc/resolv.conf.
//! An address's name is what the owner of the address says it is: only if that name leads back to the
//! address is it worth anything.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::process::ExitCode;

use nix::libc::{NI_NAMEREQD, NI_NUMERICHOST};
use nix::sys::socket::{AddressFamily, SockType};
use unp::{
    Failure, NoAnswer, Result, Sources, ask_dns_server, err_quit, err_sys, getaddrinfo,
    getnameinfo, getservbyname, getservbyport, look_up_hosts_in, say, words,
};

/// So long is a DNS server waited for, in seconds.
const PATIENCE: u8 = 2;

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
        ask_dns_server(server, PATIENCE).map_err(err_sys("res_init error"))?;
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

/// getaddrinfo: all addresses of a name, IPv4 and IPv6, in the order in which they are to be tried.
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

/// getnameinfo: the name of an address; and whether the name has that address.
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

/// getnameinfo looks the port up too, as a TCP one (NI_DGRAM: UDP).
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

/// The resolver has errors of its own, beside errno.
fn no_answer(what: impl Display) -> impl FnOnce(NoAnswer) -> Failure {
    move |why| err_quit(format!("{what}: {why} ({})", why.symbol()))
}
