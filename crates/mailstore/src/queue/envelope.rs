//! The envelope of a letter in the queue: lines `key value` at the start of its file, up to an empty line.
//!
//! ```text
//! forklore letter 1
//! id 674b2f1a-1234-1
//! arrived 1733000000
//! client 127.0.0.1:52100
//! user levy
//! from <levy@red.test>
//! body 8BITMIME
//! to <bob@blue.test>
//! notify SUCCESS,FAILURE
//! orcpt rfc822;Bob@blue.test
//! to <ann@blue.test>
//! ```
//! A key is left out where there is no value. `notify` and `orcpt` belong to the `to` before them. A value is the
//! rest of its line, as it is, so that an address may have blanks.

use std::io::{self, BufRead, Read};

use crate::error::{Error, Result};

/// First line of a file; the number is that of the format.
const FIRST_LINE: &[u8] = b"forklore letter 1";
/// Longest envelope in bytes.
const MAX_ENVELOPE: u64 = 16 << 20;

/// The envelope of a letter that goes elsewhere. All values are bytes without line ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueEnvelope {
    /// The letter's id in `Received:` and in the log of the server that has taken it.
    pub id: Vec<u8>,
    /// When it came, in seconds since 1970.
    pub arrived: u64,
    /// Who sent it to us: address and port.
    pub client: Vec<u8>,
    /// The user who had logged in; empty without a login.
    pub user: Vec<u8>,
    /// The reverse-path without brackets, empty for `<>`.
    pub sender: Vec<u8>,
    /// `BODY=` of MAIL (RFC 6152), empty without it.
    pub body: Vec<u8>,
    /// `SMTPUTF8` of MAIL (RFC 6531).
    pub is_utf8: bool,
    /// `RET=` of MAIL (RFC 3461 §4.3), empty without it.
    pub ret: Vec<u8>,
    /// `ENVID=` of MAIL, as the client wrote it, in xtext (RFC 3461 §4.4), empty without it.
    pub envid: Vec<u8>,
    /// Who is to have the letter, at least one.
    pub recipients: Vec<QueueRecipient>,
}

/// A recipient of a letter in the queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueRecipient {
    /// The forward-path without brackets.
    pub address: Vec<u8>,
    /// `NOTIFY=` of RCPT (RFC 3461 §4.1), empty without it.
    pub notify: Vec<u8>,
    /// `ORCPT=` of RCPT, as the client wrote it, in xtext (RFC 3461 §4.2), empty without it.
    pub orcpt: Vec<u8>,
}

impl QueueEnvelope {
    /// Returns the lines, with the empty one.
    ///
    /// # Errors
    /// [`Error::Refused`]: a value has a line end or a NUL; there is no recipient; it is too long.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut text = Lines(FIRST_LINE.to_vec());
        text.0.push(b'\n');
        text.add("id", &self.id)?;
        text.add("arrived", self.arrived.to_string().as_bytes())?;
        text.add("client", &self.client)?;
        text.add("user", &self.user)?;
        text.add("from", &bracketed(&self.sender))?;
        text.add("body", &self.body)?;
        if self.is_utf8 {
            text.0.extend(b"smtputf8\n");
        }
        text.add("ret", &self.ret)?;
        text.add("envid", &self.envid)?;
        for recipient in &self.recipients {
            text.add("to", &bracketed(&recipient.address))?;
            text.add("notify", &recipient.notify)?;
            text.add("orcpt", &recipient.orcpt)?;
        }
        text.0.push(b'\n');
        if self.recipients.is_empty() || text.0.len() as u64 > MAX_ENVELOPE {
            return Err(Error::Refused("an envelope without a recipient, or too long".into()));
        }
        Ok(text.0)
    }

    /// Reads an envelope, and leaves the text of the letter unread; returns it and its length in bytes.
    ///
    /// # Errors
    /// `InvalidData` with what is wrong; as read(2).
    pub fn read(reader: &mut impl BufRead) -> io::Result<(QueueEnvelope, u64)> {
        let mut reader = reader.take(MAX_ENVELOPE);
        let mut line = Vec::new();
        let mut next = |line: &mut Vec<u8>| {
            line.clear();
            reader.read_until(b'\n', line)?;
            let ended = line.pop() == Some(b'\n');
            if ended { Ok(()) } else { Err(malformed("an envelope without an end")) }
        };
        next(&mut line)?;
        if line != FIRST_LINE {
            return Err(malformed("not a letter of this format"));
        }
        let mut envelope = QueueEnvelope::default();
        loop {
            next(&mut line)?;
            if line.is_empty() {
                break;
            }
            if envelope.set(&line).is_none() {
                return Err(malformed(&format!("the line '{}'", line.escape_ascii())));
            }
        }
        if envelope.recipients.is_empty() {
            return Err(malformed("no recipient"));
        }
        Ok((envelope, MAX_ENVELOPE - reader.limit()))
    }

    /// Takes a line in; `None` for one that is none.
    fn set(&mut self, line: &[u8]) -> Option<()> {
        let at = line.iter().position(|&b| b == b' ').unwrap_or(line.len());
        let (key, value) = line.split_at_checked(at)?;
        let value = value.strip_prefix(b" ").unwrap_or(value).to_vec();
        match key {
            b"id" => self.id = value,
            b"arrived" => self.arrived = std::str::from_utf8(&value).ok()?.parse().ok()?,
            b"client" => self.client = value,
            b"user" => self.user = value,
            b"from" => self.sender = without_brackets(&value)?,
            b"body" => self.body = value,
            b"smtputf8" => self.is_utf8 = true,
            b"ret" => self.ret = value,
            b"envid" => self.envid = value,
            b"to" => {
                let address = without_brackets(&value)?;
                self.recipients.push(QueueRecipient { address, ..QueueRecipient::default() });
            }
            b"notify" => self.recipients.last_mut()?.notify = value,
            b"orcpt" => self.recipients.last_mut()?.orcpt = value,
            _ => return None,
        }
        Some(())
    }
}

