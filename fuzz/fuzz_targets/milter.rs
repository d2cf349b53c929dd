//! The answers of a filter that speaks the milter protocol: whatever it says, a reply to a client is one of 4yz or 5yz in
//! printable lines, and a field that it adds or changes stays one field of the header.
#![no_main]

use std::io::{self, Read, Write};
use std::time::Duration;

use forklore_fuzz::{Wire, option};
use libfuzzer_sys::fuzz_target;
use smtpd::milter::answer::Edit;
use smtpd::milter::connection::{Connection, Said, Step, Timed};
use smtpd::milter::header;

const HEADER: &[u8] = b"Received: ours\nFrom: a@b.test\nSubject: one\n two\nSubject: three\n";

fuzz_target!(|data: &[u8]| {
    let (choice, answers) = option(data);
    let stream = Filter(Wire::new(answers, usize::from(choice)));
    let Ok(mut filter) = Connection::negotiate(stream, choice & 1 != 0) else { return };
    let steps = [
        (Step::Connect, &b"h\x004\x00\x19127.0.0.1\0"[..]),
        (Step::Hello, b"h\0"),
        (Step::Mail, b"<a@b.test>\0"),
        (Step::Recipient, b"<levy@red.test>\0"),
        (Step::Data, b""),
        (Step::EndOfHeader, b""),
    ];
    for (step, text) in steps {
        match filter.step(step, text, &[("i", "1")]) {
            Ok(said) => check(&said),
            Err(_) => return,
        }
    }
    let fields = header::fields(HEADER, false);
    for field in &fields {
        match filter.field(&field.name, &field.value) {
            Ok(said) => check(&said),
            Err(_) => return,
        }
    }
    match filter.body(b"text\r\n") {
        Ok(said) => check(&said),
        Err(_) => return,
    }
    let Ok((said, changes)) = filter.end(&[]) else { return };
    check(&said);
    assert!(
        changes.quarantine.is_none_or(|text| text.bytes().all(|byte| matches!(byte, 32..=126)))
    );
    edited(&changes.edits);
    filter.quit();
});

fn check(said: &Said) {
    let Said::Refuse(reply) = said else { return };
    assert!((400..600).contains(&reply.code()) && reply.code() != 421, "{}", reply.code());
    for line in reply.lines() {
        assert!(line.len() <= 510 && line.bytes().all(|byte| matches!(byte, 32..=126)), "{line:?}");
    }
}

/// Makes each change: there is one field more, one less, or as many as before; and all are fields still.
fn edited(edits: &[Edit]) {
    let mut fields = header::fields(HEADER, false);
    for edit in edits {
        let before = fields.len();
        header::apply(&mut fields, edit);
        assert!(fields.len().abs_diff(before) <= 1, "{} fields became {}", before, fields.len());
        let text = header::text(&fields);
        assert_eq!(header::length(&text, true), Some(text.len()), "{}", text.escape_ascii());
        assert_eq!(header::fields(&text, false), fields, "{}", text.escape_ascii());
    }
}

struct Filter<'a>(Wire<'a>);

impl Read for Filter<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

impl Write for Filter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Timed for Filter<'_> {
    fn set_limit(&mut self, _: Duration) {}
}
