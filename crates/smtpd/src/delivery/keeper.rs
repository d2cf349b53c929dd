//! Users and mailboxes as the process sees them that talks to a client: it has no files, and asks the
//! keeper.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use forknet::{Answer, Line, Peer, reason};

use crate::delivery::users::is_configured;
use crate::options::Config;
use crate::protocol::address::{self, Name, Path};
use crate::protocol::envelope::{Envelope, Login, Recipient, Way};
use crate::protocol::lookup::{Commit, Delivered, Delivery, LocalUser, Mailboxes, Refusal};
use crate::protocol::origin::{Origin, add_recipient};
use crate::protocol::params::RcptParams;
use crate::protocol::question::{
    ABORT, CLEAR, END, HEAD, QUARANTINE, Question, RECIPIENTS, TEXT, Verdict, decode_moved,
    decode_users, decode_verdicts,
};
use crate::protocol::records::{LONGEST_RECORD, Packer};
use crate::protocol::reply::Reply;
use crate::protocol::stored::Stored;

/// Longest wait for an answer about a user: a long users file on a busy machine.
const ANSWER_WAIT: Duration = Duration::from_secs(60);
/// Longest wait until a letter is safe: the client waits ten minutes (RFC 5321 §4.5.3.2.6).
const DELIVERY_WAIT: Duration = Duration::from_secs(480);
/// Longest wait until the process that receives a letter takes the next piece.
const PIECE_WAIT: Duration = Duration::from_secs(60);
/// Longest wait until that process forgets a letter.
const ABORT_WAIT: Duration = Duration::from_secs(5);

/// Asks the keeper.
#[derive(Debug)]
pub struct Keeper<'a> {
    config: &'a Config,
    line: Option<Line>,
    peer: Peer,
    /// The user who has logged in.
    login: RefCell<Login>,
    /// It has tried recipients, and their letter has not come yet.
    has_recipients: Cell<bool>,
    /// A question was asked for this client: the process may be one that another client has left.
    has_asked: Cell<bool>,
}

