//! The process that sends letters to one destination. It reads what strangers send, and has nothing but these letters: their texts
//! for reading, the files of their states, and connections to a few ports.

mod own_host;
mod relay;
mod text;

use std::ffi::OsStr;
use std::io;
use std::sync::{Arc, Mutex};

use dns::{Domain, Resolver};
use forknet::{Work, confine_to_ports, printable};
use log::{debug, info, warn};
use mailstore::{LockedLetter, Queue, QueueRecipient, RecipientState, Stage};
use smtpclient::{
    Envelope, Failure, Login, Mailer, Outcome, Recipient, Settings, Show, Stage as Step, Timeouts,
    TlsUse,
};

use crate::deliver::text::QueueText;
use crate::destination::Destination;
use crate::due::{is_expired, next_attempt, now, open_at};
use crate::options::Config;
use crate::schedule::{Batch, Name};

/// Index of the counter by which a process says that its destination could not be reached.
pub const UNREACHABLE: usize = 0;

/// Longest waits that RFC 5321 §4.5.3.2 has, for a connection to one address, for DATA, for a block of the letter.
const RFC: Timeouts = Timeouts::RFC;
/// The reply to the end of a letter is waited for twice as long as the reply to a command (RFC 5321 §4.5.3.2.6).
const END_FACTOR: u32 = 2;

/// How other servers are met.
#[derive(Debug, Clone)]
pub struct Access {
    /// When TLS is used.
    pub tls: TlsUse,
    /// The login at the relay host.
    pub login: Option<Login>,
}

/// A letter, and the numbers of its recipients that this process sends to.
struct Charge {
    letter: LockedLetter,
    recipients: Vec<usize>,
}

/// Sends letters to their destination.
///
/// # Errors
/// This process cannot give its rights up, or what has become of a letter cannot be written down.
pub fn deliver(
    queue: &Queue,
    config: &Config,
    access: &Access,
    batch: &Batch,
    work: &Work<'_>,
) -> io::Result<()> {
    let (mut charges, mut failed) = (Vec::new(), None);
    for name in &batch.letters {
        match charge(queue, config, batch, name) {
            Ok(found) => charges.extend(found),
            Err(error) => not_sent(name, &error, &mut failed),
        }
    }
    if charges.is_empty() {
        return failed.map_or(Ok(()), Err);
    }
    let resolver = match config.resolver {
        Some(server) => Resolver::of_server(server),
        None => Resolver::of_system()?,
    };
    let domain = batch.destination.to_string();
    let s = if charges.len() == 1 { "" } else { "s" };
    work.title().set(format_args!("{domain}, {} letter{s}", charges.len()));
    let destination = destination(config, &batch.destination, resolver);
    confine_to_ports(&ports(config)).map_err(io::Error::other)?;
    let settings = Arc::new(settings(config, access, &domain, work));
    let mailer = destination.and_then(|destination| Mailer::new(&settings, destination));
    let own =
        mailer.as_ref().err().and_then(|why| own_host::mailer(config, &domain, &settings, why));
    let sent = send_all(config, (mailer, own), charges, work);
    failed.map_or(sent, Err)
}

/// Logs the first letter that the disk keeps from being sent.
fn not_sent(name: &OsStr, error: &mailstore::Error, failed: &mut Option<io::Error>) {
    if failed.is_none() {
        warn!("{}: not sent for now: {error}", name.display());
    }
    *failed = Some(io::Error::other(error.to_string()));
}

