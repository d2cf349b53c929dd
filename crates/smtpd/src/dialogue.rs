//! The commands of a session and the state they lead to. No stream in here: a line goes in, what
//! is to be done comes out.

use forknet::{Title, in_title};

use crate::address::{self, Path, is_hello_name, is_literal};
use crate::commands::{self, State};
use crate::envelope::{Caller, Envelope, Hello};
use crate::options::{Config, Vrfy};
use crate::params;
use crate::recipient;
use crate::reply::Reply;
use crate::space::has_room;
use crate::trace::literal;
use crate::verify::verify;

/// Longest command line with its CRLF (RFC 5321 §4.5.3.1.4).
pub const MAX_COMMAND: usize = 512;
/// What SIZE and BODY add to that for MAIL (RFC 1870 §3, RFC 6152 §2).
pub const MAX_MAIL_EXTRA: usize = 26 + 17;
/// So many commands that break the protocol, since the last letter, end the session.
const MAX_BAD_COMMANDS: u32 = 50;
/// So many names that nobody has end the session, whether RCPT or VRFY asks: it is guessing.
const MAX_UNKNOWN_NAMES: u32 = 1000;

/// What is to be done about a command.
#[derive(Debug)]
pub enum Action {
    /// Answer.
    Answer(Reply),
    /// Take in the letter: the envelope is complete.
    Letter,
    /// Answer and hang up.
    Leave(Reply),
}

/// One client's dialogue: who it is, what it has said so far.
#[derive(Debug)]
pub struct Dialogue<'a> {
    config: &'a Config,
    caller: Caller,
    state: State,
    hello: Hello,
    envelope: Envelope,
    /// Letters taken so far.
    letters: u32,
    title: Title,
    bad_commands: u32,
    unknown_names: u32,
}

impl<'a> Dialogue<'a> {
    /// A dialogue before its first command. `title` tells `ps` the state from now on.
    #[must_use]
    pub fn new(config: &'a Config, caller: Caller, title: Title) -> Dialogue<'a> {
        let mut dialogue = Dialogue {
            config,
            caller,
            state: State::Start,
            hello: Hello { name: String::new(), extended: false },
            envelope: Envelope::default(),
            letters: 0,
            title,
            bad_commands: 0,
            unknown_names: 0,
        };
        dialogue.enter(State::Start);
        dialogue
    }

    /// The greeting.
    #[must_use]
    pub fn greeting(&self) -> Reply {
        Reply::plain(220, format!("{} ESMTP forklore ready", self.config.hostname))
    }

    /// Who is at the other end.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// What the client called itself.
    #[must_use]
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// The transaction in progress.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Does one command line, given without its line end.
    pub fn command(&mut self, line: &[u8]) -> Action {
        let Some((command, rest)) = commands::find(line) else {
            return self.bad(Reply::new(500, "5.5.1", "Command not recognized"));
        };
        let most = if command.verb == "MAIL" { MAX_COMMAND + MAX_MAIL_EXTRA } else { MAX_COMMAND };
        if line.len() + 2 > most {
            return self.too_long();
        }
        if rest.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return self.bad(Reply::new(501, "5.5.2", "CR or NUL in a command"));
        }
        let argument = rest.trim_ascii();
        if command.is_argument_wrong(argument) {
            return self.bad(Reply::new(501, "5.5.4", format!("Syntax: {}", command.usage)));
        }
        if !command.when.contains(&self.state) {
            return Action::Answer(self.out_of_order());
        }
        match (command.act)(self, argument) {
            Action::Answer(reply) if reply.is_bad_command() => self.bad(reply),
            other => other,
        }
    }

    /// The answer to a line over the limit, of which nothing is done.
    pub fn too_long(&mut self) -> Action {
        self.bad(Reply::new(500, "5.5.2", "Line too long"))
    }

    /// The letter was received, or refused after its end: the transaction is over.
    pub fn letter_done(&mut self, accepted: bool) {
        if accepted {
            self.bad_commands = 0;
            self.letters = self.letters.saturating_add(1);
        }
        self.reset();
    }

    /// Counts a command that broke the protocol.
    fn bad(&mut self, reply: Reply) -> Action {
        self.bad_commands += 1;
        if self.bad_commands >= MAX_BAD_COMMANDS {
            return Action::Leave(Reply::new(421, "4.7.0", "Too many bad commands, closing"));
        }
        Action::Answer(reply)
    }

