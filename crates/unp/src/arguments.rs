//! The programs' command lines: an address, and in some of them an option.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::constants::SERV_PORT;
use crate::error::{Result, err_usage};

/// Returns a server's `[ADDR:PORT]`, 127.0.0.1:9877 where there is none; port 0 is any free one.
///
/// # Errors
/// The command line has something else: the failure's text is `usage`.
pub fn servaddr(usage: &str) -> Result<SocketAddr> {
    servaddr_and([], usage).map(|(address, [])| address)
}

/// Does the same for a server with options, and returns which of them were given.
///
/// # Errors
/// As [`servaddr`].
pub fn servaddr_and<const N: usize>(
    options: [&str; N],
    usage: &str,
) -> Result<(SocketAddr, [bool; N])> {
    let (address, given) = parse(std::env::args().skip(1), options, usage)?;
    Ok((address.unwrap_or((Ipv4Addr::LOCALHOST, SERV_PORT).into()), given))
}

/// Returns a client's `ADDR[:PORT]`, the server's address; port 9877 where there is none.
///
/// # Errors
/// It is missing, or the command line has something else: the failure's text is `usage`.
pub fn peeraddr(usage: &str) -> Result<SocketAddr> {
    peeraddr_and([], usage).map(|(address, [])| address)
}

/// Does the same for a client with options, and returns which of them were given.
///
/// # Errors
/// As [`peeraddr`].
pub fn peeraddr_and<const N: usize>(
    options: [&str; N],
    usage: &str,
) -> Result<(SocketAddr, [bool; N])> {
    let (address, given) = parse(std::env::args().skip(1), options, usage)?;
    Ok((address.ok_or_else(|| err_usage(usage))?, given))
}

fn parse<const N: usize>(
    arguments: impl Iterator<Item = String>,
    options: [&str; N],
    usage: &str,
) -> Result<(Option<SocketAddr>, [bool; N])> {
    let mut address = None;
    let mut given = [false; N];
    for argument in arguments {
        let option = options.iter().position(|option| *option == argument);
        match option.and_then(|option| given.get_mut(option)) {
            Some(given) => *given = true,
            None if address.is_none() => address = Some(inet_pton(&argument, usage)?),
            None => return Err(err_usage(usage)),
        }
    }
    Ok((address, given))
}

/// Reads an address with its port, or one alone, which gets the slides' port.
///
/// # Errors
/// It is neither: the failure's text is `usage`.
pub fn inet_pton(argument: &str, usage: &str) -> Result<SocketAddr> {
    let alone = || argument.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, SERV_PORT));
    argument.parse().or_else(|_| alone()).map_err(|_| err_usage(usage))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Option<(Option<SocketAddr>, [bool; 1])> {
        parse(arguments.iter().map(ToString::to_string), ["--twice"], "usage: x").ok()
    }

    #[test]
    fn an_address_may_stand_alone_with_options_before_or_after_it() {
        let at = |text: &str| text.parse::<SocketAddr>().ok();
        assert_eq!(parsed(&[]), Some((None, [false])));
        assert_eq!(parsed(&["127.0.0.2"]), Some((at("127.0.0.2:9877"), [false])));
        assert_eq!(parsed(&["--twice", "[::1]:7"]), Some((at("[::1]:7"), [true])));
        assert_eq!(parsed(&["::1", "--twice"]), Some((at("[::1]:9877"), [true])));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for wrong in [&["localhost"][..], &["127.0.0.1:99999"], &["::1", "::1"], &["--once"], &[""]]
        {
            assert_eq!(parsed(wrong), None, "{wrong:?}");
        }
    }
}
