//! A whole POP3 session, from the greeting to the removal of messages: any bytes of a client, over a stream in
//! memory, with a real Maildir and a keeper that knows one user. The replies are compared with what RFC 1939 says
//! of them (`pop3.rs`): one for each line, nothing before the login, nothing behind QUIT, each message byte for
//! byte, and removed is what was marked before QUIT, and nothing else.
#![no_main]

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Instant;

use accounts::sasl::{Bindings, Terms};
use accounts::{Account, Mechanisms, Owner, Secret};
use forklore_fuzz::{Wire, option, pop3, scratch, with_crlf, write_private};
use forknet::{Leftover, Peer, Transcript};
use libfuzzer_sys::fuzz_target;
use maild::{Asker, Denied, Keeper, LoginQuestion, Mechanism, Proof, Reply, accepted};
use pop3d::options::{Config, OPTIONS};
use pop3d::protocol::Protocol;
use pop3d::protocol::authorization::{Offers, Stls};
use pop3d::protocol::end_line::Login;
use pop3d::session::dialogue::{BUFFER, Session};
use pop3d::session::front::{Left, Logins};
use pop3d::session::mailbox::open;

/// The one user, and the password.
const NAME: &[u8] = b"levy";
const PASSWORD: &[u8] = b"secret";
/// The letters, each with what a careless server would spoil.
const LETTERS: [&[u8]; 5] = [
    b"Subject: dots\n\n.\n..\n.x\n",
    b"",
    b"Subject: no end of the last line\n\nbody\r\n\xe4\xff.",
    b"\n",
    b"Subject: CR\r\n\r\n\r\na\rb\n\r\r\n",
];

fuzz_target!(|data: &[u8]| {
    let site = Site::get();
    let (choice, rest) = option(data);
    let (piece, input) = option(rest);
    let client = Client {
        is_near: choice & 1 == 0,
        has_tls: choice & 2 != 0,
        has_apop: choice & 4 != 0,
        has_last: choice & 8 != 0,
    };
    let mut wire = Wire::new(input, usize::from(piece));
    let mut handshakes = vec![];
    let was_accepted = site.serve(client, &mut wire, &mut handshakes);
    let mut parts = Vec::new();
    let mut from = 0;
    for at in handshakes {
        parts.push(&input[from..at]);
        from = at;
    }
    parts.push(&input[from..]);
    let letters: Vec<_> = LETTERS.iter().map(|letter| letter.to_vec()).collect();
    let ended = pop3::judge(&parts, &wire.output, &letters);
    assert_eq!(ended.logged_in, was_accepted, "a login is what the keeper says");
    let left = site.letters();
    for index in 0..LETTERS.len() {
        assert_eq!(left.contains(&index), !ended.removed.contains(&index), "message {}", index + 1);
    }
    if !ended.removed.is_empty() {
        site.lay();
    }
});

#[derive(Clone, Copy)]
struct Client {
    /// On this machine, where passwords may be sent in the clear.
    is_near: bool,
    has_tls: bool,
    has_apop: bool,
    has_last: bool,
}

impl Client {
    fn peer(self) -> Peer {
        let address = if self.is_near { "127.0.0.1:7" } else { "192.0.2.1:7" };
        Peer::Ip(address.parse().expect("an address"))
    }

    fn offers(self, is_under_tls: bool) -> Offers {
        Offers {
            plaintext: self.is_near || is_under_tls,
            timestamp: self.has_apop.then(|| "<1.2@h.test>".to_owned()),
            mechanisms: Mechanisms::all(),
            stls: match (is_under_tls, self.has_tls) {
                (true, _) => Stls::UnderTls,
                (false, true) => Stls::Offered,
                (false, false) => Stls::Never,
            },
            last: self.has_last,
            ..Offers::default()
        }
    }
}

/// A server's files, and how it was started.
struct Site {
    config: Config,
    maildir: PathBuf,
    account: Account,
    owner: Owner,
}

