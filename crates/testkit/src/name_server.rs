//! A name server on loopback, which answers what a test says, also what no honest server would.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use simple_dns::rdata::{A, AAAA, CNAME, MX, NULL, RData};
use simple_dns::{CLASS, Name, Packet, RCODE, ResourceRecord, TYPE};

/// The bit AD of a header's fourth byte (RFC 4035 §3.2.3).
const AUTHENTIC_DATA: u8 = 0x20;
/// The number of the type TLSA (RFC 6698 §7.1).
const TLSA: u16 = 52;
/// The response code of a server that fails.
pub const SERVFAIL: RCODE = RCODE::ServerFailure;

/// What is answered to a question.
#[derive(Debug, Clone)]
pub enum Says {
    /// These records, of the name that was asked for. An empty list: the name has none of this kind.
    Records(Vec<Value>),
    /// The same, and the server says that it has checked their signatures (AD).
    Signed(Vec<Value>),
    /// These records, which may not be kept (TTL 0).
    Passing(Vec<Value>),
    /// Records of any names.
    All(Vec<(String, Value)>),
    /// There is no such name.
    NoName,
    /// SERVFAIL, REFUSED and the like: this response code.
    Code(RCODE),
    /// Nothing.
    Silence,
    /// By UDP: "too long"; by TCP these.
    OnlyByTcp(Vec<Value>),
    /// FORMERR to a question with EDNS; without it these.
    OnlyWithoutEdns(Vec<Value>),
    /// Answers that are another question's (another id, another name, no answer at all) before these.
    BehindForged(Vec<Value>),
    /// These bytes, after the question's id.
    Bytes(Vec<u8>),
}

/// The value of a record.
#[derive(Debug, Clone)]
pub enum Value {
    /// MX: preference and host; an empty one is the root.
    Mx(u16, String),
    /// A or AAAA.
    Address(IpAddr),
    /// CNAME.
    Alias(String),
    /// TLSA: usage, selector, matching, and the data.
    Tlsa(u8, u8, u8, Vec<u8>),
}

/// Returns listeners on these addresses, all with one port that is free on each: what a name server leads to.
///
/// # Panics
/// No port is free on all of them.
#[must_use]
pub fn listeners(addresses: &[&str]) -> (Vec<TcpListener>, u16) {
    for _ in 0..100 {
        let first = TcpListener::bind((addresses[0], 0)).unwrap();
        let port = first.local_addr().unwrap().port();
        let others: Result<Vec<TcpListener>, _> = addresses[1..]
            .iter()
            .map(|address| TcpListener::bind((address.parse::<IpAddr>().unwrap(), port)))
            .collect();
        if let Ok(others) = others {
            return (std::iter::once(first).chain(others).collect(), port);
        }
    }
    panic!("no port is free on all addresses");
}

/// Returns the value of an MX.
#[must_use]
pub fn mx(preference: u16, host: &str) -> Value {
    Value::Mx(preference, host.into())
}

/// Returns the value of an A or AAAA.
///
/// # Panics
/// It is no address.
#[must_use]
pub fn address(text: &str) -> Value {
    Value::Address(text.parse().expect("an address"))
}

/// A question that was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The name, as it was written.
    pub name: String,
    /// `MX`, `A`, `AAAA`.
    pub kind: String,
    /// It came by TCP.
    pub by_tcp: bool,
    /// The port that it came from.
    pub port: u16,
    /// Its id.
    pub id: u16,
}

/// The server, until it is dropped.
pub struct NameServer {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

type Zone = Arc<dyn Fn(&str, &str) -> Says + Send + Sync>;

impl NameServer {
    /// Starts it; `zone` says what is answered for a name (in lower case) and a kind (`MX`).
    ///
    /// # Panics
    /// No port is free.
    pub fn start(zone: impl Fn(&str, &str) -> Says + Send + Sync + 'static) -> NameServer {
        let (udp, tcp) = sockets();
        let address = udp.local_addr().expect("an address");
        let (asked, is_over) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let serve = Serve { zone: Arc::new(zone), asked: Arc::clone(&asked) };
        let (by_udp, by_tcp) = (serve.clone(), serve);
        let (end_udp, end_tcp) = (Arc::clone(&is_over), Arc::clone(&is_over));
        let threads = vec![
            thread::spawn(move || by_udp.datagrams(&udp, &end_udp)),
            thread::spawn(move || by_tcp.streams(&tcp, &end_tcp)),
        ];
        NameServer { address, asked, is_over, threads }
    }