    fn out_of_order(&self) -> Reply {
        let text = match self.state {
            State::Start => "Say HELO or EHLO first",
            State::Ready => "Say MAIL first",
            State::Mail | State::Rcpt | State::Data => "A letter is in progress; RSET drops it",
        };
        Reply::new(503, "5.5.1", text)
    }

    fn reset(&mut self) {
        self.envelope = Envelope::default();
        if self.state != State::Start {
            self.enter(State::Ready);
        }
    }

    /// Changes the state, and shows it: `smtpd: 127.0.0.1:52100 red.test RCPT`.
    fn enter(&mut self, state: State) {
        self.state = state;
        let name = in_title(self.hello.name.as_bytes());
        match (state, self.letters) {
            (State::Start, _) => self.title.set("connected"),
            (State::Ready, 0) => self.title.set(format_args!("{name} idle")),
            (State::Ready, 1) => self.title.set(format_args!("{name} idle, 1 letter")),
            (State::Ready, n) => self.title.set(format_args!("{name} idle, {n} letters")),
            (State::Mail, _) => self.title.set(format_args!("{name} MAIL")),
            (State::Rcpt, _) => self.title.set(format_args!("{name} RCPT")),
            (State::Data, _) => self.title.set(format_args!("{name} DATA")),
        }
    }

    /// HELO and EHLO (RFC 5321 §4.1.1.1). The name is not compared with anything (§4.1.4).
    pub(crate) fn greet(&mut self, argument: &[u8], extended: bool) -> Action {
        if !is_hello_name(argument) && !is_literal(argument) {
            return Action::Answer(Reply::new(501, "5.5.4", "Not a domain or address literal"));
        }
        // ASCII alone, see above.
        let name = String::from_utf8_lossy(argument).into_owned();
        let from = self.caller.ip.map(|ip| format!(" {}", literal(ip))).unwrap_or_default();
        let hello = Reply::plain(250, format!("{} greets {name}{from}", self.config.hostname));
        self.hello = Hello { name, extended };
        self.envelope = Envelope::default();
        self.enter(State::Ready);
        if !extended {
            return Action::Answer(hello);
        }
        let reply = hello
            .and(format!("SIZE {}", self.config.max_size))
            .and("PIPELINING")
            .and("8BITMIME")
            .and("ENHANCEDSTATUSCODES");
        let reply = if self.may_verify() { reply.and("VRFY") } else { reply };
        Action::Answer(reply.and("HELP"))
    }

    /// MAIL (RFC 5321 §4.1.1.2).
    pub(crate) fn mail(&mut self, argument: &[u8]) -> Action {
        match self.sender(argument) {
            Ok((sender, size)) => {
                self.envelope = Envelope { sender, size, ..Envelope::default() };
                self.enter(State::Mail);
                Action::Answer(Reply::new(250, "2.1.0", "Sender accepted"))
            }
            Err(reply) => Action::Answer(reply),
        }
    }

    /// The reverse-path and the declared size.
    fn sender(&self, argument: &[u8]) -> Result<(String, u64), Reply> {
        let (path, rest) = self.path(argument, b"FROM:", "5.1.7")?;
        let params = params::mail(rest)?;
        let size = params.size.unwrap_or(0);
        if self.config.max_size > 0 && size > self.config.max_size {
            return Err(Reply::new(552, "5.3.4", "The letter is too large"));
        }
        let needed = size.saturating_add(self.config.min_free);
        if recipient::sample_maildir(self.config).is_some_and(|dir| !has_room(&dir, needed)) {
            log::warn!("disk low: less than {needed} octets free for mail");
            return Err(no_room());
        }
        let sender = match path {
            Path::Null => String::new(),
            Path::Mailbox(mailbox) => mailbox.text,
            Path::Name(name) => self.qualified(&name)?,
        };
        Ok((sender, size))
    }

    /// The slides' `MAIL FROM:<frol>`: somebody of this machine.
    fn qualified(&self, name: &[u8]) -> Result<String, Reply> {
        let text = format!("{}@{}", address::local_part(name), self.config.hostname);
        match address::bare(text.as_bytes()) {
            Ok(Path::Mailbox(mailbox)) => Ok(mailbox.text),
            _ => Err(Reply::new(501, "5.1.7", "Bad sender: it needs a domain")),
        }
    }

