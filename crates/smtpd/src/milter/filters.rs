//! The filters of one session, asked in turn at each of its steps.

use std::fmt::Display;
use std::io;
use std::net::IpAddr;

use forknet::reason;

use crate::milter::connection::{Changes, Connection, Macros, Said, Step};
use crate::milter::packet::texts;
use crate::options::milters::OnFailure;
use crate::protocol::envelope::{ClientAddress, Envelope, Hello, Recipient};
use crate::protocol::reply::Reply;

/// How far a filter has taken what is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Asked,
    /// It has accepted this letter.
    PassesLetter,
    /// It has accepted the client.
    PassesSession,
}

#[derive(Debug)]
struct Filter {
    name: String,
    /// `None` once it has failed.
    connection: Option<Connection<forknet::Connection>>,
    standing: Standing,
}

/// The filters of a session.
#[derive(Debug)]
pub struct Filters {
    all: Vec<Filter>,
    on_failure: OnFailure,
    /// The client's address for the log.
    peer: String,
    /// A filter has taken the letter to throw it away.
    discards: bool,
}

/// The reply where a filter is needed and does not work.
fn unavailable() -> Reply {
    Reply::new(451, "4.7.1", "A filter does not work now, try again later")
}

impl Filters {
    /// Begins without filters.
    #[must_use]
    pub fn new(on_failure: OnFailure, peer: impl Display) -> Filters {
        Filters { all: Vec::new(), on_failure, peer: peer.to_string(), discards: false }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Adds a filter with its connection, or why there is none.
    pub fn add(&mut self, name: String, made: io::Result<forknet::Connection>, quarantine: bool) {
        let made = made.and_then(|stream| Connection::negotiate(stream, quarantine));
        let peer = &self.peer;
        let connection = made.inspect_err(|error| failed(peer, &name, error)).ok();
        self.all.push(Filter { name, connection, standing: Standing::Asked });
    }

    /// A client has connected.
    ///
    /// # Errors
    /// The reply in place of the greeting.
    pub fn connect(&mut self, client: &ClientAddress, hostname: &str) -> Result<(), Reply> {
        let (name, address) = match client.ip.map(|ip| ip.to_canonical()) {
            Some(ip) => (format!("[{ip}]"), ip.to_string()),
            None => ("localhost".to_owned(), String::new()),
        };
        let mut data = texts(&[name.as_bytes()]);
        match client.ip.map(|ip| ip.to_canonical()) {
            Some(IpAddr::V4(_)) => data.push(b'4'),
            Some(IpAddr::V6(_)) => data.push(b'6'),
            None => data.push(b'U'),
        }
        if client.ip.is_some() {
            let port = client.name.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            data.extend(port.unwrap_or_default().to_be_bytes());
            data.extend(texts(&[address.as_bytes()]));
        }
        let macros = [
            ("j", hostname),
            ("v", "forklore"),
            ("{daemon_name}", "smtpd"),
            ("{client_name}", &name),
            ("{client_addr}", &address),
            ("_", &name),
        ];
        self.ask(Step::Connect, &data, &macros)
    }

    /// HELO or EHLO.
    ///
    /// # Errors
    /// The reply.
    pub fn hello(&mut self, client: &ClientAddress, hello: &Hello) -> Result<(), Reply> {
        self.abort();
        let is_tls = client.tls == crate::protocol::envelope::StartTls::UnderTls;
        let macros: &[(&str, &str)] = if is_tls { &[("{tls_version}", "TLS")] } else { &[] };
        self.ask(Step::Hello, &texts(&[&hello.name]), macros)
    }

    /// MAIL.
    ///
    /// # Errors
    /// The reply.
    pub fn mail(&mut self, client: &ClientAddress, envelope: &Envelope) -> Result<(), Reply> {
        self.discards = false;
        for filter in &mut self.all {
            if filter.standing == Standing::PassesLetter {
                filter.standing = Standing::Asked;
            }
        }
        let path = format!("<{}>", envelope.sender);
        let size = format!("SIZE={}", envelope.size());
        let both = [path.as_bytes(), size.as_bytes()];
        let given = if envelope.size() > 0 { &both[..] } else { &both[..1] };
        let host = envelope.sender.rsplit_once('@').map_or("", |(_, host)| host);
        let mut macros = vec![
            ("{mail_addr}", envelope.sender.as_str()),
            ("{mail_host}", host),
            ("{mail_mailer}", "smtp"),
        ];
        if let Some(user) = &client.user {
            macros.extend([("{auth_authen}", user.as_str()), ("{auth_type}", "SASL")]);
        }
        self.ask(Step::Mail, &texts(given), &macros)
    }

    /// RCPT.
    ///
    /// # Errors
    /// The reply.
    pub fn recipient(&mut self, recipient: &Recipient) -> Result<(), Reply> {
        let address = recipient.address.as_str();
        let host = address.rsplit_once('@').map_or("", |(_, host)| host);
        let macros = [("{rcpt_addr}", address), ("{rcpt_host}", host), ("{rcpt_mailer}", "local")];
        self.ask(Step::Recipient, &texts(&[format!("<{address}>").as_bytes()]), &macros)
    }

    /// DATA, or the first BDAT.
    ///
    /// # Errors
    /// The reply.
    pub fn data(&mut self) -> Result<(), Reply> {
        self.ask(Step::Data, b"", &[])
    }

    /// A field of the header.
    ///
    /// # Errors
    /// The reply to the letter.
    pub(super) fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), Reply> {
        self.each(Step::Field, |filter| filter.field(name, value))
    }

