//! The connection to a server: sends lines, reads replies, each with a limit of its own.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::time::Duration;

use forknet::{Connection, connect, connect_unix};
use netascii::line::{Line, LineReader};

use crate::failure::{Failure, Result, Stage, code};
use crate::reply::{Enhanced, MAX_LINE, Malformed, Reply, ReplyLines};
use crate::route::{Place, Target};
use crate::settings::Settings;
use crate::status::Status;

/// A connection to a server, with its name for messages.
#[derive(Debug)]
pub(crate) struct ServerConnection {
    reader: LineReader<Connection>,
    settings: Arc<Settings>,
    /// The server's name, and the server for people: `host[127.0.0.2]:25`.
    pub(crate) host: String,
    pub(crate) shown: String,
    /// Nothing can be sent or read any more.
    pub(crate) is_lost: bool,
}

/// Why there is no reply.
enum Wrong {
    Io(io::Error),
    Closed,
    Malformed(Malformed),
}

impl ServerConnection {
    /// Connects.
    pub(crate) fn connect(settings: &Arc<Settings>, target: &Target) -> Result<ServerConnection> {
        let limit = settings.timeouts.connect;
        let made = match &target.place {
            Place::Tcp(server) => connect(&server.host, server.port, limit),
            Place::Address { address, .. } => {
                connect(&address.ip().to_string(), address.port(), limit)
            }
            Place::Unix(name) => connect_unix(name, limit),
        };
        let host = target.host().to_owned();
        let mut made = made.map_err(|error| Failure::not_connected(&error).of_host(&host))?;
        if let Some(stop) = settings.stop {
            stop.watch(&mut made);
        }
        let shown = target.place.to_string();
        let shown = settings.label.map_or(shown.clone(), |label| format!("{label} {shown}"));
        let (reader, settings) = (LineReader::new(made), Arc::clone(settings));
        Ok(ServerConnection { reader, settings, host, shown, is_lost: false })
    }

    /// Returns the connection itself.
    pub(crate) fn inner(&mut self) -> &mut Connection {
        self.reader.get_mut()
    }

    /// Returns the connection itself.
    pub(crate) fn inner_ref(&self) -> &Connection {
        self.reader.get_ref()
    }

    /// Returns whether something was read that no command has asked for.
    pub(crate) fn has_unread(&self) -> bool {
        !self.reader.buffered().is_empty()
    }

    /// Returns false where the server has closed the connection, or says something without being asked: that it is about
    /// to close it.
    pub(crate) fn is_quiet(&mut self) -> bool {
        !self.is_lost
            && !self.has_unread()
            && matches!(self.inner().is_readable_within(Duration::ZERO), Ok(false))
    }

    /// Sends bytes of `what`; each wait for room lasts `limit` at most.
    ///
    /// A server that closes the connection may have said why before: that reply is the failure then.
    pub(crate) fn send(
        &mut self,
        bytes: &[u8],
        (stage, what): (Stage, &str),
        limit: Duration,
    ) -> Result<()> {
        self.inner().begin_turn(false, limit);
        let Err(error) = self.inner().write_all(bytes) else { return Ok(()) };
        if error.kind() != ErrorKind::TimedOut
            && let Ok(reply) = self.read(limit)
        {
            self.is_lost = true;
            return Err(self.refused(stage, &format!("while sending {what}"), &reply).and_lost());
        }
        Err(self.lost(stage, &format!("sending {what}"), &error, limit))
    }

    /// Reads one reply, which is `what`: for people.
    pub(crate) fn reply(&mut self, (stage, what): (Stage, &str), limit: Duration) -> Result<Reply> {
        self.read(limit).map_err(|wrong| match wrong {
            Wrong::Io(error) => self.lost(stage, &format!("waiting for {what}"), &error, limit),
            Wrong::Closed => {
                let why = format!("waiting for {what}: the server closed the connection");
                self.failure(stage, Status::Temporary, code(4, 4, 2), &why).and_lost()
            }
            Wrong::Malformed(why) => {
                let why = format!("not an SMTP reply: {why}");
                self.failure(stage, Status::Protocol, code(4, 5, 0), &why).and_lost()
            }
        })
    }

    /// Reads one reply, and shows its lines. After an error the connection is lost.
    fn read(&mut self, limit: Duration) -> std::result::Result<Reply, Wrong> {
        let mut lines = ReplyLines::default();
        self.inner().begin_turn(true, limit);
        loop {
            let found = match self.reader.read_line(MAX_LINE) {
                Ok(Line::Text(line)) => {
                    self.settings.show('S', line);
                    lines.add(line).map_err(Wrong::Malformed)
                }
                Ok(Line::TooLong) => Err(Wrong::Malformed(Malformed::LongLine)),
                Ok(Line::Eof) => Err(Wrong::Closed),
                Err(error) => Err(Wrong::Io(error)),
            };
            match found {
                Ok(None) => {}
                Ok(Some(reply)) => {
                    self.is_lost |= reply.is_closing();
                    return Ok(reply);
                }
                Err(wrong) => {
                    self.is_lost = true;
                    return Err(wrong);
                }
            }
        }
    }

    /// Returns a failure of this server.
    pub(crate) fn failure(
        &self,
        stage: Stage,
        status: Status,
        code: Enhanced,
        why: &str,
    ) -> Failure {
        let text = format!("{}: {why}", self.shown);
        Failure::new(stage, status, code, text).of_host(&self.host)
    }

    /// Returns the failure of a refusal.
    pub(crate) fn refused(&self, stage: Stage, what: &str, reply: &Reply) -> Failure {
        Failure::refused(stage, what, reply, &self.shown).of_host(&self.host)
    }

    fn lost(&mut self, stage: Stage, what: &str, error: &io::Error, limit: Duration) -> Failure {
        self.is_lost = true;
        let why = match error.kind() {
            ErrorKind::TimedOut => format!("{what}: nothing within {}", in_words(limit)),
            _ => format!("{what}: {}", forknet::reason(error)),
        };
        self.failure(stage, Status::Temporary, code(4, 4, 2), &why).and_lost()
    }
}

/// `5 min`, `30 s`, `0.2 s`
fn in_words(limit: Duration) -> String {
    match limit.as_secs() {
        seconds if seconds >= 60 && seconds % 60 == 0 && limit.subsec_nanos() == 0 => {
            format!("{} min", seconds / 60)
        }
        _ => format!("{} s", limit.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_whole_minutes_is_written_in_minutes() {
        for (limit, words) in
            [(300_000, "5 min"), (30_000, "30 s"), (200, "0.2 s"), (90_000, "90 s")]
        {
            assert_eq!(in_words(Duration::from_millis(limit)), words);
        }
    }
}