    /// `FROM:` or `TO:` in any case, a space perhaps, and the path.
    fn path<'b>(
        &self,
        argument: &'b [u8],
        word: &[u8],
        status: &'static str,
    ) -> Result<(Path, &'b [u8]), Reply> {
        let syntax = || format!("Syntax: {}<address>", word.escape_ascii());
        let (head, rest) = argument.split_at_checked(word.len()).unwrap_or((argument, &[]));
        if !head.eq_ignore_ascii_case(word) {
            return Err(Reply::new(501, "5.5.4", syntax()));
        }
        let path = rest.trim_ascii_start();
        if self.config.strict_space && path.len() < rest.len() {
            return Err(Reply::new(501, "5.5.4", syntax()));
        }
        address::path(path).map_err(|bad| Reply::new(501, status, bad.0))
    }

    /// RCPT (RFC 5321 §4.1.1.3).
    pub(crate) fn rcpt(&mut self, argument: &[u8]) -> Action {
        match self.recipient(argument) {
            Ok(recipient) => {
                self.envelope.add(recipient);
                self.enter(State::Rcpt);
                Action::Answer(Reply::new(250, "2.1.5", "Recipient accepted"))
            }
            Err(reply) => {
                let count = if reply.code() < 500 {
                    &mut self.envelope.deferred
                } else {
                    &mut self.envelope.rejected
                };
                *count += 1;
                self.answer_about_name(reply)
            }
        }
    }

    /// The answer to RCPT or VRFY. Who asks for a name that nobody has is counted.
    fn answer_about_name(&mut self, reply: Reply) -> Action {
        self.unknown_names += u32::from(reply.code() == 550);
        if self.unknown_names >= MAX_UNKNOWN_NAMES {
            return Action::Leave(Reply::new(421, "4.7.0", "Too many unknown names, closing"));
        }
        Action::Answer(reply)
    }

    fn recipient(&self, argument: &[u8]) -> Result<recipient::Recipient, Reply> {
        let (path, rest) = self.path(argument, b"TO:", "5.1.3")?;
        params::rcpt(rest)?;
        // Without a domain only the postmaster is known everywhere (RFC 5321 §4.1.1.3).
        if matches!(&path, Path::Name(name) if !name.eq_ignore_ascii_case(b"postmaster")) {
            return Err(Reply::new(501, "5.1.3", "The recipient needs a domain"));
        }
        if self.envelope.accepted >= self.config.max_recipients {
            return Err(Reply::new(452, "4.5.3", "Too many recipients"));
        }
        let recipient = recipient::resolve(self.config, &path)?;
        let needed = self.envelope.size.saturating_add(self.config.min_free);
        if has_room(&recipient.maildir, needed) { Ok(recipient) } else { Err(no_room()) }
    }

    /// DATA (RFC 5321 §4.1.1.4). Where all recipients were refused, so is the letter
    /// (RFC 2920 §3.1): for now where each of them was refused for now, since a 5yz would tell that
    /// the same sequence of commands is of no use later (RFC 5321 §4.2.1).
    pub(crate) fn data(&mut self) -> Action {
        if self.state == State::Rcpt {
            self.enter(State::Data);
            return Action::Letter;
        }
        if self.envelope.deferred > 0 && self.envelope.rejected == 0 {
            let text = "No recipient can be taken now, try again later";
            return Action::Answer(Reply::new(451, "4.3.0", text));
        }
        Action::Answer(Reply::new(554, "5.5.1", "No valid recipients"))
    }

    pub(crate) fn rset(&mut self) -> Action {
        self.reset();
        Action::Answer(Reply::new(250, "2.0.0", "Forgotten"))
    }

    fn may_verify(&self) -> bool {
        match self.config.vrfy {
            Vrfy::All => true,
            Vrfy::Loopback => self.caller.is_loopback,
            Vrfy::Nobody => false,
        }
    }

    /// VRFY (RFC 5321 §3.5). It changes nothing.
    pub(crate) fn vrfy(&mut self, argument: &[u8]) -> Action {
        if !self.may_verify() {
            let text = "Cannot VRFY, but will take letters and try";
            return Action::Answer(Reply::new(252, "2.5.2", text));
        }
        self.answer_about_name(verify(self.config, argument))
    }

    pub(crate) fn quit(&mut self) -> Action {
        let text = format!("{} closes the connection", self.config.hostname);
        Action::Leave(Reply::new(221, "2.0.0", text))
    }
}

fn no_room() -> Reply {
    Reply::new(452, "4.3.1", "Not enough room on the disk, try again later")
}
