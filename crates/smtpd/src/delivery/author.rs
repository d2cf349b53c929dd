//! `--submission`: the author that a letter names, `From:` in its header, must be the user who has logged in, as its sender
//! must (RFC 6409 §6.1). Mail programs show the author, so another one's name there is what a forger wants.

use crate::protocol::address::without_brackets;
use crate::protocol::lookup::{Delivered, Delivery, Mailboxes, Refusal};
use crate::protocol::reply::Reply;

/// Longest header in bytes.
const MAX_HEADER: usize = 256 * 1024;
/// Most authors of a letter, each of which is looked up.
const MAX_AUTHORS: usize = 20;

/// A delivery that refuses a letter of another author. Its header waits here until it is complete.
pub struct OwnAuthor<'a> {
    delivery: Box<dyn Delivery + 'a>,
    mailboxes: &'a dyn Mailboxes,
    recipients: usize,
    /// The header; `None` once it is sent on.
    header: Option<Vec<u8>>,
}

impl<'a> OwnAuthor<'a> {
    /// Looks at the letter on its way to `delivery`.
    #[must_use]
    pub fn new(
        delivery: Box<dyn Delivery + 'a>,
        mailboxes: &'a dyn Mailboxes,
        recipients: usize,
    ) -> OwnAuthor<'a> {
        OwnAuthor { delivery, mailboxes, recipients, header: Some(Vec::new()) }
    }

    /// Sends the header on, if its authors are the user.
    fn pass(&mut self) -> Result<(), Refusal> {
        let Some(header) = self.header.take() else { return Ok(()) };
        let authors = authors(&header);
        if authors.is_empty() || authors.len() > MAX_AUTHORS {
            return Err(refusal("From: names no author, or too many"));
        }
        for author in authors {
            let path = without_brackets(&author);
            let path = path.map_err(|_| refusal("From: has an address that is none"))?;
            self.mailboxes.check_sender(&path).map_err(|reply| match reply.code() {
                500.. => refusal("From: is not an address of yours"),
                _ => Refusal { reply, reason: "author".into() },
            })?;
        }
        self.delivery.write(&header)
    }
}

impl Delivery for OwnAuthor<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let Some(header) = &mut self.header else { return self.delivery.write(bytes) };
        let before = header.len().saturating_sub(1);
        header.extend_from_slice(bytes);
        let is_whole = |from: &[u8]| from.windows(2).any(|pair| pair == b"\n\n");
        if header.get(before..).is_some_and(is_whole) {
            return self.pass();
        }
        if header.len() > MAX_HEADER {
            let reply = Reply::new(552, "5.3.4", "The header is too large");
            return Err(Refusal { reply, reason: "header too large".into() });
        }
        Ok(())
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

    fn finish(mut self: Box<Self>) -> Delivered {
        match self.pass() {
            Ok(()) => self.delivery.finish(),
            Err(refusal) => Delivered::to_none(self.recipients, refusal),
        }
    }
}

fn refusal(why: &str) -> Refusal {
    Refusal { reply: Reply::new(550, "5.7.1", why), reason: "another author".into() }
}

/// Returns the addresses in the fields `From:` of a header, each once, up to one more than may be there.
fn authors(header: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut value: Option<Vec<u8>> = None;
    let mut end = |value: Option<Vec<u8>>| {
        for address in value.iter().flat_map(|value| addresses(value)) {
            if all.len() <= MAX_AUTHORS && !all.contains(&address) {
                all.push(address);
            }
        }
    };
    for line in header.split(|&byte| byte == b'\n') {
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            value.iter_mut().for_each(|value| value.extend_from_slice(line));
            continue;
        }
        end(value.take());
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|&byte| byte == b':').unwrap_or_default();
        let (name, rest) = line.split_at_checked(colon).unwrap_or_default();
        if name.trim_ascii_end().eq_ignore_ascii_case(b"From") {
            value = Some(rest.get(1..).unwrap_or_default().to_vec());
        }
    }
    end(value);
    all
}

