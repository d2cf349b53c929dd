//! What has become of the recipients of a letter in the queue: lines at the end of a file of its own.
//!
//! ```text
//! 1733000006 1 sending 0 - -
//! 1733000007 1 deferred 1733001807 mx.blue.test[192.0.2.7] 451 4.3.0 try again later
//! 1733001808 1 delivered 0 mx.blue.test[192.0.2.7] 250 2.0.0 queued as 7
//! ```
//! The time in seconds since 1970, the number of the recipient in the envelope, from 1, what has become of it, when it is
//! to be tried again, the server that said so (`-` for none), and the reply. `sending` changes nothing: that it could be
//! written shows that there is room for what follows. The last line of a recipient holds; one
//! without a line waits for the first attempt. A line that a crash has cut, or that is none, does not count: at worst a
//! letter arrives twice, where it would otherwise wait for ever.

use std::io::{self, BufRead, Read};

/// Longest file of lines in bytes that is read.
const MAX_STATE: u64 = 16 << 20;
/// Longest reply in bytes that is kept.
const MAX_REPLY: usize = 512;
/// Longest name of a server in bytes that is kept.
const MAX_HOST: usize = 320;
/// What stands for no server.
const NO_HOST: &[u8] = b"-";

/// What has become of a recipient.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stage {
    /// No attempt was made yet.
    #[default]
    Waiting,
    /// The last attempt failed for now.
    Deferred,
    /// The other server has taken the letter, and notifies the author, or that is not wanted.
    Delivered,
    /// The other server has taken the letter, and will not notify the author, who wants to know (RFC 3461 §5.2.2).
    Relayed,
    /// It will not be tried again: the other server, or what we know, says that it will never succeed.
    Failed,
    /// It will not be tried again: it has waited too long.
    Expired,
    /// Delivered, failed or expired, and the author was notified.
    Notified,
}

impl Stage {
    /// By the word of a line.
    const WORDS: [(&'static str, Stage); 7] = [
        ("waiting", Stage::Waiting),
        ("deferred", Stage::Deferred),
        ("delivered", Stage::Delivered),
        ("relayed", Stage::Relayed),
        ("failed", Stage::Failed),
        ("expired", Stage::Expired),
        ("notified", Stage::Notified),
    ];

    /// Whether there will be another attempt.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Stage::Waiting | Stage::Deferred)
    }

    /// Whether the author is to be notified, unless they do not want that.
    #[must_use]
    pub fn needs_notice(self) -> bool {
        matches!(self, Stage::Relayed | Stage::Failed | Stage::Expired)
    }

    /// Returns the word that stands for it in a line.
    #[must_use]
    pub fn word(self) -> &'static str {
        let known = Stage::WORDS.iter().find(|(_, stage)| *stage == self);
        known.map_or("waiting", |(word, _)| word)
    }
}

/// The word of a line that changes no stage: the author was notified of the delay.
const WARNED: &str = "warned";
/// The words of lines that change no stage: a notification is under way, whose number stands in the place of the time.
const NOTIFYING: &str = "notifying";
const WARNING: &str = "warning";
/// The word of a line that changes nothing, and is passed over: an attempt begins.
const SENDING: &str = "sending";
/// Longest line in bytes: the reply, the server, the numbers.
pub(super) const MAX_LINE: usize = MAX_REPLY + MAX_HOST + 80;

/// What is known of a recipient.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecipientState {
    /// What has become of it.
    pub stage: Stage,
    /// When it was last tried, in seconds since 1970.
    pub at: u64,
    /// When the next attempt is due, in seconds since 1970.
    pub next: u64,
    /// The server that has replied, as `NAME[ADDRESS]`; empty for none.
    pub host: Vec<u8>,
    /// Its reply, or what was in the way.
    pub reply: Vec<u8>,
    /// Number of attempts that failed for now.
    pub attempts: u32,
    /// The author was notified of the delay.
    pub is_warned: bool,
    /// The notification that is under way.
    pub under_way: Option<UnderWay>,
    /// The highest number of one that was, 0 for none.
    pub last_notice: u64,
}

/// A notification that is on the disk in `tmp`, or was put into the queue by a process that was killed before it could say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnderWay {
    /// Its number among those about the letter, from 1.
    pub number: u64,
    /// It tells of a delay.
    pub is_warning: bool,
}