    /// Where it listens, by UDP and TCP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was asked until now.
    ///
    /// # Panics
    /// One of its threads has panicked.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // Both threads wait for a client.
        if let Ok(socket) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)) {
            let _ = socket.send_to(b"", self.address);
        }
        let _ = TcpStream::connect(self.address);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Returns two sockets with one port.
fn sockets() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = udp.local_addr().expect("an address");
        if let Ok(tcp) = TcpListener::bind(address) {
            return (udp, tcp);
        }
    }
    panic!("no port is free for both UDP and TCP");
}

#[derive(Clone)]
struct Serve {
    zone: Zone,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Serve {
    fn datagrams(&self, socket: &UdpSocket, is_over: &AtomicBool) {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            if is_over.load(Ordering::SeqCst) {
                return;
            }
            for answer in self.answers(&buffer[..length], from, false) {
                let _ = socket.send_to(&answer, from); // the client may have gone
            }
        }
    }

    fn streams(&self, listener: &TcpListener, is_over: &AtomicBool) {
        while let Ok((mut stream, from)) = listener.accept() {
            if is_over.load(Ordering::SeqCst) {
                return;
            }
            let mut length = [0; 2];
            if stream.read_exact(&mut length).is_err() {
                continue;
            }
            let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
            if stream.read_exact(&mut question).is_err() {
                continue;
            }
            for answer in self.answers(&question, from, true) {
                let length = u16::try_from(answer.len()).expect("a length").to_be_bytes();
                let _ = stream.write_all(&[&length[..], &answer].concat());
            }
        }
    }

    fn answers(&self, question: &[u8], from: SocketAddr, by_tcp: bool) -> Vec<Vec<u8>> {
        let question = with_known_type(question);
        let packet = parse(&question);
        let [one] = packet.questions.as_slice() else {
            panic!("{} questions", packet.questions.len())
        };
        let (name, kind) = (one.qname.to_string(), kind(&one.qtype));
        let has_edns = packet.opt().is_some();
        let (port, id) = (from.port(), packet.id());
        let asked = Asked { name: name.clone(), kind: kind.clone(), by_tcp, port, id };
        self.asked.lock().expect("no panic").push(asked);
        let reply = |id, values: &[(String, Value)], code| reply(&packet, id, values, code);
        let own = |values: &[Value]| -> Vec<(String, Value)> {
            values.iter().map(|value| (name.clone(), value.clone())).collect()
        };
        match (self.zone)(&name.to_ascii_lowercase(), &kind) {
            Says::Records(values) => vec![reply(id, &own(&values), RCODE::NoError)],
            Says::Signed(values) => vec![signed(reply(id, &own(&values), RCODE::NoError))],
            Says::Passing(values) => vec![reply_for(&packet, id, &own(&values), RCODE::NoError, 0)],
            Says::All(values) => vec![reply(id, &values, RCODE::NoError)],
            Says::NoName => vec![reply(id, &[], RCODE::NameError)],
            Says::Code(code) => vec![reply(id, &[], code)],
            Says::Silence => Vec::new(),
            Says::OnlyByTcp(values) if by_tcp => vec![reply(id, &own(&values), RCODE::NoError)],
            Says::OnlyByTcp(_) => {
                let mut cut = reply(id, &[], RCODE::NoError);
                cut[2] |= 2;
                vec![cut]
            }
            Says::OnlyWithoutEdns(_) if has_edns => vec![reply(id, &[], RCODE::FormatError)],
            Says::OnlyWithoutEdns(values) => vec![reply(id, &own(&values), RCODE::NoError)],
            Says::BehindForged(values) => {
                let wrong = [("wrong.test".to_owned(), address("127.0.0.66"))];
                let mut other = Packet::new_reply(id);
                let question = simple_dns::Question::new(
                    Name::new_unchecked("other.test"),
                    one.qtype,
                    one.qclass,
                    false,
                );
                other.questions.push(question);
                vec![
                    reply(id.wrapping_add(1), &wrong, RCODE::NoError),
                    other.build_bytes_vec().expect("a message"),
                    question_of(&packet),
                    b"no message".to_vec(),
                    reply(id, &own(&values), RCODE::NoError),
                ]
            }
            Says::Bytes(bytes) => vec![[&id.to_be_bytes()[..], &bytes].concat()],
        }
    }
}

