use super::*;
use crate::tests::EXAMINED;

/// Decodes `input` byte by byte, as RFC 5321 §4.5.2 describes it, with the whole text in memory:
/// the reference for the fast decoder.
fn slow_decode(input: &[u8]) -> (Vec<u8>, Option<usize>) {
    let end = if input.starts_with(b".\r\n") {
        Some((0, 3))
    } else {
        input.windows(5).position(|w| w == b"\r\n.\r\n").map(|at| (at + 2, at + 5))
    };
    let body = &input[..end.map_or(input.len(), |(text, _)| text)];
    let mut out = Vec::new();
    for (at, &byte) in body.iter().enumerate() {
        let line_start = at == 0 || body[..at].ends_with(b"\r\n");
        if !(line_start && byte == b'.') {
            out.push(byte);
        }
    }
    (out, end.map(|(_, taken)| taken))
}

fn decode(input: &[u8], piece: usize, mut decoder: Unstuffer) -> (Vec<u8>, usize, Unstuffer) {
    let mut out = Vec::new();
    let mut taken = 0;
    for part in input.chunks(piece.max(1)) {
        let count = decoder.feed(part, &mut out);
        taken += count;
        if count < part.len() {
            assert!(decoder.is_done(), "stopped before the end");
            break;
        }
    }
    (out, taken, decoder)
}

/// Returns every text of up to `length` bytes of the letters that matter.
fn all_texts(length: u32) -> impl Iterator<Item = Vec<u8>> {
    const LETTERS: &[u8] = b"\r\n.x";
    (0..=length).flat_map(move |n| {
        (0..4_usize.pow(n)).map(move |mut code| {
            let mut text = Vec::new();
            for _ in 0..n {
                text.push(LETTERS[code % 4]);
                code /= 4;
            }
            text
        })
    })
}

#[test]
fn every_short_text_is_decoded_as_by_hand_and_at_every_piece_size() {
    for text in all_texts(8) {
        let (expected, end) = slow_decode(&text);
        for piece in [1, 2, 3, 8] {
            let (out, taken, decoder) = decode(&text, piece, Unstuffer::new(LineEnding::Crlf));
            let what = text.escape_ascii().to_string();
            assert_eq!(decoder.is_done(), end.is_some(), "{what} in pieces of {piece}");
            assert_eq!(taken, end.unwrap_or(text.len()), "{what} in pieces of {piece}");
            if end.is_some() {
                assert_eq!(out, expected, "{what} in pieces of {piece}");
                assert_eq!(decoder.octets(), expected.len() as u64, "{what}");
            }
        }
    }
}

#[test]
fn every_bare_cr_and_bare_lf_of_every_short_text_is_remembered() {
    for mut text in all_texts(7) {
        text.extend_from_slice(b"x\r\n.\r\n");
        let end = slow_decode(&text).1.unwrap();
        let body = &text[..end];
        let cr = (0..end).any(|i| body[i] == CR && body.get(i + 1) != Some(&LF));
        let lf = (0..end).any(|i| body[i] == LF && (i == 0 || body[i - 1] != CR));
        for piece in [1, 2, 64] {
            let (_, _, decoder) = decode(&text, piece, Unstuffer::new(LineEnding::Lf));
            let what = text.escape_ascii().to_string();
            assert_eq!((decoder.bare_cr(), decoder.bare_lf()), (cr, lf), "{what}");
        }
    }
}

#[test]
fn every_short_text_comes_back_from_stuffing_with_its_last_line_ended() {
    for text in all_texts(7) {
        // A text whose line ends are CRLF throughout: what goes in comes out.
        let lines =
            text.split(|&b| b == LF).map(<[u8]>::to_vec).collect::<Vec<_>>().join(&b"\r\n"[..]);
        for (input, piece) in [(&text, 1), (&text, 3), (&lines, 1), (&lines, 2), (&lines, 99)] {
            let mut stuffer = Stuffer::new();
            let mut wire = Vec::new();
            for part in input.chunks(piece) {
                stuffer.feed(part, &mut wire);
            }
            stuffer.finish(&mut wire);
            let what = input.escape_ascii().to_string();
            let (out, taken, decoder) = decode(&wire, 1, Unstuffer::new(LineEnding::Crlf));
            assert!(decoder.is_done(), "{what}");
            assert_eq!(taken, wire.len(), "{what}: an end in the middle");
            assert!(!decoder.bare_lf(), "{what}");
            assert_eq!(stuffer.octets(), out.len() as u64, "{what}");
            assert_eq!(out, crlf(input), "{what}");
        }
    }
}

