use super::*;
use mailstore::{Draft, Maildir};
use std::path::Path;
use std::rc::Rc;

use crate::delivery::keeper::recipient;
use crate::options::{OPTIONS, Vrfy};
use crate::protocol::address;
use crate::protocol::envelope::{Envelope, Recipient, Way};
use crate::protocol::lookup::{Commit, Delivered, Delivery, LocalUser, Refusal};

/// Mailboxes without a keeper: each of the users levy and bob has one in this folder.
struct Direct<'a>(&'a Path);

struct Letters(Vec<Draft>);

impl Mailboxes for Direct<'_> {
    fn find(&self, _: &address::Path) -> Result<LocalUser, Reply> {
        Err(Reply::new(550, "5.1.1", "No such user here"))
    }

    fn members(&self, _: &address::Path) -> Result<Vec<LocalUser>, Reply> {
        Ok(Vec::new())
    }

    fn find_by_full_name(&self, _: &[u8]) -> Result<Vec<LocalUser>, Reply> {
        Ok(Vec::new())
    }

    fn recipient(&self, path: &address::Path, _: u64, _: Way) -> Result<(Recipient, Reply), Reply> {
        let name = path.name().unwrap();
        assert!([&b"levy"[..], b"bob"].contains(&&name.local[..]));
        Ok((recipient(&config(), path, name), Reply::new(250, "2.1.5", "Recipient accepted")))
    }

    fn letter<'a>(&'a self, _: &str, envelope: Rc<Envelope>, _: Commit) -> Box<dyn Delivery + 'a> {
        let draft = |one: &Recipient| {
            let name = String::from_utf8(one.name.local.clone()).unwrap();
            Maildir::create(self.0.join(name).join("Maildir")).unwrap().draft().unwrap()
        };
        Box::new(Letters(envelope.recipients.iter().map(draft).collect()))
    }
}

impl Delivery for Letters {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.0.iter_mut().for_each(|draft| draft.write_all(bytes).unwrap());
        Ok(())
    }

    fn head(&mut self, _: &[u8]) -> Result<(), Refusal> {
        unreachable!("no filters")
    }

    fn clear(&mut self) -> Result<(), Refusal> {
        unreachable!("no filters")
    }

    fn quarantine(&mut self, _: &str) -> Result<(), Refusal> {
        unreachable!("no filters")
    }

    fn finish(self: Box<Self>) -> Delivered {
        let publish = |draft: Draft| {
            draft.sync().unwrap().publish().unwrap();
            Ok(())
        };
        let answers = self.0.into_iter().map(publish).collect();
        Delivered { answers, ..Delivered::default() }
    }
}

/// A client in memory: returns one piece per read, and keeps every write.
struct Script {
    pieces: Vec<Vec<u8>>,
    /// The error after the pieces, or end of file.
    end: Option<ErrorKind>,
    written: Vec<Vec<u8>>,
}

impl Read for &mut Script {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.pieces.is_empty() {
            return self.end.map_or(Ok(0), |kind| Err(kind.into()));
        }
        let mut piece = self.pieces.remove(0);
        let count = piece.len().min(out.len());
        out[..count].copy_from_slice(&piece[..count]);
        if count < piece.len() {
            self.pieces.insert(0, piece.split_off(count));
        }
        Ok(count)
    }
}

impl Write for &mut Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.push(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn config() -> Config {
    let values = forknet::parse("smtpd", "", OPTIONS.rows, Vec::new()).unwrap();
    Config {
        hostname: "red.test".into(),
        domains: vec!["red.test".into()],
        max_size: 1 << 20,
        min_free: 0,
        vrfy: Vrfy::All,
        zone: jiff::tz::TimeZone::UTC,
        ..Config::read(&values).unwrap()
    }
}

/// Runs a session that reads `pieces`. Returns its writes and its result.
fn converse(dir: &Path, pieces: &[&[u8]], end: Option<ErrorKind>) -> (Vec<String>, io::Result<()>) {
    converse_as(dir, &config(), pieces, end)
}

fn converse_as(
    dir: &Path,
    config: &Config,
    pieces: &[&[u8]],
    end: Option<ErrorKind>,
) -> (Vec<String>, io::Result<()>) {
    let pieces = pieces.iter().filter(|p| !p.is_empty()).map(|p| p.to_vec()).collect();
    let mut script = Script { pieces, end, written: Vec::new() };
    let tls = StartTls::Never;
    let client =
        ClientAddress { name: "test".into(), is_loopback: true, tls, ..ClientAddress::default() };
    let ended = over_stream(config, &Direct(dir), client, &mut script);
    let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).unwrap();
    (script.written.iter().map(text).collect(), ended)
}

