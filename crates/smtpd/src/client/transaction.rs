//! One letter handed over: EHLO, MAIL, RCPT, DATA, QUIT (slide: the dialogue of TOPAZ and RED).

use std::io::{IsTerminal, Write};

use forknet::{Error, Result};
use indicatif::{ProgressBar, ProgressStyle};
use netascii::dot::Stuffer;

use super::options::Options;
use super::source::Source;
use super::wire::{self, Reply, Wire};

/// Commands that are sent in one go to a server that offers PIPELINING: their replies must fit into
/// the buffers between the two, or both would wait for the other (RFC 2920 §3.1).
const PIPELINE: usize = 100;
/// Letters up to this size are shown by `-v`, in octets.
const SHOWN: u64 = 4096;
/// From this size on a progress bar is worth it.
const LARGE: u64 = 1 << 20;

/// What the server offers (RFC 5321 §4.1.1.1).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Offer {
    pipelining: bool,
    eight_bit: bool,
    /// SIZE is offered; the number is its limit, where it tells one.
    size: Option<Option<u64>>,
}

/// Sends the letter, and tells how many recipients were refused while others were not; each one is
/// named on standard error.
///
/// # Errors
/// Nobody gets the letter.
pub fn send(wire: &mut Wire, options: &Options, letter: &mut Source) -> Result<usize> {
    let sent = greet(wire, options).and_then(|offer| {
        let mail = mail(wire, options, offer, letter)?;
        let refused = envelope(wire, options, offer, mail)?;
        data(wire, letter)?;
        Ok(refused)
    });
    if !matches!(sent, Err(Error::Io { .. })) {
        farewell(wire);
    }
    sent
}

/// Whatever comes of it: the letter is taken or refused already.
fn farewell(wire: &mut Wire) {
    wire.hurry();
    let _too_late_to_matter = wire.say(&["QUIT".into()]).and_then(|()| wire.reply());
}

/// The greeting, then EHLO, or HELO with a server that does not know EHLO (RFC 5321 §3.2).
fn greet(wire: &mut Wire, options: &Options) -> Result<Offer> {
    wire.set_limit(wire::COMMAND);
    let greeting = wire.reply()?;
    if !greeting.is_done() {
        return Err(wire.refused("the server does not serve", &greeting));
    }
    wire.say(&[format!("EHLO {}", options.helo)])?;
    let hello = wire.reply()?;
    if hello.is_done() {
        return Ok(offer(&hello));
    }
    if !hello.is_never() {
        return Err(wire.refused("EHLO", &hello));
    }
    wire.say(&[format!("HELO {}", options.helo)])?;
    let hello = wire.reply()?;
    if hello.is_done() { Ok(Offer::default()) } else { Err(wire.refused("HELO", &hello)) }
}

fn offer(hello: &Reply) -> Offer {
    let mut offer = Offer::default();
    for line in hello.lines().skip(1) {
        let mut words = line.split_ascii_whitespace();
        match words.next().unwrap_or_default().to_ascii_uppercase().as_str() {
            "PIPELINING" => offer.pipelining = true,
            "8BITMIME" => offer.eight_bit = true,
            "SIZE" => {
                let limit = words.next().and_then(|limit| limit.parse().ok());
                offer.size = Some(limit.filter(|limit| *limit > 0));
            }
            _ => {}
        }
    }
    offer
}

/// The MAIL command, if the server can take the letter at all.
fn mail(wire: &Wire, options: &Options, offer: Offer, letter: &Source) -> Result<String> {
    let mut mail = format!("MAIL FROM:<{}>", options.from);
    if let Some(limit) = offer.size {
        if let Some(limit) = limit.filter(|limit| letter.octets > *limit) {
            let octets = letter.octets;
            let why = format!("the letter has {octets} octets, the server takes {limit} at most");
            return Err(wire.trouble(&why));
        }
        mail += &format!(" SIZE={}", letter.octets);
    }
    if letter.eight_bit && !offer.eight_bit {
        let why = "the letter has octets over 127 and the server does not offer 8BITMIME";
        return Err(wire.trouble(why));
    }
    if letter.eight_bit {
        mail += " BODY=8BITMIME";
    }
    Ok(mail)
}

/// MAIL and all RCPT; tells how many were refused. When all were, that is an error.
fn envelope(wire: &mut Wire, options: &Options, offer: Offer, mail: String) -> Result<usize> {
    let mut commands = vec![mail];
    commands.extend(options.to.iter().map(|to| format!("RCPT TO:<{to}>")));
    let group = if offer.pipelining { PIPELINE } else { 1 };
    let mut replies = Vec::new();
    for group in commands.chunks(group) {
        wire.say(group)?;
        for _ in group {
            let reply = wire.reply()?;
            if reply.is_closing() {
                return Err(wire.refused("the server hangs up", &reply));
            }
            replies.push(reply);
        }
        if let Some(reply) = replies.first().filter(|reply| !reply.is_done()) {
            return Err(wire.refused(&format!("sender <{}>", options.from), reply));
        }
    }
    let answered = options.to.iter().zip(replies.iter().skip(1));
    let refused: Vec<_> = answered.filter(|(_, reply)| !reply.is_done()).collect();
    for (to, reply) in &refused {
        let error = wire.refused(&format!("recipient <{to}>"), reply);
        let _nobody_watches = writeln!(std::io::stderr(), "{}: {error}", super::NAME);
    }
    if refused.len() == options.to.len() {
        return Err(wire.trouble("every recipient was refused, nothing was sent"));
    }
    Ok(refused.len())
}

/// DATA, and the letter when the server wants it. Only a 2yz after the end of it means that the
/// server has it.
fn data(wire: &mut Wire, letter: &mut Source) -> Result<()> {
    wire.set_limit(wire::DATA);
    wire.say(&["DATA".into()])?;
    let go_on = wire.reply()?;
    if !go_on.wants_more() {
        return Err(wire.refused("DATA", &go_on));
    }
    wire.set_limit(wire::BLOCK);
    transmit(wire, letter)?;
    wire.set_limit(wire::END);
    let verdict = wire.reply().map_err(|error| {
        let doubt = "no answer to the letter, it may or may not have been delivered";
        Error::Refused(format!("{error}: {doubt}"))
    })?;
    if verdict.is_done() { Ok(()) } else { Err(wire.refused("the letter was refused", &verdict)) }
}

fn transmit(wire: &mut Wire, letter: &mut Source) -> Result<()> {
    let mut stuffer = Stuffer::ending_lines_at_cr();
    let shown = wire.is_shown() && letter.octets <= SHOWN;
    if wire.is_shown() && !shown {
        wire.show('C', format!("[a letter of {} octets]", letter.octets).as_bytes());
    }
    let progress = progress(wire, letter);
    let mut out = Vec::new();
    letter.each(|chunk| {
        stuffer.feed(chunk, &mut out);
        // What is shown goes with its end, below, in one piece.
        if !shown {
            wire.send(&out)?;
            out.clear();
        }
        progress.inc(chunk.len() as u64);
        Ok(())
    })?;
    stuffer.finish(&mut out);
    progress.finish_and_clear();
    if shown {
        for line in out.split_inclusive(|&b| b == b'\n') {
            wire.show('C', line.strip_suffix(b"\r\n").unwrap_or(line));
        }
    }
    wire.send(&out)
}

fn progress(wire: &Wire, letter: &Source) -> ProgressBar {
    if letter.length < LARGE || wire.is_shown() || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bytes}/{total_bytes} [{wide_bar}] {eta}");
    let bar = ProgressBar::new(letter.length);
    style.map_or(bar.clone(), |style| bar.with_style(style))
}
