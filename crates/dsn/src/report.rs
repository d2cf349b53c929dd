//! A notification as text: `multipart/report` (RFC 6522) with a part for a person, one for programs (RFC 3464), and what
//! comes back of the letter.

use std::collections::BTreeSet;

use jiff::Zoned;

use crate::recipient::{Recipient, date};
use crate::returned::Returned;
use crate::text::{Charset, address, xtext_decoded};

/// Longest id of the sender's for a letter in bytes (RFC 3461 §4.4 has 100); the rest is cut off.
const MAX_ENVID: usize = 300;

/// What a notification tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The letter cannot be delivered to these recipients.
    Failure,
    /// A notification cannot be delivered. It has no author, so this is for the postmaster.
    DoubleBounce,
    /// The letter is not delivered yet.
    Delay,
    /// The letter is delivered.
    Delivery,
    /// The letter is with a server that sends no notifications.
    Relay,
}

impl About {
    fn subject(self) -> &'static str {
        match self {
            About::Failure => "Your letter could not be delivered",
            About::DoubleBounce => "A notification could not be delivered",
            About::Delay => "Your letter is delayed",
            About::Delivery => "Your letter was delivered",
            About::Relay => "Your letter was passed on",
        }
    }

    /// Returns what a person reads before the recipients, in lines that end in LF.
    fn sentence(self) -> &'static str {
        match self {
            About::Failure => {
                "Your letter could not be delivered to the recipients below. It will not be tried\nagain.\n"
            }
            About::DoubleBounce => {
                "A letter without a sender, which is how mail servers send notifications, could\nnot be \
                 delivered to the recipients below. It will not be tried again.\n"
            }
            About::Delay => {
                "This is a warning only: your letter could not be delivered yet to the recipients\nbelow. It will \
                 be tried again. You do not need to send it a second time.\n"
            }
            About::Delivery => "Your letter was delivered to the recipients below.\n",
            About::Relay => {
                "Your letter was passed on to the servers of the recipients below. These servers do\nnot tell \
                 when they deliver it.\n"
            }
        }
    }
}

/// A notification. What comes from strangers is made harmless here: it is cut at a limit, and ends no line.
#[derive(Debug)]
pub struct Report<'a> {
    /// The name of the server that sends it.
    pub hostname: &'a str,
    /// An id of letters, hexadecimal digits and `-`, which no other letter has.
    pub id: &'a str,
    /// What it tells.
    pub about: About,
    /// When it is written.
    pub now: &'a Zoned,
    /// Who gets it, without brackets.
    pub to: &'a [u8],
    /// `ENVID=` of the letter as the client wrote it, in xtext (RFC 3461 §4.4). Empty without it.
    pub envid: &'a [u8],
    /// When the letter came.
    pub arrived: &'a Zoned,
    /// Whether the letter had `SMTPUTF8` (RFC 6531), so that its author reads UTF-8 in fields.
    pub is_utf8: bool,
    /// The recipients that it is about.
    pub recipients: Vec<Recipient<'a>>,
    /// What comes back of the letter.
    pub returned: Option<Returned>,
}

/// The text of a notification, and what MAIL has to say of it.
#[derive(Debug)]
pub struct Text {
    /// Its lines, which end in LF.
    pub bytes: Vec<u8>,
    /// Whether there are bytes beyond ASCII in it (RFC 6152).
    pub is_eight_bit: bool,
    /// Whether there are bytes beyond ASCII in its own header (RFC 6531).
    pub has_utf8_header: bool,
}

