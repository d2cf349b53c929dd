//! Host names: valid domains, and the name of this machine.

/// Longest label of a domain in bytes (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;
/// Longest domain in bytes (RFC 5321 §4.5.3.1.2).
pub const MAX_DOMAIN: usize = 255;

/// Returns whether a text is a domain as RFC 5321 §4.1.2 has it: letters, digits and inner hyphens
/// between dots.
#[must_use]
pub fn is_domain(text: &[u8]) -> bool {
    let is_label = |label: &[u8]| {
        label.len() <= MAX_LABEL
            && label.first().is_some_and(u8::is_ascii_alphanumeric)
            && label.last().is_some_and(u8::is_ascii_alphanumeric)
            && label.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'-')
    };
    text.len() <= MAX_DOMAIN && text.split(|&b| b == b'.').all(is_label)
}

/// Returns the machine's name, or `localhost` if that is not a domain.
#[must_use]
pub fn machine_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.filter(|name| is_domain(name.as_bytes())).unwrap_or_else(|| "localhost".into())
}
