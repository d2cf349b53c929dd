//! Sends questions to name servers, by UDP and, where an answer is too long, by TCP.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::domain::Domain;
use crate::failure::{Failure, Result};
use crate::message::{self, Answer, Kind, Record, Records};
use crate::resolv_conf::{self, Settings};
use crate::tlsa::Tlsa;

/// The port of name servers.
pub const PORT: u16 = 53;
/// Most questions in a row that an answer's alias leads to.
const MAX_ALIASES: u32 = 8;
/// Most TLSA records that are looked at.
const MAX_TLSA: usize = 64;
/// Longest datagram in bytes.
const MAX_RECEIVED: usize = 65_535;
/// Most datagrams that are looked at for one answer: others are forged, or late.
const MAX_STRAYS: u32 = 1000;

/// Asks name servers.
#[derive(Debug)]
pub struct Resolver {
    settings: Settings,
}

/// The addresses of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// IPv6 and IPv4 in turn, in the server's order; at least one.
    pub list: Vec<IpAddr>,
    /// How long they may be used, in seconds.
    pub seconds: u32,
    /// A server that is believed has checked their signatures (AD).
    pub is_secure: bool,
}

impl Resolver {
    /// Asks the servers of /etc/resolv.conf; without that file, this machine.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn of_system() -> io::Result<Resolver> {
        let text = match std::fs::read(resolv_conf::PATH) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        Ok(Resolver { settings: Settings::parse(&String::from_utf8_lossy(&text), PORT) })
    }

    /// Asks one server, which is believed when it says that it has checked signatures (AD).
    #[must_use]
    pub fn of_server(server: SocketAddr) -> Resolver {
        let settings = Settings::parse("", PORT);
        Resolver { settings: Settings { servers: vec![server], trust_ad: true, ..settings } }
    }

    /// Returns whether its servers are believed when they say that they have checked signatures (AD).
    #[must_use]
    pub fn is_believed(&self) -> bool {
        self.settings.trust_ad
    }

    /// Sets the longest wait for an answer, and how often each server is asked.
    #[must_use]
    pub fn patience(mut self, timeout: Duration, attempts: u32) -> Resolver {
        (self.settings.timeout, self.settings.attempts) = (timeout, attempts.max(1));
        self
    }

    /// Finds the addresses of a host (A and AAAA).
    ///
    /// # Errors
    /// [`Failure::NoDomain`], [`Failure::NoAddress`], or [`Failure::Temporary`] where one kind has no answer and the
    /// other none of its records.
    pub fn addresses(&self, host: &Domain) -> Result<Addresses> {
        if host.as_str() == "localhost" || host.as_str().ends_with(".localhost") {
            // RFC 6761 §6.3: no server is asked.
            let list = vec![Ipv4Addr::LOCALHOST.into()];
            return Ok(Addresses { list, seconds: u32::MAX, is_secure: false });
        }
        let found = [self.ask(host, Kind::Aaaa), self.ask(host, Kind::A)];
        let (mut seconds, mut is_secure) = (u32::MAX, true);
        let mut of_kind = found.iter().map(|answer| match answer {
            Ok(Some(records)) => {
                seconds = seconds.min(records.seconds);
                is_secure &= records.is_secure;
                records.list.iter().filter_map(address).collect()
            }
            _ => Vec::new(),
        });
        let (six, four) = (of_kind.next().unwrap_or_default(), of_kind.next().unwrap_or_default());
        drop(of_kind);
        let list = in_turn(&six, &four);
        if !list.is_empty() {
            return Ok(Addresses { list, seconds, is_secure });
        }
        let [six, four] = found;
        match (six?, four?) {
            (None, None) => Err(Failure::NoDomain(host.clone())),
            _ => Err(Failure::NoAddress(host.clone())),
        }
    }

    /// Finds what a zone has about the certificate of a host's server (TLSA at `_25._tcp.HOST`); nothing where that is not
    /// signed, or there is nothing.
    ///
    /// # Errors
    /// [`Failure::Temporary`]: an answer that is missing, or that a forger has made (SERVFAIL), is no proof that there is
    /// nothing (RFC 7672 §2.1).
    pub fn tlsa(&self, host: &Domain, port: u16) -> Result<Vec<Tlsa>> {
        let Some(name) = Domain::parse(format!("_{port}._tcp.{host}").as_bytes()) else {
            return Ok(Vec::new()); // too long a name
        };
        let Some(found) = self.ask(&name, Kind::Tlsa)?.filter(|records| records.is_secure) else {
            return Ok(Vec::new());
        };
        let tlsa = |record: Record| match record {
            Record::Tlsa(tlsa) => Some(tlsa),
            _ => None,
        };
        Ok(found.list.into_iter().filter_map(tlsa).take(MAX_TLSA).collect())
    }

    /// Asks for the records of a name, and of those that its aliases lead to; `None` where there is no such
    /// name.
    ///
    /// # Errors
    /// [`Failure::Temporary`].
    pub(crate) fn ask(&self, name: &Domain, kind: Kind) -> Result<Option<Records>> {
        let (mut asked, mut is_secure) = (name.clone(), self.settings.trust_ad);
        for _ in 0..=MAX_ALIASES {
            match self.ask_servers(&asked, kind)? {
                Answer::Records(records) => {
                    let is_secure = is_secure && records.is_secure;
                    return Ok(Some(Records { is_secure, ..records }));
                }
                Answer::Alias(name, is_checked) => {
                    asked = name;
                    is_secure &= is_checked;
                }
                _ => return Ok(None),
            }
        }
        Err(Failure::Temporary(format!("{name}: aliases without an end")))
    }

    /// Asks the servers one after the other, until one knows.
    fn ask_servers(&self, name: &Domain, kind: Kind) -> Result<Answer> {
        let mut why = String::new();
        for _ in 0..self.settings.attempts {
            for server in &self.settings.servers {
                match self.ask_server(*server, name, kind) {
                    Ok(Answer::Failed(reason)) => why = format!("{server}: {reason}"),
                    Ok(Answer::Truncated | Answer::NoEdns) => {
                        why = format!("{server}: does not understand the question");
                    }
                    Ok(answer) => return Ok(answer),
                    Err(error) => why = format!("{server}: {}", reason(&error)),
                }
                log::debug!("{name} {kind:?}: name server {why}");
            }
        }
        Err(Failure::Temporary(format!("{name}: name server {why}")))
    }

    fn ask_server(&self, server: SocketAddr, name: &Domain, kind: Kind) -> io::Result<Answer> {
        match self.exchange(server, name, kind, true)? {
            Answer::NoEdns => self.exchange(server, name, kind, false),
            answer => Ok(answer),
        }
    }

    /// Asks by UDP, and by TCP if the answer was cut.
    fn exchange(
        &self,
        server: SocketAddr,
        name: &Domain,
        kind: Kind,
        with_edns: bool,
    ) -> io::Result<Answer> {
        let id = random_id()?;
        let question = message::question(id, name, kind, with_edns)
            .ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "no name to ask for"))?;
        let until = Instant::now() + self.settings.timeout;
        let read = |bytes: &[u8]| message::answer(bytes, id, name, kind);
        match by_udp(server, &question, until, read)? {
            Answer::Truncated => {
                by_tcp(server, &question, Instant::now() + self.settings.timeout, read)
            }
            answer => Ok(answer),
        }
    }
}