impl Report<'_> {
    /// Returns its text.
    #[must_use]
    pub fn text(&self) -> Text {
        let charset = if self.is_utf8 { Charset::Utf8 } else { Charset::Ascii };
        let (person, status) = (self.person(), self.status(charset));
        let returned = self.returned.as_ref();
        let boundary = boundary(
            self.id,
            &[person.as_bytes(), status.as_bytes(), returned.map_or(b"", |it| &it.text)],
        );
        let is_eight_bit = !person.is_ascii()
            || !status.is_ascii()
            || returned.is_some_and(Returned::is_eight_bit);
        let header = self.header(&boundary, is_eight_bit);
        let mut text = header.clone().into_bytes();
        let mut part = |mime: &str, content: &[u8]| {
            text.extend(format!("\n--{boundary}\n{mime}\n").bytes());
            text.extend(content);
        };
        part(&mime("text/plain; charset=utf-8", &person), person.as_bytes());
        let kind = match charset {
            Charset::Utf8 => "message/global-delivery-status", // RFC 6533 §4
            Charset::Ascii => "message/delivery-status",
        };
        part(&mime(kind, &status), status.as_bytes());
        if let Some(returned) = returned {
            part(&returned.mime(), &returned.text);
        }
        text.extend(format!("\n--{boundary}--\n").bytes());
        Text { bytes: text, is_eight_bit, has_utf8_header: !header.is_ascii() }
    }

    fn header(&self, boundary: &str, is_eight_bit: bool) -> String {
        let Report { hostname, id, .. } = self;
        let (to, subject, date) =
            (address(self.to, Charset::Utf8), self.about.subject(), date(self.now));
        let encoding = if is_eight_bit { "8bit" } else { "7bit" };
        format!(
            "From: Mail delivery <MAILER-DAEMON@{hostname}>\nTo: <{to}>\nSubject: {subject}\nDate: {date}\n\
             Message-ID: <{id}@{hostname}>\nAuto-Submitted: auto-replied\nMIME-Version: 1.0\n\
             Content-Type: multipart/report; report-type=delivery-status;\n\tboundary=\"{boundary}\"\n\
             Content-Transfer-Encoding: {encoding}\n"
        )
    }

    /// Returns the part for a person.
    fn person(&self) -> String {
        let mut text =
            format!("This is the mail server of {}.\n\n{}\n", self.hostname, self.about.sentence());
        text.extend(self.recipients.iter().map(|it| it.paragraph(Charset::Utf8)));
        let until = self.recipients.iter().filter_map(|it| it.retried_until.as_ref()).max();
        if let Some(until) = until.filter(|_| self.about == About::Delay) {
            text.extend(["\nIt is tried until ", &date(until), ".\n"]);
        }
        if let Some(returned) = &self.returned {
            text.extend(["\n", &returned.note, "\n"]);
        }
        text
    }

    /// Returns the part for programs.
    fn status(&self, charset: Charset) -> String {
        let mut text = String::new();
        if !self.envid.is_empty() {
            let envid = xtext_decoded(self.envid);
            let envid = address(envid.get(..MAX_ENVID).unwrap_or(&envid), charset);
            text.extend(["Original-Envelope-Id: ", &envid, "\n"]);
        }
        text.extend(["Reporting-MTA: dns; ", self.hostname, "\n"]);
        text.extend(["Arrival-Date: ", &date(self.arrived), "\n"]);
        for recipient in &self.recipients {
            text.push('\n');
            text.push_str(&recipient.fields(charset));
        }
        text
    }
}

fn mime(kind: &str, content: &str) -> String {
    let encoding = if content.is_ascii() { "7bit" } else { "8bit" };
    format!("Content-Type: {kind}\nContent-Transfer-Encoding: {encoding}\n")
}

/// Returns a boundary that does not occur in these parts: of those with a number, which a letter could have guessed,
/// the first that is free.
fn boundary(id: &str, parts: &[&[u8]]) -> String {
    let stem = format!("report-{id}.");
    let mut taken = BTreeSet::new();
    for part in parts {
        let mut rest = *part;
        while let Some(at) = find(rest, stem.as_bytes()) {
            rest = rest.get(at + stem.len()..).unwrap_or_default();
            let digits = rest.iter().take_while(|b| b.is_ascii_digit()).take(9);
            let number = digits.fold(0, |number: u64, digit| number * 10 + u64::from(digit - b'0'));
            taken.insert(number);
        }
    }
    let free = (1..).find(|number| !taken.contains(number)).unwrap_or_default();
    format!("{stem}{free}.")
}

