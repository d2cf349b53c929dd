//! Sends one letter: EHLO, MAIL, RCPT, DATA, QUIT (slide: the dialogue of TOPAZ and RED).

use std::io::{IsTerminal, Write};

use accounts::{Mechanisms, Secret};
use forknet::{Error, Result};
use indicatif::{ProgressBar, ProgressStyle};
use maild::client::SaslLogin;
use netascii::dot_stuffing::Stuffer;

use super::connection::{self, ServerConnection, ServerReply};
use super::letter_file::LetterFile;
use super::options::{NAME, Options, Tls};

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

/// Sends the letter. Returns the number of refused recipients, if others were accepted. Each
/// refused one is named on standard error.
///
/// # Errors
/// The letter was not accepted for any recipient.
pub fn send(
    conn: &mut ServerConnection,
    options: &Options,
    password: Option<&Secret>,
    letter: &mut LetterFile,
) -> Result<usize> {
    let sent = greet(conn, options, password).and_then(|extensions| {
        let mail = mail(conn, options, extensions, letter)?;
        let refused = envelope(conn, options, extensions, mail)?;
        data(conn, letter)?;
        Ok(refused)
    });
    if !matches!(sent, Err(Error::Io { .. })) && !conn.is_unusable() {
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
        return Err(conn.refused("the server does not serve", &greeting));
    }
    let mut extensions = hello(conn, options)?;
    if options.tls == Tls::ByCommand {
        if !extensions.starttls {
            return Err(conn.error("STARTTLS is not offered"));
        }
        conn.commands(&["STARTTLS".into()])?;
        let reply = conn.reply()?;
        if !reply.is_success() {
            return Err(conn.refused("STARTTLS", &reply));
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
        login.run(|line, shown| conn.exchange(line, shown))?;
    }
    Ok(extensions)
}

/// Sends EHLO, or HELO to a server that refuses EHLO (RFC 5321 §3.2).
fn hello(conn: &mut ServerConnection, options: &Options) -> Result<Extensions> {
    conn.commands(&[format!("EHLO {}", options.helo)])?;
    let hello = conn.reply()?;
    if hello.is_success() {
        return Ok(extensions(&hello));
    }
    if !hello.is_permanent() {
        return Err(conn.refused("EHLO", &hello));
    }
    conn.commands(&[format!("HELO {}", options.helo)])?;
    let hello = conn.reply()?;
    if hello.is_success() { Ok(Extensions::default()) } else { Err(conn.refused("HELO", &hello)) }
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
    options: &Options,
    extensions: Extensions,
    letter: &LetterFile,
) -> Result<String> {
    let mut mail = format!("MAIL FROM:<{}>", options.from);
    if let Some(limit) = extensions.size {
        if let Some(limit) = limit.filter(|limit| letter.octets > *limit) {
            let octets = letter.octets;
            let why = format!("the letter has {octets} octets, the server takes {limit} at most");
            return Err(conn.error(&why));
        }
        mail += &format!(" SIZE={}", letter.octets);
    }
    if letter.eight_bit && !extensions.eight_bit {
        let why = "the letter has octets over 127 and the server does not offer 8BITMIME";
        return Err(conn.error(why));
    }
    if letter.eight_bit {
        mail += " BODY=8BITMIME";
    }
    Ok(mail)
}

/// Sends MAIL and all RCPT. Returns the number of refused recipients, which is an error if all were
/// refused.
fn envelope(
    conn: &mut ServerConnection,
    options: &Options,
    extensions: Extensions,
    mail: String,
) -> Result<usize> {
    let mut commands = vec![mail];
    commands.extend(options.to.iter().map(|to| format!("RCPT TO:<{to}>")));
    let group = if extensions.pipelining { MAX_PIPELINED } else { 1 };
    let mut replies = Vec::new();
    for group in commands.chunks(group) {
        conn.commands(group)?;
        for _ in group {
            let reply = conn.reply()?;
            if reply.is_closing() {
                return Err(conn.refused("the server hangs up", &reply));
            }
            replies.push(reply);
        }
        if let Some(reply) = replies.first().filter(|reply| !reply.is_success()) {
            return Err(conn.refused(&format!("sender <{}>", options.from), reply));
        }
    }
    let answered = options.to.iter().zip(replies.iter().skip(1));
    let refused: Vec<_> = answered.filter(|(_, reply)| !reply.is_success()).collect();
    for (to, reply) in &refused {
        let error = conn.refused(&format!("recipient <{to}>"), reply);
        let _ = writeln!(std::io::stderr(), "{NAME}: {error}"); // best effort
    }
    if refused.len() == options.to.len() {
        return Err(conn.error("every recipient was refused, nothing was sent"));
    }
    Ok(refused.len())
}

/// Sends DATA and the letter. Only a 2yz after its end means that the server has accepted it.
fn data(conn: &mut ServerConnection, letter: &mut LetterFile) -> Result<()> {
    conn.set_timeout(connection::DATA_TIMEOUT);
    conn.commands(&["DATA".into()])?;
    let go_ahead = conn.reply()?;
    if !go_ahead.is_intermediate() {
        return Err(conn.refused("DATA", &go_ahead));
    }
    conn.set_timeout(connection::BLOCK_TIMEOUT);
    transmit(conn, letter)?;
    conn.set_timeout(connection::END_TIMEOUT);
    let result = conn.reply().map_err(|error| {
        let unknown = "no reply to the letter, it may or may not have been delivered";
        Error::Refused(format!("{error}: {unknown}"))
    })?;
    if result.is_success() { Ok(()) } else { Err(conn.refused("the letter was refused", &result)) }
}

fn transmit(conn: &mut ServerConnection, letter: &mut LetterFile) -> Result<()> {
    let mut stuffer = Stuffer::bare_cr_to_crlf();
    let shown = conn.is_shown() && letter.octets <= MAX_SHOWN;
    if conn.is_shown() && !shown {
        conn.show('C', format!("[a letter of {} octets]", letter.octets).as_bytes());
    }
    let progress = progress(conn, letter);
    let mut out = Vec::new();
    letter.each(|chunk| {
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
