//! APOP (RFC 1939 §7) and CRAM-MD5 (RFC 2195): a challenge in the shape of a message id, and the
//! digest over it and a shared secret.

use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};

use crate::encoding::hex;
use crate::error::Result;
use crate::secret::random;

/// Random part of a challenge, in bytes.
const RANDOM: usize = 12;
/// Block of MD5 in bytes (RFC 2104 §2).
const BLOCK: usize = 64;
/// A digest of MD5 in bytes.
pub const MD5: usize = 16;

/// Returns a challenge that no other session has, `<random.pid.clock@host>`: the timestamp of POP3's
/// greeting and the challenge of CRAM-MD5. It is random so that a client cannot be asked in advance
/// for the digest of a later session. In `host` what such an id cannot hold becomes `-`.
///
/// # Errors
/// [`crate::Error::Io`] when the system has no random numbers: a predictable one is worse than none.
pub fn message_id(host: &str) -> Result<String> {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    Ok(message_id_of(host, std::process::id(), clock, &random()?))
}

fn message_id_of(host: &str, pid: u32, clock: u128, random: &[u8; RANDOM]) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '-' };
    let host: String = host.chars().map(plain).collect();
    format!("<{}.{pid}.{clock}@{host}>", hex(random))
}

/// Finds the timestamp in POP3's greeting: from the first `<` to the `>` after it, with an `@` between
/// (RFC 2449 §3: printable, no space).
#[must_use]
pub fn message_id_in(greeting: &[u8]) -> Option<&[u8]> {
    let start = greeting.iter().position(|&byte| byte == b'<')?;
    let rest = greeting.get(start..)?;
    let end = rest.iter().position(|&byte| byte == b'>')?;
    let id = rest.get(..=end)?;
    (id.contains(&b'@') && id.iter().all(u8::is_ascii_graphic)).then_some(id)
}

/// Returns the digest of APOP: MD5 over the timestamp and the secret.
#[must_use]
pub fn apop_digest(timestamp: &[u8], secret: &[u8]) -> [u8; MD5] {
    Md5::new().chain_update(timestamp).chain_update(secret).finalize().into()
}

/// Returns the digest of CRAM-MD5: HMAC-MD5 over the challenge, with the secret for a key.
#[must_use]
pub fn cram_md5_digest(challenge: &[u8], secret: &[u8]) -> [u8; MD5] {
    let hashed: [u8; MD5] = Md5::digest(secret).into();
    let key = if secret.len() > BLOCK { &hashed } else { secret };
    let mut block = [0; BLOCK];
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    let mac = Hmac::<Md5>::new(&block.into());
    mac.chain_update(challenge).finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vector_of_rfc_1939_holds() {
        let digest = apop_digest(b"<1896.697170952@dbc.mtview.ca.us>", b"tanstaaf");
        assert_eq!(hex(&digest), "c4c9334bac560ecc979e58001b3e22fb");
    }

    #[test]
    fn the_vectors_of_rfc_2195_and_rfc_2202_hold() {
        let challenge = b"<1896.697170952@postoffice.reston.mci.net>";
        let digest = cram_md5_digest(challenge, b"tanstaaftanstaaf");
        assert_eq!(hex(&digest), "b913a602c7eda7a495b4e6e7334d3890");
        // RFC 2202 §2, test case 6: a key that is longer than a block.
        let message = b"Test Using Larger Than Block-Size Key - Hash Key First";
        let digest = cram_md5_digest(message, &[0xaa; 80]);
        assert_eq!(hex(&digest), "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd");
    }

    #[test]
    fn a_challenge_has_the_shape_of_a_message_id() {
        let id = message_id_of("h.test", 7, 8, &[9; RANDOM]);
        assert_eq!(id, "<090909090909090909090909.7.8@h.test>");
        assert_eq!(
            message_id_of("a>b\u{e9} c", 7, 8, &[9; RANDOM]).split_once('@').unwrap().1,
            "a-b--c>"
        );
        let (a, b) = (message_id("h.test").unwrap(), message_id("h.test").unwrap());
        assert_ne!(a, b);
        let greeting = format!("+OK ready {a} really");
        assert_eq!(message_id_in(greeting.as_bytes()), Some(a.as_bytes()));
        for none in ["+OK ready", "+OK <a>", "+OK <a b@c>", "+OK <a@b", "+OK a@b>", "+OK ><a@"] {
            assert_eq!(message_id_in(none.as_bytes()), None, "{none}");
        }
    }
}
