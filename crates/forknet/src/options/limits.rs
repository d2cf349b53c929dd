//! The values of `--over` and `--rate`.

use std::str::FromStr;

/// What a client over the limit of clients meets with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Over {
    /// Refused with the protocol's own reply.
    #[default]
    Busy,
    /// It waits in the backlog until there is a place.
    Queue,
    /// It gets no answer, so that it asks again; for datagrams.
    Silent,
}

impl Over {
    /// By one of the words of the row.
    pub(crate) fn named(word: &str) -> Over {
        match word {
            "queue" => Over::Queue,
            "silent" => Over::Silent,
            _ => Over::Busy,
        }
    }
}

/// `N/S`: connections of one address in a number of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Connections, 1 to 1,000,000.
    pub connections: u32,
    /// Within this time, up to a day, counted from the first of them.
    pub seconds: u32,
}

impl FromStr for Rate {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Rate, &'static str> {
        let numbers =
            text.split_once('/').and_then(|(n, s)| Some((n.parse().ok()?, s.parse().ok()?)));
        match numbers {
            Some((connections @ 1..=1_000_000, seconds @ 1..=86_400)) => {
                Ok(Rate { connections, seconds })
            }
            _ => Err("not N/S, connections from 1 to 1000000 in 1 to 86400 seconds"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_two_numbers() {
        assert_eq!("5/60".parse(), Ok(Rate { connections: 5, seconds: 60 }));
        for text in ["5", "5/", "/5", "0/5", "5/0", "a/b", "5/86401", "-1/5", "1000001/5"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
