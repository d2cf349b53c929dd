//! APOP (RFC 1939 §7): the timestamp of the greeting and the digest over it and a shared secret.

use std::fs::File;
use std::io::Read;
use std::time::{SystemTime, UNIX_EPOCH};

use mailstore::password;
use md5::{Digest, Md5};

/// Octets of random in a timestamp: nobody can ask a client today for the digest of tomorrow.
const RANDOM: usize = 8;

/// A timestamp that no other session has: `<pid.clock.random@host>`, in the shape of a message id.
/// None where the system has no random numbers: better no APOP than a predictable one.
#[must_use]
pub fn timestamp(host: &str) -> Option<String> {
    let mut random = [0; RANDOM];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random)).ok()?;
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    let (pid, random) = (std::process::id(), hex(&random));
    Some(format!("<{pid}.{clock}.{random}@{host}>"))
}

/// The digest that the client has to give, in lower-case hexadecimal.
#[must_use]
pub fn digest(timestamp: &str, secret: &[u8]) -> String {
    hex(&Md5::new().chain_update(timestamp).chain_update(secret).finalize())
}

/// Whether `given` is the digest; upper-case digits are taken too.
#[must_use]
pub fn verify(timestamp: &str, secret: &[u8], given: &[u8]) -> bool {
    password::same(digest(timestamp, secret).as_bytes(), &given.to_ascii_lowercase())
}

/// The timestamp of a greeting: from the first `<` to the `>` behind it, with an `@` between
/// (RFC 2449 §3: printable, no space).
#[must_use]
pub fn timestamp_in(greeting: &[u8]) -> Option<&[u8]> {
    let start = greeting.iter().position(|&b| b == b'<')?;
    let rest = greeting.get(start..)?;
    let end = rest.iter().position(|&b| b == b'>')?;
    let stamp = rest.get(..=end)?;
    (stamp.contains(&b'@') && stamp.iter().all(u8::is_ascii_graphic)).then_some(stamp)
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: &str = "<1896.697170952@dbc.mtview.ca.us>";

    #[test]
    fn the_vector_of_rfc_1939_holds() {
        assert_eq!(digest(STAMP, b"tanstaaf"), "c4c9334bac560ecc979e58001b3e22fb");
        assert!(verify(STAMP, b"tanstaaf", b"c4c9334bac560ecc979e58001b3e22fb"));
        assert!(verify(STAMP, b"tanstaaf", b"C4C9334BAC560ECC979E58001B3E22FB"));
        assert!(!verify(STAMP, b"tanstaaf", b"c4c9334bac560ecc979e58001b3e22fc"));
        assert!(!verify(STAMP, b"tanstaaf", b""));
    }

    #[test]
    fn a_timestamp_is_unique_and_found_in_its_greeting() {
        let (a, b) = (timestamp("h.test").unwrap(), timestamp("h.test").unwrap());
        assert_ne!(a, b);
        let greeting = format!("+OK ready {a} really");
        assert_eq!(timestamp_in(greeting.as_bytes()), Some(a.as_bytes()));
        for none in ["+OK ready", "+OK <a>", "+OK <a b@c>", "+OK <a@b", "+OK a@b>", "+OK ><a@"] {
            assert_eq!(timestamp_in(none.as_bytes()), None, "{none}");
        }
    }
}