/// Returns where a word begins in a text. Its first byte is looked for first, because most texts have it seldom.
fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    let first = *word.first()?;
    let mut from = 0;
    loop {
        let rest = text.get(from..)?;
        let at = from + rest.iter().position(|&b| b == first)?;
        if text.get(at..)?.starts_with(word) {
            return Some(at);
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipient::Action;

    fn now() -> Zoned {
        "2026-11-02T09:05:07+02:00[+02:00]".parse().unwrap()
    }

    fn report(now: &Zoned) -> Report<'_> {
        Report {
            hostname: "topaz.test",
            id: "1-2-3",
            about: About::Failure,
            now,
            to: b"hedrick@topaz.test",
            envid: b"QQ+2B3",
            arrived: now,
            is_utf8: false,
            recipients: vec![Recipient {
                address: b"levy@red.test",
                orcpt: b"rfc822;Levy@red.test",
                action: Action::Failed,
                default_status: None,
                remote: b"red.test",
                reply: b"550 5.1.1 No such user",
                attempted: Some(now.clone()),
                retried_until: None,
            }],
            returned: Some(
                Returned::read(&mut &b"Subject: meeting\n\nMonday\n"[..], false, false).unwrap(),
            ),
        }
    }

    #[test]
    fn a_notification_has_the_fields_of_rfc_3464() {
        let now = now();
        let text = report(&now).text();
        let bytes = String::from_utf8(text.bytes).unwrap();
        assert!(!text.is_eight_bit && !text.has_utf8_header);
        let status = "Content-Type: message/delivery-status\nContent-Transfer-Encoding: 7bit\n\n\
             Original-Envelope-Id: QQ+3\nReporting-MTA: dns; topaz.test\n\
             Arrival-Date: Mon, 02 Nov 2026 09:05:07 +0200\n\n\
             Original-Recipient: rfc822;Levy@red.test\nFinal-Recipient: rfc822;levy@red.test\n\
             Action: failed\nStatus: 5.1.1\nRemote-MTA: dns; red.test\n\
             Diagnostic-Code: smtp; 550 5.1.1 No such user\n\
             Last-Attempt-Date: Mon, 02 Nov 2026 09:05:07 +0200\n\n--report-1-2-3.1.\n";
        assert!(bytes.contains(status), "{bytes}");
        let end = "Content-Type: text/rfc822-headers\nContent-Transfer-Encoding: 7bit\n\nSubject: meeting\n\n\
             --report-1-2-3.1.--\n";
        assert!(bytes.ends_with(end), "{bytes}");
        let person = "  <levy@red.test>\n    red.test said: 550 5.1.1 No such user\n";
        assert!(bytes.contains(person), "{bytes}");
    }

    #[test]
    fn a_boundary_that_the_letter_has_is_not_taken() {
        let now = now();
        let mut with = report(&now);
        let letter = b"X: --report-1-2-3.1.\nY: --report-1-2-3.2.--\n Z: report-1-2-3.4.\n\n";
        with.returned = Some(Returned::read(&mut &letter[..], false, false).unwrap());
        let text = String::from_utf8(with.text().bytes).unwrap();
        assert_eq!(text.matches("\n--report-1-2-3.3.\n").count(), 3, "{text}");
        assert!(text.ends_with("\n--report-1-2-3.3.--\n"));
    }

    #[test]
    fn no_field_of_a_stranger_begins_a_line() {
        let now = now();
        let evil = b"x\r\nBcc: y@z.test\r\n\r\n--report-1-2-3.1.\r\nStatus: 2.0.0";
        let mut with = report(&now);
        (with.to, with.envid) = (evil, evil);
        for recipient in &mut with.recipients {
            (recipient.address, recipient.orcpt) = (evil, b"rfc822;x+0D+0AStatus:+202.0.0+0A");
            (recipient.remote, recipient.reply) = (evil, evil);
        }
        let long = [0xff; 2000];
        let special = [&b"utf-8;"[..], "\u{3bb}+5C".repeat(200).as_bytes()].concat();
        for (is_utf8, is_long) in [(false, false), (true, false), (false, true), (true, true)] {
            with.is_utf8 = is_utf8;
            if is_long {
                (with.to, with.envid) = (&long, &long);
                for recipient in &mut with.recipients {
                    (recipient.address, recipient.orcpt) = (&long, &special);
                    (recipient.remote, recipient.reply) = (&long, &long);
                }
            }
            let text = String::from_utf8(with.text().bytes).unwrap();
            for line in text.lines() {
                let evil = ["Bcc", "Status: 2", "--report-1-2-3.1."];
                let evil = if is_long { &evil[..2] } else { &evil[..] };
                let is_evil = evil.iter().any(|it| line.starts_with(it));
                assert!(!is_evil && line.len() <= 998, "{}: {line}", line.len());
            }
            assert!(!text.contains('\r'));
        }
    }

    #[test]
    fn an_author_who_reads_utf_8_has_it_in_fields_and_no_other() {
        let now = now();
        let mut with = report(&now);
        with.recipients[0].address = "l\u{e9}vy@red.test".as_bytes();
        let text = with.text();
        let bytes = String::from_utf8(text.bytes).unwrap();
        assert!(bytes.contains("\nFinal-Recipient: utf-8;l\\x{E9}vy@red.test\n"), "{bytes}");
        assert!(!text.has_utf8_header);
        (with.is_utf8, with.to) = (true, "h\u{e9}drick@topaz.test".as_bytes());
        let text = with.text();
        let bytes = String::from_utf8(text.bytes).unwrap();
        assert!(text.has_utf8_header && text.is_eight_bit);
        assert!(bytes.contains("message/global-delivery-status\nContent-Transfer-Encoding: 8bit"));
        assert!(bytes.contains("\nFinal-Recipient: utf-8;l\u{e9}vy@red.test\n"), "{bytes}");
    }

    /// Bytes of chance, of those that mean something somewhere more often.
    fn chance(state: &mut u64, length: usize) -> Vec<u8> {
        const MEAN: &[u8] = b"\r\n\n\0\t +=;<>:\\x{}-.\xc3\xbc\xe2\x80\xae\xff25";
        let next = |state: &mut u64| {
            *state ^= *state << 13;
            *state ^= *state >> 7;
            *state ^= *state << 17;
            *state as usize
        };
        (0..next(state) % (length + 1))
            .map(|_| match next(state) % 2 {
                0 => MEAN[next(state) % MEAN.len()],
                _ => next(state) as u8,
            })
            .collect()
    }

    #[test]
    fn whatever_strangers_say_there_are_the_same_fields_and_parts() {
        let (now, mut state) = (now(), 88_172_645_463_325_252);
        for round in 0..1000 {
            let mut bytes = |length| chance(&mut state, length);
            let (to, envid, address, orcpt) = (bytes(400), bytes(400), bytes(400), bytes(600));
            let (remote, reply, letter) = (bytes(400), bytes(700), bytes(3000));
            let orcpt = [&b"utf-8;"[round % 2 * 6..], &orcpt].concat();
            let mut with = report(&now);
            with.is_utf8 = round % 3 == 0;
            (with.to, with.envid) = (&to, &envid);
            for it in &mut with.recipients {
                (it.address, it.orcpt, it.remote, it.reply) = (&address, &orcpt, &remote, &reply);
            }
            let returned = Returned::read(&mut letter.as_slice(), round % 5 == 0, with.is_utf8);
            with.returned = Some(returned.unwrap());
            let text = with.text().bytes;
            let lines: Vec<&[u8]> = text.split(|&b| b == b'\n').collect();
            let is_good =
                |line: &&[u8]| line.len() <= 998 && !line.iter().any(|b| matches!(b, 0 | b'\r'));
            assert!(lines.iter().all(is_good), "{round}: {}", text.escape_ascii());
            let starts =
                |word: &str| lines.iter().filter(|it| it.starts_with(word.as_bytes())).count();
            assert_eq!((starts("--report-1-2-3."), starts("Action: failed")), (4, 1), "{round}");
            assert_eq!((starts("Final-Recipient: "), starts("Status: ")), (1, 1), "{round}");
        }
    }
}
