//! A letter's envelope, and its commands with the parameters that the server knows.

use crate::extensions::Extensions;
use crate::letter::Facts;

/// Who a letter is from, and who is to have it (RFC 5321 §2.3.1). No value has a line end.
#[derive(Debug, Clone, Default)]
pub struct Envelope<'a> {
    /// The reverse-path without brackets, empty for `<>`.
    pub from: &'a [u8],
    /// The letter was handed in with `SMTPUTF8` (RFC 6531).
    pub is_utf8: bool,
    /// `RET=` (RFC 3461 §4.3), empty without it.
    pub ret: &'a [u8],
    /// `ENVID=` in xtext (RFC 3461 §4.4), empty without it.
    pub envid: &'a [u8],
    /// The recipients, at least one.
    pub to: Vec<Recipient<'a>>,
}

/// A recipient.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recipient<'a> {
    /// The forward-path without brackets.
    pub address: &'a [u8],
    /// `NOTIFY=` (RFC 3461 §4.1), empty without it.
    pub notify: &'a [u8],
    /// `ORCPT=` in xtext (RFC 3461 §4.2), empty without it.
    pub orcpt: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Makes an envelope without parameters.
    #[must_use]
    pub fn new(from: &'a [u8], to: impl IntoIterator<Item = &'a [u8]>) -> Envelope<'a> {
        let to = to.into_iter().map(|address| Recipient { address, ..Recipient::default() });
        Envelope { from, to: to.collect(), ..Envelope::default() }
    }

    /// Returns the same for these recipients.
    #[must_use]
    pub(crate) fn only(&self, numbers: &[usize]) -> Envelope<'a> {
        let to = numbers.iter().filter_map(|number| self.to.get(*number)).copied().collect();
        Envelope { to, ..self.clone() }
    }

    /// Returns whether the letter needs SMTPUTF8 for every recipient: its sender or its header has UTF-8 (RFC 6531 §3.1).
    pub(crate) fn needs_utf8(&self, facts: Facts) -> bool {
        !self.from.is_ascii() || (self.is_utf8 && facts.eight_bit_header)
    }

    /// Returns whether MAIL has the parameter SMTPUTF8.
    fn says_utf8(&self, facts: Facts) -> bool {
        self.needs_utf8(facts) || self.to.iter().any(|to| !to.address.is_ascii())
    }

    /// Returns the MAIL command, without its end.
    pub(crate) fn mail(&self, extensions: &Extensions, facts: Facts) -> Vec<u8> {
        let mut line = [b"MAIL FROM:<", self.from, b">"].concat();
        if extensions.size.is_some()
            && let Some(octets) = facts.octets
        {
            line.extend(format!(" SIZE={octets}").into_bytes());
        }
        if facts.eight_bit && extensions.eight_bit {
            line.extend(b" BODY=8BITMIME");
        }
        if self.says_utf8(facts) && extensions.utf8 {
            line.extend(b" SMTPUTF8");
        }
        if extensions.dsn {
            add(&mut line, b" RET=", self.ret);
            add(&mut line, b" ENVID=", self.envid);
        }
        line
    }
}

impl Recipient<'_> {
    /// Returns whether the address has UTF-8 (RFC 6531) in its local part: a domain has a form in ASCII too.
    pub(crate) fn needs_utf8(&self) -> bool {
        !self.in_ascii().is_ascii()
    }

    /// Returns the address with its domain as DNS has it (A-labels, RFC 5890).
    fn in_ascii(&self) -> Vec<u8> {
        let at = self.address.iter().rposition(|&byte| byte == b'@');
        let at = at.map_or(self.address.len(), |at| at + 1);
        let (local, domain) = self.address.split_at_checked(at).unwrap_or_default();
        [local, &dns::to_ascii(domain)].concat()
    }

    /// Returns the RCPT command, without its end; the address as it is, or with its domain in ASCII.
    pub(crate) fn rcpt(&self, extensions: &Extensions, is_kept: bool) -> Vec<u8> {
        let address = if is_kept { self.address.to_vec() } else { self.in_ascii() };
        let mut line = [b"RCPT TO:<", &address[..], b">"].concat();
        if extensions.dsn {
            add(&mut line, b" NOTIFY=", self.notify);
            add(&mut line, b" ORCPT=", self.orcpt);
        }
        line
    }
}

