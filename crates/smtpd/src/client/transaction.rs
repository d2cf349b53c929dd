//! Sends one letter: EHLO, MAIL, RCPT, DATA, QUIT (slide: the dialogue of TOPAZ and RED).

use std::io::IsTerminal;

use accounts::{Mechanisms, Secret};
use forknet::Error;
use indicatif::{ProgressBar, ProgressStyle};
use maild::client::SaslLogin;
use netascii::dot_stuffing::Stuffer;

use super::connection::{self, ServerConnection};
use super::letter_file::LetterFile;
use super::options::{Options, Tls};
use super::reply::ServerReply;
use super::status::{Asked, Failure, Part, Result, Status};

/// Most commands sent in one write to a server that offers PIPELINING. Their replies must fit into
/// the socket buffers, because otherwise both sides would wait for each other (RFC 2920 §3.1).
const MAX_PIPELINED: usize = 100;
/// Longest line of AUTH with a response in it, in bytes (RFC 5321 §4.5.3.1.4).
const MAX_AUTH_LINE: usize = 512;
/// Largest letter that `-v` shows, in bytes.
const MAX_SHOWN: u64 = 4096;
/// Smallest letter with a progress bar, in bytes.
const MIN_PROGRESS: u64 = 1 << 20;

/// The extensions that the server offers (RFC 5321 §4.1.1.1).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Extensions {
    pipelining: bool,
    eight_bit: bool,
    starttls: bool,
    /// The mechanisms of AUTH.
    auth: Mechanisms,
    /// SIZE is offered. The number is the server's limit, if it has one.
    size: Option<Option<u64>>,
}

/// A letter's sender and recipients, without brackets.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// The sender, empty for `<>`.
    pub from: &'a str,
    /// The recipients, at least one.
    pub to: &'a [&'a str],
}

/// Sends the letter. Returns for each recipient whether the server has taken the letter, or why it has not.
///
/// # Errors
/// The server has taken it for none, and no recipient is the reason.
pub fn send(
    conn: &mut ServerConnection,
    options: &Options,
    password: Option<&Secret>,
    letter: &mut LetterFile,
    to: Envelope<'_>,
) -> Result<Vec<Result<()>>> {
    let sent = greet(conn, options, password).and_then(|extensions| {
        let mail = mail(conn, to.from, extensions, letter)?;
        let answers = envelope(conn, to, extensions, mail)?;
        if answers.iter().any(Result::is_ok) {
            data(conn, letter)?;
        }
        Ok(answers)
    });
    if !sent.as_ref().is_err_and(|failure| failure.is_lost) {
        quit(conn);
    }
    sent
}

/// Sends QUIT. Failures are ignored, because the letter is accepted or refused already.
fn quit(conn: &mut ServerConnection) {
    conn.set_quit_timeout();
    let _ = conn.commands(&["QUIT".into()]).and_then(|()| conn.reply());
}

/// Reads the greeting, begins TLS and logs in, as the options say. Returns what the server offers then.
fn greet(
    conn: &mut ServerConnection,
    options: &Options,
    password: Option<&Secret>,
) -> Result<Extensions> {
    conn.set_timeout(connection::COMMAND_TIMEOUT);
    let greeting = conn.reply()?;
    if !greeting.is_success() {
        return Err(conn.refused("the server does not serve", &greeting, Asked::Session));
    }
    let mut extensions = hello(conn, options)?;
    if options.tls == Tls::ByCommand {
        if !extensions.starttls {
            return Err(conn.error(Status::Protocol, "STARTTLS is not offered").of(Part::Session));
        }
        conn.commands(&["STARTTLS".into()])?;
        let reply = conn.reply()?;
        if !reply.is_success() {
            return Err(conn.refused("STARTTLS", &reply, Asked::Session));
        }
        conn.begin_tls()?;
        extensions = hello(conn, options)?; // RFC 3207 §4.2: what was offered in the clear proves nothing
    }
    if let (Some(login), Some(password)) = (&options.login, password) {
        let login = SaslLogin {
            user: &login.user,
            password,
            allowed: login.sasl,
            offered: extensions.auth,
            bindings: conn.bindings(),
            is_private: conn.is_private(),
            max_line: MAX_AUTH_LINE,
        };
        log_in(conn, login)?;
    }
    Ok(extensions)
}

/// Logs in. What the library finds wrong is a refusal too.
fn log_in(conn: &mut ServerConnection, login: SaslLogin<'_>) -> Result<()> {
    let mut failed = None;
    let done = login.run(|line, shown| {
        conn.exchange(line, shown).map_err(|failure| {
            let error = Error::Refused(failure.error.to_string());
            failed = Some(failure);
            error
        })
    });
    let refused = |error: Error| Failure::new(Status::NoPermission, error.to_string());
    done.map_err(|error| failed.unwrap_or_else(|| refused(error)))
}

/// Sends EHLO, or HELO to a server that refuses EHLO (RFC 5321 §3.2).
fn hello(conn: &mut ServerConnection, options: &Options) -> Result<Extensions> {
    conn.commands(&[format!("EHLO {}", options.helo)])?;
    let hello = conn.reply()?;
    if hello.is_success() {
        return Ok(extensions(&hello));
    }
    if !hello.is_permanent() {
        return Err(conn.refused("EHLO", &hello, Asked::Session));
    }
    conn.commands(&[format!("HELO {}", options.helo)])?;
    let hello = conn.reply()?;
    if hello.is_success() {
        Ok(Extensions::default())
    } else {
        Err(conn.refused("HELO", &hello, Asked::Session))
    }
}

