//! The messages of a DNS server that answers from a short list of records (RFC 1035 §4.1), for the labs,
//! which ask no other server.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use forknet::printable;

/// Longest label, in octets (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;
/// Longest name, in octets (RFC 1035 §2.3.4).
const MAX_NAME: usize = 255;
/// Longest message by UDP, in octets (RFC 1035 §2.3.4).
const MAX_MESSAGE: usize = 512;
/// Length of a message's header, in octets (RFC 1035 §4.1.1).
const HEADER: usize = 12;
/// The class IN (RFC 1035 §3.2.4).
const INTERNET: u16 = 1;
/// A pointer to the name in the question (RFC 1035 §4.1.4).
const NAME_ASKED: [u8; 2] = [0xc0, HEADER as u8];
/// Seconds for which an answer may be cached: none.
const TTL: u32 = 0;
/// Longest chain of CNAMEs that is followed.
const MAX_ALIASES: usize = 8;

/// The type and value of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `A`: its IPv4 address.
    A(Ipv4Addr),
    /// `AAAA`: its IPv6 address (RFC 3596).
    Aaaa(Ipv6Addr),
    /// `PTR`: the name of the address that the record's own name is.
    Ptr(String),
    /// `CNAME`: the name of which it is an alias.
    Cname(String),
    /// `MX`: preference and name of a host that takes its mail; `.` for none (RFC 7505).
    Mx(u16, String),
}

/// A line of the list, such as `www.lab.test A 192.0.2.80` or `lab.test MX 10 mail.lab.test`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    name: String,
    value: Value,
}

impl FromStr for Record {
    type Err = &'static str;

    fn from_str(line: &str) -> Result<Record, &'static str> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, value) = match *words.as_slice() {
            [name, "A", value] => (name, Value::A(value.parse().map_err(|_| "no IPv4 address")?)),
            [name, "AAAA", value] => {
                (name, Value::Aaaa(value.parse().map_err(|_| "no IPv6 address")?))
            }
            [name, "PTR", value] => (name, Value::Ptr(name_of(value)?)),
            [name, "CNAME", value] => (name, Value::Cname(name_of(value)?)),
            [name, "MX", preference, host] => {
                let host = if host == "." { String::new() } else { name_of(host)? };
                (name, Value::Mx(preference.parse().map_err(|_| "no preference")?, host))
            }
            [_, _, _] => return Err("neither A, AAAA, PTR nor CNAME"),
            _ => return Err("neither NAME TYPE VALUE nor NAME MX PREFERENCE HOST"),
        };
        Ok(Record { name: name_of(name)?, value })
    }
}

/// Returns the form in which names are compared: small letters, no dot at the end.
fn name_of(text: &str) -> Result<String, &'static str> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let fits = name.split('.').all(|label| (1..=MAX_LABEL).contains(&label.len()));
    if fits && name.len() + 2 <= MAX_NAME { Ok(name) } else { Err("no name for DNS") }
}

impl Value {
    fn kind(&self) -> u16 {
        match self {
            Value::A(_) => 1,
            Value::Cname(_) => 5,
            Value::Ptr(_) => 12,
            Value::Mx(..) => 15,
            Value::Aaaa(_) => 28,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Value::A(address) => address.octets().to_vec(),
            Value::Aaaa(address) => address.octets().to_vec(),
            Value::Ptr(name) | Value::Cname(name) => labels(name),
            Value::Mx(preference, host) => [&preference.to_be_bytes()[..], &labels(host)].concat(),
        }
    }
}

/// Encodes a name for the wire: each label after its length, and an empty one at the end (RFC 1035
/// §3.1). The root has no other.
fn labels(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(label.len() as u8); // at most MAX_LABEL
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

/// A question that a client has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The name, in small letters; what does not print is escaped.
    pub name: String,
    kind: u16,
    /// Header and question as they came, for the answer.
    bytes: Vec<u8>,
}