impl Site {
    fn get() -> &'static Site {
        static SITE: OnceLock<Site> = OnceLock::new();
        SITE.get_or_init(|| {
            let home = scratch("session");
            let maildir = home.join("Maildir");
            let users = home.join("users");
            write_private(&users, b"levy:{PLAIN}secret\n");
            let args = ["--users", &users.display().to_string(), "--auth-delay", "0"];
            let values = forknet::parse("pop3d", "", OPTIONS.rows, args.map(Into::into).to_vec());
            let config =
                Config::read(&values.expect("the options are right")).expect("they are right");
            let metadata = fs::metadata(&home).expect("it was made");
            let owner = Owner { uid: metadata.uid(), gid: metadata.gid() };
            let (gecos, shell) = (Vec::new(), Vec::new());
            let account = Account { name: NAME.to_vec(), owner: Some(owner), gecos, home, shell };
            let site = Site { config, maildir, account, owner };
            site.lay();
            site
        })
    }

    /// Lays all letters, some with their sizes in their names, some seen.
    fn lay(&self) {
        let _ = fs::remove_dir_all(&self.maildir); // not there at first
        for folder in ["tmp", "new", "cur"] {
            fs::create_dir_all(self.maildir.join(folder)).expect("a Maildir");
        }
        for (index, letter) in LETTERS.iter().enumerate() {
            let (size, wire) = (letter.len(), with_crlf(letter).len());
            let name = match index {
                0 => format!("new/{}.M0P1.h,S={size},W={wire}", index + 1),
                1 => format!("cur/{}.M0P1.h:2,S", index + 1),
                2 => format!("cur/{}.M0P1.h,S={size}:2,", index + 1),
                _ => format!("new/{}.M0P1.h", index + 1),
            };
            fs::write(self.maildir.join(name), letter).expect("a letter");
        }
    }

    /// Returns the indices of the letters that are there.
    fn letters(&self) -> Vec<usize> {
        let names = ["new", "cur"].into_iter().flat_map(|folder| names(&self.maildir.join(folder)));
        let number = |name: String| name.split('.').next()?.parse::<usize>().ok();
        names.filter_map(number).map(|number| number - 1).collect()
    }

    /// Serves a client as front and then the process of the mailbox do; returns whether a login was accepted.
    /// `handshakes` are the places of the input up to which was read when TLS began.
    fn serve(&self, client: Client, wire: &mut Wire<'_>, handshakes: &mut Vec<usize>) -> bool {
        let mut offers = client.offers(false);
        let mut protocol =
            Protocol::new(client.peer().to_string(), "h.test".to_owned(), offers.clone());
        wire.output.extend(protocol.greeting());
        let mut transcript = Transcript::none();
        loop {
            let session = Session::new(BUFFER, (&Leftover::default(), &mut *wire), &mut transcript);
            let (offered, host) = (offers.mechanisms, "h.test".to_owned());
            let terms = Terms { offered, bindings: Bindings::default(), host };
            let asker = Asker::new(Levy { first: None, nonce: Vec::new() }, client.peer());
            let logins = Logins::new(&self.config, asker, terms);
            match session.authorize(&self.config, protocol, logins).expect("no stream fails") {
                Left::Nothing => return false,
                Left::StartTls(before) => {
                    handshakes.push(wire.taken);
                    offers = client.offers(true);
                    protocol = before.secured(offers.clone());
                }
                Left::LoggedIn((), left, is_utf8) => {
                    self.transact(client, (offers, is_utf8), &left, wire);
                    return true;
                }
            }
        }
    }

    fn transact(
        &self,
        client: Client,
        (offers, is_utf8): (Offers, bool),
        left: &Leftover,
        wire: &mut Wire<'_>,
    ) {
        let (peer, user) = (client.peer().to_string(), "levy".to_owned());
        let (mechanism, tls, since) = (Mechanism::Pass, "none", Instant::now());
        let login = Login { peer, user, mechanism, tls, is_utf8, since };
        let (_, maildrop) =
            open(&self.config, &self.account, self.owner).expect("a maildrop of ours");
        let names = (client.peer().to_string(), "h.test".to_owned());
        let (protocol, reply) = Protocol::logged_in(names, offers, login, maildrop);
        let mut transcript = Transcript::none();
        let session = Session::new(BUFFER, (left, &mut *wire), &mut transcript);
        session.transact(protocol, &reply).expect("no stream fails");
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder of the Maildir");
    entries
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("ASCII"))
        .collect()
}

/// A keeper with one user. Other names show how logins fail.
struct Levy {
    first: Option<Vec<u8>>,
    nonce: Vec<u8>,
}

impl Keeper for Levy {
    type Next = ();

    fn ask(&mut self, question: &Secret) -> io::Result<Reply<()>> {
        let asked = LoginQuestion::decode(question).expect("front asks what the keeper can read");
        let yes = || Ok(Reply::GoesOn(accepted(NAME), ()));
        let no = |denied: Denied| Ok(Reply::Final(denied.encode()));
        match asked {
            LoginQuestion::Check(_, credentials) => {
                let is_right = match &credentials.proof {
                    Proof::Password(password) => password.as_bytes() == PASSWORD,
                    Proof::Digest { digest, .. } => digest.len() == 32,
                };
                match &credentials.name[..] {
                    NAME if is_right => yes(),
                    b"busy" => no(Denied::InUse),
                    b"later" => no(Denied::Temporary),
                    b"never" => no(Denied::Permanent),
                    b"gone" => Err(io::ErrorKind::BrokenPipe.into()),
                    b"mad" => Ok(Reply::Final(b"??".to_vec())),
                    b"more" => Ok(Reply::More(b"more".to_vec())),
                    _ => no(Denied::Rejected),
                }
            }
            LoginQuestion::ScramFirst { name, nonce, .. } => {
                self.nonce = [&nonce[..], b"server"].concat();
                self.first = Some(name);
                Ok(Reply::More([b"r=", &self.nonce[..], b",s=c2FsdA==,i=4096"].concat()))
            }
            LoginQuestion::ScramFinal { without_proof, proof, .. } => {
                assert!(without_proof.ends_with(&self.nonce) || without_proof.contains(&b','));
                if proof == [0; 32] { Ok(Reply::More(vec![7; 32])) } else { no(Denied::Rejected) }
            }
            LoginQuestion::Open => {
                if self.first.take().as_deref() == Some(NAME) {
                    yes()
                } else {
                    no(Denied::Rejected)
                }
            }
            LoginQuestion::Cancel => no(Denied::NotChecked),
            LoginQuestion::Relay { .. } | LoginQuestion::RelayNext(_) => {
                panic!("nothing is passed on")
            }
        }
    }
}