fn question_of(packet: &Packet<'_>) -> Vec<u8> {
    packet.build_bytes_vec().expect("a message")
}

fn kind(kind: &simple_dns::QTYPE) -> String {
    match kind {
        simple_dns::QTYPE::TYPE(TYPE::Unknown(TLSA)) => "TLSA".to_owned(),
        simple_dns::QTYPE::TYPE(kind) => format!("{kind:?}"),
        other => format!("{other:?}"),
    }
}

/// simple-dns reads no question about a TLSA: here it is one about a NULL.
fn with_known_type(question: &[u8]) -> Vec<u8> {
    let mut question = question.to_vec();
    let end = 12 + question[12..].iter().position(|byte| *byte == 0).expect("the name's end");
    if question[end + 1..end + 3] == TLSA.to_be_bytes() {
        question[end + 1..end + 3].copy_from_slice(&[0, 10]);
    }
    question
}

/// Reads a question of [`with_known_type`].
fn parse(question: &[u8]) -> Packet<'_> {
    let mut packet = Packet::parse(question).expect("a question");
    for question in &mut packet.questions {
        if question.qtype == simple_dns::QTYPE::TYPE(TYPE::NULL) {
            question.qtype = simple_dns::QTYPE::TYPE(TYPE::Unknown(TLSA));
        }
    }
    packet
}

fn signed(mut reply: Vec<u8>) -> Vec<u8> {
    reply[3] |= AUTHENTIC_DATA;
    reply
}

fn bytes_of(value: &Value) -> Vec<u8> {
    match value {
        Value::Tlsa(usage, selector, matching, data) => {
            [&[*usage, *selector, *matching][..], data].concat()
        }
        _ => Vec::new(),
    }
}

fn reply(question: &Packet<'_>, id: u16, values: &[(String, Value)], code: RCODE) -> Vec<u8> {
    reply_for(question, id, values, code, 300)
}

/// As [`reply`]; the records may be kept for these seconds.
fn reply_for(
    question: &Packet<'_>,
    id: u16,
    values: &[(String, Value)],
    code: RCODE,
    ttl: u32,
) -> Vec<u8> {
    // What simple-dns does not know is written as bytes.
    let bytes: Vec<Vec<u8>> = values.iter().map(|(_, value)| bytes_of(value)).collect();
    let mut reply = Packet::new_reply(id);
    *reply.rcode_mut() = code;
    reply.questions.clone_from(&question.questions);
    for ((name, value), bytes) in values.iter().zip(&bytes) {
        let data = match value {
            Value::Mx(preference, host) => {
                RData::MX(MX { preference: *preference, exchange: Name::new_unchecked(host) })
            }
            Value::Address(IpAddr::V4(address)) => RData::A(A { address: (*address).into() }),
            Value::Address(IpAddr::V6(address)) => RData::AAAA(AAAA { address: (*address).into() }),
            Value::Alias(name) => RData::CNAME(CNAME(Name::new_unchecked(name))),
            Value::Tlsa(..) => RData::NULL(TLSA, NULL::new(bytes).expect("short data")),
        };
        let record = ResourceRecord::new(Name::new_unchecked(name), CLASS::IN, ttl, data);
        reply.answers.push(record);
    }
    reply.build_bytes_vec_compressed().expect("a message")
}