impl<'a> Keeper<'a> {
    /// Asks over this line, for this client.
    #[must_use]
    pub fn new(config: &'a Config, line: Option<Line>, peer: Peer) -> Keeper<'a> {
        let [has_recipients, has_asked] = [false; 2].map(Cell::new);
        Keeper { config, line, peer, login: RefCell::default(), has_recipients, has_asked }
    }

    /// Asks a question; an answer is a verdict or users.
    fn ask(&self, question: &Question) -> Result<Vec<u8>, Verdict> {
        let record = question.encode(self.peer).ok_or(Verdict::Unknown)?;
        self.has_asked.set(true);
        let why = match self.line.as_ref().map(|line| line.ask(&record, ANSWER_WAIT)) {
            Some(Ok(Answer::Final(answer) | Answer::More(answer))) => return Ok(answer),
            Some(Ok(_)) => "an answer that is none".into(),
            Some(Err(error)) => reason(&error),
            None => "no keeper".into(),
        };
        log::error!("{}: keeper: {why}", self.peer);
        Err(Verdict::Unusable)
    }

    /// Has a process of the keeper's connect to the filter of this number.
    ///
    /// # Errors
    /// It could not, which the log tells; no answer came.
    pub fn connect_filter(&self, number: u64) -> io::Result<OwnedFd> {
        let record =
            Question::Filter { number }.encode(self.peer).ok_or(ErrorKind::InvalidInput)?;
        let line = self.line.as_ref().ok_or(ErrorKind::NotConnected)?;
        self.has_asked.set(true);
        line.ask_for(&record, ANSWER_WAIT)?.1.ok_or_else(|| ErrorKind::NotConnected.into())
    }

    fn verdict(&self, question: &Question) -> Verdict {
        match self.ask(question) {
            Ok(answer) => Verdict::decode(&answer).unwrap_or(Verdict::Unusable),
            Err(verdict) => verdict,
        }
    }

    fn users(&self, question: &Question) -> Result<Vec<LocalUser>, Reply> {
        let answer = self.ask(question).map_err(Verdict::reply)?;
        let verdict = || Verdict::decode(&answer).unwrap_or(Verdict::Unusable).reply();
        decode_users(&answer).ok_or_else(|| self.moved(&answer).unwrap_or_else(verdict))
    }

    /// Returns the reply about a user who has moved; `None` for every other answer. Those who may VRFY learn the new address, and letters are sent on silently for the others (RFC 5321 §3.4, §7.4).
    fn moved(&self, answer: &[u8]) -> Option<Reply> {
        let (address, is_sent_on) = decode_moved(answer)?;
        let address = address::ascii(address);
        Some(match (is_sent_on, self.config.may_verify(self.peer.is_loopback())) {
            (true, true) => {
                Reply::new(251, "2.1.5", format!("User not local; will forward to <{address}>"))
            }
            (true, false) => Verdict::Accepted.reply(),
            (false, true) => {
                Reply::new(551, "5.1.6", format!("User not local; please try <{address}>"))
            }
            (false, false) => Reply::new(551, "5.1.6", "User not local, has moved"),
        })
    }

    /// Returns the name in a path, if that may be a user of ours, or the client may send elsewhere.
    fn name(&self, path: &Path, may_be_elsewhere: bool) -> Result<Name, Reply> {
        let needed = || Reply::new(501, "5.1.3", "A recipient needs a name");
        let name = path.name().ok_or_else(needed)?;
        let is_ours = name.domain.is_empty() // a literal may be an address of this host
            || name.domain.starts_with(b"[")
            || is_configured(self.config, &name.domain);
        match is_ours || may_be_elsewhere {
            true => Ok(name),
            false => Err(Verdict::Elsewhere.reply()),
        }
    }

    /// Tells the process that has answered, where there is one, that this was all.
    fn end_with(&self, last: &Question) {
        if let Some(line) = self.line.as_ref().filter(|line| line.has_process())
            && let Some(last) = last.encode(self.peer)
            && let Err(error) = line.ask_last(&last)
        {
            log::debug!("{}: keeper: {}", self.peer, reason(&error));
        }
        self.has_recipients.set(false);
    }

    /// Returns whether it is worth a question, whose answer decides.
    fn may_relay(&self) -> bool {
        let has_login = !self.login.borrow().name.is_empty();
        self.config.relay.queue.is_some() && (has_login || self.config.relay.is_ours(self.peer))
    }
}

impl Drop for Keeper<'_> {
    /// In a worker, the process that has answered stays for the next client.
    fn drop(&mut self) {
        let stays = self.line.as_ref().is_some_and(Line::is_of_several);
        if self.has_asked.get() {
            self.end_with(if stays { &Question::Next } else { &Question::Done });
        }
    }
}

impl Mailboxes for Keeper<'_> {
    fn end_questions(&self) {
        self.end_with(&Question::Done);
    }

    fn find(&self, path: &Path) -> Result<LocalUser, Reply> {
        let found = self.users(&Question::User { name: self.name(path, false)? })?;
        found.into_iter().next().ok_or_else(|| Verdict::Unknown.reply())
    }

    fn members(&self, path: &Path) -> Result<Vec<LocalUser>, Reply> {
        self.users(&Question::Members { name: self.name(path, false)? })
    }

    fn find_by_full_name(&self, name: &[u8]) -> Result<Vec<LocalUser>, Reply> {
        self.users(&Question::FullName { text: name.to_vec() })
    }

    fn recipient(&self, path: &Path, bytes: u64, way: Way) -> Result<(Recipient, Reply), Reply> {
        let name = self.name(path, self.may_relay())?;
        let login = self.login.borrow().clone();
        let question = Question::Recipient { name: name.clone(), bytes, way, login };
        let answer = self.ask(&question).map_err(Verdict::reply)?;
        if let Some(reply) = self.moved(&answer) {
            let is_taken = reply.is_positive();
            let recipient = recipient(self.config, path, name);
            self.has_recipients.set(is_taken || self.has_recipients.get());
            return if is_taken { Ok((recipient, reply)) } else { Err(reply) };
        }
        match Verdict::decode(&answer).unwrap_or(Verdict::Unusable) {
            Verdict::Accepted => {
                self.has_recipients.set(true);
                Ok((recipient(self.config, path, name), Verdict::Accepted.reply()))
            }
            verdict => Err(verdict.reply()),
        }
    }

    fn check_sender(&self, path: &Path) -> Result<(), Reply> {
        let not_own = || Reply::new(553, "5.7.1", "The sender is not an address of yours");
        let name = self.name(path, false).map_err(|_| not_own())?;
        let login = self.login.borrow().clone();
        match self.verdict(&Question::Sender { name, login }) {
            Verdict::Accepted => Ok(()),
            Verdict::Unknown | Verdict::Elsewhere => Err(not_own()),
            verdict => Err(verdict.reply()),
        }
    }

    fn logged_in(&self, login: Login) {
        *self.login.borrow_mut() = login;
    }

    fn forget(&self) {
        if self.has_recipients.replace(false)
            && let Err(verdict) = self.ask(&Question::Forget)
        {
            log::debug!("{}: recipients were not forgotten: {verdict:?}", self.peer);
        }
    }

    fn letter<'a>(
        &'a self,
        id: &str,
        envelope: Rc<Envelope>,
        commit: Commit,
    ) -> Box<dyn Delivery + 'a> {
        let id = id.to_owned();
        let (state, packer) = (State::NotBegun, Packer::default());
        Box::new(Letter { keeper: self, id, envelope, commit, state, packer })
    }
}