/// Returns the addresses in a list of mailboxes and groups (RFC 5322 §3.4): of each what is in angle brackets, or else all
/// that is no comment, without blanks.
fn addresses(value: &[u8]) -> Vec<Vec<u8>> {
    let (mut all, mut bare, mut angle) = (Vec::new(), Vec::new(), None);
    let (mut comments, mut in_quotes, mut in_angle, mut is_escaped) =
        (0_usize, false, false, false);
    for &byte in value.iter().chain(b",") {
        let is_text = in_quotes || comments > 0;
        match byte {
            _ if std::mem::take(&mut is_escaped) => {}
            b'\\' if is_text => is_escaped = true,
            b'"' if comments == 0 => in_quotes = !in_quotes,
            b'(' if !in_quotes => {
                comments += 1;
                continue;
            }
            b')' if comments > 0 => {
                comments -= 1;
                continue;
            }
            b'<' if !is_text => {
                (in_angle, angle) = (true, Some(Vec::new()));
                continue;
            }
            b'>' if !is_text => {
                in_angle = false;
                continue;
            }
            b':' if !is_text && !in_angle => {
                bare.clear(); // the name of a group
                continue;
            }
            b',' | b';' if !is_text && !in_angle => {
                let found = angle.take().unwrap_or_else(|| std::mem::take(&mut bare));
                bare.clear();
                if !found.is_empty() {
                    all.push(found);
                }
                continue;
            }
            b' ' | b'\t' if !in_quotes => continue,
            _ => {}
        }
        if comments == 0 {
            let found = if in_angle { angle.get_or_insert_default() } else { &mut bare };
            found.push(byte);
        }
    }
    // What has no end is no list.
    if in_quotes || in_angle || comments > 0 { vec![Vec::new()] } else { all }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(header: &str) -> Vec<String> {
        let all = authors(header.as_bytes());
        all.into_iter().map(|it| String::from_utf8(it).unwrap()).collect()
    }

    #[test]
    fn the_authors_of_a_header_are_its_addresses_and_no_names() {
        for (value, found) in [
            ("levy@red.test", &["levy@red.test"][..]),
            (" Levy <levy@red.test>", &["levy@red.test"]),
            ("\"bob@red.test, x\" <levy@red.test>", &["levy@red.test"]),
            ("\"a\\\" <bob@red.test>\" <levy@red.test>", &["levy@red.test"]),
            ("levy@red.test (bob@red.test, (x) <y>)", &["levy@red.test"]),
            ("\"a b\"@red.test", &["\"a b\"@red.test"]),
            ("levy @ red.test", &["levy@red.test"]),
            ("a@b.test, C <c@d.test>,\n <e@f.test>", &["a@b.test", "c@d.test", "e@f.test"]),
            ("us: a@b.test, c@d.test;, e@f.test", &["a@b.test", "c@d.test", "e@f.test"]),
            ("a@b.test, a@b.test", &["a@b.test"]),
            ("undisclosed:;", &[]),
            ("", &[]),
            ("<>", &[]),
            ("Levy <levy@red.test", &[""]),
            ("\"levy@red.test", &[""]),
            ("levy@red.test (", &[""]),
        ] {
            assert_eq!(
                shown(&format!("To: x@y.test\nFROM :{value}\nA: b\n\nx\n")),
                found,
                "{value}"
            );
        }
        assert_eq!(shown("From: a@b.test\nFrom: c@d.test\n"), ["a@b.test", "c@d.test"]);
        assert_eq!(shown("X-From: a@b.test\n\nFrom: c@d.test\n"), [""; 0]);
        let many =
            "a@b.test,".repeat(3) + &(0..99).map(|n| format!("{n}@b.test,")).collect::<String>();
        assert_eq!(shown(&format!("From: {many}")).len(), MAX_AUTHORS + 1);
    }
}