fn letters(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir.join("levy/Maildir/new")) else { return Vec::new() };
    let read = |entry: io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        text
    };
    entries.map(read).collect()
}

const ENVELOPE: &str = "EHLO a.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<levy@red.test>\r\nDATA\r\n";

#[test]
fn the_result_does_not_depend_on_how_the_input_is_split() {
    let dir = testkit::TempDir::new();
    let whole = format!("{ENVELOPE}S: x\r\n\r\n..\r\n.x\r\nend\r\n.\r\nMAIL FROM:<>\r\nQUIT\r\n");
    let codes = |written: &[String]| -> Vec<String> {
        written.concat().lines().map(|line| line[..3].to_owned()).collect()
    };
    let (written, _) = converse(dir.path(), &[whole.as_bytes()], None);
    let expected = codes(&written);
    assert_eq!(expected[expected.len() - 6..], ["250", "250", "354", "250", "250", "221"]);
    assert_eq!(letters(dir.path()).len(), 1);
    for cut in 0..whole.len() {
        let (one, two) = whole.as_bytes().split_at(cut);
        let (written, ended) = converse(dir.path(), &[one, two], None);
        assert!(ended.is_ok());
        assert_eq!(codes(&written), expected, "cut at {cut}");
        let letters = letters(dir.path());
        assert_eq!(letters.len(), 1, "cut at {cut}");
        assert!(letters[0].ends_with("\nS: x\n\n.\nx\nend\n"), "cut at {cut}: {}", letters[0]);
    }
    let single: Vec<&[u8]> = whole.as_bytes().chunks(1).collect();
    assert_eq!(codes(&converse(dir.path(), &single, None).0), expected);
}

#[test]
fn a_session_that_ends_at_any_byte_delivers_whole_letters_only() {
    let dir = testkit::TempDir::new();
    let whole = format!("{ENVELOPE}S: x\r\n\r\nend\r\n.\r\n");
    for end in [None, Some(ErrorKind::ConnectionReset), Some(ErrorKind::TimedOut)] {
        for length in 0..whole.len() {
            let (written, _) = converse(dir.path(), &[&whole.as_bytes()[..length]], end);
            assert!(!written.concat().contains("Delivered"), "{length}");
            assert_eq!(letters(dir.path()), Vec::<String>::new(), "{length}");
            let drafts = std::fs::read_dir(dir.path().join("levy/Maildir/tmp"));
            assert_eq!(drafts.map_or(0, Iterator::count), 0, "{length}");
        }
        converse(dir.path(), &[whole.as_bytes()], end).1.ok();
        assert_eq!(letters(dir.path()).len(), 1);
    }
}

#[test]
fn pipelined_commands_are_answered_in_one_write() {
    let dir = testkit::TempDir::new();
    let (written, _) = converse(dir.path(), &[ENVELOPE.as_bytes(), b"x\r\n.\r\nQUIT\r\n"], None);
    // The greeting; EHLO to 354; the letter; QUIT.
    assert_eq!(written.len(), 4, "{written:?}");
    assert!(written[1].starts_with("250-") && written[1].ends_with("<CRLF>.<CRLF>\r\n"));
}

