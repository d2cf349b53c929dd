use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use accounts::{Names, Owner};
use maild::{Credentials, Denied, MailOptions, Offer, Plaintext, Refused, Users, check};
use mailstore::MailPattern;
use nix::unistd::{getegid, geteuid};
use testkit::{TempDir, names};

use super::dialogue::{BUFFER, Session};
use super::front::{self, Left};
use super::mailbox::open;
use crate::options::Config;
use crate::protocol::Protocol;
use crate::protocol::apop;
use crate::protocol::outcome::Outcome;
use forknet::{Leftover, Transcript};
use mailstore::Maildrop;
use std::io::{self, ErrorKind, Read, Write};

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
        let mail = MailOptions {
            users: Users::File(self.users()),
            mail: MailPattern::parse(OsStr::new("~/Maildir")).unwrap(),
            mail_user: None,
            names: Names::default(),
            plaintext: Plaintext::Loopback,
            auth_delay: Duration::ZERO,
        };
        Config {
            mail,
            host: "dewey.test".into(),
            offer: Offer::default(),
            tls: None,
            listen_tls: Vec::new(),
        }
    }

    fn protocol(&self, is_loopback: bool) -> Protocol {
        let mut config = self.config();
        config.start().into_iter().for_each(|facts| config.set_facts(&facts));
        front::new_protocol(&config, "test".into(), is_loopback)
    }

    /// Checks a login and opens the maildrop, as the process that answers does, but with the rights of
    /// this one.
    fn log_in(&self, credentials: &Credentials) -> Result<(String, Maildrop), Denied> {
        let account = check(&self.config().mail, credentials);
        let account = account.map_err(|why| match why {
            Refused::Login(_) => Denied::Rejected,
            Refused::NotChecked(_) => Denied::NotChecked,
        })?;
        let owner = Owner { uid: geteuid().as_raw(), gid: getegid().as_raw() };
        let (_, maildrop) = open(&self.config(), &account, owner).map_err(|why| why.denied)?;
        Ok((account.name.escape_ascii().to_string(), maildrop))
    }

    /// Returns the outcome of a line, after checking a login.
    fn line(&self, protocol: &mut Protocol, line: &[u8]) -> Outcome {
        match protocol.line(line) {
            Outcome::LogIn(credentials) => match self.log_in(&credentials) {
                Ok((name, maildrop)) => {
                    let names = ("test".into(), "dewey.test".into());
                    let (after, reply) = Protocol::logged_in(names, true, name, maildrop);
                    *protocol = after;
                    Outcome::Reply(reply)
                }
                Err(denied) => protocol.denied(&credentials, denied),
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
        let left = front.authorize(&config, protocol, |credentials| self.log_in(credentials));
        let Left::LoggedIn((name, maildrop), left) = left? else { return Ok(()) };
        let names = ("test".into(), "dewey.test".into());
        let (protocol, reply) = Protocol::logged_in(names, true, name, maildrop);
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