fn address(record: &Record) -> Option<IpAddr> {
    match record {
        Record::Address(address) => Some(*address),
        Record::Mx(..) | Record::Tlsa(_) => None,
    }
}

/// Puts the addresses of both kinds in one list, in turn: where one kind has no route, the second is the other's.
fn in_turn(six: &[IpAddr], four: &[IpAddr]) -> Vec<IpAddr> {
    let most = six.len().max(four.len());
    (0..most).flat_map(|index| [six.get(index), four.get(index)]).flatten().copied().collect()
}

/// An id that no forger can guess, as the port is that the kernel chooses (RFC 5452 §9).
fn random_id() -> io::Result<u16> {
    let mut bytes = [0; 2];
    sys::getrandom::fill(&mut bytes)?;
    Ok(u16::from_be_bytes(bytes))
}

/// Sends the question from a socket of its own, and waits for the answer to it. The socket is connected, so that
/// datagrams of others do not arrive.
fn by_udp(
    server: SocketAddr,
    question: &[u8],
    until: Instant,
    read: impl Fn(&[u8]) -> Option<Answer>,
) -> io::Result<Answer> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    socket.send(question)?;
    // Some servers send more than they were asked for.
    let mut buffer = vec![0; MAX_RECEIVED];
    for _ in 0..MAX_STRAYS {
        socket.set_read_timeout(Some(left(until)?))?;
        match socket.recv(&mut buffer) {
            Ok(length) => {
                if let Some(answer) = read(buffer.get(..length).unwrap_or_default()) {
                    return Ok(answer);
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(late()),
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(ErrorKind::InvalidData, "answers to other questions"))
}

/// Sends the question with its length before it (RFC 1035 §4.2.2).
fn by_tcp(
    server: SocketAddr,
    question: &[u8],
    until: Instant,
    read: impl Fn(&[u8]) -> Option<Answer>,
) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&server, left(until)?)?;
    stream.set_write_timeout(Some(left(until)?))?;
    let length = u16::try_from(question.len()).unwrap_or(u16::MAX).to_be_bytes();
    stream.write_all(&[&length[..], question].concat())?;
    let mut length = [0; 2];
    read_until(&mut stream, &mut length, until)?;
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
    read_until(&mut stream, &mut bytes, until)?;
    match read(&bytes) {
        Some(answer) => Ok(answer),
        None => Err(io::Error::new(ErrorKind::InvalidData, "an answer that is none")),
    }
}

/// Fills the buffer; a server that sends a byte now and then does not hold it up past the limit.
fn read_until(stream: &mut TcpStream, buffer: &mut [u8], until: Instant) -> io::Result<()> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        stream.set_read_timeout(Some(left(until)?))?;
        match stream.read(rest) {
            Ok(0) => {
                return Err(io::Error::new(ErrorKind::UnexpectedEof, "an answer that was cut"));
            }
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(late()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(late()) } else { Ok(left) }
}

fn late() -> io::Error {
    io::Error::new(ErrorKind::TimedOut, "no answer in time")
}

/// Returns the reason as strerror(3) has it.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
