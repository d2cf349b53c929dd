//! An election whose result is known, and its server.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use testkit::{Daemon, Peer, TempDir};

const CANDIDATES: [&str; 3] = ["Blanc", "Noir", "Vote blanc"];

/// An election with voters v0, v1, … whose secrets are s0, s1, ….
pub fn election(voters: usize) -> TempDir {
    let folder = TempDir::new();
    folder.file("candidates", CANDIDATES.join("\n") + "\n");
    let voters: Vec<String> = (0..voters).map(|i| format!("v{i}:s{i}\n")).collect();
    folder.file("voters", voters.concat());
    folder
}

fn spawn(mut command: Command) -> Daemon {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    Daemon::adopt(command.spawn().unwrap())
}

pub fn server(folder: &Path) -> Daemon {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vote_server"));
    command.arg("127.0.0.1:0").arg(folder);
    spawn(command)
}

/// Through a shell, which sets a limit first.
pub fn server_under(limit: &str, folder: &Path) -> Daemon {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{limit}; exec \"$0\" 127.0.0.1:0 \"$1\"")]);
    command.arg(env!("CARGO_BIN_EXE_vote_server")).arg(folder);
    spawn(command)
}

/// A client who has read the greeting.
pub fn client(server: &Daemon) -> Peer {
    let mut peer = Peer::connect(server.addr());
    peer.expect("+OK vote, ");
    peer
}

/// Voter number i has one choice, so that the result is known.
fn choice(i: usize) -> &'static str {
    CANDIDATES[i * 7 % 3]
}

pub fn ballot(i: usize) -> String {
    format!("VOTE v{i} s{i} {}", choice(i))
}

/// What RESULT says: the votes of each candidate.
pub fn result(server: &Daemon) -> BTreeMap<String, usize> {
    let mut peer = client(server);
    peer.ask("RESULT", "+OK ");
    let mut result = BTreeMap::new();
    loop {
        let line = String::from_utf8(peer.line()).unwrap();
        match line.trim_end().split_once(' ') {
            Some((votes, name)) => result.insert(name.to_owned(), votes.parse().unwrap()),
            None => break,
        };
    }
    result
}

/// The result when these have voted as [`choice`] says.
pub fn result_of(voters: impl Iterator<Item = usize>) -> BTreeMap<String, usize> {
    let mut result: BTreeMap<String, usize> =
        CANDIDATES.iter().map(|name| ((*name).to_owned(), 0)).collect();
    voters.for_each(|i| *result.get_mut(choice(i)).unwrap() += 1);
    result
}

/// Reads the voters in the ledger; none may be there twice.
pub fn ledger(folder: &Path) -> BTreeSet<usize> {
    let text = fs::read_to_string(folder.join("ledger")).unwrap();
    let mut voters = BTreeSet::new();
    for line in text.lines() {
        let (voter, candidate) = line.split_once('\t').expect("voter TAB candidate");
        let voter = voter[1..].parse().unwrap();
        assert_eq!(candidate, choice(voter), "not the candidate that was chosen");
        assert!(voters.insert(voter), "v{voter} is counted twice");
    }
    voters
}
