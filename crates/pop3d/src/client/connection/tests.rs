use std::io;

use super::*;

/// A server that sends a script, at most `size` bytes per read, and records the commands it
/// receives.
pub(crate) struct Script {
    sends: io::Cursor<Vec<u8>>,
    size: usize,
    pub(crate) received: Vec<u8>,
}

impl Read for Script {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = buf.len().min(self.size);
        self.sends.read(&mut buf[..count])
    }
}

impl Write for Script {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.received.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn server(sends: &[u8], size: usize) -> Script {
    Script { sends: io::Cursor::new(sends.to_vec()), size, received: Vec::new() }
}

pub(crate) fn connection(sends: &[u8]) -> ServerConnection<Script> {
    let sends = [b"+OK hello\r\n", sends].concat();
    ServerConnection::start(server(&sends, usize::MAX), "h:110".into(), false).unwrap()
}

impl ServerConnection<Script> {
    pub(crate) fn received(&self) -> String {
        String::from_utf8(self.reader.get_ref().received.clone()).unwrap()
    }
}

fn message(sends: &[u8], size: usize) -> Result<Vec<u8>> {
    let sends = [b"+OK\r\n+OK\r\n", sends].concat();
    let mut conn = ServerConnection::start(server(&sends, size), "h:110".into(), false)?;
    conn.command("RETR 1")?;
    let mut whole = Vec::new();
    conn.message("RETR 1", |piece| {
        whole.extend_from_slice(piece);
        Ok(())
    })?;
    assert!(conn.command("QUIT").is_err(), "no bytes were left");
    Ok(whole)
}

#[test]
fn unstuffing_does_not_depend_on_how_the_input_is_split() {
    let sends = b"Subject: x\r\n\r\n..\r\n...a\r\nb.\r\n.\r\n";
    for size in 1..=sends.len() {
        assert_eq!(message(sends, size).unwrap(), b"Subject: x\n\n.\n..a\nb.\n", "{size}");
    }
    assert_eq!(message(b".\r\n", 1).unwrap(), b"");
    let mut bare = connection(b"+OK\nA: b\n\n..\n.\n+OK next\n");
    bare.command("RETR 1").unwrap();
    let mut whole = Vec::new();
    bare.message("RETR 1", |piece| {
        whole.extend_from_slice(piece);
        Ok(())
    })
    .unwrap();
    assert_eq!(whole, b"A: b\n\n.\n", "a server that never sends CR");
    assert_eq!(bare.command("NOOP").unwrap(), b"next");
    assert_eq!(
        message(b"a\n.\nb\r\n.\r\n", 1).unwrap(),
        b"a\n.\nb\n",
        "a dot before a bare LF does not end the message"
    );
}

#[test]
fn a_message_without_its_end_is_an_error_and_not_a_short_message() {
    for sends in [&b""[..], b"half", b"all\r\n", b"all\r\n.", b"all\r\n.\n"] {
        let error = message(sends, 7).unwrap_err().error.to_string();
        assert_eq!(error, "h:110: RETR 1: the server closed the connection");
    }
}

fn error_of(conn: &mut ServerConnection<Script>, command: &str) -> String {
    conn.command(command).unwrap_err().error.to_string()
}

#[test]
fn a_refusal_is_quoted_and_escaped() {
    let mut conn = connection(
        b"-ERR no\x1b[2Jmessage\r\n-ERR [AUTH] wrong\r\n-err \"caf\xc3\xa9\"\xc2\x9b1m\r\nHTTP/1.1 200\r\n",
    );
    let error = conn.command("RETR 7").unwrap_err().error.to_string();
    assert_eq!(error, "h:110: RETR 7: -ERR no\\u{1b}[2Jmessage");
    let error = conn.command("PASS secret").unwrap_err().error.to_string();
    assert_eq!(error, "h:110: PASS: -ERR [AUTH] wrong");
    assert_eq!(error_of(&mut conn, "NOOP"), "h:110: NOOP: -err \"caf\u{e9}\"\\u{9b}1m");
    assert!(!conn.is_broken());
    let error = conn.command("STAT").unwrap_err().error.to_string();
    assert_eq!(error, "h:110: STAT: the reply is no POP3");
    assert!(conn.is_broken());
}

#[test]
fn the_status_must_be_a_complete_word() {
    assert_eq!(connection(b"+OK\r\n").command("NOOP").unwrap(), b"");
    assert_eq!(connection(b"+ok fine\r\n").command("NOOP").unwrap(), b"fine", "tolerated");
    for sends in ["+OKAY\r\n", "-ERROR\r\n", "\r\n", " +OK\r\n"] {
        let mut conn = connection(sends.as_bytes());
        assert!(conn.command("NOOP").is_err() && conn.is_broken(), "{sends}");
    }
}

#[test]
fn lines_and_listings_have_limits() {
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
fn a_line_end_in_a_name_is_refused() {
    let mut conn = connection(b"+OK\r\n");
    assert!(conn.command("USER x\r\nDELE 1").is_err());
    assert!(conn.command("USER x\nDELE 1").is_err());
    assert_eq!(conn.received(), "");
}