/// LF and CRLF become CRLF, and the last line is ended.
fn crlf(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, &byte) in text.iter().enumerate() {
        if byte == LF && (at == 0 || text[at - 1] != CR) {
            out.push(CR);
        }
        out.push(byte);
    }
    if !out.is_empty() && !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[test]
fn no_false_end_ends_the_text() {
    let variants: [&[u8]; 12] = [
        b"a\n.\nb",
        b"a\n.\r\nb",
        b"a\r\n.\nb",
        b"a\r.\rb",
        b"a\r.\r\nb",
        b"a\n.\rb",
        b"a\r\n.\rb",
        b"a\r\n.\r\r\nb",
        b"a\r\n..\r\nb",
        b"a\r\n. \r\nb",
        b"a\r\n.\0\r\nb",
        b"\n.\r\nb",
    ];
    for variant in variants {
        for mut decoder in
            [Unstuffer::new(LineEnding::Lf), Unstuffer::accepting_bare_lf(LineEnding::Lf)]
        {
            let mut out = Vec::new();
            assert_eq!(decoder.feed(variant, &mut out), variant.len());
            assert!(!decoder.is_done(), "{}", variant.escape_ascii());
            let rest = b"\r\n.\r\nNOOP\r\n";
            assert_eq!(decoder.feed(rest, &mut out), 5, "{}", variant.escape_ascii());
            assert!(decoder.is_done(), "{}", variant.escape_ascii());
        }
    }
}

#[test]
fn the_end_is_found_in_pieces_of_any_size_and_nothing_after_it_is_consumed() {
    let input = b"Subject: x\r\n\r\n..\r\n.x\r\nlast\r\n.\r\nMAIL FROM:<>\r\n";
    let end = input.windows(5).position(|w| w == b"\r\n.\r\n").unwrap() + 5;
    for cut in 0..input.len() {
        let mut decoder = Unstuffer::new(LineEnding::Lf);
        let mut out = Vec::new();
        let mut taken = decoder.feed(&input[..cut], &mut out);
        taken += decoder.feed(&input[taken..], &mut out);
        assert_eq!(taken, end, "cut at {cut}");
        assert_eq!(out, b"Subject: x\n\n.\nx\nlast\n", "cut at {cut}");
        assert_eq!(decoder.octets(), 26);
        assert!(!decoder.bare_cr() && !decoder.bare_lf());
    }
}

#[test]
fn an_empty_text_ends_immediately() {
    let mut decoder = Unstuffer::new(LineEnding::Lf);
    let mut out = Vec::new();
    assert_eq!(decoder.feed(b".\r\nQUIT\r\n", &mut out), 3);
    assert!(decoder.is_done() && out.is_empty() && decoder.octets() == 0);
    assert_eq!(decoder.feed(b"more", &mut out), 0);
    let mut wire = Vec::new();
    Stuffer::new().finish(&mut wire);
    assert_eq!(wire, b".\r\n");
}

#[test]
fn bare_lf_is_repaired_on_request_and_still_never_an_end() {
    let cases: [(&[u8], &[u8]); 5] = [
        (b"a\nb\n\r\n.\r\n", b"a\nb\n\n"),
        (b"a\n..b\n.c\r\n.\r\n", b"a\n.b\nc\n"),
        (b"a\n.\nb\r\n.\r\n", b"a\n.\nb\n"),
        (b"a\n.\r\nb\r\n.\r\n", b"a\n.\nb\n"),
        (b"a\r\n.\nb\r\n.\r\n", b"a\n.\nb\n"),
    ];
    for (input, expected) in cases {
        for piece in 1..=input.len() {
            let (out, taken, decoder) =
                decode(input, piece, Unstuffer::accepting_bare_lf(LineEnding::Lf));
            assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string());
            assert_eq!(taken, input.len());
            assert!(decoder.is_done() && decoder.bare_lf() && !decoder.bare_cr());
        }
    }
}