/// Returns a recipient whose user was found.
#[must_use]
pub fn recipient(config: &Config, path: &Path, name: Name) -> Recipient {
    let address = match path {
        Path::Mailbox(mailbox) => mailbox.text.clone(),
        _ => format!("{}@{}", address::local_part_utf8(&name.local), config.first_domain()),
    };
    Recipient { address, name, params: RcptParams::default() }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    NotBegun,
    /// Nothing was sent yet.
    Begun,
    Sent,
    Ended,
}

/// A letter on its way to the process that delivers it, which the keeper forks for the first piece.
struct Letter<'a> {
    keeper: &'a Keeper<'a>,
    id: String,
    envelope: Rc<Envelope>,
    commit: Commit,
    state: State,
    /// What was not sent yet.
    packer: Packer,
}

impl Letter<'_> {
    fn line(&self) -> Result<&Line, Refusal> {
        self.keeper.line.as_ref().ok_or_else(|| refusal(Verdict::Unusable, "no keeper".into()))
    }

    /// Begins with the names.
    fn begin(&mut self) -> Result<(), Refusal> {
        if self.state != State::NotBegun {
            return Ok(());
        }
        let question = Question::Letter {
            id: self.id.as_bytes().to_vec(),
            sender: self.envelope.sender.as_bytes().to_vec(),
            commit: self.commit,
        };
        let too_long = || refusal(Verdict::Unusable, "a name that is too long".into());
        let record = question.encode(self.keeper.peer).ok_or_else(too_long)?;
        self.state = State::Begun;
        self.add(None, &record)?;
        let origin = Origin::new(&self.keeper.login.borrow(), &self.envelope);
        self.add(None, &origin.encode().ok_or_else(too_long)?)?;
        let mut names = vec![RECIPIENTS];
        let envelope = self.envelope.clone();
        for recipient in &envelope.recipients {
            let mut fields = Vec::new();
            add_recipient(&mut fields, recipient).ok_or_else(too_long)?;
            if names.len() + fields.len() > LONGEST_RECORD {
                self.add(None, &names)?;
                names.truncate(1);
            }
            names.extend(fields);
        }
        self.add(None, &names)
    }

    /// Sends the end, and waits for the verdict about each recipient.
    fn deliver(&mut self) -> Result<(Stored, Vec<Verdict>), Refusal> {
        self.begin()?;
        self.add(None, END)?;
        self.send()?;
        self.state = State::Ended;
        match self.line()?.finish(DELIVERY_WAIT) {
            Ok(Answer::More(answer)) => {
                let read = Stored::decode(&answer);
                let read = read.and_then(|(stored, rest)| Some((stored, decode_verdicts(rest)?)));
                let recipients = self.envelope.recipients.len();
                read.filter(|(_, verdicts)| verdicts.len() == recipients).ok_or_else(no_answer)
            }
            Ok(_) => Err(no_answer()),
            Err(error) => Err(lost(&error)),
        }
    }

    /// Adds a record, which is first byte and rest, and sends those before where there is no room for it.
    fn add(&mut self, first: Option<u8>, rest: &[u8]) -> Result<(), Refusal> {
        if self.packer.add(first, rest) {
            return Ok(());
        }
        self.send()?;
        let too_long = || refusal(Verdict::Unusable, "a record that is too long".into());
        self.packer.add(first, rest).then_some(()).ok_or_else(too_long)
    }

    /// Sends what was added.
    fn send(&mut self) -> Result<(), Refusal> {
        let (message, line) = (self.packer.take(), self.line()?);
        if self.state == State::Sent {
            return line.add(&message, PIECE_WAIT).map_err(|error| lost(&error));
        }
        self.keeper.has_recipients.set(false);
        self.keeper.has_asked.set(true);
        let sent = line.begin(&message).map_err(|error| lost(&error));
        self.state = State::Sent;
        sent
    }

    /// Adds bytes in records with this first byte.
    fn add_pieces(&mut self, first: u8, bytes: &[u8]) -> Result<(), Refusal> {
        bytes.chunks(LONGEST_RECORD - 1).try_for_each(|piece| self.add(Some(first), piece))
    }
}