#[test]
fn a_timeout_and_a_shutdown_are_answered_421() {
    let dir = testkit::TempDir::new();
    for (end, reply) in
        [(ErrorKind::TimedOut, "421 4.4.2 "), (ErrorKind::ConnectionAborted, "421 4.3.2 ")]
    {
        let (written, ended) = converse(dir.path(), &[ENVELOPE.as_bytes(), b"half"], Some(end));
        assert!(ended.is_ok());
        assert!(written.last().unwrap().starts_with(reply), "{written:?}");
    }
    let (_, ended) = converse(dir.path(), &[b"NOOP\r\n"], Some(ErrorKind::ConnectionReset));
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_line_or_letter_without_an_end_ends_the_session() {
    let dir = testkit::TempDir::new();
    let piece = [b'x'; 32 * 1024];
    for start in ["", ENVELOPE] {
        let mut pieces = vec![start.as_bytes()];
        pieces.extend(std::iter::repeat_n(&piece[..], 3000));
        let (written, ended) = converse(dir.path(), &pieces, Some(ErrorKind::NotConnected));
        assert!(ended.is_ok(), "{ended:?}");
        assert!(written.last().unwrap().starts_with("421 4.7.0 "), "{written:?}");
        assert_eq!(letters(dir.path()), Vec::<String>::new());
    }
}

#[test]
fn a_refused_letter_without_an_end_ends_the_session_even_without_max_size() {
    let dir = testkit::TempDir::new();
    let config = Config { max_size: 0, ..config() };
    let piece = [b'x'; 32 * 1024];
    // The bare CR makes the letter refused from its start.
    let mut pieces = vec![ENVELOPE.as_bytes(), b"\rx"];
    pieces.extend(std::iter::repeat_n(&piece[..], 3000));
    let (written, ended) = converse_as(dir.path(), &config, &pieces, Some(ErrorKind::NotConnected));
    assert!(ended.is_ok(), "{ended:?}");
    assert!(written.last().unwrap().starts_with("421 4.7.0 "), "{written:?}");
}

#[test]
fn the_pause_grows_with_each_unknown_name_to_its_limit_and_the_last_one_ends_the_session() {
    let dir = testkit::TempDir::new();
    let (config, mailboxes) = (config(), Direct(dir.path()));
    let client = ClientAddress { is_loopback: true, ..ClientAddress::default() };
    let mut protocol = Protocol::new(&config, &mailboxes, client);
    let mut pauses = Vec::new();
    let last = loop {
        match protocol.line(b"VRFY x") {
            Action::Reply(reply) => assert_eq!(reply.code(), 550),
            other => break other,
        }
        pauses.push(protocol.pause().as_millis());
        protocol.line(b"NOOP");
        assert!(protocol.pause().is_zero());
    };
    assert!(matches!(last, Action::Close(reply) if reply.code() == 421));
    assert_eq!(pauses.len(), 99);
    assert_eq!(pauses[..6], [0, 0, 0, 100, 200, 300]);
    assert!(pauses.is_sorted() && pauses[98] == 3000, "{pauses:?}");
}

/// What ends no letter, whatever another server believes.
const FALSE_ENDS: [&str; 9] = [
    "\n.\n",
    "\n.\r\n",
    "\r\n.\n",
    "\r.\r",
    "\r.\r\n",
    "\n.\r",
    "\r.\n",
    "\r\n.\r\r\n",
    "\n\r.\r\n",
];

#[test]
fn no_false_end_lets_a_second_letter_in_wherever_the_input_is_cut() {
    let dir = testkit::TempDir::new();
    let repairing = Config { repair_bare_lf: true, ..config() };
    for end in FALSE_ENDS {
        let second = "MAIL FROM:<evil@b.test>\r\nRCPT TO:<bob@red.test>\r\nDATA\r\nevil";
        let whole = format!("{ENVELOPE}x{end}{second}\r\n.\r\nNOOP\r\nQUIT\r\n");
        for config in [&config(), &repairing] {
            for cut in ENVELOPE.len()..=whole.len() {
                let (one, two) = whole.as_bytes().split_at(cut);
                let (written, ended) = converse_as(dir.path(), config, &[one, two], None);
                assert!(ended.is_ok());
                let written = written.concat();
                let codes: Vec<&str> = written.lines().map(|line| &line[..3]).collect();
                let is_repaired = config.repair_bare_lf && !end.replace("\r\n", "").contains('\r');
                let letter = if is_repaired { "250" } else { "550" };
                let last = ["250", "250", "354", letter, "250", "221"];
                assert_eq!(codes[codes.len() - 6..], last, "{end:?} cut at {cut}: {written}");
                let letters = letters(dir.path());
                assert_eq!(letters.len(), usize::from(is_repaired), "{end:?} cut at {cut}");
                let whole_text = "RCPT TO:<bob@red.test>\nDATA\nevil\n";
                assert!(letters.iter().all(|letter| letter.ends_with(whole_text)), "{letters:?}");
                let bob = std::fs::read_dir(dir.path().join("bob")).map_or(0, Iterator::count);
                assert_eq!(bob, 0, "{end:?} cut at {cut}: bob has a letter");
            }
        }
    }
}
