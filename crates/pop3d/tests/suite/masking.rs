//! No secret reaches the transcript or the log, in whatever form a client sends it.

use std::fs;

use accounts::sasl::{Client, Server};
use accounts::{Mechanism, Secret, base64};
use testkit::{Peer, TempDir, wait_until};

use crate::common::{TestServer, until_dot};

/// The secret of mrose; and what it is in a response of AUTH PLAIN.
const SECRET: &str = "hush-hush";

/// What a client sends, in one piece; `~` stands for the secret, `{PLAIN}` for a response with it, `{B64}` for
/// it in base64, `{DIGEST}` for a digest.
const FORMS: [&str; 52] = [
    "USER mrose\r\nPASS ~\r\n",
    "USER mrose\r\nPASS  ~\r\n",
    "USER mrose\r\nPASS   ~  \r\n",
    "PASS ~\r\n",
    "pass ~\r\n",
    "\rPASS ~\r\n",
    "\r\nPASS ~\r\n",
    " PASS ~\r\n",
    "\tPASS ~\r\n",
    "PASS\t~\r\n",
    "PASS\0~\r\n",
    "\0PASS ~\r\n",
    "PASS:~\r\n",
    "PASS~\r\n",
    "PASSS ~\r\n",
    "PAS ~\r\n",
    "~\r\n",
    "USER mrose ~\r\n",
    "USER mrose\r\n~\r\n",
    "USER mrose\nPASS ~\n",
    "NOOP ~\r\n",
    "QUIT ~\r\nCAPA ~\r\n",
    "LIST ~\r\nSTAT ~\r\n",
    "STLS ~\r\n",
    "LOGIN mrose ~\r\n",
    "APOP mrose {DIGEST}\r\n",
    "APOP  mrose {DIGEST}\r\n",
    "APOP mrose\t{DIGEST}\r\n",
    "\rAPOP mrose {DIGEST}\r\n",
    "apop mrose {DIGEST} x\r\n",
    "AUTH PLAIN {PLAIN}\r\n",
    "auth plain {PLAIN}\r\n",
    "AuTh  PlAiN {PLAIN}\r\n",
    "AUTH PLAIN  {PLAIN}\r\n",
    "AUTH\tPLAIN\t{PLAIN}\r\n",
    " AUTH PLAIN {PLAIN}\r\n",
    "AUTH PLAIN {PLAIN} {PLAIN}\r\n",
    "AUTH PLAIN\0 {PLAIN}\r\n",
    "AUTH {PLAIN}\r\n{PLAIN}\r\nAUTH  {PLAIN}\r\n",
    "AUTH PLAIN\r\n{PLAIN}\r\n",
    "AUTH PLAIN\r\n {PLAIN}\r\n",
    "AUTH PLAIN\r\n*\r\n{PLAIN}\r\n",
    "AUTH PLAIN x\r\n{PLAIN}\r\n",
    "AUTH NTLM\r\n{PLAIN}\r\n",
    "AUTH NTLM {PLAIN}\r\n",
    "AUTH LOGIN\r\nbXJvc2U=\r\n{B64}\r\n",
    "AUTH LOGIN bXJvc2U=\r\n{B64}\r\n",
    "AUTH LOGIN\r\n*\r\nbXJvc2U=\r\n{B64}\r\n",
    "AUTH LOGIN\r\n!\r\n{B64}\r\n",
    "AUTH CRAM-MD5\r\n{PLAIN}\r\n",
    "AUTH CRAM-MD5 {PLAIN}\r\n",
    "AUTH SCRAM-SHA-256\r\n{PLAIN}\r\n{B64}\r\n",
];
/// Part of the digest.
const DIGEST: &str = "0123456789abcdef0123456789abcdef";

/// A server with a transcript.
struct Site {
    server: TestServer,
    dir: TempDir,
}

