//! The text: dots and line ends, wherever it is cut.

use std::io::{self, Read};

use smtpclient::{Envelope, Facts, Letter};

use super::{greet, hear, play, said, settings, turn};

/// A text that is read in pieces of this many bytes.
struct Pieces<'a>(&'a [u8], usize);

struct Reader<'a>(&'a [u8], usize);

impl Letter for Pieces<'_> {
    fn facts(&self) -> Facts {
        Facts::of(&mut &*self.0).unwrap()
    }

    fn reader(&mut self) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(Reader(self.0, self.1)))
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.1.min(buffer.len());
        self.0.read(&mut buffer[..count])
    }
}

/// Texts, and what comes between 354 and the reply.
const TEXTS: [(&[u8], &[u8]); 6] = [
    (b"", b".\r\n"),
    (b".\n..\r\n.x\n.", b"..\r\n...\r\n..x\r\n..\r\n.\r\n"),
    (b"a\r\n.\r\nb\n", b"a\r\n..\r\nb\r\n.\r\n"),
    (b"a\rb\r.\r", b"a\r\nb\r\n..\r\n.\r\n"),
    (b"\n\n.", b"\r\n\r\n..\r\n.\r\n"),
    (b"QUIT\r\n.\nQUIT", b"QUIT\r\n..\r\nQUIT\r\n.\r\n"),
];

#[test]
fn a_text_is_sent_with_its_dots_doubled_and_its_lines_ended_wherever_it_is_cut() {
    let server = play(|peer| {
        greet(peer, &[]);
        for (text, wire) in TEXTS {
            for _ in 0..=text.len() {
                turn(peer, "MAIL FROM:<>", "250 ok");
                turn(peer, "RCPT TO:<a@red.test>", "250 ok");
                turn(peer, "DATA", "354 go on");
                let came = peer.take(wire.len());
                assert_eq!(came.escape_ascii().to_string(), wire.escape_ascii().to_string());
                peer.send("250 taken\r\n");
            }
        }
        hear(peer, "QUIT");
    });
    let mut session = server.open(settings());
    for (text, _) in TEXTS {
        for size in 1..=text.len() + 1 {
            let outcomes =
                session.send(&Envelope::new(b"", [&b"a@red.test"[..]]), &mut Pieces(text, size));
            assert_eq!(said(&outcomes), ["250 taken"]);
        }
    }
    session.quit();
    server.end();
}

#[test]
fn a_chunk_is_as_long_as_is_told_and_its_dots_are_its_own() {
    const CHUNKS: [(&[u8], &[u8]); 3] =
        [(b"", b""), (b".\n..\rx", b".\r\n..\r\nx\r\n"), (b"a\r\n.\r\n", b"a\r\n.\r\n")];
    let server = play(|peer| {
        greet(peer, &["PIPELINING", "CHUNKING"]);
        for (text, wire) in CHUNKS {
            for _ in 0..=text.len() {
                hear(peer, "MAIL FROM:<>");
                hear(peer, "RCPT TO:<a@red.test>");
                hear(peer, &format!("BDAT {} LAST", wire.len()));
                let came = peer.take(wire.len());
                assert_eq!(came.escape_ascii().to_string(), wire.escape_ascii().to_string());
                peer.send("250 ok\r\n250 ok\r\n250 taken\r\n");
            }
        }
    });
    let settings = smtpclient::Settings { use_chunking: true, ..settings() };
    let mut session = server.open(settings);
    for (text, _) in CHUNKS {
        for size in 1..=text.len() + 1 {
            let outcomes =
                session.send(&Envelope::new(b"", [&b"a@red.test"[..]]), &mut Pieces(text, size));
            assert_eq!(said(&outcomes), ["250 taken"]);
        }
    }
    server.end();
}