impl RecipientState {
    /// Returns the line for a recipient, by its number from 0.
    pub(super) fn line(&self, number: usize) -> Vec<u8> {
        let mut line = start(self.at, number, self.stage.word(), self.next);
        let host = self.host.get(..MAX_HOST).unwrap_or(&self.host);
        let graphic = |&byte: &u8| if byte.is_ascii_graphic() { byte } else { b'?' };
        line.extend(if host.is_empty() { NO_HOST } else { host }.iter().map(graphic));
        line.push(b' ');
        let reply = self.reply.get(..MAX_REPLY).unwrap_or(&self.reply);
        let printable = |&byte: &u8| if byte.is_ascii_control() { b' ' } else { byte };
        line.extend(reply.iter().map(printable)); // a reply of several lines is one here
        line.push(b'\n');
        line
    }

    /// Takes in a line of this recipient.
    fn follow(&mut self, line: Line) {
        let Line { at, word, next, host, reply } = line;
        match word {
            Word::Warned => self.warned(),
            Word::UnderWay { is_warning } => {
                self.notifies(UnderWay { number: next, is_warning });
            }
            Word::Stage(stage) => {
                if stage == Stage::Notified {
                    self.under_way.take_if(|it| !it.is_warning);
                }
                self.attempts += u32::from(stage == Stage::Deferred);
                (self.stage, self.at, self.next) = (stage, at, next);
                (self.host, self.reply) = (host, reply);
            }
        }
    }
}

impl RecipientState {
    /// Notes that the author was notified of the delay.
    pub(super) fn warned(&mut self) {
        self.is_warned = true;
        self.under_way.take_if(|it| it.is_warning);
    }

    /// Notes that a notification is under way.
    pub(super) fn notifies(&mut self, notice: UnderWay) {
        self.under_way = Some(notice);
        self.last_notice = self.last_notice.max(notice.number);
    }
}

/// Returns the line that says that a notification is under way.
pub(super) fn under_way(at: u64, number: usize, notice: UnderWay) -> Vec<u8> {
    let word = if notice.is_warning { WARNING } else { NOTIFYING };
    [&start(at, number, word, notice.number)[..], NO_HOST, b" -\n"].concat()
}

/// Returns the line that says that the author was notified of a recipient's delay.
pub(super) fn warned(at: u64, number: usize) -> Vec<u8> {
    [&start(at, number, WARNED, 0)[..], NO_HOST, b" the author was notified of the delay\n"]
        .concat()
}

/// Returns the line that says that an attempt for a recipient begins.
pub(super) fn sending(at: u64, number: usize) -> Vec<u8> {
    [&start(at, number, SENDING, 0)[..], NO_HOST, b" -\n"].concat()
}

fn start(at: u64, number: usize, word: &str, next: u64) -> Vec<u8> {
    format!("{at} {} {word} {next} ", number + 1).into_bytes()
}

/// Reads the states of this number of recipients.
///
/// # Errors
/// As read(2).
pub(super) fn read(file: &mut impl BufRead, recipients: usize) -> io::Result<Vec<RecipientState>> {
    let mut states = vec![RecipientState::default(); recipients];
    let (mut file, mut text) = (file.take(MAX_STATE), Vec::new());
    loop {
        text.clear();
        file.read_until(b'\n', &mut text)?;
        if text.pop() != Some(b'\n') {
            return Ok(states);
        }
        let Some((number, line)) = parse(&text) else { continue };
        let state = number.checked_sub(1).and_then(|at| states.get_mut(at));
        state.into_iter().for_each(|state| state.follow(line.clone()));
    }
}