fn extensions(hello: &ServerReply) -> Extensions {
    let mut extensions = Extensions::default();
    for line in hello.lines().skip(1) {
        let mut words = line.split_ascii_whitespace();
        match words.next().unwrap_or_default().to_ascii_uppercase().as_str() {
            "PIPELINING" => extensions.pipelining = true,
            "8BITMIME" => extensions.eight_bit = true,
            "STARTTLS" => extensions.starttls = true,
            "AUTH" => {
                let names = words.clone().collect::<Vec<_>>().join(" ");
                extensions.auth = Mechanisms::parse(names.as_bytes());
            }
            "SIZE" => {
                let limit = words.next().and_then(|limit| limit.parse().ok());
                extensions.size = Some(limit.filter(|limit| *limit > 0));
            }
            _ => {}
        }
    }
    extensions
}

/// Returns the MAIL command. Fails if the server's limits exclude the letter.
fn mail(
    conn: &ServerConnection,
    from: &str,
    extensions: Extensions,
    letter: &LetterFile,
) -> Result<String> {
    let mut mail = format!("MAIL FROM:<{from}>");
    if let Some(limit) = extensions.size {
        if let Some(limit) = limit.filter(|limit| letter.octets > *limit) {
            let octets = letter.octets;
            let why = format!("the letter has {octets} octets, the server takes {limit} at most");
            return Err(conn.error(Status::Data, &why));
        }
        mail += &format!(" SIZE={}", letter.octets);
    }
    if letter.eight_bit && !extensions.eight_bit {
        let why = "the letter has octets over 127 and the server does not offer 8BITMIME";
        return Err(conn.error(Status::Data, why));
    }
    if letter.eight_bit {
        mail += " BODY=8BITMIME";
    }
    Ok(mail)
}

/// Sends MAIL and all RCPT. Returns for each recipient whether the server takes the letter.
fn envelope(
    conn: &mut ServerConnection,
    Envelope { from, to }: Envelope<'_>,
    extensions: Extensions,
    mail: String,
) -> Result<Vec<Result<()>>> {
    let mut commands = vec![mail];
    commands.extend(to.iter().map(|to| format!("RCPT TO:<{to}>")));
    let group = if extensions.pipelining { MAX_PIPELINED } else { 1 };
    let mut replies = Vec::new();
    for group in commands.chunks(group) {
        conn.commands(group)?;
        for _ in group {
            let reply = conn.reply()?;
            if reply.is_closing() {
                return Err(conn.refused("the server hangs up", &reply, Asked::Session));
            }
            replies.push(reply);
        }
        if let Some(reply) = replies.first().filter(|reply| !reply.is_success()) {
            return Err(conn.refused(&format!("sender <{from}>"), reply, Asked::Letter));
        }
    }
    let answer = |(to, reply): (&&str, &ServerReply)| match reply.is_success() {
        true => Ok(()),
        false => Err(conn.refused(&format!("recipient <{to}>"), reply, Asked::Recipient)),
    };
    Ok(to.iter().zip(replies.iter().skip(1)).map(answer).collect())
}

/// Sends DATA and the letter. Only a 2yz after its end means that the server has accepted it.
fn data(conn: &mut ServerConnection, letter: &mut LetterFile) -> Result<()> {
    conn.set_timeout(connection::DATA_TIMEOUT);
    conn.commands(&["DATA".into()])?;
    let go_ahead = conn.reply()?;
    if !go_ahead.is_intermediate() {
        return Err(conn.refused("DATA", &go_ahead, Asked::Letter));
    }
    conn.set_timeout(connection::BLOCK_TIMEOUT);
    transmit(conn, letter)?;
    conn.set_timeout(connection::END_TIMEOUT);
    let result = conn.reply().map_err(|failure| {
        let unknown = "no reply to the letter, it may or may not have been delivered";
        let error = Error::Refused(format!("{}: {unknown}", failure.error));
        Failure { error, of: Part::End, ..failure }
    })?;
    if result.is_success() {
        return Ok(());
    }
    Err(conn.refused("the letter was refused", &result, Asked::Letter))
}

fn transmit(conn: &mut ServerConnection, letter: &mut LetterFile) -> Result<()> {
    let mut stuffer = Stuffer::bare_cr_to_crlf();
    let shown = conn.is_shown() && letter.octets <= MAX_SHOWN;
    if conn.is_shown() && !shown {
        conn.show('C', format!("[a letter of {} octets]", letter.octets).as_bytes());
    }
    let progress = progress(conn, letter);
    let mut out = Vec::new();
    letter.each::<Failure>(|chunk| {
        stuffer.feed(chunk, &mut out);
        // A letter that `-v` shows is sent below in one piece, with its end.
        if !shown {
            conn.send(&out)?;
            out.clear();
        }
        progress.inc(chunk.len() as u64);
        Ok(())
    })?;
    stuffer.finish(&mut out);
    progress.finish_and_clear();
    if shown {
        for line in out.split_inclusive(|&b| b == b'\n') {
            conn.show('C', line.strip_suffix(b"\r\n").unwrap_or(line));
        }
    }
    conn.send(&out)
}

fn progress(conn: &ServerConnection, letter: &LetterFile) -> ProgressBar {
    if letter.length < MIN_PROGRESS || conn.is_shown() || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bytes}/{total_bytes} [{wide_bar}] {eta}");
    let bar = ProgressBar::new(letter.length);
    style.map_or(bar.clone(), |style| bar.with_style(style))
}