impl Site {
    fn new() -> Site {
        let dir = TempDir::new();
        let file = dir.path().join("transcript").display().to_string();
        let users = format!("mrose:{{PLAIN}}{SECRET}:::Rose:HOME/mrose:\n");
        let server =
            TestServer::alone(&["--auth-delay", "0", "--transcript", &file, "-vv"], &users);
        Site { server, dir }
    }

    /// What was written of the client whose port this is.
    fn written(&self) -> String {
        let transcript = fs::read(self.dir.path().join("transcript")).unwrap();
        String::from_utf8_lossy(&transcript).into_owned() + &self.server.daemon.log()
    }
}

#[test]
fn a_secret_is_masked_in_every_form() {
    let site = Site::new();
    let plain = base64(format!("\0mrose\0{SECRET}").as_bytes());
    let b64 = base64(SECRET.as_bytes());
    for (number, form) in FORMS.iter().enumerate() {
        let text = form.replace("{PLAIN}", &plain).replace("{B64}", &b64);
        let text = text.replace("{DIGEST}", DIGEST).replace('~', SECRET);
        let mut peer = site.server.client();
        peer.send(format!("{text}NOOP\r\nRSET\r\nUIDL {number}{number}{number}\r\nQUIT\r\n"));
        peer.rest();
        let mark = format!("UIDL {number}{number}{number}");
        let is_there = || site.written().contains(&mark) || site.written().contains("QUIT");
        wait_until("the transcript is written", is_there);
        let written = site.written();
        for secret in [SECRET, &plain, &b64, DIGEST] {
            assert!(!written.contains(secret), "{form:?}: {secret}\n{written}");
        }
    }
}

#[test]
fn a_line_that_is_too_long_is_not_shown() {
    let site = Site::new();
    let long = SECRET.repeat(400);
    for text in
        [format!("PASS {long}\r\n"), format!("AUTH PLAIN\r\n{long}\r\n"), format!("{long}\r\n")]
    {
        let mut peer = site.server.client();
        peer.send(format!("{text}QUIT\r\n"));
        peer.rest();
        assert!(!site.written().contains(SECRET));
    }
    assert!(site.written().contains("a line that is too long"));
}

#[test]
fn proofs_of_both_sides_are_masked() {
    let site = Site::new();
    for mechanism in [Mechanism::ScramSha256, Mechanism::CramMd5] {
        let password = Secret::from(SECRET.as_bytes());
        let mut client = Client::new(mechanism, b"mrose", &password, &Server::default()).unwrap();
        let mut peer = site.server.client();
        let mut said = Vec::new();
        let first = client.initial().map(|it| base64(it.as_bytes())).unwrap_or_default();
        said.push(first.clone());
        peer.send(format!("AUTH {mechanism} {first}").trim_end().to_owned() + "\r\n");
        let reply = exchange(&mut peer, &mut client, &mut said);
        assert!(reply.starts_with("+OK "), "{reply}");
        peer.ask("CAPA", "+OK");
        until_dot(&mut peer);
        let written = site.written();
        assert!(written.contains(&format!("C: AUTH {mechanism}")), "{written}");
        assert!(written.contains("S: + ********") && written.contains("C: ********"), "{written}");
        for secret in said.iter().filter(|it| it.len() > 4) {
            assert!(!written.contains(secret), "{mechanism}: {secret}\n{written}");
        }
    }
}

/// Answers challenges; notes the lines of both sides.
fn exchange(peer: &mut Peer, client: &mut Client, said: &mut Vec<String>) -> String {
    loop {
        let line = String::from_utf8(peer.line()).unwrap();
        let Some(challenge) = line.strip_prefix("+ ") else { return line };
        said.push(challenge.trim_end().to_owned());
        let challenge = accounts::from_base64(challenge.trim_end().as_bytes()).unwrap();
        let response = base64(client.respond(challenge.as_bytes()).unwrap().as_bytes());
        said.push(response.clone());
        peer.send(format!("{response}\r\n"));
    }
}
