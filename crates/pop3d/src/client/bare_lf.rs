//! Decodes a message of a server whose lines end in LF alone, which RFC 1939 §3 forbids.
//!
//! A line of a dot is then the end with LF alone, too. It must not be so for others: a letter that is stored
//! with bare LFs could end itself there, and the rest of it would be read as replies.

/// The decoder.
#[derive(Debug, Default)]
pub(crate) struct BareLfUnstuffer {
    state: State,
    /// Bytes of the text so far.
    octets: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Start,
    /// After the first dot of a line, which is held back.
    Dot,
    /// After dot and CR, both held back.
    DotCr,
    Text,
    Done,
}

impl BareLfUnstuffer {
    /// Decodes `input` up to the end of the text, appends to `out`, and returns how many bytes of `input`
    /// were consumed.
    pub(crate) fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        let mut rest = input;
        let before = out.len();
        while let Some((&first, tail)) = rest.split_first() {
            (self.state, rest) = match (self.state, first) {
                (State::Done, _) => break,
                (State::Start, b'.') => (State::Dot, tail),
                (State::Dot | State::DotCr, b'\n') => (State::Done, tail),
                (State::Dot, b'\r') => (State::DotCr, tail),
                (State::DotCr, _) => {
                    out.push(b'\r');
                    (State::Text, rest)
                }
                (State::Start | State::Dot | State::Text, _) => {
                    let end = rest.iter().position(|&b| b == b'\n').map(|at| at + 1);
                    let (line, behind) =
                        rest.split_at_checked(end.unwrap_or(rest.len())).unwrap_or((rest, &[]));
                    out.extend_from_slice(line);
                    (if end.is_some() { State::Start } else { State::Text }, behind)
                }
            };
        }
        self.octets += (out.len() - before) as u64;
        input.len() - rest.len()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    pub(crate) fn octets(&self) -> u64 {
        self.octets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_dot_is_the_end_wherever_the_text_is_cut() {
        let input = b"A: b\n\n..\n..a\nb.\n.\r\n+OK";
        for size in 1..=input.len() {
            let (mut unstuffer, mut out, mut taken) = (BareLfUnstuffer::default(), Vec::new(), 0);
            input.chunks(size).for_each(|piece| taken += unstuffer.feed(piece, &mut out));
            assert!(unstuffer.is_done() && unstuffer.octets() == 14, "{size}");
            assert_eq!((&out[..], taken), (&b"A: b\n\n.\n.a\nb.\n"[..], input.len() - 3));
        }
    }
}
