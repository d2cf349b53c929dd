//! A question to a name server and its answer, as bytes; without a socket.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use simple_dns::rdata::{OPT, RData};
use simple_dns::{
    CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, ResourceRecord, TYPE,
};

use crate::domain::Domain;
use crate::tlsa::Tlsa;

/// Longest answer in a datagram, in bytes, that needs no fragments on any path (RFC 9715 §3.1).
const MAX_DATAGRAM: u16 = 1232;
/// The number of the type TLSA (RFC 6698 §7.1), which simple-dns does not know.
const TLSA: u16 = 52;
/// Most aliases (CNAME) one after the other that are followed.
const MAX_ALIASES: usize = 8;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The hosts that take a domain's mail.
    Mx,
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// What a zone has about a server's certificate.
    Tlsa,
}

impl Kind {
    fn of_wire(self) -> TYPE {
        match self {
            Kind::Mx => TYPE::MX,
            Kind::A => TYPE::A,
            Kind::Aaaa => TYPE::AAAA,
            Kind::Tlsa => TYPE::Unknown(TLSA),
        }
    }
}

/// A record that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// Of an MX: its preference, and the host.
    Mx(u16, Exchange),
    /// Of an A or AAAA.
    Address(IpAddr),
    /// Of a TLSA.
    Tlsa(Tlsa),
}

/// The records of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Records {
    /// The records; none where the name is there and has none of this kind.
    pub list: Vec<Record>,
    /// How long they may be used, in seconds.
    pub seconds: u32,
    /// The server has checked their signatures (AD, RFC 4035 §3.2.3).
    pub is_secure: bool,
}

/// The host of an MX.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Exchange {
    /// A host.
    Host(Domain),
    /// The root: the domain takes no mail (RFC 7505).
    Root,
    /// No name that a host could have.
    NoName,
}

/// What a server has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The records.
    Records(Records),
    /// There is no such name.
    NoName,
    /// The answer is at this name: its server knew no more. Whether the server has checked the signatures up to there.
    Alias(Domain, bool),
    /// The answer is too long for a datagram.
    Truncated,
    /// The server cannot answer this form of question (EDNS, RFC 6891 §7).
    NoEdns,
    /// The server does not answer, for this reason.
    Failed(&'static str),
}

/// Returns the question's bytes; `None` for a name that has no form on the wire.
pub(crate) fn question(id: u16, name: &Domain, kind: Kind, with_edns: bool) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(id);
    // AD in a question asks for AD in the answer (RFC 6840 §5.7).
    packet.set_flags(PacketFlag::RECURSION_DESIRED | PacketFlag::AUTHENTIC_DATA);
    let (class, name) = (QCLASS::CLASS(CLASS::IN), Name::new(name.as_str()).ok()?);
    packet.questions.push(Question::new(name, QTYPE::TYPE(kind.of_wire()), class, false));
    if with_edns {
        *packet.opt_mut() =
            Some(OPT { opt_codes: Vec::new(), udp_packet_size: MAX_DATAGRAM, version: 0 });
    }
    packet.build_bytes_vec().ok()
}

/// Reads an answer; `None` for one to another question, which may be forged, and for what is no message.
pub(crate) fn answer(bytes: &[u8], id: u16, name: &Domain, kind: Kind) -> Option<Answer> {
    let [high, low, flags, code, ..] = *bytes.first_chunk::<12>()?;
    if u16::from_be_bytes([high, low]) != id || flags & (RESPONSE | OPCODE) != RESPONSE {
        return None;
    }
    // A message that was cut need not be whole after its header.
    if flags & TRUNCATED != 0 {
        return Some(Answer::Truncated);
    }
    // A server that does not know EDNS may send the header alone.
    let refuses_form = matches!(code & 0x0f, 1 | 4);
    let bytes = if kind == Kind::Tlsa { with_known_type(bytes) } else { Cow::Borrowed(bytes) };
    // A record that cannot be read keeps none from being read that stand in the sections before its own.
    for (kept, counts) in [(Kept::All, HEADER), (Kept::Answers, 8), (Kept::Question, 6)] {
        let bytes = with_counts_cleared(&bytes, counts);
        if let Ok(packet) = Packet::parse(&bytes) {
            return of_packet(&packet, kept, name, kind);
        }
    }
    refuses_form.then_some(Answer::NoEdns)
}

/// What of a message could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    All,
    /// The sections behind the answers could not.
    Answers,
    Question,
}

/// Returns a message that ends where the count of a section stands in its header: that one and those behind it are empty.
fn with_counts_cleared(bytes: &[u8], counts: usize) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    changed.get_mut(counts..HEADER).into_iter().for_each(|counts| counts.fill(0));
    changed
}