/// Locks a letter for its recipients at a destination; `None` where another process has them, or nothing is left.
///
/// # Errors
/// The disk fails, or is full.
fn charge(
    queue: &Queue,
    config: &Config,
    batch: &Batch,
    name: &Name,
) -> mailstore::Result<Option<Charge>> {
    let open = |letter: &mailstore::QueuedLetter| open_at(letter, &batch.destination, config);
    let locked = queue.read(name).and_then(|letter| match letter {
        Some(letter) => queue.lock_for(name, &open(&letter)),
        None => Ok(None),
    });
    match locked {
        Ok(letter) => {
            let charge = |letter: LockedLetter| Charge { recipients: open(&letter), letter };
            let charge = letter.filter(|_| !queue.is_held(name)).map(charge);
            Ok(charge.filter(|it| !it.recipients.is_empty()))
        }
        Err(error @ mailstore::Error::InUse { .. }) => {
            debug!("{}: {error}", name.display());
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Returns the ports that this process connects to, by TCP.
fn ports(config: &Config) -> Vec<u16> {
    let relay = config.relayhost.as_ref().map(|relay| relay.port);
    let resolver = config.resolver.map_or(dns::PORT, |server| server.port());
    [relay.unwrap_or(config.port), resolver, own_host::address(config).port()].to_vec()
}

fn settings(config: &Config, access: &Access, domain: &str, work: &Work<'_>) -> Settings {
    let limit = work.timeout;
    let timeouts = Timeouts {
        connect: RFC.connect.min(limit),
        command: limit,
        data: RFC.data.min(limit),
        block: RFC.block.min(limit),
        end: limit.saturating_mul(END_FACTOR),
        quit: RFC.quit.min(limit),
    };
    let transcript = work.transcript_of(domain);
    let show = transcript.is_on().then(|| {
        let transcript = Mutex::new(transcript);
        Show::new(move |who, line| {
            let Ok(mut transcript) = transcript.lock() else { return };
            match who {
                'C' => transcript.client(line.as_bytes()),
                'S' => transcript.server(line.as_bytes()),
                _ => {}
            }
        })
    });
    let helo = config.hostname.clone();
    Settings {
        timeouts,
        tls: access.tls.clone(),
        login: access.login.clone(),
        use_chunking: config.uses_chunking,
        show,
        ..Settings::new(helo)
    }
}

/// Returns where the letters go.
fn destination(
    config: &Config,
    destination: &Destination,
    resolver: Resolver,
) -> Result<smtpclient::Destination, Failure> {
    match &config.relayhost {
        Some(relay) => relay::destination(config, relay, &resolver),
        None => Ok(smtpclient::Destination::Domain {
            domain: destination.domain(),
            port: config.port,
            resolver,
            own_names: Domain::parse(config.hostname.as_bytes()).into_iter().collect(),
        }),
    }
}

/// Sends the letters one after the other, over one connection while it lasts.
fn send_all(
    config: &Config,
    (mut mailer, mut own): (Result<Mailer, Failure>, Option<Mailer>),
    charges: Vec<Charge>,
    work: &Work<'_>,
) -> io::Result<()> {
    // Why no letter can be sent now.
    let mut in_the_way: Option<Failure> = None;
    // Why what becomes of a letter could not be written down: then it is not sent.
    let mut no_room: Option<io::Error> = None;
    for mut charge in charges {
        if in_the_way.is_none()
            && let Err(error) = charge.letter.record_sending(&charge.recipients)
        {
            not_sent(charge.letter.name(), &error, &mut no_room);
            continue;
        }
        let own = own.as_mut().filter(|_| own_host::gets(config, charge.letter.envelope()));
        let outcomes = match (&mut mailer, &in_the_way) {
            (_, Some(failure)) => all(&charge, failure),
            (Err(_), None) if own.is_some() => own.map_or_else(Vec::new, |own| send(own, &charge)),
            (Err(failure), None) => all(&charge, failure),
            (Ok(mailer), None) => send(mailer, &charge),
        };
        if in_the_way.is_none() {
            in_the_way = unreachable(&outcomes);
        }
        record(config, &mut charge, &outcomes)?;
    }
    if in_the_way.is_some() {
        work.counters.set_number(UNREACHABLE, 1);
    }
    mailer.ok().into_iter().chain(own).for_each(Mailer::quit);
    no_room.map_or(Ok(()), Err)
}

/// The same failure for all recipients.
fn all(charge: &Charge, failure: &Failure) -> Vec<Outcome> {
    charge.recipients.iter().map(|_| Err(failure.clone())).collect()
}

/// Returns why no recipient's host could be asked about the letter at all, for now.
fn unreachable(outcomes: &[Outcome]) -> Option<Failure> {
    let is_in_the_way = |failure: &Failure| failure.stage < Step::Mail && failure.is_temporary();
    let failure =
        |outcome: &Outcome| outcome.as_ref().err().filter(|it| is_in_the_way(it)).cloned();
    let is_for_all = outcomes.iter().all(|outcome| failure(outcome).is_some());
    outcomes.first().filter(|_| is_for_all).and_then(failure)
}

/// Sends a letter.
fn send(mailer: &mut Mailer, charge: &Charge) -> Vec<Outcome> {
    let envelope = charge.letter.envelope();
    let recipients = charge.recipients.iter().filter_map(|at| envelope.recipients.get(*at));
    let sent = Envelope {
        from: &envelope.sender,
        is_utf8: envelope.is_utf8,
        ret: &envelope.ret,
        envid: &envelope.envid,
        to: recipients.map(to).collect(),
    };
    match QueueText::new(&charge.letter) {
        Ok(mut text) => mailer.send(&sent, &mut text),
        Err(error) => {
            let code = smtpclient::Enhanced { class: 4, subject: 3, detail: 0 };
            let text = format!("the letter: {}", forknet::reason(&error));
            all(charge, &Failure::new(Step::Text, smtpclient::Status::Io, code, text))
        }
    }
}

fn to(recipient: &QueueRecipient) -> Recipient<'_> {
    let QueueRecipient { address, notify, orcpt } = recipient;
    Recipient { address, notify, orcpt }
}

/// Writes down what has become of a letter's recipients, and logs a line for each.
fn record(config: &Config, charge: &mut Charge, outcomes: &[Outcome]) -> io::Result<()> {
    let now = now();
    let (envelope, states) = (charge.letter.envelope(), charge.letter.states());
    let is_expired = is_expired(envelope, now, config);
    let mut new = Vec::new();
    for (number, outcome) in charge.recipients.iter().zip(outcomes) {
        let known = envelope.recipients.get(*number).zip(states.get(*number));
        let Some((recipient, known)) = known else { continue };
        let mut state = state(recipient, known, outcome, now);
        if state.stage == Stage::Deferred {
            state.next = next_attempt(state.attempts, now, config);
            if is_expired {
                (state.stage, state.next) = (Stage::Expired, 0);
            }
        }
        log_attempt(&charge.letter.name().display().to_string(), recipient, &state, now);
        new.push((*number, state));
    }
    let written = charge.letter.record(&new, false);
    written.map_err(|error| {
        // The letter may be sent again: what has become of it is in the log alone.
        warn!("{}: {error}", charge.letter.name().display());
        io::Error::other(error.to_string())
    })
}

/// Returns what is known of a recipient now.
fn state(
    recipient: &QueueRecipient,
    known: &RecipientState,
    outcome: &Outcome,
    at: u64,
) -> RecipientState {
    let mut state = RecipientState { at, next: 0, ..known.clone() };
    match outcome {
        Ok(delivered) => {
            let mut keywords = recipient.notify.split(|&byte| byte == b',');
            let wants_success = keywords.any(|it| it.eq_ignore_ascii_case(b"SUCCESS"));
            let is_relayed = wants_success && !delivered.offers_dsn;
            state.stage = if is_relayed { Stage::Relayed } else { Stage::Delivered };
            state.host = delivered.host.clone().into_bytes();
            state.reply = delivered.reply.to_string().into_bytes();
        }
        Err(failure) => {
            state.stage = if failure.is_temporary() { Stage::Deferred } else { Stage::Failed };
            state.attempts += u32::from(failure.is_temporary());
            state.host = failure.host.clone().unwrap_or_default().into_bytes();
            state.reply = match &failure.reply {
                Some(reply) => reply.to_string().into_bytes(),
                None => format!("{} {}", failure.code, failure.text).into_bytes(),
            };
        }
    }
    state
}

/// Logs `ID: to=<bob@blue.test>, host=mx.blue.test, deferred, next attempt in 1800 s: 451 4.3.0 later`.
fn log_attempt(id: &str, recipient: &QueueRecipient, state: &RecipientState, now: u64) {
    let host = if state.host.is_empty() { "none".into() } else { printable(&state.host) };
    let next = match state.stage {
        Stage::Deferred => format!(", next attempt in {} s", state.next.saturating_sub(now)),
        Stage::Failed | Stage::Expired => ", returned".to_owned(),
        _ => String::new(),
    };
    let (to, stage, reply) =
        (printable(&recipient.address), state.stage.word(), printable(&state.reply));
    info!("{id}: to=<{to}>, host={host}, {stage}{next}: {reply}");
}
