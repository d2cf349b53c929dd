use super::*;

/// A filter that answers by a script.
struct Script {
    answers: io::Cursor<Vec<u8>>,
    heard: Vec<u8>,
}

impl Read for Script {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.answers.read(out)
    }
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.heard.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Timed for Script {
    fn set_limit(&mut self, _: Duration) {}
}

fn connection(steps: u32, answers: &[Vec<u8>]) -> Connection<Script> {
    let options = [VERSION, ADD_FIELDS, steps].map(u32::to_be_bytes).concat();
    let answers = [packet(b'O', &options), answers.concat()].concat();
    let script = Script { answers: io::Cursor::new(answers), heard: Vec::new() };
    let mut made = Connection::negotiate(script, false).unwrap();
    made.stream.heard.clear();
    made
}

#[test]
fn a_step_that_a_filter_does_not_want_is_not_sent_and_a_silent_one_not_awaited() {
    let mut filter = connection(NO_HELO | SILENT_MAIL, &[packet(b'c', b"")]);
    assert_eq!(filter.step(Step::Hello, b"a\0", &[]).unwrap(), Said::Continue);
    assert_eq!(filter.stream.heard, b"");
    assert_eq!(filter.step(Step::Mail, b"<a>\0", &[("i", "1")]).unwrap(), Said::Continue);
    assert_eq!(filter.stream.heard, b"\0\0\0\x06DMi\x001\0\0\0\0\x05M<a>\0");
    filter.step(Step::Recipient, b"<b>\0", &[]).unwrap();
    assert!(filter.step(Step::Recipient, b"<b>\0", &[]).is_err(), "no answer came");
}

#[test]
fn a_letter_that_has_no_end_is_aborted_before_the_next() {
    let go_on = packet(b'c', b"");
    let mut filter = connection(0, &[go_on.clone(), go_on.clone(), go_on.clone(), go_on]);
    filter.step(Step::Mail, b"<a>\0", &[]).unwrap();
    filter.step(Step::Mail, b"<b>\0", &[]).unwrap();
    filter.end(&[]).unwrap();
    filter.step(Step::Mail, b"<c>\0", &[]).unwrap();
    let heard = filter.stream.heard.escape_ascii().to_string();
    assert_eq!(heard.matches("\\x01A").count(), 1, "{heard}");
}

#[test]
fn a_value_has_its_blank_only_if_the_filter_wants_it() {
    for (steps, sent) in [(0, &b"L\0\0"[..]), (LEADING_BLANK, b"L\0 \0")] {
        let mut filter = connection(steps | SILENT_FIELDS, &[]);
        filter.field(b"L", b" ").unwrap();
        assert!(filter.stream.heard.ends_with(sent));
    }
}

#[test]
fn a_body_that_is_skipped_is_sent_no_further() {
    let mut filter = connection(MAY_SKIP, &[packet(b's', b"")]);
    filter.body(&[b'x'; 200_000]).unwrap();
    assert_eq!(filter.stream.heard.len(), MAX_PIECE + 5);
}

#[test]
fn answers_that_take_too_long_together_are_a_failure_each_of_which_would_be_in_time() {
    let mut filter = connection(0, &vec![packet(b'p', b""); 10]);
    filter.step(Step::Mail, b"<a>\0", &[]).unwrap_err(); // no last answer
    filter.waited = LETTER_LIMIT;
    filter.stream.answers = io::Cursor::new(packet(b'c', b""));
    let late = filter.step(Step::Data, b"", &[]).unwrap_err();
    assert_eq!(late.kind(), io::ErrorKind::TimedOut);
}

#[test]
fn changes_are_bounded_and_those_that_were_not_offered_are_errors() {
    let add = packet(b'h', b"A\0b\0");
    let mut filter = connection(0, &[add.clone(), packet(b'p', b""), packet(b'a', b"")]);
    assert_eq!(filter.end(&[]).unwrap().1.edits.len(), 1);
    for bad in [
        vec![add; MAX_EDITS + 1],
        vec![packet(b'-', b"<a>\0")],
        vec![packet(b'b', &[b'x'; 65_535]); 65],
    ] {
        let mut filter = connection(0, &bad);
        assert_eq!(filter.end(&[]).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
