//! UPDATE, and endings without it.

use super::*;

#[test]
fn only_quit_deletes_the_marked_messages() {
    let home = Home::new(&[LETTER, LETTER, LETTER]);
    let output = home.logged_in("DELE 1\r\nDELE 2\r\nQUI");
    assert_eq!(signs(&output), "++");
    home.logged_in("DELE 1\r\nDELE 2\r\nQUIT");
    assert_eq!(home.letters().len(), 3);
    home.logged_in("DELE 1\r\nDELE 3\r\nQUIT\r\nDELE 2\r\n");
    assert_eq!(home.letters(), ["2.a.test"]);
}

#[test]
fn a_message_that_cannot_be_removed_is_an_err_and_the_others_are_removed() {
    let home = Home::new(&[LETTER, LETTER, LETTER]);
    let stuck = home.maildir().join("new/2.a.test");
    // A folder in place of the file cannot be unlinked, not even by root.
    let mut protocol = home.protocol(true);
    for line in [&b"USER mrose"[..], b"PASS tanstaaf", b"DELE 1", b"DELE 2", b"DELE 3"] {
        let outcome = home.line(&mut protocol, line);
        assert!(matches!(outcome, Outcome::Reply(reply) if reply.starts_with(b"+OK")));
    }
    fs::remove_file(&stuck).unwrap();
    fs::create_dir(&stuck).unwrap();
    assert_eq!(protocol.update(), b"-ERR [SYS/PERM] some deleted messages not removed\r\n");
    assert_eq!(home.letters(), ["2.a.test"]);
}

#[test]
fn a_message_removed_by_another_program_is_an_err_and_new_mail_is_not_listed() {
    let home = Home::new(&[LETTER, LETTER]);
    let mut protocol = home.protocol(true);
    for line in [&b"USER mrose"[..], b"PASS tanstaaf"] {
        assert!(matches!(home.line(&mut protocol, line), Outcome::Reply(_)));
    }
    fs::remove_file(home.maildir().join("new/1.a.test")).unwrap();
    fs::write(home.maildir().join("new/0.late.test"), LETTER).unwrap();
    assert!(
        matches!(protocol.line(b"RETR 1"), Outcome::Reply(reply) if reply.starts_with(b"-ERR"))
    );
    assert!(matches!(protocol.line(b"RETR 2"), Outcome::Message(..)));
    assert!(matches!(protocol.line(b"DELE 1"), Outcome::Reply(_)));
    assert!(matches!(protocol.line(b"DELE 2"), Outcome::Reply(_)));
    assert!(protocol.update().starts_with(b"+OK"));
    assert_eq!(home.letters(), ["0.late.test"]);
}

#[test]
fn a_message_is_kept_if_the_client_disconnects_before_receiving_it() {
    /// Accepts the first writes, then fails.
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
    home.converse(stream, home.protocol(true)).unwrap();
    assert_eq!(home.letters().len(), 1);
    // If the client has the message and only the last reply is lost, UPDATE is complete.
    let stream = Broken(all, 2);
    assert!(home.converse(stream, home.protocol(true)).is_err());
    assert!(home.letters().is_empty());
}
