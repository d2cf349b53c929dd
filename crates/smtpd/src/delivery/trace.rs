//! The trace lines that a server adds to a letter (RFC 5321 §4.4).

use std::sync::atomic::{AtomicU32, Ordering};

use dsn::date;
use jiff::Zoned;

use crate::protocol::address::{is_atom_with_dots, local_part, local_part_utf8};
use crate::protocol::envelope::{ClientAddress, Envelope, Hello, StartTls};
use crate::protocol::literal::{format_ip_literal, is_literal};

/// Returns a letter's id for the log and the `Received:` line: time, process id and number, an atom
/// of RFC 5322 §3.2.3.
#[must_use]
pub fn new_id(now: &Zoned) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{:x}-{}-{number}", now.timestamp().as_second(), std::process::id())
}

/// Returns `Return-Path:`, the first line of a letter at its final delivery. Ends in LF.
#[must_use]
pub fn return_path(sender: &[u8]) -> Vec<u8> {
    [b"Return-Path: <", sender, b">\n"].concat()
}

/// Returns `Delivered-To:`, by which a later server, or this one, sees that a letter was here before (RFC 9228 §2): of a
/// letter that goes on, to a command or to the queue, because others may send it back. `address` is that of the RCPT. Ends
/// in LF.
#[must_use]
pub fn delivered_to(address: &[u8]) -> Vec<u8> {
    let at = address.iter().rposition(|&byte| byte == b'@').unwrap_or(address.len());
    let (local, domain) = address.split_at_checked(at).unwrap_or((address, b""));
    [b"Delivered-To: ", local_part_utf8(local).as_bytes(), domain, b"\n"].concat()
}

/// Returns `Received:`, folded. It has a FOR clause only if there is one recipient, so that others
/// are not disclosed (RFC 5321 §7.2). Lines end in LF.
#[must_use]
pub fn received(
    hostname: &str,
    client: &ClientAddress,
    hello: &Hello,
    envelope: &Envelope,
    id: &str,
    now: &Zoned,
) -> String {
    let from = match client.ip {
        Some(ip) => format!("{} ({})", from_domain(&hello.name), format_ip_literal(ip)),
        None => from_domain(&hello.name),
    };
    let is_tls = client.tls == StartTls::UnderTls;
    let protocol = match (hello.extended, envelope.params.utf8, hello.is_lmtp) {
        (true, true, true) => "UTF8LMTP", // RFC 6531 §4.3
        (true, true, false) => "UTF8SMTP",
        (true, false, true) => "LMTP", // RFC 3848
        (true, false, false) => "ESMTP",
        (false, ..) => "SMTP",
    };
    let how = match (hello.extended, is_tls, client.user.is_some()) {
        (true, true, true) => "SA",
        (true, true, false) => "S",
        (true, false, true) => "A",
        (true, false, false) | (false, _, _) => "",
    };
    let only = match envelope.recipients.as_slice() {
        [one] if envelope.accepted.len() == 1 => format!("\n\tfor <{}>", one.address),
        _ => String::new(),
    };
    let date = date(now);
    format!(
        "Received: from {from}\n\tby {hostname} with {protocol}{how} id {id}{only};\n\t{date}\n"
    )
}

/// Returns the client's name as it can stand in a `Received:` line: what is no atom is a quoted word, what is not
/// in ASCII, and no name at all, `unknown`.
fn from_domain(name: &[u8]) -> String {
    if is_literal(name) || is_atom_with_dots(name) {
        return String::from_utf8_lossy(name).into_owned(); // ASCII
    }
    match name.is_empty() || !name.is_ascii() {
        true => "unknown".to_owned(),
        false => local_part(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::address;
    use crate::protocol::envelope::Recipient;
    use crate::protocol::params::RcptParams;

    fn envelope(addresses: &[&str]) -> Envelope {
        let mut envelope = Envelope::default();
        for address in addresses {
            let name = address::without_brackets(address.as_bytes()).unwrap().name().unwrap();
            envelope.add(Recipient {
                address: (*address).into(),
                name,
                params: RcptParams::default(),
            });
        }
        envelope
    }

    fn line(envelope: &Envelope, ip: Option<&str>, extended: bool) -> String {
        let ip = ip.map(|ip| ip.parse().unwrap());
        let client = ClientAddress {
            name: "peer".into(),
            ip,
            is_loopback: true,
            ..ClientAddress::default()
        };
        let hello = Hello { name: b"topaz.test".to_vec(), extended, is_lmtp: false };
        let now: Zoned = "2026-11-02T09:05:07+02:00[+02:00]".parse().unwrap();
        received("red.test", &client, &hello, envelope, "1-2-3", &now)
    }

    #[test]
    fn the_for_clause_names_a_single_recipient_only() {
        let one = line(&envelope(&["levy@red.test"]), Some("127.0.0.1"), true);
        assert_eq!(
            one,
            "Received: from topaz.test ([127.0.0.1])\n\tby red.test with ESMTP id 1-2-3\n\t\
             for <levy@red.test>;\n\tMon, 02 Nov 2026 09:05:07 +0200\n"
        );
        let two = line(&envelope(&["levy@red.test", "bob@red.test"]), Some("::1"), false);
        assert!(two.contains("([IPv6:::1])\n\tby red.test with SMTP id 1-2-3;\n"), "{two}");
        let twice = line(&envelope(&["levy@red.test", "levy@red.test"]), None, true);
        assert!(twice.starts_with("Received: from topaz.test\n"), "{twice}");
        assert!(!twice.contains("for"), "{twice}");
    }

    #[test]
    fn an_odd_name_of_a_client_is_a_quoted_word_or_unknown() {
        for (name, written) in [
            ("topaz.test", "topaz.test"),
            ("My_PC.", "My_PC."),
            ("[127.0.0.1]", "[127.0.0.1]"),
            ("[::1]", "\"[::1]\""),
            ("2001:db8::1", "\"2001:db8::1\""),
            ("00:11:22:aa:bb:cc", "\"00:11:22:aa:bb:cc\""),
            ("two words", "\"two words\""),
            ("a\"b\\c", "\"a\\\"b\\\\c\""),
            ("x) by evil.test (y", "\"x) by evil.test (y\""),
            ("a..b", "\"a..b\""),
            ("b\u{fc}ro", "unknown"),
            ("", "unknown"),
        ] {
            assert_eq!(from_domain(name.as_bytes()), written);
        }
    }

    #[test]
    fn the_address_of_a_delivery_is_written_as_it_would_come_again() {
        let line = |address: &str| String::from_utf8(delivered_to(address.as_bytes())).unwrap();
        assert_eq!(line("levy@red.test"), "Delivered-To: levy@red.test\n");
        assert_eq!(line("a b@red.test"), "Delivered-To: \"a b\"@red.test\n");
        assert_eq!(line("a@b@red.test"), "Delivered-To: \"a@b\"@red.test\n");
    }

    #[test]
    fn ids_differ() {
        let now = Zoned::now();
        assert_ne!(new_id(&now), new_id(&now));
    }
}