/// Reads an answer; `None` for one to another question.
fn of_packet(packet: &Packet<'_>, kept: Kept, name: &Domain, kind: Kind) -> Option<Answer> {
    let asked_for = if kind == Kind::Tlsa { TYPE::NULL } else { kind.of_wire() };
    let is_asked = |question: &Question| {
        domain(&question.qname).as_ref() == Some(name) && question.qtype == QTYPE::TYPE(asked_for)
    };
    match packet.questions.as_slice() {
        [one] if is_asked(one) => {}
        [] if matches!(packet.rcode(), RCODE::FormatError | RCODE::NotImplemented) => {}
        _ => return None,
    }
    let is_cut = kept == Kept::Question || kept == Kept::Answers && packet.answers.is_empty();
    Some(match packet.rcode() {
        // Without the rest of the message that is no proof that there is nothing.
        RCODE::NoError | RCODE::NameError if is_cut => Answer::Failed("a malformed answer"),
        RCODE::NoError => {
            let is_secure = packet.has_flags(PacketFlag::AUTHENTIC_DATA);
            records(&packet.answers, name, kind, is_secure)
        }
        RCODE::NameError => Answer::NoName,
        RCODE::FormatError | RCODE::NotImplemented | RCODE::BADVERS => Answer::NoEdns,
        RCODE::ServerFailure => Answer::Failed("SERVFAIL"),
        RCODE::Refused => Answer::Failed("REFUSED"),
        _ => Answer::Failed("an unknown response code"),
    })
}

/// Returns a message whose question about a TLSA is one about a NULL: simple-dns reads no question about a type that it
/// does not know. Any other question becomes one about ANY, which is never asked.
fn with_known_type(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut at = HEADER;
    while let Some(&length @ 1..=63) = bytes.get(at) {
        at += 1 + usize::from(length);
    }
    let mut changed = bytes.to_vec();
    if let Some(number) = changed.get_mut(at + 1..at + 3) {
        let known = if *number == TLSA.to_be_bytes() { NULL } else { ANY };
        number.copy_from_slice(&known.to_be_bytes());
    }
    Cow::Owned(changed)
}

/// Bytes of a header (RFC 1035 §4.1.1).
const HEADER: usize = 12;
/// The numbers of types (RFC 1035 §3.2.2, §3.2.3).
const NULL: u16 = 10;
const ANY: u16 = 255;
/// Bits of the third byte of a header (RFC 1035 §4.1.1).
const RESPONSE: u8 = 0x80;
const OPCODE: u8 = 0x78;
const TRUNCATED: u8 = 0x02;

/// Collects the records of a name, or of the name that its aliases lead to.
fn records(answers: &[ResourceRecord<'_>], name: &Domain, kind: Kind, is_secure: bool) -> Answer {
    let (mut name, mut seconds) = (name.clone(), u32::MAX);
    for aliases in 0..=MAX_ALIASES {
        let of_name =
            || answers.iter().filter(|record| domain(&record.name).as_ref() == Some(&name));
        let mut found = Vec::new();
        for record in of_name() {
            if let Some(read) = self::record(&record.rdata, kind) {
                seconds = seconds.min(ttl(record));
                found.push(read);
            }
        }
        let alias = of_name().find_map(|record| match &record.rdata {
            RData::CNAME(alias) => Some((domain(&alias.0), ttl(record))),
            _ => None,
        });
        match alias {
            Some((Some(next), ttl)) if found.is_empty() => {
                seconds = seconds.min(ttl);
                name = next;
            }
            Some((None, _)) if found.is_empty() => {
                return Answer::Failed("an alias that is no host's name");
            }
            None if found.is_empty() && aliases > 0 => return Answer::Alias(name, is_secure),
            _ => return Answer::Records(Records { list: found, seconds, is_secure }),
        }
    }
    Answer::Failed("aliases without an end")
}

/// Returns how long a record may be used, in seconds; one with the highest bit set must not be kept (RFC 2181 §8).
fn ttl(record: &ResourceRecord<'_>) -> u32 {
    if record.ttl > i32::MAX.unsigned_abs() { 0 } else { record.ttl }
}

fn record(data: &RData<'_>, kind: Kind) -> Option<Record> {
    match (kind, data) {
        (Kind::Mx, RData::MX(mx)) => Some(Record::Mx(mx.preference, exchange(&mx.exchange))),
        (Kind::A, RData::A(a)) => Some(Record::Address(Ipv4Addr::from(a.address).into())),
        (Kind::Aaaa, RData::AAAA(a)) => Some(Record::Address(Ipv6Addr::from(a.address).into())),
        (Kind::Tlsa, RData::NULL(TLSA, data)) => Tlsa::parse(data.get_data()).map(Record::Tlsa),
        _ => None,
    }
}

fn exchange(name: &Name<'_>) -> Exchange {
    match domain(name) {
        _ if name.get_labels().is_empty() => Exchange::Root,
        Some(host) => Exchange::Host(host),
        None => Exchange::NoName,
    }
}

/// Returns a name of a message; `None` for the root, and for one that can be no host's.
fn domain(name: &Name<'_>) -> Option<Domain> {
    let labels: Vec<&[u8]> = name.as_bytes().collect();
    if labels.iter().any(|label| label.contains(&b'.')) {
        return None;
    }
    Domain::parse(&labels.join(&b'.'))
}