/// Lines that are being written.
struct Lines(Vec<u8>);

impl Lines {
    fn add(&mut self, key: &str, value: &[u8]) -> Result<()> {
        if value.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
            return Err(Error::Refused(format!("a line end in '{}'", value.escape_ascii())));
        }
        if !value.is_empty() {
            [key.as_bytes(), b" ", value, b"\n"].iter().for_each(|part| self.0.extend(*part));
        }
        Ok(())
    }
}

fn bracketed(address: &[u8]) -> Vec<u8> {
    [b"<", address, b">"].concat()
}

fn without_brackets(value: &[u8]) -> Option<Vec<u8>> {
    Some(value.strip_prefix(b"<")?.strip_suffix(b">")?.to_vec())
}

fn malformed(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

#[cfg(test)]
pub(crate) use tests::envelope as sample;

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn envelope() -> QueueEnvelope {
        let to = |address: &str, notify: &str, orcpt: &str| QueueRecipient {
            address: address.into(),
            notify: notify.into(),
            orcpt: orcpt.into(),
        };
        QueueEnvelope {
            id: b"674b2f1a-1234-1".to_vec(),
            arrived: 1_733_000_000,
            client: b"127.0.0.1:52100".to_vec(),
            user: b"levy".to_vec(),
            sender: b"\"le> vy\"@red.test".to_vec(),
            body: b"8BITMIME".to_vec(),
            is_utf8: true,
            ret: b"HDRS".to_vec(),
            envid: b"QQ+2B3".to_vec(),
            recipients: vec![
                to("bob@blue.test", "SUCCESS,FAILURE", "rfc822;Bob@blue.test"),
                to("\"a>\" b\"@blue.test", "", ""),
            ],
        }
    }

    #[test]
    fn an_envelope_is_read_as_it_was_written_and_the_text_is_left() {
        for envelope in [
            envelope(),
            QueueEnvelope {
                recipients: vec![QueueRecipient {
                    address: b"\xc3\xbc@b.test".to_vec(),
                    ..QueueRecipient::default()
                }],
                ..QueueEnvelope::default()
            },
        ] {
            let encoded = envelope.encode().unwrap();
            let file = [&encoded[..], b"to <no@header.test>\n\ntext\n"].concat();
            let mut reader = &file[..];
            let (read, length) = QueueEnvelope::read(&mut reader).unwrap();
            assert_eq!((read, length), (envelope, encoded.len() as u64));
            assert_eq!(reader, b"to <no@header.test>\n\ntext\n");
        }
    }

    #[test]
    fn an_envelope_can_be_read_by_eye() {
        let text = String::from_utf8(envelope().encode().unwrap()).unwrap();
        let start =
            "forklore letter 1\nid 674b2f1a-1234-1\narrived 1733000000\nclient 127.0.0.1:52100\n";
        assert!(text.starts_with(start), "{text}");
        let end = "to <bob@blue.test>\nnotify SUCCESS,FAILURE\norcpt rfc822;Bob@blue.test\n\
                   to <\"a>\" b\"@blue.test>\n\n";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn no_value_makes_a_line_of_its_own() {
        for bad in ["a\nto <x@y.test>", "a\r", "a\0"] {
            let mut sender = envelope();
            sender.sender = bad.into();
            let mut user = envelope();
            user.user = bad.into();
            let mut orcpt = envelope();
            orcpt.recipients[0].orcpt = bad.into();
            for envelope in [sender, user, orcpt] {
                assert!(matches!(envelope.encode(), Err(Error::Refused(_))));
            }
        }
        assert!(QueueEnvelope::default().encode().is_err(), "no recipient");
    }

    #[test]
    fn what_is_cut_or_odd_is_no_envelope() {
        let good = envelope().encode().unwrap();
        for cut in 0..good.len() {
            let read = QueueEnvelope::read(&mut &good[..cut]);
            assert_eq!(read.unwrap_err().kind(), io::ErrorKind::InvalidData, "{cut}");
        }
        for odd in [
            &b"forklore letter 2\nto <a@b.test>\n\n"[..],
            b"forklore letter 1\n\n",
            b"forklore letter 1\nto a@b.test\n\n",
            b"forklore letter 1\nnotify NEVER\nto <a@b.test>\n\n",
            b"forklore letter 1\nto <a@b.test>\narrived x\n\n",
            b"forklore letter 1\nto <a@b.test>\nmore x\n\n",
        ] {
            assert!(QueueEnvelope::read(&mut &odd[..]).is_err(), "{}", odd.escape_ascii());
        }
    }
}
