use std::cell::RefCell;
use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use accounts::sasl::{Bindings, Terms};
use accounts::{Owner, Secret};
use forknet::{Leftover, Peer, Transcript};
use maild::{Accepted, Answering, Asker, Keeper, Mechanism, Offer, Reply, Said, accepted};
use mailstore::Maildrop;
use nix::unistd::{getegid, geteuid};
use testkit::{TempDir, names};

use super::dialogue::{BUFFER, Session};
use super::front::{self, Left, Logins};
use super::mailbox::open;
use crate::options::{Config, OPTIONS};
use crate::protocol::Protocol;
use crate::protocol::apop;
use crate::protocol::authorization::Offers;
use crate::protocol::end_line::Login;
use crate::protocol::outcome::{Attempt, Outcome};

mod commands;
mod ending;
mod framing;
mod login;
mod sasl;

/// A folder with a users file and the Maildir of mrose, whose password is tanstaaf.
struct Home(TempDir);

impl Home {
    fn new(letters: &[&str]) -> Home {
        let home = Home(TempDir::new());
        fs::create_dir_all(home.maildir().join("new")).unwrap();
        fs::create_dir_all(home.maildir().join("cur")).unwrap();
        let users = format!("mrose:{{PLAIN}}tanstaaf:::Rose:{}:\n", home.0.path().display());
        home.write_users(&users);
        for (number, letter) in (1..).zip(letters) {
            fs::write(home.maildir().join(format!("new/{number}.a.test")), letter).unwrap();
        }
        home
    }