    /// The end of the header.
    ///
    /// # Errors
    /// The reply to the letter.
    pub(super) fn end_of_header(&mut self, id: &str) -> Result<(), Reply> {
        self.ask(Step::EndOfHeader, b"", &[("i", id)])
    }

    /// A part of the body, with CRLF.
    ///
    /// # Errors
    /// The reply to the letter.
    pub(super) fn body(&mut self, text: &[u8]) -> Result<(), Reply> {
        self.each(Step::Body, |filter| filter.body(text))
    }

    /// Whether a filter looks at bodies.
    pub(super) fn wants_body(&self) -> bool {
        self.all.iter().any(|filter| {
            filter.standing == Standing::Asked
                && filter.connection.as_ref().is_some_and(|it| it.wants(Step::Body))
        })
    }

    /// Whether a filter has taken the letter to throw it away.
    pub(super) fn discards(&self) -> bool {
        self.discards
    }

    /// The end of the letter; returns the changes of each filter in turn.
    ///
    /// # Errors
    /// The reply to the letter.
    pub(super) fn end(&mut self, id: &str) -> Result<Vec<Changes>, Reply> {
        let mut all = Vec::new();
        self.each(Step::Body, |filter| {
            let (said, changes) = filter.end(&[("i", id)])?;
            all.push(changes);
            Ok(said)
        })?;
        Ok(all)
    }

    fn ask(&mut self, step: Step, data: &[u8], macros: Macros<'_>) -> Result<(), Reply> {
        self.each(step, |filter| filter.step(step, data, macros))
    }

    /// Asks each filter that has not passed the letter or failed.
    fn each(
        &mut self,
        step: Step,
        mut ask: impl FnMut(&mut Connection<forknet::Connection>) -> io::Result<Said>,
    ) -> Result<(), Reply> {
        for filter in &mut self.all {
            if self.discards {
                return Ok(());
            }
            if filter.standing != Standing::Asked {
                continue;
            }
            let Some(connection) = &mut filter.connection else {
                // The reply to MAIL says so: the client may yet say QUIT.
                let is_early = matches!(step, Step::Connect | Step::Hello);
                if self.on_failure == OnFailure::Accept || is_early {
                    continue;
                }
                return Err(unavailable());
            };
            match ask(connection) {
                Ok(Said::Continue) => {}
                Ok(Said::Accept) => {
                    let is_early = matches!(step, Step::Connect | Step::Hello);
                    filter.standing =
                        if is_early { Standing::PassesSession } else { Standing::PassesLetter };
                }
                Ok(Said::Discard) => {
                    log::info!("{}: milter {}: discards the letter", self.peer, filter.name);
                    self.discards = true;
                }
                Ok(Said::Refuse(reply)) => return Err(reply),
                Err(error) => {
                    failed(&self.peer, &filter.name, &error);
                    filter.connection = None;
                    let is_early = matches!(step, Step::Connect | Step::Hello);
                    if self.on_failure == OnFailure::Defer && !is_early {
                        return Err(unavailable());
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends a letter that was begun and has no end.
    fn abort(&mut self) {
        for filter in &mut self.all {
            let aborted = filter.connection.as_mut().map(Connection::abort);
            if let Some(Err(error)) = aborted {
                failed(&self.peer, &filter.name, &error);
                filter.connection = None;
            }
        }
    }
}

impl Drop for Filters {
    fn drop(&mut self) {
        self.all.iter_mut().filter_map(|it| it.connection.as_mut()).for_each(Connection::quit);
    }
}

fn failed(peer: &str, name: &str, error: &io::Error) {
    log::warn!("{peer}: milter {name}: {}", reason(error));
}
