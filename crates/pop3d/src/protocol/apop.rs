//! APOP (RFC 1939 §7): the timestamp of the greeting and the digest over it and a shared secret.

use accounts::{apop_digest, hex};

/// Finds the timestamp in a greeting: from the first `<` to the `>` after it, with an `@` between
/// (RFC 2449 §3: printable, no space).
pub use accounts::message_id_in as timestamp_in;

/// Returns the digest that a client sends, in lower-case hexadecimal.
#[must_use]
pub fn digest(timestamp: &str, secret: &[u8]) -> String {
    hex(&apop_digest(timestamp.as_bytes(), secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_62_the_digest_matches_the_example_of_rfc_1939() {
        let timestamp = "<1896.697170952@dbc.mtview.ca.us>";
        assert_eq!(digest(timestamp, b"tanstaaf"), "c4c9334bac560ecc979e58001b3e22fb");
    }
}
