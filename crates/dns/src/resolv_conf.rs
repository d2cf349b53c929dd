//! Which name servers are asked, and how long: resolv.conf(5).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The file.
pub(crate) const PATH: &str = "/etc/resolv.conf";
/// Most servers of the file, as resolv.conf(5) has it.
const MAX_SERVERS: usize = 3;

/// What the file says; the search list is not looked at, because names in mail are absolute.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The servers, at least one.
    pub servers: Vec<SocketAddr>,
    /// Longest wait for one answer.
    pub timeout: Duration,
    /// How often each server is asked.
    pub attempts: u32,
    /// The servers are believed when they say that they have checked signatures (AD): `options trust-ad`, or all of
    /// them are on this machine. On the way from another one, an attacker could set the bit.
    pub trust_ad: bool,
}

impl Settings {
    /// Reads the file's text. What is not understood is passed over, as the C library does.
    pub(crate) fn parse(text: &str, port: u16) -> Settings {
        let (mut servers, mut timeout, mut attempts) = (Vec::new(), 5, 2);
        let mut trust_ad = false;
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => servers.extend(words.next().and_then(|it| server(it, port))),
                Some("options") => {
                    for word in words {
                        trust_ad |= word == "trust-ad";
                        let number = |name| word.strip_prefix(name)?.parse::<u32>().ok();
                        timeout = number("timeout:").map_or(timeout, |it| it.clamp(1, 30));
                        attempts = number("attempts:").map_or(attempts, |it| it.clamp(1, 5));
                    }
                }
                _ => {}
            }
        }
        servers.truncate(MAX_SERVERS);
        if servers.is_empty() {
            servers.push((Ipv4Addr::LOCALHOST, port).into());
        }
        let timeout = Duration::from_secs(timeout.into());
        let trust_ad = trust_ad || servers.iter().all(|server| server.ip().is_loopback());
        Settings { servers, timeout, attempts, trust_ad }
    }
}

/// Reads an address, whose scope (`fe80::1%eth0`) is a number or nothing.
fn server(text: &str, port: u16) -> Option<SocketAddr> {
    let address: IpAddr = text.parse().ok()?;
    Some((address, port).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_and_times_are_those_of_the_file() {
        let text = "# ours\nsearch red.test\nnameserver 127.0.0.9\nnameserver ::1\nnameserver x\n\
            nameserver 127.0.0.8\nnameserver 127.0.0.7\noptions edns0 timeout:2 attempts:9\n";
        let settings = Settings::parse(text, 53);
        let shown: Vec<String> = settings.servers.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["127.0.0.9:53", "[::1]:53", "127.0.0.8:53"]);
        assert_eq!((settings.timeout, settings.attempts), (Duration::from_secs(2), 5));
    }

    #[test]
    fn only_servers_of_this_machine_are_believed_about_signatures_unless_told() {
        for (text, trust_ad) in [
            ("nameserver 127.0.0.1\nnameserver ::1\n", true),
            ("nameserver 127.0.0.1\nnameserver 192.0.2.1\n", false),
            ("nameserver 192.0.2.1\noptions edns0 trust-ad\n", true),
            ("", true),
        ] {
            assert_eq!(Settings::parse(text, 53).trust_ad, trust_ad, "{text}");
        }
    }

    #[test]
    fn without_a_server_this_machine_is_asked() {
        let settings = Settings::parse("", 53);
        assert_eq!(settings.servers, ["127.0.0.1:53".parse().unwrap()]);
    }
}
