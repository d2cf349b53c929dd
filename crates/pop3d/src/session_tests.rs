use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mailstore::MailPattern;

use super::*;
use crate::apop;
use crate::authorization::{Config, Plaintext};

/// A folder with a users file and the Maildir of mrose, whose password is tanstaaf.
struct Home(PathBuf);

impl Home {
    fn new(letters: &[&str]) -> Home {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("pop3d-{}-{number}", std::process::id()));
        let home = Home(path);
        fs::create_dir_all(home.maildir().join("new")).unwrap();
        fs::create_dir_all(home.maildir().join("cur")).unwrap();
        let users = format!("mrose:{{PLAIN}}tanstaaf:::Rose:{}:\n", home.0.display());
        fs::write(home.users(), users).unwrap();
        for (number, letter) in (1..).zip(letters) {
            fs::write(home.maildir().join(format!("new/{number}.a.test")), letter).unwrap();
        }
        home
    }

    fn users(&self) -> PathBuf {
        self.0.join("users")
    }

    fn maildir(&self) -> PathBuf {
        self.0.join("Maildir")
    }

    fn protocol(&self, local: bool) -> Protocol {
        let config = Config {
            users: self.users(),
            mail: MailPattern::parse(OsStr::new("~/Maildir")).unwrap(),
            plaintext: Plaintext::Loopback,
            auth_delay: Duration::ZERO,
        };
        Protocol::new(config, "test".into(), local, "dewey.test".into())
    }

    /// What the server says when it hears these pieces and then an end of file.
    fn hear(&self, pieces: &[&[u8]]) -> String {
        self.hear_in_pieces(BUFFER, pieces).concat()
    }

    /// The same, one string a write.
    fn hear_in_pieces(&self, size: usize, pieces: &[&[u8]]) -> Vec<String> {
        let pieces = pieces.iter().map(|piece| piece.to_vec()).collect();
        let heard = Rc::new(RefCell::new(Vec::new()));
        let stream = Stream { pieces, said: Rc::clone(&heard) };
        let mut transcript = Transcript::none();
        converse_in_pieces(size, stream, self.protocol(true), &mut transcript).unwrap();
        let writes = heard.take();
        writes.into_iter().map(|write| String::from_utf8(write).unwrap()).collect()
    }

    /// What the server says behind the replies to USER and PASS.
    fn logged_in(&self, commands: &str) -> String {
        let said = self.hear(&[format!("USER mrose\r\nPASS tanstaaf\r\n{commands}").as_bytes()]);
        let mut lines = said.splitn(4, "\r\n");
        for _ in 0..3 {
            let line = lines.next().unwrap();
            assert!(line.starts_with("+OK"), "{said}");
        }
        lines.next().unwrap().to_owned()
    }

    fn letters(&self) -> Vec<String> {
        let entries = fs::read_dir(self.maildir().join("new")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Hands out pieces, and keeps what is written.
struct Stream {
    pieces: Vec<Vec<u8>>,
    said: Rc<RefCell<Vec<Vec<u8>>>>,
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
        self.said.borrow_mut().push(buf.to_vec());
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `+` and `-` for the first octets of the lines.
fn signs(said: &str) -> String {
    said.lines().map(|line| line.get(..1).unwrap_or("_")).collect()
}

const LETTER: &str = "Subject: one\n\nbody\n";

#[test]
fn the_session_of_the_slides() {
    let home = Home::new(&[LETTER, "Subject: two\n\n"]);
    let commands =
        "STAT\r\nLIST\r\nLIST 2\r\nLIST 3\r\nRETR 1\r\nDELE 1\r\nDELE 1\r\nNOOP\r\nQUIT\r\n";
    let expected = "+OK 2 38\r\n+OK 2 messages (38 octets)\r\n1 22\r\n2 16\r\n.\r\n+OK 2 16\r\n\
        -ERR no such message, only 2 messages in maildrop\r\n\
        +OK 22 octets\r\nSubject: one\r\n\r\nbody\r\n.\r\n\
        +OK message 1 deleted\r\n-ERR message 1 already deleted\r\n+OK nothing done\r\n\
        +OK dewey.test POP3 server signing off (1 message left)\r\n";
    assert_eq!(home.logged_in(commands), expected);
    assert_eq!(home.letters(), ["2.a.test"]);
}

#[test]
fn every_split_of_the_commands_says_the_same() {
    let home = Home::new(&[LETTER]);
    let commands = b"user mrose\r\nPASS tanstaaf\r\nstat\nTOP 1 0\r\nUIDL 1\r\nqUiT\r\n";
    let whole = home.hear(&[commands]);
    let rest = whole.split_once("\r\n").unwrap().1;
    assert_eq!(signs(rest), "++++S_.++");
    for cut in 1..commands.len() {
        let (one, two) = commands.split_at(cut);
        let said = home.hear(&[one, two]);
        assert_eq!(said.split_once("\r\n").unwrap().1, rest, "cut at {cut}");
    }
    let octets: Vec<&[u8]> = commands.chunks(1).collect();
    assert_eq!(home.hear(&octets).split_once("\r\n").unwrap().1, rest);
}

#[test]
fn pipelined_commands_are_answered_in_one_write_and_half_a_command_holds_nothing_up() {
    let home = Home::new(&[LETTER]);
    let start: &[u8] = b"USER mrose\r\nPASS tanstaaf\r\nSTAT\r\n";
    let writes = home.hear_in_pieces(BUFFER, &[start]);
    assert_eq!(writes.len(), 2, "{writes:?}");
    assert_eq!(signs(&writes[1]), "+++");
    let half = [start, b"NO"].concat();
    let writes = home.hear_in_pieces(BUFFER, &[&half, b"OP\r\n"]);
    assert_eq!(writes.len(), 3, "{writes:?}");
    assert_eq!(signs(&writes[1]), "+++");
}

#[test]
fn a_message_is_framed_the_same_at_every_edge_of_the_buffer() {
    let texts = [
        ("", ""),
        (".", "..\r\n"),
        (".\n", "..\r\n"),
        ("\n.\n", "\r\n..\r\n"),
        ("a\r\n.\r\n..b\r\n", "a\r\n..\r\n...b\r\n"),
        ("a\n.b\n\n.\nc", "a\r\n..b\r\n\r\n..\r\nc\r\n"),
        ("a\rb\r", "a\rb\r\r\n"),
        ("no body: x\n", "no body: x\r\n"),
        ("x\r\n\r\ny", "x\r\n\r\ny\r\n"),
    ];
    for (text, sent) in texts {
        let home = Home::new(&[text]);
        let unstuffed = sent.replace("\r\n..", "\r\n.");
        let size = unstuffed.strip_prefix("..").map_or(unstuffed.len(), |rest| rest.len() + 1);
        let commands = b"USER mrose\r\nPASS tanstaaf\r\nLIST 1\r\nRETR 1\r\n";
        for piece in 1..=text.len() + 2 {
            let said = home.hear_in_pieces(piece, &[commands]).concat();
            let expected = format!("+OK 1 {size}\r\n+OK {size} octets\r\n{sent}.\r\n");
            assert!(said.ends_with(&expected), "{text:?} in {piece}: {said:?}");
        }
    }
}

#[test]
fn a_megabyte_in_one_line_is_sent_as_it_is() {
    let line = ".".repeat(1 << 20);
    let home = Home::new(&[&line]);
    let said = home.logged_in("LIST 1\r\nRETR 1\r\nQUIT\r\n");
    let size = line.len() + 2;
    let expected = format!("+OK 1 {size}\r\n+OK {size} octets\r\n.{line}\r\n.\r\n+OK");
    assert!(said.starts_with(&expected));
}

#[test]
fn top_shows_the_header_and_so_many_lines() {
    let home = Home::new(&["A: b\n\n.one\ntwo\n", "A: b\n"]);
    for (command, shown) in [
        ("TOP 1 0", "A: b\r\n\r\n"),
        ("TOP 1 1", "A: b\r\n\r\n..one\r\n"),
        ("TOP 1 2", "A: b\r\n\r\n..one\r\ntwo\r\n"),
        ("TOP 1 99999999999999999999999999", "A: b\r\n\r\n..one\r\ntwo\r\n"),
        ("TOP 2 0", "A: b\r\n"),
    ] {
        let said = home.logged_in(&format!("{command}\r\n"));
        assert_eq!(said, format!("+OK top of message follows\r\n{shown}.\r\n"), "{command}");
    }
    for wrong in ["TOP 1", "TOP 1 -1", "TOP 1 x", "TOP 1 1x", "TOP 3 0", "TOP", "TOP 1 1 1"] {
        assert!(home.logged_in(&format!("{wrong}\r\n")).starts_with("-ERR"), "{wrong}");
    }
}

#[test]
fn numbers_that_are_no_message_are_refused() {
    let home = Home::new(&[LETTER]);
    for word in ["0", "2", "-1", "+1", "1x", "x", "4294967297", "18446744073709551617", "1.0"] {
        for keyword in ["RETR", "DELE", "LIST", "UIDL"] {
            let said = home.logged_in(&format!("{keyword} {word}\r\nSTAT\r\n"));
            assert_eq!(signs(&said), "-+", "{keyword} {word}");
        }
        assert!(home.logged_in(&format!("TOP {word} 0\r\n")).starts_with("-ERR"));
    }
}

#[test]
fn a_wrong_argument_is_refused_and_the_session_lives() {
    let home = Home::new(&[LETTER]);
    for wrong in [
        "STAT x",
        "QUIT 1",
        "NOOP 1",
        "RSET 1",
        "RETR",
        "DELE",
        "LIST 1 1",
        "CAPA x",
        "",
        " ",
        "XYZZY",
        "STATS",
        "USER mrose",
        "PASS x",
        "APOP a b",
        "AUTH",
        "NO\0OP",
        "RETR 1\0",
        " STAT",
        "RETR  1",
    ] {
        let said = home.logged_in(&format!("{wrong}\r\nSTAT\r\n"));
        assert_eq!(signs(&said), "-+", "{wrong:?}: {said}");
    }
    let said = home.hear(&[b"STAT\r\nRETR 1\r\nUIDL\r\nTOP 1 1\r\nPASS x\r\nCAPA 1\r\nQUIT\r\n"]);
    assert_eq!(signs(&said), "+------+");
    let home = Home::new(&[LETTER]);
    home.logged_in("DELE 1\r\nQUIT 1\r\n");
    assert_eq!(home.letters().len(), 1, "QUIT 1 is no UPDATE");
}

#[test]
fn a_line_of_255_octets_is_parsed_and_a_longer_one_is_refused_once() {
    let home = Home::new(&[]);
    let pad = |length: usize| format!("USER {}\r\n", "x".repeat(length - 7));
    assert_eq!(signs(&home.hear(&[pad(255).as_bytes()])), "++");
    assert_eq!(signs(&home.hear(&[pad(256).as_bytes()])), "+-");
    let mut long = vec![b'x'; 10_000];
    long.extend_from_slice(b"QUIT\r\nCAPA\r\n");
    let said = home.hear(&[&long]);
    assert_eq!(signs(&said)[..3], *"+-+", "{said}");
}

#[test]
fn deleted_messages_are_left_out_without_renumbering_until_rset() {
    let home = Home::new(&[LETTER, LETTER, LETTER]);
    let said = home.logged_in(
        "DELE 2\r\nSTAT\r\nLIST\r\nUIDL\r\nLIST 2\r\nUIDL 2\r\nRETR 2\r\nTOP 2 0\r\nRSET\r\nSTAT\r\nLIST 2\r\n",
    );
    let expected = "+OK message 2 deleted\r\n+OK 2 44\r\n\
        +OK 2 messages (44 octets)\r\n1 22\r\n3 22\r\n.\r\n\
        +OK unique-id listing follows\r\n1 1.a.test\r\n3 3.a.test\r\n.\r\n";
    assert!(said.starts_with(expected), "{said}");
    assert_eq!(signs(&said[expected.len()..]), "----+++");
    assert_eq!(home.letters().len(), 3);
}

#[test]
fn an_empty_maildrop_lists_nothing() {
    let home = Home::new(&[]);
    let said = home.logged_in("STAT\r\nLIST\r\nUIDL\r\nQUIT\r\n");
    let expected = "+OK 0 0\r\n+OK 0 messages (0 octets)\r\n.\r\n+OK unique-id listing follows\r\n.\r\n\
        +OK dewey.test POP3 server signing off (maildrop empty)\r\n";
    assert_eq!(said, expected);
    fs::remove_dir_all(home.maildir()).unwrap();
    assert_eq!(home.logged_in("STAT\r\nLIST\r\nUIDL\r\nQUIT\r\n"), expected);
}

#[test]
fn pass_comes_right_after_user() {
    let home = Home::new(&[]);
    for (commands, expected) in [
        ("PASS tanstaaf\r\n", "-"),
        ("USER mrose\r\nNOOP\r\nPASS tanstaaf\r\n", "+--"),
        ("USER mrose\r\nCAPA 1\r\nPASS tanstaaf\r\n", "+--"),
        ("USER nobody\r\nUSER mrose\r\nPASS tanstaaf\r\n", "+++"),
        ("USER mrose\r\nPASS wrong\r\nPASS tanstaaf\r\n", "+--"),
        ("USER mrose\r\nPASS wrong\r\nUSER mrose\r\nPASS tanstaaf\r\n", "+-++"),
        ("USER mrose\r\nPASS\r\nUSER mrose\r\nPASS tanstaaf\r\n", "+-++"),
        ("USER\r\nUSER a b\r\nUSER \r\n", "---"),
    ] {
        let said = home.hear(&[commands.as_bytes()]);
        assert_eq!(signs(&said)[1..], *expected, "{commands:?}");
    }
}

#[test]
fn an_unknown_user_and_a_wrong_password_are_told_the_same() {
    let home = Home::new(&[]);
    let known = home.hear(&[b"USER mrose\r\nPASS wrong\r\n"]);
    let unknown = home.hear(&[b"USER nobody\r\nPASS wrong\r\n"]);
    let behind_greeting = |said: &str| said.split_once("\r\n").unwrap().1.to_owned();
    assert_eq!(behind_greeting(&known), behind_greeting(&unknown));
    assert!(known.ends_with("-ERR [AUTH] wrong user name or password\r\n"));
}

#[test]
fn the_fifth_failed_login_ends_the_session() {
    let home = Home::new(&[]);
    let said = home.hear(&["USER mrose\r\nPASS x\r\n".repeat(9).as_bytes()]);
    assert_eq!(signs(&said), "++-+-+-+-+-");
    assert!(said.ends_with("-ERR [AUTH] too many failed logins, goodbye\r\n"));
}

#[test]
fn a_hundred_bad_commands_in_a_row_end_the_session() {
    let home = Home::new(&[]);
    let said = home.hear(&["x\r\n".repeat(150).as_bytes()]);
    assert_eq!(said.lines().count(), 101);
    let mixed = ["x\r\n".repeat(99), "CAPA\r\n".into(), "x\r\n".repeat(99), "QUIT\r\n".into()];
    let said = home.hear(&[mixed.concat().as_bytes()]);
    assert!(said.ends_with("signing off\r\n"), "{said}");
}

#[test]
fn apop_logs_in_with_the_digest_of_this_session_only() {
    let home = Home::new(&[]);
    let with = |name: &str, secret: &[u8], stamp: Option<&str>| {
        let protocol = home.protocol(false);
        let greeting = protocol.greeting();
        let stamp = match stamp {
            Some(other) => other.to_owned(),
            None => String::from_utf8(apop::timestamp_in(&greeting).unwrap().to_vec()).unwrap(),
        };
        let line = format!("APOP {name} {}\r\n", apop::digest(&stamp, secret));
        let said = Rc::new(RefCell::new(Vec::new()));
        let stream = Stream { pieces: vec![line.into_bytes()], said: Rc::clone(&said) };
        converse(stream, protocol, &mut Transcript::none()).unwrap();
        String::from_utf8(said.take().concat()).unwrap().split_once("\r\n").unwrap().1.to_owned()
    };
    assert_eq!(with("mrose", b"tanstaaf", None), "+OK maildrop has 0 messages (0 octets)\r\n");
    let refusal = "-ERR [AUTH] wrong user name or password\r\n";
    assert_eq!(with("mrose", b"wrong", None), refusal);
    assert_eq!(with("nobody", b"tanstaaf", None), refusal);
    assert_eq!(with("mrose", b"tanstaaf", Some("<1896.697170952@dbc.mtview.ca.us>")), refusal);
}

#[test]
fn apop_is_offered_only_where_somebody_has_a_secret() {
    let home = Home::new(&[]);
    fs::write(home.users(), "mrose:$6$a$b\n").unwrap();
    let said = home.hear(&[b"APOP mrose c4c9334bac560ecc979e58001b3e22fb\r\n"]);
    assert!(!said.contains('<'));
    assert_eq!(signs(&said), "+-");
}

#[test]
fn plaintext_is_refused_where_it_can_be_overheard_and_capa_says_so() {
    let home = Home::new(&[]);
    let mut far = home.protocol(false);
    for line in [&b"USER mrose"[..], b"PASS tanstaaf"] {
        assert!(matches!(far.line(line), Outcome::Say(reply) if reply.starts_with(b"-ERR [AUTH]")));
    }
    let capabilities = |protocol: &Protocol| String::from_utf8(protocol.capabilities()).unwrap();
    assert!(!capabilities(&far).contains("USER"));
    let near = capabilities(&home.protocol(true));
    let tags: Vec<&str> = near.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(
        tags,
        [
            "+OK",
            "TOP",
            "UIDL",
            "USER",
            "RESP-CODES",
            "AUTH-RESP-CODE",
            "PIPELINING",
            "EXPIRE",
            "IMPLEMENTATION",
            "."
        ]
    );
    assert!(home.logged_in("CAPA\r\n").ends_with(near.as_str()));
}

#[test]
fn without_quit_nothing_is_deleted_and_with_it_all_that_is_marked() {
    let home = Home::new(&[LETTER, LETTER, LETTER]);
    let said = home.logged_in("DELE 1\r\nDELE 2\r\nQUI");
    assert_eq!(signs(&said), "++");
    home.logged_in("DELE 1\r\nDELE 2\r\nQUIT");
    assert_eq!(home.letters().len(), 3);
    home.logged_in("DELE 1\r\nDELE 3\r\nQUIT\r\nDELE 2\r\n");
    assert_eq!(home.letters(), ["2.a.test"]);
}

#[test]
fn one_message_that_cannot_be_removed_is_one_err_and_the_rest_goes() {
    let home = Home::new(&[LETTER, LETTER, LETTER]);
    let stuck = home.maildir().join("new/2.a.test");
    // A folder in the place of the file is in nobody's power to unlink, not even root's.
    let mut protocol = home.protocol(true);
    for line in [&b"USER mrose"[..], b"PASS tanstaaf", b"DELE 1", b"DELE 2", b"DELE 3"] {
        assert!(matches!(protocol.line(line), Outcome::Say(reply) if reply.starts_with(b"+OK")));
    }
    fs::remove_file(&stuck).unwrap();
    fs::create_dir(&stuck).unwrap();
    assert_eq!(protocol.update(), b"-ERR [SYS/TEMP] some deleted messages not removed\r\n");
    assert_eq!(home.letters(), ["2.a.test"]);
}

#[test]
fn a_message_that_somebody_removed_is_an_err_and_mail_that_arrives_is_unseen() {
    let home = Home::new(&[LETTER, LETTER]);
    let mut protocol = home.protocol(true);
    for line in [&b"USER mrose"[..], b"PASS tanstaaf"] {
        assert!(matches!(protocol.line(line), Outcome::Say(_)));
    }
    fs::remove_file(home.maildir().join("new/1.a.test")).unwrap();
    fs::write(home.maildir().join("new/0.late.test"), LETTER).unwrap();
    assert!(matches!(protocol.line(b"RETR 1"), Outcome::Say(reply) if reply.starts_with(b"-ERR")));
    assert!(matches!(protocol.line(b"RETR 2"), Outcome::Message(..)));
    assert!(matches!(protocol.line(b"DELE 1"), Outcome::Say(_)));
    assert!(matches!(protocol.line(b"DELE 2"), Outcome::Say(_)));
    assert!(protocol.update().starts_with(b"+OK"));
    assert_eq!(home.letters(), ["0.late.test"]);
}

#[test]
fn a_missing_users_file_and_a_spoilt_maildir_are_told_apart_from_a_wrong_password() {
    let home = Home::new(&[]);
    fs::remove_dir_all(home.maildir()).unwrap();
    fs::write(home.maildir(), "a file").unwrap();
    let said = home.hear(&[b"USER mrose\r\nPASS tanstaaf\r\n"]);
    assert!(said.ends_with("-ERR [SYS/PERM] the maildrop cannot be opened\r\n"), "{said}");
    fs::remove_file(home.users()).unwrap();
    let said = home.hear(&[b"USER mrose\r\nPASS tanstaaf\r\nQUIT\r\n"]);
    assert!(said.contains("-ERR [SYS/TEMP] "), "{said}");
    assert_eq!(signs(&said), "++-+");
}

#[test]
fn a_second_session_is_refused_until_the_first_is_over() {
    let home = Home::new(&[]);
    let mut first = home.protocol(true);
    for line in [&b"USER mrose"[..], b"PASS tanstaaf"] {
        assert!(matches!(first.line(line), Outcome::Say(_)));
    }
    let said = home.hear(&[b"USER mrose\r\nPASS tanstaaf\r\nQUIT\r\n"]);
    assert!(said.contains("\r\n-ERR [IN-USE] "), "{said}");
    assert!(first.update().starts_with(b"+OK"));
    home.logged_in("QUIT\r\n");
}

#[test]
fn a_client_that_is_gone_before_it_has_the_message_keeps_it() {
    /// Takes the first writes, then breaks.
    struct Broken(Vec<u8>, u32);
    impl Read for Broken {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let count = buf.len().min(self.0.len());
            buf[..count].copy_from_slice(&self.0[..count]);
            self.0.drain(..count);
            Ok(count)
        }
    }
    impl Write for Broken {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.1 = self.1.checked_sub(1).ok_or(ErrorKind::BrokenPipe)?;
            Ok(buf.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let home = Home::new(&[LETTER]);
    let all = b"USER mrose\r\nPASS tanstaaf\r\nRETR 1\r\nDELE 1\r\nQUIT\r\n".to_vec();
    let stream = Broken(all.clone(), 1);
    converse(stream, home.protocol(true), &mut Transcript::none()).unwrap();
    assert_eq!(home.letters().len(), 1);
    // Whoever has the message and only misses the last reply has had his UPDATE.
    let stream = Broken(all, 2);
    assert!(converse(stream, home.protocol(true), &mut Transcript::none()).is_err());
    assert!(home.letters().is_empty());
}

#[test]
fn a_name_of_any_octets_is_only_a_name() {
    let home = Home::new(&[]);
    let said = home.hear(&[b"USER ../../etc\xff\xfe\r\nPASS \xff\x01\r\nUSER a\x01\r\nQUIT\r\n"]);
    assert_eq!(signs(&said), "++--+");
    assert!(Path::new(&home.0).exists());
}
