//! One client's commands.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use nix::sys::signal::SigSet;
use nix::unistd::alarm;

use crate::election::{Election, Refusal};
use crate::ledger::NotCounted;

/// Longest silence of a client. A session may last four times as long.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Longest line in bytes, its newline included.
const MAX_LINE: u64 = 512;
/// Number of wrong secrets that ends the connection.
const MAX_WRONG: usize = 3;

/// Time to read and discard the client's data after the server's last line.
const LINGER: Duration = Duration::from_secs(1);

/// Serves one client in a child. Returns the exit status.
pub fn serve(connfd: &TcpStream, election: Election) -> i32 {
    let _ = SigSet::all().thread_unblock(); // the parent had blocked some
    alarm::set(4 * TIMEOUT.as_secs() as u32); // SIGALRM bounds the session
    let timeouts = connfd
        .set_read_timeout(Some(TIMEOUT))
        .and_then(|()| connfd.set_write_timeout(Some(TIMEOUT)));
    match timeouts.and_then(|()| converse(BufReader::new(connfd), connfd, election)) {
        Ok(()) => {
            drain(connfd);
            0
        }
        Err(_client_gone) => 1,
    }
}

/// Sends FIN, then reads and discards the client's data, because close with unread data sends RST
/// and the client could lose the last line.
fn drain(connfd: &TcpStream) {
    let _gone = connfd.shutdown(Shutdown::Write);
    let _gone = connfd.set_read_timeout(Some(LINGER));
    let _enough = io::copy(&mut connfd.take(1 << 20), &mut io::sink());
}

/// Refuses a client in the parent. Never waits.
pub fn refuse(mut connfd: &TcpStream, why: &str) {
    let _gone_or_full = connfd.set_nonblocking(true);
    let _ = connfd.write(format!("-ERR {why}\r\n").as_bytes());
}

fn converse(mut input: impl BufRead, output: impl Write, election: Election) -> io::Result<()> {
    let mut client = Client { output, election, wrong: 0 };
    client.say(&format!("+OK vote, {} voters", client.election.voters()))?;
    let mut line = Vec::new();
    loop {
        line.clear();
        match input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                return client.say("-ERR silent for too long");
            }
            Err(e) => return Err(e),
        }
        let Some(command) = line.strip_suffix(b"\n") else {
            // A line cut off by the end of file is not a command.
            let too_long = line.len() as u64 == MAX_LINE;
            return if too_long { client.say("-ERR line too long") } else { Ok(()) };
        };
        if client.execute(command.strip_suffix(b"\r").unwrap_or(command))? == Next::End {
            return Ok(());
        }
    }
}

/// The next step after a command.
#[derive(PartialEq, Eq)]
enum Next {
    Command,
    End,
}

struct Client<W> {
    output: W,
    election: Election,
    wrong: usize,
}

impl<W: Write> Client<W> {
    fn execute(&mut self, line: &[u8]) -> io::Result<Next> {
        let (verb, rest) = word(line);
        match verb.to_ascii_uppercase().as_slice() {
            b"CANDIDATES" => self.candidates()?,
            b"VOTE" => {
                let (voter, rest) = word(rest);
                let (secret, candidate) = word(rest);
                return self.vote(voter, secret, candidate);
            }
            b"RESULT" => self.result()?,
            b"QUIT" => {
                self.say("+OK bye")?;
                return Ok(Next::End);
            }
            _ => self.say("-ERR unknown command: CANDIDATES, VOTE, RESULT or QUIT")?,
        }
        Ok(Next::Command)
    }

    fn candidates(&mut self) -> io::Result<()> {
        let names = self.election.candidates();
        let mut reply = format!("+OK {} candidates\r\n", names.len()).into_bytes();
        for name in names {
            reply.extend([name, &b"\r\n"[..]].concat());
        }
        reply.extend(b".\r\n");
        self.output.write_all(&reply)
    }

    fn vote(&mut self, voter: &[u8], secret: &[u8], candidate: &[u8]) -> io::Result<Next> {
        if candidate.is_empty() {
            self.say("-ERR VOTE wants voter, secret, candidate")?;
            return Ok(Next::Command);
        }
        match self.election.vote(voter, secret, candidate) {
            Ok(()) => self.say("+OK counted")?,
            Err(Refusal::Voter) => {
                self.wrong += 1;
                self.say("-ERR no such voter, or another secret")?;
                if self.wrong == MAX_WRONG {
                    return Ok(Next::End);
                }
            }
            Err(Refusal::Candidate) => self.say("-ERR no such candidate")?,
            Err(Refusal::Ledger(NotCounted::Already)) => self.say("-ERR voted already")?,
            Err(Refusal::Ledger(why)) => self.not_counted(&why)?,
        }
        Ok(Next::Command)
    }

    fn result(&mut self) -> io::Result<()> {
        let result = match self.election.result() {
            Ok(result) => result,
            Err(why) => return self.not_counted(&why),
        };
        let (sum, voters) = (result.iter().sum::<usize>(), self.election.voters());
        let mut reply = format!("+OK {sum} of {voters} voted\r\n").into_bytes();
        for (votes, name) in result.iter().zip(self.election.candidates()) {
            reply.extend([format!("{votes} ").as_bytes(), name, &b"\r\n"[..]].concat());
        }
        reply.extend(b".\r\n");
        self.output.write_all(&reply)
    }

    /// The details go only to the server's log.
    fn not_counted(&mut self, why: &NotCounted) -> io::Result<()> {
        let _ = writeln!(io::stderr(), "vote_server: ledger: {why}"); // best effort
        match why {
            NotCounted::Damaged(_) => self.say("-ERR not counted: the ledger is damaged"),
            why => self.say(&format!("-ERR not counted: {why}")),
        }
    }

    fn say(&mut self, line: &str) -> io::Result<()> {
        self.output.write_all(format!("{line}\r\n").as_bytes())
    }
}

/// Splits a line into its first word and the rest after one space.
fn word(line: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = line.splitn(2, |octet| *octet == b' ');
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}
