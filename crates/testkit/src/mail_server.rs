//! A small server of SMTP that says what the test wants: 250 to everything, unless the test answers otherwise.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// What has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// A connection, before the greeting.
    Connection,
    /// A command, without its line end.
    Command(String),
    /// The end of a letter, whose text this is, with lines that end in LF and no dots that were added.
    Letter(String),
}

/// What the server does then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Says these lines.
    Say(String),
    /// Closes the connection without a word.
    Close,
}

/// Returns the answer that says a line.
#[must_use]
pub fn say(line: &str) -> Option<Answer> {
    Some(Answer::Say(line.into()))
}

/// The server, until it is dropped.
pub struct MailServer {
    address: SocketAddr,
    seen: Arc<Seen>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    letters: Mutex<Vec<String>>,
    /// Of each connection, what it has said.
    dialogues: Mutex<Vec<Vec<String>>>,
}

type Script = Arc<dyn Fn(&Came) -> Option<Answer> + Send + Sync>;

impl MailServer {
    /// Starts it on a free port of 127.0.0.1. `script` answers what it wants to answer, and may wait before it does.
    ///
    /// # Panics
    /// No port is free.
    pub fn start(script: impl Fn(&Came) -> Option<Answer> + Send + Sync + 'static) -> MailServer {
        MailServer::at((Ipv4Addr::LOCALHOST, 0).into(), script)
    }

    /// As [`MailServer::start`], at an address.
    ///
    /// # Panics
    /// It is not free.
    pub fn at(
        address: SocketAddr,
        script: impl Fn(&Came) -> Option<Answer> + Send + Sync + 'static,
    ) -> MailServer {
        let listener = TcpListener::bind(address).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (seen, is_over) = (Arc::<Seen>::default(), Arc::<AtomicBool>::default());
        let (script, its, ends): (Script, _, _) =
            (Arc::new(script), Arc::clone(&seen), Arc::clone(&is_over));
        let thread = thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                let (script, seen) = (Arc::clone(&script), Arc::clone(&its));
                // Ends with its client.
                thread::spawn(move || drop(serve(&client, &script, &seen)));
            }
        });
        MailServer { address, seen, is_over, thread: Some(thread) }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its port, as an option says it.
    #[must_use]
    pub fn port(&self) -> String {
        self.address.port().to_string()
    }

    /// The texts of the letters that were sent with their end, taken or not.
    ///
    /// # Panics
    /// One of its threads has panicked.
    #[must_use]
    pub fn letters(&self) -> Vec<String> {
        self.seen.letters.lock().expect("no panic").clone()
    }

    /// The commands of each connection.
    ///
    /// # Panics
    /// One of its threads has panicked.
    #[must_use]
    pub fn dialogues(&self) -> Vec<Vec<String>> {
        self.seen.dialogues.lock().expect("no panic").clone()
    }

    /// The commands that begin with this word, on all connections.
    ///
    /// # Panics
    /// One of its threads has panicked.
    #[must_use]
    pub fn commands(&self, word: &str) -> Vec<String> {
        let dialogues = self.dialogues();
        dialogues.into_iter().flatten().filter(|line| line.starts_with(word)).collect()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address); // it waits for a client
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(client: &TcpStream, script: &Script, seen: &Seen) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let number = {
        let mut dialogues = seen.dialogues.lock().expect("no panic");
        dialogues.push(Vec::new());
        dialogues.len() - 1
    };
    let mut reader = BufReader::new(client);
    let mut said = answer(client, script, &Came::Connection, "220 mx.test ESMTP")?;
    let mut line = String::new();
    while said.is_some_and(|said| !said.starts_with("421") && !said.starts_with("221")) {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let command = line.trim_end().to_owned();
        seen.dialogues.lock().expect("no panic")[number].push(command.clone());
        let word = command.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        let otherwise = match word.as_str() {
            "EHLO" => "250-mx.test\r\n250-PIPELINING\r\n250 8BITMIME",
            "DATA" => "354 go on",
            "QUIT" => "221 2.0.0 bye",
            _ => "250 2.0.0 ok",
        };
        said = answer(client, script, &Came::Command(command), otherwise)?;
        if word == "DATA" && said.as_ref().is_some_and(|said| said.starts_with("354")) {
            let Some(text) = text(&mut reader)? else { return Ok(()) };
            seen.letters.lock().expect("no panic").push(text.clone());
            said = answer(client, script, &Came::Letter(text), "250 2.0.0 taken")?;
        }
    }
    Ok(())
}

/// Says what the script wants; `None` where it wants the connection closed.
fn answer(
    mut client: &TcpStream,
    script: &Script,
    came: &Came,
    otherwise: &str,
) -> std::io::Result<Option<String>> {
    let line = match script(came) {
        Some(Answer::Close) => return Ok(None),
        Some(Answer::Say(line)) => line,
        None => otherwise.to_owned(),
    };
    client.write_all(format!("{line}\r\n").as_bytes())?;
    Ok(Some(line))
}

/// Reads the text of a letter; `None` for one without its end.
fn text(reader: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let (mut text, mut line) = (String::new(), String::new());
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line == ".\r\n" {
            return Ok(Some(text));
        }
        text += line.strip_prefix('.').unwrap_or(&line).trim_end_matches(['\r', '\n']);
        text.push('\n');
    }
}
