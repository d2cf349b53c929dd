//! What the commands come to.

use std::path::Path;

use crate::ledger::{Ledger, NotCounted};
use crate::roll::Roll;

/// The files of one election, as they were when the server started, and its ledger.
pub struct Election {
    roll: Roll,
    ledger: Ledger,
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
        let roll = Roll::open(folder)?;
        let ledger = Ledger::open(folder, &roll)?;
        Ok(Election { roll, ledger })
    }

    /// How many may vote.
    pub fn voters(&self) -> usize {
        self.roll.voters()
    }

    /// In the order of the file.
    pub fn candidates(&self) -> &[Vec<u8>] {
        self.roll.candidates()
    }

    /// One vote. When this returns Ok, it is on disk.
    pub fn vote(&mut self, voter: &[u8], secret: &[u8], candidate: &[u8]) -> Result<(), Refusal> {
        if !self.roll.knows(voter, secret) {
            return Err(Refusal::Voter);
        }
        let candidate = self.roll.candidate(candidate).ok_or(Refusal::Candidate)?;
        self.ledger.vote(&self.roll, voter, candidate).map_err(Refusal::Ledger)
    }

    /// How many votes each candidate has, in the order of the file. They are on disk.
    pub fn result(&mut self) -> Result<Vec<usize>, NotCounted> {
        self.ledger.result(&self.roll)
    }
}