/// What a line says, but for the number of the recipient.
#[derive(Clone)]
struct Line {
    at: u64,
    word: Word,
    next: u64,
    host: Vec<u8>,
    reply: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Word {
    Stage(Stage),
    Warned,
    UnderWay { is_warning: bool },
}

fn parse(line: &[u8]) -> Option<(usize, Line)> {
    let mut words = line.splitn(6, |&b| b == b' ');
    let mut word = || std::str::from_utf8(words.next()?).ok();
    let (at, number, stage, next) = (word()?, word()?, word()?, word()?);
    let (host, reply) = (words.next()?, words.next()?);
    let known = Stage::WORDS.iter().find(|(word, _)| *word == stage);
    let word = match known {
        Some((_, stage)) => Word::Stage(*stage),
        None if stage == WARNED => Word::Warned,
        None if [NOTIFYING, WARNING].contains(&stage) => {
            Word::UnderWay { is_warning: stage == WARNING }
        }
        None => return None,
    };
    let host = if host == NO_HOST { Vec::new() } else { host.to_vec() };
    let (at, next, reply) = (at.parse().ok()?, next.parse().ok()?, reply.to_vec());
    Some((number.parse().ok()?, Line { at, word, next, host, reply }))
}

#[cfg(test)]
pub(crate) use tests::state as sample;

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn state(stage: Stage, next: u64, reply: &str) -> RecipientState {
        let (host, reply) = (b"mx.test[192.0.2.7]".to_vec(), reply.into());
        let attempts = u32::from(stage == Stage::Deferred);
        let none = RecipientState::default();
        RecipientState { stage, at: 7, next, host, reply, attempts, ..none }
    }

    #[test]
    fn the_last_complete_line_of_a_recipient_holds() {
        let deferred = state(Stage::Deferred, 99, "451 4.3.0 later");
        let (delivered, failed) =
            (state(Stage::Delivered, 0, "250 ok"), state(Stage::Failed, 0, "550 no"));
        let mut file = Vec::new();
        for (number, state) in [(0, &deferred), (0, &delivered), (2, &failed), (1, &deferred)] {
            file.extend(state.line(number));
        }
        let waiting = RecipientState::default();
        let delivered = RecipientState { attempts: 1, ..delivered };
        let expected = [delivered.clone(), deferred, failed, waiting.clone()];
        assert_eq!(read(&mut &file[..], 4).unwrap(), expected);
        file.extend(b"8 2 delivered 0 mx 250 cu");
        assert_eq!(read(&mut &file[..], 4).unwrap(), expected, "a line that was cut");
        assert_eq!(read(&mut &b""[..], 1).unwrap(), [waiting]);
        assert!(!expected[0].stage.is_open() && expected[1].stage.is_open());
    }

    #[test]
    fn a_notification_of_the_author_changes_nothing_else() {
        let deferred = state(Stage::Deferred, 99, "451 4.3.0 later");
        let expired = state(Stage::Expired, 0, "451 4.3.0 later");
        let notified = RecipientState { stage: Stage::Notified, at: 9, ..expired.clone() };
        let lines =
            [deferred.line(0), warned(8, 0), deferred.line(0), expired.line(1), notified.line(1)];
        let states = read(&mut &lines.concat()[..], 2).unwrap();
        assert_eq!(states[0], RecipientState { is_warned: true, attempts: 2, ..deferred });
        assert_eq!(states[1], notified);
    }

    #[test]
    fn a_reply_of_several_lines_makes_one() {
        let line = state(Stage::Failed, 0, "550-no\r\n550 never\n9 1 delivered 0 - 250").line(0);
        let expected = "7 1 failed 0 mx.test[192.0.2.7] 550-no  550 never 9 1 delivered 0 - 250\n";
        assert_eq!(line, expected.as_bytes());
        let (mut long, x) = (state(Stage::Failed, 0, ""), vec![b'\n'; 10_000]);
        (long.host, long.reply) = (x.clone(), x);
        let line = long.line(0);
        assert!(line.len() < 1000 && line.iter().filter(|b| **b == b'\n').count() == 1);
    }

    #[test]
    fn lines_that_are_none_are_passed_over() {
        for bad in [
            "x\n",
            "\0\0\0\n",
            "\n",
            "7 0 failed 0 - x\n",
            "7 3 failed 0 - x\n",
            "7 1 gone 0 - x\n",
            "7 1 failed 0 -\n",
            "7 1 failed -1 - x\n",
        ] {
            let text = [bad, "7 2 deferred 9 - later\n", bad].concat();
            let states = read(&mut text.as_bytes(), 2).unwrap();
            assert_eq!(states[0], RecipientState::default(), "{bad}");
            assert_eq!((states[1].stage, states[1].next), (Stage::Deferred, 9), "{bad}");
        }
    }
}