impl Question {
    /// Reads a message; `None` if it is not one standard question. An answer is none, so that two servers
    /// never answer each other.
    #[must_use]
    pub fn parse(message: &[u8]) -> Option<Question> {
        let (header, mut rest) = message.split_first_chunk::<HEADER>()?;
        let [_, _, flags, _, 0, 1, ..] = *header else { return None };
        if flags & 0xf8 != 0 {
            return None; // an answer, or something else than a query
        }
        let mut name: Vec<u8> = Vec::new();
        loop {
            let (length, behind) = rest.split_first()?;
            let (label, behind) = behind.split_at_checked(usize::from(*length))?;
            rest = behind;
            if label.is_empty() {
                break;
            }
            if label.len() > MAX_LABEL || name.len() + label.len() >= MAX_NAME {
                return None;
            }
            if !name.is_empty() {
                name.push(b'.');
            }
            name.extend(label);
        }
        let ([kind1, kind2, class1, class2], behind) = rest.split_first_chunk::<4>()?;
        if u16::from_be_bytes([*class1, *class2]) != INTERNET {
            return None;
        }
        let bytes = message.get(..message.len() - behind.len())?.to_vec();
        let name = printable(&name.to_ascii_lowercase());
        Some(Question { name, kind: u16::from_be_bytes([*kind1, *kind2]), bytes })
    }

    /// Returns the type asked for: `A`, `AAAA`, `PTR`, `CNAME`, `MX`, or its number.
    #[must_use]
    pub fn kind(&self) -> String {
        match self.kind {
            1 => "A".into(),
            5 => "CNAME".into(),
            12 => "PTR".into(),
            15 => "MX".into(),
            28 => "AAAA".into(),
            other => format!("TYPE{other}"),
        }
    }

    /// Answers with the records that match, or with NXDOMAIN.
    #[must_use]
    pub fn answer(&self, records: &[Record]) -> Vec<u8> {
        let (mut name, mut found, mut known) = (self.name.clone(), Vec::new(), false);
        for _ in 0..MAX_ALIASES {
            let here: Vec<&Record> = records.iter().filter(|record| record.name == name).collect();
            known |= !here.is_empty();
            found.extend(here.iter().copied().filter(|record| record.value.kind() == self.kind));
            let alias = here.iter().find_map(|record| match &record.value {
                Value::Cname(target) if self.kind != record.value.kind() => Some((record, target)),
                _ => None,
            });
            let Some((record, target)) = alias else { break };
            found.push(record);
            name.clone_from(target);
        }
        self.message(&found, if known { 0 } else { 3 }) // NOERROR, NXDOMAIN
    }