#[test]
fn a_bare_cr_is_kept_or_ends_the_line() {
    let cases: [(&[u8], &[u8], &[u8]); 4] = [
        (b"a\rb\n", b"a\rb\r\n.\r\n", b"a\r\nb\r\n.\r\n"),
        (b"a\r.b\r", b"a\r.b\r\r\n.\r\n", b"a\r\n..b\r\n.\r\n"),
        (b"\r\r\n", b"\r\r\n.\r\n", b"\r\n\r\n.\r\n"),
        (b".\r.\n", b"..\r.\r\n.\r\n", b"..\r\n..\r\n.\r\n"),
    ];
    for (input, kept, ended) in cases {
        for (stuffer, expected) in [(Stuffer::new(), kept), (Stuffer::bare_cr_to_crlf(), ended)] {
            for piece in 1..=input.len() {
                let mut wire = Vec::new();
                let mut stuffer = stuffer.clone();
                for part in input.chunks(piece) {
                    stuffer.feed(part, &mut wire);
                }
                stuffer.finish(&mut wire);
                assert_eq!(wire.escape_ascii().to_string(), expected.escape_ascii().to_string());
            }
        }
    }
}

#[test]
fn a_text_that_follows_its_length_has_its_own_dots_and_no_end() {
    let cases: [(&[u8], &[u8]); 5] = [
        (b"", b""),
        (b".", b".\r\n"),
        (b"a\n.\r\n..\n", b"a\r\n.\r\n..\r\n"),
        (b"a\r.b\r", b"a\r\n.b\r\n"),
        (b"\n.\r\n", b"\r\n.\r\n"),
    ];
    for (input, expected) in cases {
        for piece in 1..=input.len().max(1) {
            let (mut wire, mut encoder) = (Vec::new(), Stuffer::without_dots());
            input.chunks(piece).for_each(|part| encoder.feed(part, &mut wire));
            encoder.finish(&mut wire);
            assert_eq!(wire.escape_ascii().to_string(), expected.escape_ascii().to_string());
            assert_eq!(encoder.octets(), wire.len() as u64);
        }
    }
}

#[test]
fn every_byte_passes_both_ways_unchanged() {
    let mut text: Vec<u8> = (0..=255_u8).filter(|b| !matches!(*b, CR | LF)).collect();
    text.push(LF);
    let mut wire = Vec::new();
    let mut stuffer = Stuffer::new();
    stuffer.feed(&text, &mut wire);
    stuffer.finish(&mut wire);
    let mut out = Vec::new();
    assert_eq!(Unstuffer::new(LineEnding::Lf).feed(&wire, &mut out), wire.len());
    assert_eq!(out, text);
}

#[test]
fn a_megabyte_of_line_ends_alone_takes_no_quadratic_time() {
    // Counted is what is searched and what is written, which is all that depends on the length.
    for octet in [CR, LF, b'.', b'x'] {
        let text = vec![octet; 1 << 20];
        let (mut out, before) = (Vec::new(), EXAMINED.get());
        Unstuffer::new(LineEnding::Lf).feed(&text, &mut out);
        Unstuffer::accepting_bare_lf(LineEnding::Lf).feed(&text, &mut out);
        Stuffer::new().feed(&text, &mut out);
        Stuffer::bare_cr_to_crlf().feed(&text, &mut out);
        assert!(out.len() >= 4 * ((1 << 20) - 1) && out.len() <= 8 * text.len());
        let examined = EXAMINED.get() - before;
        assert!(examined <= 8 * text.len(), "{examined} bytes for {} of {octet}", text.len());
    }
}
