//! A scripted filter.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;

/// A packet: command and data.
pub type Packet = (u8, Vec<u8>);

/// Packets that are answers.
pub type Answers<'a> = &'a [(u8, &'a [u8])];

/// What a scripted filter has received, over all its connections.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Vec<Packet>>>);

impl Heard {
    /// The data of all packets with this command.
    pub fn all(&self, command: u8) -> Vec<String> {
        let heard = self.0.lock().unwrap();
        let its = heard.iter().filter(|(it, _)| *it == command);
        its.map(|(_, data)| String::from_utf8_lossy(data).into_owned()).collect()
    }

    /// The commands in their order, without macros.
    pub fn commands(&self) -> String {
        let heard = self.0.lock().unwrap();
        heard.iter().map(|(command, _)| char::from(*command)).filter(|it| *it != 'D').collect()
    }
}

/// What a filter answers to each command; `c` to others. Steps of `mfdef.h` that it leaves out or does not answer.
pub struct Script {
    pub steps: u32,
    pub answers: HashMap<u8, Vec<Packet>>,
}

impl Script {
    pub fn new(answers: &[(u8, Answers<'_>)]) -> Script {
        let own = |packets: Answers<'_>| {
            packets.iter().map(|(command, data)| (*command, data.to_vec())).collect()
        };
        let answers = answers.iter().map(|(to, packets)| (*to, own(packets))).collect();
        Script { steps: 0, answers }
    }

    pub fn run(&self, mut stream: impl Read + Write, heard: &Heard) {
        loop {
            let mut length = [0; 4];
            if stream.read_exact(&mut length).is_err() {
                return;
            }
            let mut data = vec![0; u32::from_be_bytes(length) as usize];
            if stream.read_exact(&mut data).is_err() {
                return;
            }
            let command = data.remove(0);
            heard.0.lock().unwrap().push((command, data));
            let silent = [(b'L', 0x80), (b'B', 0x8_0000), (b'M', 0x4000)];
            let is_silent = silent.iter().any(|(it, bit)| *it == command && self.steps & bit != 0);
            let answers = match command {
                b'D' | b'A' => continue,
                b'Q' => return,
                b'O' => {
                    let numbers = [6, 0x31, self.steps].map(u32::to_be_bytes).concat();
                    vec![(b'O', numbers)]
                }
                _ if is_silent => continue,
                other => self.answers.get(&other).cloned().unwrap_or_else(|| vec![(b'c', vec![])]),
            };
            for (command, data) in answers {
                let mut packet = (data.len() as u32 + 1).to_be_bytes().to_vec();
                packet.push(command);
                packet.extend(data);
                if command == 0 || stream.write_all(&packet).is_err() {
                    return; // 0: it ends
                }
            }
        }
    }
}

/// Starts a filter over TCP; its thread ends with the test.
pub fn filter(script: Script) -> (SocketAddr, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, heard) = (listener.local_addr().unwrap(), Heard::default());
    let (script, hears) = (Arc::new(script), heard.clone());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (script, hears) = (Arc::clone(&script), hears.clone());
            thread::spawn(move || script.run(stream.unwrap(), &hears));
        }
    });
    (address, heard)
}