    /// Writes the users file, which others may not read.
    fn write_users(&self, users: &str) {
        fs::write(self.users(), users).unwrap();
        fs::set_permissions(self.users(), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn users(&self) -> PathBuf {
        self.0.path().join("users")
    }

    fn maildir(&self) -> PathBuf {
        self.0.path().join("Maildir")
    }

    fn config(&self) -> Config {
        let users = self.users();
        let args = ["--users", users.to_str().unwrap(), "--auth-delay", "0"];
        let args = args.iter().map(OsString::from).collect();
        let values = forknet::parse("pop3d", "", OPTIONS.rows, args).unwrap();
        Config { host: "dewey.test".into(), ..Config::read(&values).unwrap() }
    }

    fn protocol(&self, is_loopback: bool) -> Protocol {
        let config = self.config();
        let offer = config.start().map(|facts| Offer::decode(&facts)).unwrap_or_default();
        let address = if is_loopback { "127.0.0.1:7" } else { "192.0.2.1:7" };
        let peer = Peer::Ip(address.parse().unwrap());
        front::new_protocol((&config, offer), peer, false, &Bindings::default())
    }

    /// Asks a process that answers, which is this one, with the rights that it has.
    fn asker(&self) -> Asker<ThisProcess> {
        let config: &'static Config = Box::leak(Box::new(self.config()));
        Asker::new(ThisProcess { config, answering: Answering::new(&config.mail) }, Peer::Pipe)
    }

    /// Returns the outcome of a line, after checking a login.
    fn line(&self, protocol: &mut Protocol, line: &[u8]) -> Outcome {
        let mut asker = self.asker();
        match protocol.line(line) {
            Outcome::LogIn(Attempt::By(credentials)) => match asker.log_in(credentials) {
                Ok(Accepted { next, .. }) => {
                    let (after, reply) = logged_in(next.unwrap(), false);
                    *protocol = after;
                    Outcome::Reply(reply)
                }
                Err(denied) => protocol.denied(asker.last(), denied),
            },
            other => other,
        }
    }

    /// Runs a session over this stream.
    fn converse(&self, stream: impl Read + Write, protocol: Protocol) -> io::Result<()> {
        self.converse_in_pieces(BUFFER, stream, protocol)
    }

    fn converse_in_pieces(
        &self,
        size: usize,
        mut stream: impl Read + Write,
        protocol: Protocol,
    ) -> io::Result<()> {
        let (config, mut transcript) = (self.config(), Transcript::none());
        let mut front = Session::new(size, (&Leftover::default(), &mut stream), &mut transcript);
        front.queue(&protocol.greeting())?;
        let (offered, host) = (protocol.offers().mechanisms, config.host.clone());
        let terms = Terms { offered, bindings: Bindings::default(), host };
        let logins = Logins::new(&config, self.asker(), terms);
        let Left::LoggedIn(next, left, is_utf8) = front.authorize(&config, protocol, logins)?
        else {
            return Ok(());
        };
        let (protocol, reply) = logged_in(next, is_utf8);
        let session = Session::new(size, (&left, &mut stream), &mut transcript);
        session.transact(protocol, &reply)
    }

    /// Returns the server's replies to `pieces` followed by an end of file.
    fn replies(&self, pieces: &[&[u8]]) -> String {
        self.writes(BUFFER, pieces).concat()
    }

    /// The same, with one string per write.
    fn writes(&self, size: usize, pieces: &[&[u8]]) -> Vec<String> {
        let pieces = pieces.iter().map(|piece| piece.to_vec()).collect();
        let heard = Rc::new(RefCell::new(Vec::new()));
        let stream = Stream { pieces, output: Rc::clone(&heard) };
        self.converse_in_pieces(size, stream, self.protocol(true)).unwrap();
        let writes = heard.take();
        writes.into_iter().map(|write| String::from_utf8(write).unwrap()).collect()
    }

    /// Returns the server's replies after those to USER and PASS.
    fn logged_in(&self, commands: &str) -> String {
        let output =
            self.replies(&[format!("USER mrose\r\nPASS tanstaaf\r\n{commands}").as_bytes()]);
        let mut lines = output.splitn(4, "\r\n");
        for _ in 0..3 {
            let line = lines.next().unwrap();
            assert!(line.starts_with("+OK"), "{output}");
        }
        lines.next().unwrap().to_owned()
    }

    fn letters(&self) -> Vec<String> {
        names(&self.maildir().join("new"))
    }
}

/// Begins TRANSACTION, with what AUTHORIZATION would have offered to a client of this machine.
fn logged_in(
    (user, maildrop, offer): (String, Maildrop, Offer),
    is_utf8: bool,
) -> (Protocol, Vec<u8>) {
    let mechanisms = offer.for_client(true, &Bindings::default());
    let offers = Offers { plaintext: true, mechanisms, ..Offers::default() };
    let (peer, names) = ("test".into(), ("test".into(), "dewey.test".into()));
    let (mechanism, tls, since) = (Mechanism::Pass, "none", Instant::now());
    let login = Login { peer, user, mechanism, tls, is_utf8, since };
    Protocol::logged_in(names, offers, login, maildrop)
}

/// A keeper that is the process itself.
struct ThisProcess {
    config: &'static Config,
    answering: Answering<'static>,
}

impl Keeper for ThisProcess {
    type Next = (String, Maildrop, Offer);

    fn ask(&mut self, question: &Secret) -> io::Result<Reply<Self::Next>> {
        let account = match self.answering.take(question) {
            Said::Denied(denied) => return Ok(Reply::Final(denied.encode())),
            Said::More(message) => return Ok(Reply::More(message)),
            Said::Accepted(proved) => proved.account,
        };
        let owner = Owner { uid: geteuid().as_raw(), gid: getegid().as_raw() };
        Ok(match open(self.config, &account, owner) {
            Ok((_, maildrop)) => {
                let name = account.name.escape_ascii().to_string();
                let offer = self.config.mail.start().unwrap();
                Reply::GoesOn(accepted(&account.name), (name, maildrop, offer))
            }
            Err(why) => Reply::Final(why.denied.encode()),
        })
    }
}

/// A stream in memory: returns one piece per read, and keeps the bytes written.
struct Stream {
    pieces: Vec<Vec<u8>>,
    output: Rc<RefCell<Vec<Vec<u8>>>>,
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.pieces.is_empty() {
            return Ok(0);
        }
        let mut piece = self.pieces.remove(0);
        let count = piece.len().min(buf.len());
        buf[..count].copy_from_slice(&piece[..count]);
        if count < piece.len() {
            self.pieces.insert(0, piece.split_off(count));
        }
        Ok(count)
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.output.borrow_mut().push(buf.to_vec());
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the first byte of each line, such as `+` and `-`.
fn signs(output: &str) -> String {
    output.lines().map(|line| line.get(..1).unwrap_or("_")).collect()
}

const LETTER: &str = "Subject: one\n\nbody\n";
