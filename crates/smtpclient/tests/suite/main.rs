//! The client against servers that the tests play.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod chunking;
mod cuts;
mod limits;
mod lmtp;
mod mailer;
mod pieces;
mod pipelining;
mod tls;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use smtpclient::{Failure, Outcome, Place, Session, Settings, Target, Timeouts};
use testkit::Peer;

/// Longest wait for an answer that comes, however slow the machine is.
const PATIENT: Duration = Duration::from_secs(60);

fn settings() -> Settings {
    Settings { timeouts: Timeouts::all(PATIENT), ..Settings::new("topaz.test") }
}

/// A server that plays one connection after the other.
struct Server {
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(play: impl FnOnce(&TcpListener) + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        Server { address, thread: Some(thread::spawn(move || play(&listener))) }
    }

    fn target(&self) -> Target {
        Target::new(Place::Address { host: "red.test".into(), address: self.address })
    }

    /// Opens a session as these settings say.
    fn open(&self, settings: Settings) -> Session {
        Session::open(&Arc::new(settings), &self.target()).unwrap()
    }

    /// Opens a session that fails.
    fn refuses(&self, settings: Settings) -> Failure {
        Session::open(&Arc::new(settings), &self.target()).unwrap_err()
    }

    /// Waits for the end of the play, which must have gone as written.
    fn end(mut self) {
        self.thread.take().unwrap().join().expect("the play went as written");
    }
}

/// Plays one connection.
fn play(play: impl FnOnce(&mut Peer) + Send + 'static) -> Server {
    Server::start(move |listener| play(&mut accept(listener)))
}

fn accept(listener: &TcpListener) -> Peer {
    Peer::new(listener.accept().unwrap().0)
}

/// Greets, and offers these extensions.
fn greet(peer: &mut Peer, offers: &[&str]) {
    peer.send("220 red.test\r\n");
    let lines: String = offers.iter().map(|word| format!("250-{word}\r\n")).collect();
    turn(peer, "EHLO topaz.test", &format!("250-red.test\r\n{lines}250 HELP"));
}

/// Reads a line, answers it.
fn turn(peer: &mut Peer, hears: &str, says: &str) {
    hear(peer, hears);
    peer.send(format!("{says}\r\n"));
}

fn hear(peer: &mut Peer, line: &str) {
    assert_eq!(String::from_utf8(peer.line()).unwrap(), format!("{line}\r\n"));
}

/// Reads DATA and a letter of these lines; answers its end.
fn take_letter(peer: &mut Peer, lines: &[&str], says: &str) {
    turn(peer, "DATA", "354 go on");
    lines.iter().for_each(|line| hear(peer, line));
    turn(peer, ".", says);
}

/// Returns the code of the reply of success, or the text of the failure without the server's name.
fn said(outcomes: &[Outcome]) -> Vec<String> {
    let say = |outcome: &Outcome| match outcome {
        Ok(delivered) => delivered.reply.to_string(),
        Err(failure) => said_of(failure),
    };
    outcomes.iter().map(say).collect()
}

fn said_of(failure: &Failure) -> String {
    let text = &failure.text;
    text.split_once(": ")
        .filter(|(host, _)| host.starts_with("red.test"))
        .map_or(text.clone(), |it| it.1.to_owned())
}