    fn message(&self, found: &[&Record], code: u8) -> Vec<u8> {
        let mut message = self.bytes.clone();
        let (mut count, mut cut) = (0_u16, 0);
        for record in found {
            let owner =
                if record.name == self.name { NAME_ASKED.into() } else { labels(&record.name) };
            let value = record.value.bytes();
            let mut entry = owner;
            entry.extend(record.value.kind().to_be_bytes());
            entry.extend(INTERNET.to_be_bytes());
            entry.extend(TTL.to_be_bytes());
            entry.extend((value.len() as u16).to_be_bytes());
            entry.extend(value);
            if message.len() + entry.len() > MAX_MESSAGE {
                cut = 0x02; // TC: there is more
                break;
            }
            message.extend(entry);
            count += 1;
        }
        let [high, low] = count.to_be_bytes();
        // QR: an answer; AA: with authority; RD as it was asked; the other sections are empty.
        for (place, byte) in message.iter_mut().skip(2).zip([
            0x84 | cut | self.bytes.get(2).map_or(0, |flags| flags & 1),
            code,
            0,
            1,
            high,
            low,
            0,
            0,
            0,
            0,
        ]) {
            *place = byte;
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: &str, kind: u16) -> Vec<u8> {
        let header = [0x47, 0x11, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        [&header[..], &labels(name), &kind.to_be_bytes(), &[0, 1]].concat()
    }

    fn records() -> Vec<Record> {
        let lines =
            ["www.lab.test A 192.0.2.80", "lab.test CNAME WWW.lab.test.", "a.test CNAME a.test"];
        lines.map(|line| line.parse().unwrap()).to_vec()
    }

    #[test]
    fn a_question_is_answered_from_the_list() {
        let question = Question::parse(&asked("WWW.Lab.test", 1)).unwrap();
        assert_eq!((question.name.as_str(), question.kind().as_str()), ("www.lab.test", "A"));
        let answer = question.answer(&records());
        assert_eq!(answer[..12], [0x47, 0x11, 0x85, 0, 0, 1, 0, 1, 0, 0, 0, 0]);
        assert!(answer.ends_with(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 192, 0, 2, 80]));
        let question = Question::parse(&asked("lab.test", 1)).unwrap();
        assert_eq!(question.answer(&records())[7], 2); // the alias, and its address
    }

    #[test]
    fn the_hosts_of_a_domains_mail_have_a_preference() {
        let lines = ["red.test MX 10 mail.red.test", "red.test MX 20 b.test", "null.test MX 0 ."];
        let records = lines.map(|line| line.parse().unwrap());
        let question = Question::parse(&asked("red.test", 15)).unwrap();
        assert_eq!(question.kind(), "MX");
        let answer = question.answer(&records);
        assert_eq!(answer[7], 2);
        assert!(answer.ends_with(b"\0\x0a\0\x14\x01b\x04test\0"), "{}", answer.escape_ascii());
        let null = Question::parse(&asked("null.test", 15)).unwrap().answer(&records);
        assert!(null.ends_with(&[0, 3, 0, 0, 0]), "{}", null.escape_ascii());
        let address = Question::parse(&asked("red.test", 1)).unwrap().answer(&records);
        assert_eq!((address[3], address[7]), (0, 0));
    }

    #[test]
    fn an_unknown_name_and_an_unknown_type_have_different_answers() {
        let codes = [("www.lab.test", 28, 0), ("nobody.test", 1, 3), ("a.test", 1, 0)];
        for (name, kind, code) in codes {
            let answer = Question::parse(&asked(name, kind)).unwrap().answer(&records());
            assert_eq!(answer[3], code, "{name}");
        }
    }

    #[test]
    fn records_that_do_not_fit_are_left_out_and_the_answer_is_marked_as_cut() {
        let many: Vec<Record> =
            (0..40).map(|n| format!("a.test A 192.0.2.{n}").parse().unwrap()).collect();
        let answer = Question::parse(&asked("a.test", 1)).unwrap().answer(&many);
        assert!(answer.len() <= MAX_MESSAGE && answer[2] & 0x02 != 0 && answer[7] > 20);
    }

    #[test]
    fn malformed_questions_are_not_answered() {
        let good = asked("www.lab.test", 1);
        for end in 0..good.len() {
            assert_eq!(Question::parse(&good[..end]), None, "{end}");
        }
        for (place, byte) in [(2, 0x80), (2, 0x28), (5, 2), (5, 0), (12, 0xc0), (good.len() - 1, 3)]
        {
            let mut bad = good.clone();
            bad[place] = byte;
            assert_eq!(Question::parse(&bad), None, "{place}");
        }
        let long = vec!["x".repeat(63); 5].join(".");
        assert_eq!(Question::parse(&asked(&long, 1)), None);
    }

    #[test]
    fn a_line_that_is_no_record_is_refused() {
        for line in [
            "",
            "www.lab.test A",
            "www.lab.test A ::1",
            "a MX b",
            "a MX -1 b",
            "a..b A 192.0.2.1",
            "a A 1 2",
        ] {
            assert!(line.parse::<Record>().is_err(), "{line}");
        }
    }
}
