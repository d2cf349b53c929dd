//! The operations of an election.

use std::path::Path;

use crate::ledger::{Ledger, NotCounted};
use crate::roll::Roll;

/// The files of one election, read when the server started, and its ledger.
pub struct Election {
    roll: Roll,
    ledger: Ledger,
}

/// Why a vote was refused.
pub enum Refusal {
    /// The name is not on the roll, or the secret is wrong. The reply does not distinguish the two.
    Voter,
    Candidate,
    /// The ledger refused the vote.
    Ledger(NotCounted),
}

impl Election {
    /// Reads `candidates`, `voters` and, if there is one, `ledger`.
    pub fn open(folder: &Path) -> Result<Election, String> {
        let roll = Roll::open(folder)?;
        let ledger = Ledger::open(folder, &roll)?;
        Ok(Election { roll, ledger })
    }

    /// Returns the number of voters.
    pub fn voters(&self) -> usize {
        self.roll.voters()
    }

    /// Returns the candidates in the order of the file.
    pub fn candidates(&self) -> &[Vec<u8>] {
        self.roll.candidates()
    }

    /// Counts one vote. When this returns Ok, it is on disk.
    pub fn vote(&mut self, voter: &[u8], secret: &[u8], candidate: &[u8]) -> Result<(), Refusal> {
        if !self.roll.has_secret(voter, secret) {
            return Err(Refusal::Voter);
        }
        let candidate = self.roll.candidate(candidate).ok_or(Refusal::Candidate)?;
        self.ledger.vote(&self.roll, voter, candidate).map_err(Refusal::Ledger)
    }

    /// Returns the number of votes of each candidate, in the order of the file. They are on disk.
    pub fn result(&mut self) -> Result<Vec<usize>, NotCounted> {
        self.ledger.result(&self.roll)
    }
}
