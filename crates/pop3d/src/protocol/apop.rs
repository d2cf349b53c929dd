//! APOP (RFC 1939 §7): the timestamp of the greeting and the digest over it and a shared secret.

use mailstore::accounts::password;
use md5::{Digest, Md5};

/// Random part of a timestamp, in bytes.
pub const RANDOM: usize = 8;

/// Returns the timestamp of a session, in the format of a message id: `<pid.clock.random@host>`,
/// with the clock in microseconds. Its random part prevents an attacker from obtaining the digest
/// of a later session in advance.
#[must_use]
pub fn timestamp(host: &str, pid: u32, clock: u128, random: &[u8; RANDOM]) -> String {
    format!("<{pid}.{clock}.{}@{host}>", hex(random))
}

/// Returns the digest expected from the client, in lower-case hexadecimal.
#[must_use]
pub fn digest(timestamp: &str, secret: &[u8]) -> String {
    hex(&Md5::new().chain_update(timestamp).chain_update(secret).finalize())
}

/// Returns whether `given` is the digest. Accepts upper-case digits too.
#[must_use]
pub fn verify(timestamp: &str, secret: &[u8], given: &[u8]) -> bool {
    password::constant_time_eq(digest(timestamp, secret).as_bytes(), &given.to_ascii_lowercase())
}

/// Finds the timestamp in a greeting: from the first `<` to the `>` after it, with an `@` between
/// (RFC 2449 §3: printable, no space).
#[must_use]
pub fn timestamp_in(greeting: &[u8]) -> Option<&[u8]> {
    let start = greeting.iter().position(|&b| b == b'<')?;
    let rest = greeting.get(start..)?;
    let end = rest.iter().position(|&b| b == b'>')?;
    let stamp = rest.get(..=end)?;
    (stamp.contains(&b'@') && stamp.iter().all(u8::is_ascii_graphic)).then_some(stamp)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMESTAMP: &str = "<1896.697170952@dbc.mtview.ca.us>";

    #[test]
    fn the_digest_matches_the_example_of_rfc_1939() {
        assert_eq!(digest(TIMESTAMP, b"tanstaaf"), "c4c9334bac560ecc979e58001b3e22fb");
        assert!(verify(TIMESTAMP, b"tanstaaf", b"c4c9334bac560ecc979e58001b3e22fb"));
        assert!(verify(TIMESTAMP, b"tanstaaf", b"C4C9334BAC560ECC979E58001B3E22FB"));
        assert!(!verify(TIMESTAMP, b"tanstaaf", b"c4c9334bac560ecc979e58001b3e22fc"));
        assert!(!verify(TIMESTAMP, b"tanstaaf", b""));
    }

    #[test]
    fn a_timestamp_has_the_shape_of_a_message_id() {
        let a = timestamp("h.test", 7, 8, &[9; RANDOM]);
        assert_eq!(a, "<7.8.0909090909090909@h.test>");
        assert_eq!(timestamp_in(format!("+OK {a}").as_bytes()), Some(a.as_bytes()));
    }
}
