//! Finds `Delivered-To:` fields in the header of a letter: one with the address that the letter is for says that it
//! was there before, and that forwarding leads in a circle (RFC 9228 §2).

use std::rc::Rc;

use crate::protocol::address::local_part_utf8;
use crate::protocol::envelope::{Envelope, Recipient};
use crate::protocol::lookup::{Delivered, Delivery, Refusal};
use crate::protocol::reply::Reply;

/// Longest line that is looked at in bytes: an address of 256 octets (RFC 5321 §4.5.3.1.3), and the name of the field.
const MAX_LINE: usize = 320;
/// Most fields that are kept, a number.
const MAX_FIELDS: usize = 100;
const NAME: &[u8] = b"delivered-to:";

/// Looks at the lines of a header, which end in LF and come in pieces of any size.
#[derive(Debug, Default)]
pub struct DeliveredTo {
    line: Vec<u8>,
    addresses: Vec<Vec<u8>>,
    in_body: bool,
}

impl DeliveredTo {
    /// Looks at a piece.
    pub fn feed(&mut self, text: &[u8]) {
        if self.in_body {
            return;
        }
        for piece in text.split_inclusive(|&byte| byte == b'\n') {
            let room = MAX_LINE.saturating_sub(self.line.len());
            self.line.extend_from_slice(piece.get(..room).unwrap_or(piece));
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                if line == b"\n" {
                    self.in_body = true;
                    return;
                }
                self.line(&line);
            }
        }
    }

    fn line(&mut self, line: &[u8]) {
        let (name, value) = line.split_at_checked(NAME.len()).unwrap_or_default();
        if name.eq_ignore_ascii_case(NAME) && self.addresses.len() < MAX_FIELDS {
            self.addresses.push(value.trim_ascii().to_ascii_lowercase());
        }
    }

    /// Returns whether the letter was at this address before; in any case of letters.
    #[must_use]
    pub fn has(&self, address: &str) -> bool {
        self.addresses.iter().any(|it| it.eq_ignore_ascii_case(address.as_bytes()))
    }
}

/// A delivery that refuses a letter which was at the addresses of all its recipients before. One for others too
/// is delivered: the copy that comes again is for one alone.
pub struct Checked<'a> {
    delivery: Box<dyn Delivery + 'a>,
    envelope: Rc<Envelope>,
    seen: DeliveredTo,
}

impl<'a> Checked<'a> {
    /// Looks at the letter on its way to `delivery`.
    #[must_use]
    pub fn new(delivery: Box<dyn Delivery + 'a>, envelope: Rc<Envelope>) -> Checked<'a> {
        Checked { delivery, envelope, seen: DeliveredTo::default() }
    }
}

impl Delivery for Checked<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.seen.feed(bytes);
        self.delivery.write(bytes)
    }

    fn head(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.delivery.head(bytes)
    }

    fn clear(&mut self) -> Result<(), Refusal> {
        self.delivery.clear()
    }

    fn quarantine(&mut self, reason: &str) -> Result<(), Refusal> {
        self.delivery.quarantine(reason)
    }

    fn finish(self: Box<Self>) -> Delivered {
        let recipients = &self.envelope.recipients;
        let was_there = |it: &Recipient| {
            let local = local_part_utf8(&it.name.local);
            let domain = String::from_utf8_lossy(&it.name.domain);
            self.seen.has(&it.address) || self.seen.has(&format!("{local}@{domain}"))
        };
        if !recipients.iter().all(was_there) {
            return self.delivery.finish();
        }
        let reply = Reply::new(554, "5.4.6", "The letter was delivered there before, mail loop");
        let refusal = Refusal { reply, reason: "mail loop (Delivered-To)".into() };
        Delivered::to_none(recipients.len(), refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_header_are_found_wherever_it_is_cut_and_none_of_the_body() {
        let letter = "Subject: x\nDelivered-To: Levy@red.test\nX-Delivered-To: bob@red.test\ndelivered-to:\tann@red.test\n\
                      \nDelivered-To: eve@red.test\n";
        for piece in [1, 2, 7, letter.len()] {
            let mut seen = DeliveredTo::default();
            letter.as_bytes().chunks(piece).for_each(|part| seen.feed(part));
            let is_there = |name| seen.has(&format!("{name}@RED.test"));
            assert!(is_there("levy") && is_there("ann") && !is_there("bob") && !is_there("eve"));
        }
        let mut seen = DeliveredTo::default();
        seen.feed(&[b'x'; 10_000]);
        assert!(seen.line.len() <= MAX_LINE);
        seen.feed(b"\n");
        seen.feed(&b"Delivered-To: a@b.test\n".repeat(200));
        assert_eq!(seen.addresses.len(), MAX_FIELDS);
    }
}
