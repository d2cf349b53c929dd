//! vote_client: the voter's side of the French slides' exercise "Programmer une application de vote
//! client-serveur"; vote_server has the protocol.
//!
//! Run: `vote_client 127.0.0.1 candidates`, `vote_client 127.0.0.1 result`, and
//! `vote_client 127.0.0.1 vote NAME CANDIDATE`, which reads the secret from standard input, because
//! `ps` shows the arguments to all users.
//! You see the answer on standard output; a refusal or a failure on standard error, and exit status
//! 1. "the vote may count or not" means that the connection ended before the answer: vote again.

use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use unp::{Result, err_quit, err_sys, err_usage, inet_pton};

/// Timeout for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest line that a server may send.
const MAX_LINE: u64 = 512;
const USAGE: &str = "usage: vote_client ADDR[:PORT] candidates
       vote_client ADDR[:PORT] result
       vote_client ADDR[:PORT] vote NAME CANDIDATE < SECRET";

fn main() -> ExitCode {
    unp::main(vote_client)
}

fn vote_client() -> Result {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [server, "candidates"] => {
            show(&mut Server::connect(inet_pton(server, USAGE)?)?, "CANDIDATES")
        }
        [server, "result"] => show(&mut Server::connect(inet_pton(server, USAGE)?)?, "RESULT"),
        [server, "vote", name, candidate] => vote(inet_pton(server, USAGE)?, name, candidate),
        _ => Err(err_usage(USAGE)),
    }
}

fn vote(server: SocketAddr, name: &str, candidate: &str) -> Result {
    let secret = read_secret()?;
    let words = [name, &secret];
    if words.iter().any(|word| word.is_empty() || word.contains(char::is_whitespace)) {
        return Err(err_quit("name and secret are words"));
    }
    if candidate.contains(['\r', '\n']) {
        return Err(err_quit("a candidate's name is one line"));
    }
    let mut server = Server::connect(server)?;
    server.say(&format!("VOTE {name} {secret} {candidate}"))?;
    let unknown = |e| err_quit(format!("no answer: {e}; the vote may count or not, vote again"));
    let answer = server.answer().map_err(unknown)?;
    print(&[answer?])
}

/// Shows a list: a title line, and lines up to a dot.
fn show(server: &mut Server, command: &str) -> Result {
    server.say(command)?;
    let mut lines = vec![server.answer().map_err(err_sys("no answer"))??];
    loop {
        match server.line().map_err(err_sys("no answer"))? {
            dot if dot == "." => return print(&lines),
            line => lines.push(line),
        }
    }
}

fn print(lines: &[String]) -> Result {
    writeln!(io::stdout(), "{}", lines.join("\n")).map_err(err_sys("standard output"))
}

fn read_secret() -> Result<String> {
    if io::stdin().is_terminal() {
        let _ = write!(io::stderr(), "secret (it is shown): "); // best effort
    }
    let mut line = String::new();
    let got = io::stdin().lock().take(MAX_LINE).read_line(&mut line);
    got.map_err(err_sys("standard input"))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

struct Server(BufReader<TcpStream>);

impl Server {
    /// Connects, and reads the server's greeting.
    fn connect(address: SocketAddr) -> Result<Server> {
        let sockfd = TcpStream::connect_timeout(&address, TIMEOUT)
            .map_err(err_sys(format!("connect {address}")))?;
        sockfd.set_read_timeout(Some(TIMEOUT)).map_err(err_sys("setsockopt error"))?;
        sockfd.set_write_timeout(Some(TIMEOUT)).map_err(err_sys("setsockopt error"))?;
        let mut server = Server(BufReader::new(sockfd));
        server.answer().map_err(err_sys("no greeting"))??;
        Ok(server)
    }

    fn say(&mut self, line: &str) -> Result {
        let sent = self.0.get_mut().write_all(format!("{line}\r\n").as_bytes());
        sent.map_err(err_sys("write error"))
    }

    /// Reads an answer. The outer error means that there is none; the inner result is +OK or -ERR.
    fn answer(&mut self) -> io::Result<Result<String>> {
        let line = self.line()?;
        Ok(match (line.strip_prefix("+OK "), line.strip_prefix("-ERR ")) {
            (Some(text), _) => Ok(text.to_owned()),
            (_, Some(why)) => Err(err_quit(why)),
            _ => return Err(io::Error::other("not a vote_server")),
        })
    }

    /// Reads a line, with control characters escaped because a terminal would interpret them.
    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.0.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
        let Some(line) = line.strip_suffix(b"\r\n") else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let text = String::from_utf8_lossy(line);
        let safe = |c: char| if c.is_control() { '?' } else { c };
        Ok(text.chars().map(safe).collect())
    }
}
