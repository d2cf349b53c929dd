//! The program of a seccomp(2) filter, in classic BPF: a binary search among the numbers of the calls.
//!
//! When a process enters a filter, the kernel runs it once for the number of each call, in order to skip it
//! later where a call is allowed whatever its arguments are. So a process that enters one for each client
//! wants a program with few steps, more than one with few instructions.
//!
//! ```text
//!  load machine; another: kill
//!  load number
//!  number >= K? .. number >= K'?      the search, to one of these:
//!  load argument; bit, or value?      for calls that an argument decides about
//!  allow | EPERM | ENOSYS
//! ```

use std::collections::BTreeMap;

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter,
};
use nix::errno::Errno;

/// The flag `AUDIT_ARCH_` of <linux/audit.h>, which tells the tables of calls apart; `None` for a machine that
/// this crate does not know.
pub(super) const MACHINE: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else if cfg!(target_arch = "riscv64") {
    Some(0xc000_00f3)
} else {
    None
};
/// The byte where `struct seccomp_data` has the call's number.
const NUMBER: u32 = 0;
/// The byte where it has the machine.
const ARCH: u32 = 4;
/// The byte where it has the first of six arguments, of 8 bytes each.
const ARGUMENTS: u32 = 16;

/// What is done about a call. Of an argument only the low 32 bits are looked at: the kernel uses no more of
/// those that are asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Allow,
    /// Allows it where this bit of an argument is not set.
    Without {
        argument: u32,
        bit: u32,
    },
    /// Allows it where this bit of an argument is set.
    With {
        argument: u32,
        bit: u32,
    },
    /// Allows it where an argument is one of these.
    OneOf {
        argument: u32,
        values: &'static [u32],
    },
    /// Answers with ENOSYS, as a kernel that does not have the call.
    Unknown,
}

/// The rules of calls, by their numbers; EPERM for a call without one.
pub(super) type Table = BTreeMap<u32, Rule>;

/// Returns the program, for a machine and its table.
///
/// # Errors
/// EINVAL for a table so large that a jump is too long.
pub(super) fn assemble(machine: u32, table: &Table) -> nix::Result<Vec<sock_filter>> {
    let mut code = Code::default();
    let ends = Ends {
        unknown: code.errno(Errno::ENOSYS),
        refuse: code.errno(Errno::EPERM),
        allow: code.end(libc::SECCOMP_RET_ALLOW),
    };
    let mut ranges = vec![(0, ends.refuse)]; // each from its first number to the next one's
    let mut add = |from, to| match ranges.last_mut() {
        Some(last) if last.1 == to => {}
        Some(last) if last.0 == from => last.1 = to,
        _ => ranges.push((from, to)),
    };
    for (number, rule) in table {
        add(*number, code.rule(*rule, ends)?);
        add(number + 1, ends.refuse);
    }
    let search = code.search(&ranges)?;
    let load = code.load(NUMBER, search)?;
    let kill = code.end(libc::SECCOMP_RET_KILL_PROCESS);
    code.test(BPF_JEQ, machine, load, kill)?;
    code.op(BPF_LD | BPF_W | BPF_ABS, ARCH, 0, 0);
    code.0.reverse();
    Ok(code.0)
}

/// Where an instruction is, counted from the end of the program.
type Place = usize;

/// Where the program ends.
#[derive(Clone, Copy)]
struct Ends {
    allow: Place,
    refuse: Place,
    unknown: Place,
}

/// The program from its end: a jump leads forward, so what it leads to is there already.
#[derive(Default)]
struct Code(Vec<sock_filter>);

impl Code {
    fn op(&mut self, code: u32, k: u32, jt: u8, jf: u8) -> Place {
        self.0.push(sock_filter { code: code as u16, jt, jf, k });
        self.0.len() - 1
    }

    fn end(&mut self, verdict: u32) -> Place {
        self.op(BPF_RET | BPF_K, verdict, 0, 0)
    }

    fn errno(&mut self, errno: Errno) -> Place {
        self.end(libc::SECCOMP_RET_ERRNO | (errno as u32))
    }

    /// Returns how far the next instruction jumps to a place.
    fn distance(&self, place: Place) -> nix::Result<u8> {
        u8::try_from(self.0.len() - 1 - place).map_err(|_| Errno::EINVAL)
    }

    /// Compares what was loaded.
    fn test(&mut self, how: u32, value: u32, yes: Place, no: Place) -> nix::Result<Place> {
        let (jt, jf) = (self.distance(yes)?, self.distance(no)?);
        Ok(self.op(BPF_JMP | how | BPF_K, value, jt, jf))
    }

    /// Loads 32 bits; `then` is what comes next, and must be the instruction before.
    fn load(&mut self, offset: u32, then: Place) -> nix::Result<Place> {
        if self.distance(then)? != 0 {
            return Err(Errno::EINVAL);
        }
        Ok(self.op(BPF_LD | BPF_W | BPF_ABS, offset, 0, 0))
    }

    fn load_argument(&mut self, argument: u32, then: Place) -> nix::Result<Place> {
        let low = if cfg!(target_endian = "big") { 4 } else { 0 };
        self.load(ARGUMENTS + 8 * argument + low, then)
    }

    fn rule(&mut self, rule: Rule, ends: Ends) -> nix::Result<Place> {
        match rule {
            Rule::Allow => Ok(ends.allow),
            Rule::Unknown => Ok(ends.unknown),
            Rule::Without { argument, bit } => {
                let test = self.test(BPF_JSET, bit, ends.refuse, ends.allow)?;
                self.load_argument(argument, test)
            }
            Rule::With { argument, bit } => {
                let test = self.test(BPF_JSET, bit, ends.allow, ends.refuse)?;
                self.load_argument(argument, test)
            }
            Rule::OneOf { argument, values } => {
                let mut next = ends.refuse;
                for value in values {
                    next = self.test(BPF_JEQ, *value, ends.allow, next)?;
                }
                self.load_argument(argument, next)
            }
        }
    }

    /// Finds the range that a number is in.
    fn search(&mut self, ranges: &[(u32, Place)]) -> nix::Result<Place> {
        match ranges {
            [] => Err(Errno::EINVAL),
            [(_, place)] => Ok(*place),
            _ => {
                let (below, above) = ranges.split_at(ranges.len() / 2);
                let from = above.first().map_or(0, |range| range.0);
                let (above, below) = (self.search(above)?, self.search(below)?);
                self.test(BPF_JGE, from, above, below)
            }
        }
    }
}

#[cfg(test)]
mod tests;
