//! How a machine keeps a `long` in memory: in which order of octets, and in how many.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use crate::error::{Result, err_quit};
use crate::values::Words;

/// The order of the octets of a number in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The low octet at the lower address: x86, ARM as Linux runs it.
    Little,
    /// The high octet at the lower address: SPARC, s390; and the network (RFC 1700).
    Big,
}

/// The order of the machine this runs on.
pub const NATIVE: Order = if cfg!(target_endian = "big") { Order::Big } else { Order::Little };

impl FromStr for Order {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Order, &'static str> {
        match text {
            "little" => Ok(Order::Little),
            "big" => Ok(Order::Big),
            _ => Err("neither little nor big"),
        }
    }
}

/// A machine, as far as its longs go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The order of their octets.
    pub order: Order,
    /// How many they are: 4 or 8.
    pub long: usize,
}

/// For people: `little-endian, long has 8 octets`.
impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = if self.order == Order::Big { "big" } else { "little" };
        write!(f, "{order}-endian, long has {} octets", self.long)
    }
}

impl Machine {
    /// The machine that `--order little|big` and `--long 4|8` describe; what is not said is as on this
    /// one.
    ///
    /// # Errors
    /// The options have other values.
    pub fn new<const N: usize>(line: &Words<N>) -> Result<Machine> {
        let order = line.value("--order")?.unwrap_or(NATIVE);
        match line.value("--long")?.unwrap_or(size_of::<libc::c_long>()) {
            long @ (4 | 8) => Ok(Machine { order, long }),
            long => Err(err_quit(format!("--long '{long}': neither 4 nor 8"))),
        }
    }

    /// A long as this machine has it in memory; of what does not fit, the high octets are missing, as
    /// after every overflow.
    #[must_use]
    pub fn octets(&self, number: i64) -> Vec<u8> {
        let mut octets: Vec<u8> = number.to_le_bytes().into_iter().take(self.long).collect();
        if self.order == Order::Big {
            octets.reverse();
        }
        octets
    }

    /// A long out of this machine's memory, with its sign.
    #[must_use]
    pub fn number(&self, octets: &[u8]) -> i64 {
        let add = |sum: u64, octet: &u8| sum << 8 | u64::from(*octet);
        let number = match self.order {
            Order::Big => octets.iter().fold(0, add),
            Order::Little => octets.iter().rev().fold(0, add),
        };
        let unused = 64 - 8 * self.long.clamp(1, 8);
        (number << unused).cast_signed() >> unused
    }

    /// True when a long of this machine can be this number.
    #[must_use]
    pub fn holds(&self, number: i64) -> bool {
        self.number(&self.octets(number)) == number
    }

    /// Reads a structure of some longs, exactly as many octets as it has in this machine's memory.
    ///
    /// # Errors
    /// As read(2) says; `UnexpectedEof` when the connection ends before.
    pub fn read(&self, from: &mut impl Read, longs: usize) -> io::Result<Vec<i64>> {
        let mut memory = vec![0; longs * self.long];
        from.read_exact(&mut memory)?;
        Ok(memory.chunks(self.long).map(|octets| self.number(octets)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINES: [Machine; 4] = [
        Machine { order: Order::Little, long: 4 },
        Machine { order: Order::Little, long: 8 },
        Machine { order: Order::Big, long: 4 },
        Machine { order: Order::Big, long: 8 },
    ];

    #[test]
    fn each_machine_understands_itself() {
        for machine in MACHINES {
            for number in [0, 1, -1, 258, -22, i64::from(i32::MIN), i64::from(i32::MAX)] {
                assert_eq!(machine.number(&machine.octets(number)), number, "{machine} {number}");
                assert_eq!(machine.octets(number).len(), machine.long);
            }
            assert_eq!(machine.holds(i64::MAX), machine.long == 8);
        }
    }

    #[test]
    fn this_machine_is_one_of_them() {
        let native = Machine { order: NATIVE, long: 8 };
        assert_eq!(native.octets(0x0102_0304), 0x0102_0304_i64.to_ne_bytes());
    }
}
