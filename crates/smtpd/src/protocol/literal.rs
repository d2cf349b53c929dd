//! Address literals (RFC 5321 §4.1.3).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::options::hostname::{MAX_DOMAIN, is_domain};

/// Returns whether a text is an address literal: `[192.0.2.1]`, `[IPv6:2001:db8::1]` or
/// `[tag:text]` (RFC 5321 §4.1.3).
#[must_use]
pub fn is_literal(text: &[u8]) -> bool {
    parse_ip_literal(text).is_some() || general_literal(text).is_some()
}

/// Returns the IP address of an address literal, if it has one.
#[must_use]
pub fn parse_ip_literal(text: &[u8]) -> Option<IpAddr> {
    let inner = std::str::from_utf8(inside(text)?).ok()?;
    match inner.split_at_checked(5) {
        Some((tag, v6)) if tag.eq_ignore_ascii_case("IPv6:") => {
            v6.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
        _ => inner.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

/// Formats an IP address as an address literal (RFC 5321 §4.1.3).
#[must_use]
pub fn format_ip_literal(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(v4) => format!("[{v4}]"),
        IpAddr::V6(v6) => format!("[IPv6:{v6}]"),
    }
}

fn inside(text: &[u8]) -> Option<&[u8]> {
    text.strip_prefix(b"[")?.strip_suffix(b"]")
}

/// Accepts a General-address-literal with a tag that is not registered (RFC 5321 §4.1.3).
fn general_literal(text: &[u8]) -> Option<()> {
    let inner = inside(text)?;
    let colon = inner.iter().position(|&b| b == b':')?;
    let (tag, content) = (inner.get(..colon)?, inner.get(colon + 1..)?);
    let dcontent = |&b: &u8| matches!(b, 33..=90 | 94..=126);
    let known = tag.eq_ignore_ascii_case(b"IPv6");
    let good = !known && is_domain(tag) && !tag.contains(&b'.') && !content.is_empty();
    (good && text.len() <= MAX_DOMAIN && content.iter().all(dcontent)).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_address_is_written_as_an_ipv4_address() {
        assert_eq!(format_ip_literal("::ffff:192.0.2.1".parse().unwrap()), "[192.0.2.1]");
    }
}