impl Delivery for Letter<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.begin()?;
        self.add_pieces(TEXT, bytes)
    }

    fn head(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.begin()?;
        self.add_pieces(HEAD, bytes)
    }

    fn clear(&mut self) -> Result<(), Refusal> {
        self.begin()?;
        self.add(None, CLEAR)
    }

    fn quarantine(&mut self, reason: &str) -> Result<(), Refusal> {
        if self.keeper.config.guards.milters.quarantine.is_none() {
            let text = "The letter would be kept back, and there is no place for it";
            let reply = Reply::new(451, "4.7.1", text);
            return Err(Refusal { reply, reason: format!("filter: quarantine: {reason}") });
        }
        self.begin()?;
        log::info!("{}: letter {}: kept back: {reason}", self.keeper.peer, self.id);
        self.add(Some(QUARANTINE), reason.as_bytes())
    }

    fn finish(mut self: Box<Self>) -> Delivered {
        match self.deliver() {
            Ok((stored, verdicts)) => {
                Delivered { answers: verdicts.into_iter().map(answer_of).collect(), stored }
            }
            Err(refusal) => Delivered::to_none(self.envelope.recipients.len(), refusal),
        }
    }
}

impl Drop for Letter<'_> {
    /// Has a letter forgotten of which something was sent, and not all, so that the next one can follow.
    fn drop(&mut self) {
        let (State::Sent, Some(line)) = (self.state, &self.keeper.line) else { return };
        let mut last = Packer::default();
        let _ = last.add(None, ABORT); // there is room
        if let Err(error) =
            line.add(&last.take(), ABORT_WAIT).and_then(|()| line.finish(ABORT_WAIT))
        {
            log::debug!("{}: keeper: {}", self.keeper.peer, reason(&error));
        }
    }
}

fn answer_of(verdict: Verdict) -> Result<(), Refusal> {
    match verdict {
        Verdict::Accepted => Ok(()),
        verdict => Err(refusal(verdict, "not stored".into())),
    }
}

fn no_answer() -> Refusal {
    refusal(Verdict::Unusable, "keeper: an answer that is none".into())
}

fn lost(error: &std::io::Error) -> Refusal {
    refusal(Verdict::Unusable, format!("keeper: {}", reason(error)))
}

/// Returns the refusal of a letter.
#[must_use]
pub fn refusal(verdict: Verdict, reason: String) -> Refusal {
    let reply = match verdict {
        Verdict::NoRoom => Reply::new(452, "4.3.1", "No room for the letter, try again later"),
        Verdict::Unknown | Verdict::Rejected => verdict.reply(),
        _ => Reply::new(451, "4.3.0", "The letter could not be stored, try again later"),
    };
    Refusal { reply, reason }
}
