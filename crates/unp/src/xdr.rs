//! The protocol of sum_xdr, slide "Data Format string or binary": "explicitly define the format of
//! datatypes (e. g. RPC's XDR -- external data representation)". In the language of RFC 4506:
//!
//! ```text
//! const MAX_NUMBERS = 8;
//! typedef hyper question<MAX_NUMBERS>;    /* unsigned int: how many; then the numbers */
//!
//! enum status { OK = 0, OVERFLOW = 1, TOO_MANY = 2 };
//! union answer switch (status what) {
//!     case OK:       hyper sum;
//!     default:       void;
//! };
//! ```
//!
//! A hyper has 64 bits and an unsigned int 32, the high byte first, whatever machine reads or writes
//! them (RFC 4506 §4.2, §4.5, §4.13, §4.15). The connection carries one question after the other.

use std::io::{self, Read};

/// Most numbers in a question, because a length that comes from the network needs a bound.
pub const MAX_NUMBERS: usize = 8;

/// The server's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The sum.
    Sum(i64),
    /// The sum does not fit into a hyper.
    Overflow,
    /// The question announces more than [`MAX_NUMBERS`] numbers. They are not read, and the server
    /// closes.
    TooMany,
}

/// What a client has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The numbers.
    Numbers(Vec<i64>),
    /// More than [`MAX_NUMBERS`] of them.
    TooMany,
    /// The client has closed.
    End,
}

/// Encodes a question; `None` for too many numbers.
#[must_use]
pub fn question(numbers: &[i64]) -> Option<Vec<u8>> {
    let count = u32::try_from(numbers.len()).ok().filter(|_| numbers.len() <= MAX_NUMBERS)?;
    let mut bytes = count.to_be_bytes().to_vec();
    bytes.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
    Some(bytes)
}

/// Reads a question.
///
/// # Errors
/// As read(2) says; `UnexpectedEof` when the client closes in the middle.
pub fn read_question(from: &mut impl Read) -> io::Result<Question> {
    let mut count = [0; 4];
    match from.read(&mut count)? {
        0 => return Ok(Question::End),
        n => from.read_exact(count.get_mut(n..).unwrap_or_default())?,
    }
    let count = u32::from_be_bytes(count) as usize;
    if count > MAX_NUMBERS {
        return Ok(Question::TooMany);
    }
    (0..count).map(|_| hyper(from)).collect::<io::Result<_>>().map(Question::Numbers)
}

/// Encodes an answer.
#[must_use]
pub fn answer(answer: Answer) -> Vec<u8> {
    match answer {
        Answer::Sum(sum) => [&0_u32.to_be_bytes()[..], &sum.to_be_bytes()].concat(),
        Answer::Overflow => 1_u32.to_be_bytes().to_vec(),
        Answer::TooMany => 2_u32.to_be_bytes().to_vec(),
    }
}

/// Reads an answer.
///
/// # Errors
/// As read(2) says; `InvalidData` for a status that the protocol does not know.
pub fn read_answer(from: &mut impl Read) -> io::Result<Answer> {
    let mut status = [0; 4];
    from.read_exact(&mut status)?;
    match u32::from_be_bytes(status) {
        0 => hyper(from).map(Answer::Sum),
        1 => Ok(Answer::Overflow),
        2 => Ok(Answer::TooMany),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "no such status")),
    }
}

fn hyper(from: &mut impl Read) -> io::Result<i64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes)?;
    Ok(i64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let numbers = vec![1, -22, i64::MIN, i64::MAX];
        let wire = question(&numbers).unwrap();
        assert_eq!(wire[..12], [0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(read_question(&mut &wire[..]).unwrap(), Question::Numbers(numbers));
        for told in [Answer::Sum(-99), Answer::Overflow, Answer::TooMany] {
            assert_eq!(read_answer(&mut &answer(told)[..]).unwrap(), told);
        }
    }

    #[test]
    fn a_length_is_not_believed_and_half_a_question_is_none() {
        assert_eq!(question(&[0; 9]), None);
        let huge = read_question(&mut &[0xff; 4][..]);
        assert_eq!(huge.unwrap(), Question::TooMany);
        assert_eq!(read_question(&mut &[][..]).unwrap(), Question::End);
        let wire = question(&[1, 2]).unwrap();
        for end in 1..wire.len() {
            let half = read_question(&mut &wire[..end]).unwrap_err();
            assert_eq!(half.kind(), io::ErrorKind::UnexpectedEof, "{end}");
        }
        let unknown = read_answer(&mut &3_u32.to_be_bytes()[..]).unwrap_err();
        assert_eq!(unknown.kind(), io::ErrorKind::InvalidData);
    }
}