fn add(line: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    if !value.is_empty() {
        line.extend(key);
        line.extend(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(envelope: &Envelope<'_>, facts: Facts, offered: &[&str]) -> String {
        let line = envelope.mail(&Extensions::parse(offered.iter().copied()), facts);
        String::from_utf8(line).unwrap()
    }

    const PLAIN: Facts = Facts { octets: Some(7), eight_bit: false, eight_bit_header: false };

    #[test]
    fn parameters_are_those_that_the_server_knows() {
        let to =
            Recipient { address: b"x@red.test", notify: b"NEVER", orcpt: b"rfc822;X@red.test" };
        let envelope = Envelope { ret: b"HDRS", envid: b"Q1", ..Envelope::new(b"a@b.test", []) };
        assert_eq!(mail(&envelope, PLAIN, &[]), "MAIL FROM:<a@b.test>");
        assert_eq!(mail(&envelope, PLAIN, &["SIZE"]), "MAIL FROM:<a@b.test> SIZE=7");
        let eight = Facts { eight_bit: true, octets: None, ..PLAIN };
        assert_eq!(
            mail(&envelope, eight, &["SIZE", "8BITMIME", "DSN", "SMTPUTF8"]),
            "MAIL FROM:<a@b.test> BODY=8BITMIME RET=HDRS ENVID=Q1"
        );
        assert_eq!(to.rcpt(&Extensions::default(), false), b"RCPT TO:<x@red.test>");
        let knows = Extensions::parse(["DSN"]);
        let line = &b"RCPT TO:<x@red.test> NOTIFY=NEVER ORCPT=rfc822;X@red.test"[..];
        assert_eq!(to.rcpt(&knows, false), line);
    }

    #[test]
    fn a_domain_in_utf8_is_sent_as_dns_has_it_to_a_server_without_smtputf8() {
        for (address, needs_utf8, sent) in [
            ("joe@b\u{fc}cher.test", false, "joe@xn--bcher-kva.test"),
            ("j\u{f6}e@b\u{fc}cher.test", true, "j\u{f6}e@xn--bcher-kva.test"),
            ("\"j@b\"@red.test", false, "\"j@b\"@red.test"),
            ("j\u{f6}e", true, "j\u{f6}e"),
        ] {
            let to = Recipient { address: address.as_bytes(), ..Recipient::default() };
            let line =
                |is_kept| String::from_utf8(to.rcpt(&Extensions::default(), is_kept)).unwrap();
            assert_eq!((to.needs_utf8(), line(true)), (needs_utf8, format!("RCPT TO:<{address}>")));
            assert_eq!(line(false), format!("RCPT TO:<{sent}>"));
        }
    }

    #[test]
    fn mail_has_smtputf8_where_it_is_needed() {
        let header = Facts { eight_bit: true, eight_bit_header: true, ..PLAIN };
        let body = Facts { eight_bit_header: false, ..header };
        let ascii = &b"x@red.test"[..];
        for (from, is_utf8, to, facts, expected) in [
            ("a@b.test", true, ascii, body, false),
            ("a@b.test", true, ascii, header, true),
            // What was not handed in as SMTPUTF8 is a header of old, with bytes over 127.
            ("a@b.test", false, ascii, header, false),
            ("\u{fc}@b.test", false, ascii, PLAIN, true),
            ("a@b.test", false, "\u{fc}@red.test".as_bytes(), PLAIN, true),
        ] {
            let envelope = Envelope { is_utf8, ..Envelope::new(from.as_bytes(), [to]) };
            let line = mail(&envelope, facts, &["SMTPUTF8", "8BITMIME"]);
            assert_eq!(line.ends_with(" SMTPUTF8"), expected, "{line}");
        }
    }
}
