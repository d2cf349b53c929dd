//! The line of the log at the end of a session that was logged in: who, how, what was moved, how it ended.

use std::fmt;
use std::time::Instant;

use log::info;
use maild::Mechanism;

/// A login, as the log tells of it.
#[derive(Debug, Clone)]
pub struct Login {
    /// The client, for the log.
    pub peer: String,
    /// The user's name, printable.
    pub user: String,
    /// How the client has proved who it is.
    pub mechanism: Mechanism,
    /// The version of TLS, such as `TLSv1.3`, or `none`.
    pub tls: &'static str,
    /// Whether the client has said UTF8 (RFC 6856).
    pub is_utf8: bool,
    /// When the connection was made.
    pub since: Instant,
}

/// Messages, and their bytes with CRLF line ends: `2/350`, or `2/?` where a message would have to be read for
/// its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sum {
    messages: usize,
    octets: Option<u64>,
}

impl Sum {
    pub(crate) const ZERO: Sum = Sum { messages: 0, octets: Some(0) };

    /// Messages whose sizes are not known.
    pub(crate) fn of_messages(messages: usize) -> Sum {
        Sum { messages, octets: None }
    }

    pub(crate) fn count_message(&mut self) {
        self.messages += 1;
    }

    pub(crate) fn count_octets(&mut self, octets: u64) {
        self.octets = self.octets.map(|sum| sum.saturating_add(octets));
    }

    pub(crate) fn messages(self) -> usize {
        self.messages
    }

    pub(crate) fn octets(self) -> Option<u64> {
        self.octets
    }
}

/// Sums up sizes, `None` for one that is not known.
impl FromIterator<Option<u64>> for Sum {
    fn from_iter<I: IntoIterator<Item = Option<u64>>>(sizes: I) -> Sum {
        sizes.into_iter().fold(Sum::ZERO, |sum, size| Sum {
            messages: sum.messages + 1,
            octets: sum.octets.zip(size).map(|(one, other)| one.saturating_add(other)),
        })
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.octets {
            Some(octets) => write!(f, "{}/{octets}", self.messages),
            None => write!(f, "{}/?", self.messages),
        }
    }
}

/// What a session has done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Done {
    /// Messages that RETR was answered for, and the bytes of them that were sent.
    pub(crate) retr: Sum,
    /// The same for TOP.
    pub(crate) top: Sum,
    /// Messages that UPDATE has removed.
    pub(crate) dele: Sum,
    /// Messages that stay.
    pub(crate) left: Sum,
}

/// Logs the line. `how` is how the session has ended: `logged out`, `went without QUIT`.
pub(crate) fn log(peer: &str, login: &Login, how: &str, done: &Done) {
    let Login { user, mechanism, tls, since, .. } = login;
    let Done { retr, top, dele, left } = done;
    let auth = match mechanism {
        Mechanism::Auth(mechanism) => mechanism.name().to_owned(),
        other => other.to_string(),
    };
    let time = since.elapsed().as_secs_f64();
    info!(
        "{peer}: {user} {how}: tls={tls} auth={auth} retr={retr} top={top} dele={dele} \
         left={left}, {time:.3} s"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_with_a_size_that_is_not_known_is_not_known() {
        let mut sum: Sum = [Some(120), Some(230)].into_iter().collect();
        assert_eq!(sum.to_string(), "2/350");
        sum.count_octets(u64::MAX);
        assert_eq!(sum.octets(), Some(u64::MAX));
        let sum: Sum = [Some(120), None, Some(1)].into_iter().collect();
        assert_eq!((sum.to_string().as_str(), sum.messages()), ("3/?", 3));
        assert_eq!(Sum::ZERO.to_string(), "0/0");
    }
}
