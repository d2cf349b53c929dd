//! The voters and the candidates.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// Longest name and secret in bytes, so that a command fits into a line.
const MAX_WORD: usize = 100;

/// Voters and candidates.
#[derive(Default)]
pub struct Roll {
    secrets: HashMap<Vec<u8>, Vec<u8>>,
    candidates: Vec<Vec<u8>>,
}

impl Roll {
    /// Reads the files `candidates` and `voters`.
    pub fn open(folder: &Path) -> Result<Roll, String> {
        let mut roll = Roll::default();
        for_each_line(&folder.join("candidates"), |line| roll.add_candidate(line))?;
        for_each_line(&folder.join("voters"), |line| roll.add_voter(line))?;
        Ok(roll)
    }

    fn add_candidate(&mut self, line: &[u8]) -> Result<(), &'static str> {
        if line.len() > MAX_WORD || line.iter().any(u8::is_ascii_control) || line == b"." {
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

    /// Returns a candidate's index in the file.
    pub fn candidate(&self, name: &[u8]) -> Option<usize> {
        self.candidates.iter().position(|candidate| candidate == name)
    }

    /// Returns a candidate's name.
    pub fn name(&self, candidate: usize) -> &[u8] {
        self.candidates.get(candidate).map_or(b"", Vec::as_slice)
    }

    /// Returns the candidates in the order of the file.
    pub fn candidates(&self) -> &[Vec<u8>] {
        &self.candidates
    }

    /// Returns the number of voters.
    pub fn voters(&self) -> usize {
        self.secrets.len()
    }

    /// Returns whether this is the voter's secret.
    pub fn has_secret(&self, voter: &[u8], secret: &[u8]) -> bool {
        self.secrets.get(voter).is_some_and(|right| same(right, secret))
    }

    /// Returns whether this is a voter.
    pub fn has_voter(&self, name: &[u8]) -> bool {
        self.secrets.contains_key(name)
    }
}

fn is_a_word(octets: &[u8]) -> bool {
    let printable = |octet: &u8| !octet.is_ascii_control() && *octet != b' ';
    (1..=MAX_WORD).contains(&octets.len()) && octets.iter().all(printable)
}

/// Compares in a time that does not depend on where the two differ.
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
