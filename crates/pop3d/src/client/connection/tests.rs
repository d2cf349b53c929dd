use std::io;

use super::*;

/// A server that sends a script, at most `size` bytes a read, and records what it receives.
pub(crate) struct Script {
    says: io::Cursor<Vec<u8>>,
    size: usize,
    pub(crate) heard: Vec<u8>,
}

impl Read for Script {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = buf.len().min(self.size);
        self.says.read(&mut buf[..count])
    }
}

impl Write for Script {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.heard.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn server(says: &[u8], size: usize) -> Script {
    Script { says: io::Cursor::new(says.to_vec()), size, heard: Vec::new() }
}

pub(crate) fn connection(says: &[u8]) -> ServerConnection<Script> {
    let says = [b"+OK hello\r\n", says].concat();
    ServerConnection::start(server(&says, usize::MAX), "h:110".into(), false).unwrap()
}

impl ServerConnection<Script> {
    pub(crate) fn heard(&self) -> String {
        String::from_utf8(self.reader.get_ref().heard.clone()).unwrap()
    }
}

fn message(says: &[u8], size: usize) -> Result<Vec<u8>> {
    let says = [b"+OK\r\n+OK\r\n", says].concat();
    let mut conn = ServerConnection::start(server(&says, size), "h:110".into(), false)?;
    conn.command("RETR 1")?;
    let mut whole = Vec::new();
    conn.message("RETR 1", |piece| {
        whole.extend_from_slice(piece);
        Ok(())
    })?;
    assert!(conn.command("QUIT").is_err(), "nothing was left over");
    Ok(whole)
}

#[test]
fn a_message_is_unstuffed_wherever_the_packets_are_cut() {
    let says = b"Subject: x\r\n\r\n..\r\n...a\r\nb.\r\n.\r\n";
    for size in 1..=says.len() {
        assert_eq!(message(says, size).unwrap(), b"Subject: x\n\n.\n..a\nb.\n", "{size}");
    }
    assert_eq!(message(b".\r\n", 1).unwrap(), b"");
    assert_eq!(message(b"a\n.\nb\r\n.\r\n", 1).unwrap(), b"a\n.\nb\n", "a bare LF ends nothing");
}

#[test]
fn a_message_without_its_end_is_an_error_and_not_a_short_message() {
    for says in [&b""[..], b"half", b"all\r\n", b"all\r\n.", b"all\r\n.\n"] {
        let error = message(says, 7).unwrap_err().to_string();
        assert_eq!(error, "h:110: RETR 1: the server closed the connection");
    }
}

#[test]
fn a_refusal_is_told_in_the_servers_words_and_escaped() {
    let mut conn = connection(b"-ERR no\x1b[2Jmessage\r\n-ERR [AUTH] wrong\r\nHTTP/1.1 200\r\n");
    let error = conn.command("RETR 7").unwrap_err().to_string();
    assert_eq!(error, "h:110: RETR 7: -ERR no\\x1b[2Jmessage");
    let error = conn.command("PASS secret").unwrap_err().to_string();
    assert_eq!(error, "h:110: PASS: -ERR [AUTH] wrong");
    assert!(!conn.is_broken());
    let error = conn.command("STAT").unwrap_err().to_string();
    assert_eq!(error, "h:110: STAT: the reply is no POP3");
    assert!(conn.is_broken());
}

#[test]
fn a_status_is_a_whole_word() {
    assert_eq!(connection(b"+OK\r\n").command("NOOP").unwrap(), b"");
    for says in ["+OKAY\r\n", "+ok\r\n", "-ERROR\r\n", "\r\n", " +OK\r\n"] {
        let mut conn = connection(says.as_bytes());
        assert!(conn.command("NOOP").is_err() && conn.is_broken(), "{says}");
    }
}

#[test]
fn a_line_a_listing_and_a_message_have_limits() {
    let long = vec![b'x'; MAX_LINE + 1];
    assert!(connection(&[b"+OK ", &long[..], b"\r\n"].concat()).command("STAT").is_err());
    let mut endless = b"1 1\r\n".repeat(MAX_ROWS + 2);
    endless.extend_from_slice(b".\r\n");
    assert!(connection(&endless).listing("LIST").is_err());
    let wide = [vec![b'x'; MAX_LINE - 2], b"\r\n".to_vec()].concat();
    assert!(connection(&wide.repeat(MAX_LISTING / wide.len() + 2)).listing("LIST").is_err());
    let mut short = connection(b"1 a\r\n..2 b\r\n.\r\n");
    assert_eq!(short.listing("UIDL").unwrap(), [&b"1 a"[..], b".2 b"]);
}

#[test]
fn a_name_cannot_smuggle_a_second_command() {
    let mut conn = connection(b"+OK\r\n");
    assert!(conn.command("USER x\r\nDELE 1").is_err());
    assert!(conn.command("USER x\nDELE 1").is_err());
    assert_eq!(conn.heard(), "");
}
