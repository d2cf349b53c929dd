//! Who may vote, who may be voted for, and what the commands come to.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use crate::ledger::{Ledger, NotCounted};

/// A voter's or a candidate's name, and a secret, have so many octets at most, so that a command fits
/// into a line.
const LONGEST: usize = 100;

/// The files of one election, as they were when the server started, and its ledger.
pub struct Election {
    roll: Roll,
    ledger: Ledger,
}

/// Voters and candidates.
#[derive(Default)]
pub struct Roll {
    secrets: HashMap<Vec<u8>, Vec<u8>>,
    candidates: Vec<Vec<u8>>,
}

/// Why a vote was refused.
pub enum Refusal {
    /// The name is not on the roll, or the secret is not his. The two are not told apart.
    Voter,
    Candidate,
    /// By the ledger.
    Ledger(NotCounted),
}

impl Election {
    /// Reads `candidates`, `voters` and, if there is one, `ledger`.
    pub fn open(folder: &Path) -> Result<Election, String> {
        let mut roll = Roll::default();
        for_each_line(&folder.join("candidates"), |line| roll.add_candidate(line))?;
        for_each_line(&folder.join("voters"), |line| roll.add_voter(line))?;
        let ledger = Ledger::open(folder, &roll)?;
        Ok(Election { roll, ledger })
    }

    /// How many may vote.
    pub fn voters(&self) -> usize {
        self.roll.secrets.len()
    }

    /// In the order of the file.
    pub fn candidates(&self) -> &[Vec<u8>] {
        &self.roll.candidates
    }

    /// One vote. When this returns Ok, it is on disk.
    pub fn vote(&mut self, voter: &[u8], secret: &[u8], candidate: &[u8]) -> Result<(), Refusal> {
        match self.roll.secrets.get(voter) {
            Some(right) if same(right, secret) => {}
            _ => return Err(Refusal::Voter),
        }
        let candidate = self.roll.candidate(candidate).ok_or(Refusal::Candidate)?;
        self.ledger.vote(&self.roll, voter, candidate).map_err(Refusal::Ledger)
    }

    /// How many votes each candidate has, in the order of the file. They are on disk.
    pub fn result(&mut self) -> Result<Vec<usize>, NotCounted> {
        self.ledger.result(&self.roll)
    }
}

impl Roll {
    fn add_candidate(&mut self, line: &[u8]) -> Result<(), &'static str> {
        if line.len() > LONGEST || line.iter().any(u8::is_ascii_control) || line == b"." {
            return Err("no name for a candidate");
        }
        if self.candidate(line).is_some() {
            return Err("this candidate is there already");
        }
        self.candidates.push(line.to_owned());
        Ok(())
    }

    fn add_voter(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let mut fields = line.splitn(2, |octet| *octet == b':');
        let (Some(name), Some(secret)) = (fields.next(), fields.next()) else {
            return Err("not name:secret");
        };
        if !is_a_word(name) || !is_a_word(secret) {
            return Err("name and secret are words of 1 to 100 octets");
        }
        match self.secrets.insert(name.to_owned(), secret.to_owned()) {
            Some(_) => Err("this voter is there already"),
            None => Ok(()),
        }
    }

    /// A candidate's place in the file.
    pub fn candidate(&self, name: &[u8]) -> Option<usize> {
        self.candidates.iter().position(|candidate| candidate == name)
    }

    /// A candidate's name.
    pub fn name(&self, candidate: usize) -> &[u8] {
        self.candidates.get(candidate).map_or(b"", Vec::as_slice)
    }

    /// How many candidates there are.
    pub fn candidates(&self) -> usize {
        self.candidates.len()
    }

    /// True for those who may vote.
    pub fn has_voter(&self, name: &[u8]) -> bool {
        self.secrets.contains_key(name)
    }
}

fn is_a_word(octets: &[u8]) -> bool {
    let printable = |octet: &u8| !octet.is_ascii_control() && *octet != b' ';
    (1..=LONGEST).contains(&octets.len()) && octets.iter().all(printable)
}

/// Compares to the end, so that the time tells nothing of where they begin to differ.
fn same(one: &[u8], other: &[u8]) -> bool {
    let differences = one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
    one.len() == other.len() && differences == 0
}

fn for_each_line(
    path: &Path,
    mut add: impl FnMut(&[u8]) -> Result<(), &'static str>,
) -> Result<(), String> {
    let file = fs::read(path).map_err(|e| format!("{}: {}", path.display(), unp::reason(&e)))?;
    for (number, line) in file.split(|octet| *octet == b'\n').enumerate() {
        if !line.is_empty() {
            add(line).map_err(|e| format!("{}:{}: {e}", path.display(), number + 1))?;
        }
    }
    Ok(())
}
