//! What a server offers in its reply to EHLO or LHLO (RFC 5321 §4.1.1.1).

use accounts::Mechanisms;

/// The extensions that are used.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Extensions {
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// 8BITMIME (RFC 6152).
    pub eight_bit: bool,
    /// SMTPUTF8 (RFC 6531).
    pub utf8: bool,
    /// CHUNKING (RFC 3030).
    pub chunking: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// The mechanisms of AUTH (RFC 4954).
    pub auth: Mechanisms,
    /// SIZE (RFC 1870) is offered; the number is the server's limit in octets, if it has one.
    pub size: Option<Option<u64>>,
}

impl Extensions {
    /// Reads the lines of the reply after the first.
    #[must_use]
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Extensions {
        let mut found = Extensions::default();
        for line in lines {
            let mut words = line.split_ascii_whitespace();
            match words.next().unwrap_or_default().to_ascii_uppercase().as_str() {
                "PIPELINING" => found.pipelining = true,
                "8BITMIME" => found.eight_bit = true,
                "SMTPUTF8" => found.utf8 = true,
                "CHUNKING" => found.chunking = true,
                "DSN" => found.dsn = true,
                "STARTTLS" => found.starttls = true,
                "AUTH" => {
                    let names = words.collect::<Vec<_>>().join(" ");
                    found.auth = found.auth.union(Mechanisms::parse(names.as_bytes()));
                }
                "SIZE" => {
                    let limit = words.next().and_then(|limit| limit.parse().ok());
                    found.size = Some(limit.filter(|limit| *limit > 0));
                }
                _ => {}
            }
        }
        found
    }

    /// Returns the server's limit where a letter of this size is over it.
    #[must_use]
    pub(crate) fn limit_under(&self, octets: Option<u64>) -> Option<(u64, u64)> {
        let (limit, octets) = (self.size.flatten()?, octets?);
        (octets > limit).then_some((octets, limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_read_in_any_case_and_unknown_ones_passed_over() {
        let lines = ["pipelining", "SIZE 1000", "XYZ", "", "8bitmime x", "AUTH PLAIN", "Chunking"];
        let found = Extensions::parse(lines);
        assert!(found.pipelining && found.eight_bit && found.chunking && !found.utf8 && !found.dsn);
        assert_eq!(found.size, Some(Some(1000)));
        assert_eq!(found.auth.to_string(), "PLAIN");
        for (line, size) in [("SIZE", Some(None)), ("SIZE 0", Some(None)), ("SIZE x", Some(None))] {
            assert_eq!(Extensions::parse([line]).size, size, "{line}");
        }
    }

    #[test]
    fn a_limit_counts_where_it_and_the_size_are_known() {
        let limited = Extensions::parse(["SIZE 10"]);
        assert_eq!(limited.limit_under(Some(11)), Some((11, 10)));
        assert_eq!(limited.limit_under(Some(10)), None);
        assert_eq!(limited.limit_under(None), None);
        assert_eq!(Extensions::parse(["SIZE"]).limit_under(Some(11)), None);
    }
}
