//! Dot-stuffing, both ways and however the text is cut, against what RFC 1939 §3 and RFC 5321 §4.5.2 say in a few
//! slow lines; the size of a text is that of the bytes sent.
#![no_main]

use forklore_fuzz::{lines, option, stuffed, with_crlf};
use libfuzzer_sys::fuzz_target;
use mailstore::WireSize;
use netascii::dot_stuffing::{LineEnding, Stuffer, Unstuffer};

fuzz_target!(|data: &[u8]| {
    let (piece, text) = option(data);
    let piece = usize::from(piece).max(1);
    encoded(text, piece);
    encoded_for_smtp(text, piece);
    decoded(text, piece);
});

fn stuff(mut stuffer: Stuffer, text: &[u8], piece: usize) -> (Vec<u8>, u64) {
    let mut out = Vec::new();
    text.chunks(piece).for_each(|part| stuffer.feed(part, &mut out));
    stuffer.finish(&mut out);
    (out, stuffer.octets())
}

fn encoded(text: &[u8], piece: usize) {
    let crlf = with_crlf(text);
    let (wire, octets) = stuff(Stuffer::new(), text, piece);
    assert_eq!(wire, stuffed(&crlf));
    assert_eq!(octets, crlf.len() as u64);
    let mut size = WireSize::new();
    text.chunks(piece).for_each(|part| size.feed(part));
    assert_eq!(size.octets(), octets);
    assert_eq!(WireSize::of_file(text).ok(), Some(octets));
    // What was sent is what is received; a bare CR before the end of the last line is the text's own.
    for (ending, expected) in [(LineEnding::Crlf, crlf.clone()), (LineEnding::Lf, with_lf(&crlf))] {
        let (back, taken, unstuffer) = unstuff(Unstuffer::new(ending), &wire, piece);
        assert!(unstuffer.is_done());
        assert_eq!((back, taken), (expected, wire.len()));
        assert_eq!(unstuffer.octets(), octets);
        assert!(!unstuffer.bare_lf());
    }
}

fn encoded_for_smtp(text: &[u8], piece: usize) {
    let (wire, octets) = stuff(Stuffer::bare_cr_to_crlf(), text, piece);
    let unified: Vec<u8> = with_crlf(text);
    // A CR that was bare ends a line.
    let mut expected = Vec::new();
    for line in lines(&unified) {
        let line = line.strip_suffix(b"\r\n").unwrap_or(line);
        for part in line.split(|&byte| byte == b'\r') {
            expected.extend_from_slice(part);
            expected.extend_from_slice(b"\r\n");
        }
    }
    // At the very end a bare CR is the end of the last line, and no empty line follows it.
    if text.ends_with(b"\r") {
        expected.truncate(expected.len() - 2);
    }
    assert_eq!(wire, stuffed(&expected));
    assert_eq!(octets, expected.len() as u64);
    assert!(
        !wire
            .windows(2)
            .any(|two| (two[0] == b'\r') != (two[1] == b'\n')
                && (two[0] == b'\r' || two[1] == b'\n')),
        "a bare CR or LF"
    );
}

fn with_lf(crlf: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in lines(crlf) {
        match line.strip_suffix(b"\r\n") {
            Some(line) => out.extend([line, b"\n"].concat()),
            None => out.extend(line),
        }
    }
    out
}

fn unstuff(mut unstuffer: Unstuffer, wire: &[u8], piece: usize) -> (Vec<u8>, usize, Unstuffer) {
    let (mut out, mut taken) = (Vec::new(), 0);
    for part in wire.chunks(piece) {
        let count = unstuffer.feed(part, &mut out);
        taken += count;
        if count < part.len() {
            break;
        }
    }
    (out, taken, unstuffer)
}

/// Decodes any bytes: the end is CRLF . CRLF alone, or . CRLF at the start; each line loses its first dot.
fn decoded(wire: &[u8], piece: usize) {
    let end = if wire.starts_with(b".\r\n") {
        Some((0, 3))
    } else {
        wire.windows(5).position(|five| five == b"\r\n.\r\n").map(|at| (at + 2, at + 5))
    };
    let body = &wire[..end.map_or(wire.len(), |(text, _)| text)];
    let mut expected = Vec::new();
    for line in lines(body) {
        expected.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
    }
    for ending in [LineEnding::Crlf, LineEnding::Lf] {
        let (back, taken, unstuffer) = unstuff(Unstuffer::new(ending), wire, piece);
        assert_eq!(unstuffer.is_done(), end.is_some());
        assert_eq!(taken, end.map_or(wire.len(), |(_, end)| end));
        if let Some((text, _)) = end {
            let expected =
                if ending == LineEnding::Lf { with_lf(&expected) } else { expected.clone() };
            assert_eq!(back, expected);
            let bare_cr = with_lf(body).contains(&b'\r');
            assert_eq!((unstuffer.bare_cr(), text), (bare_cr, body.len()));
        }
    }
    // A bare LF may end a line of the text, never the text.
    let (_, taken, unstuffer) = unstuff(Unstuffer::accepting_bare_lf(LineEnding::Lf), wire, piece);
    assert_eq!(unstuffer.is_done(), end.is_some());
    assert_eq!(taken, end.map_or(wire.len(), |(_, end)| end));
}
