//! How a machine keeps a `long` in memory: its byte order and its size.

use std::ffi::c_long;
use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use crate::error::{Result, err_quit};
use crate::values::Words;

/// The byte order of a number in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The low byte at the lower address: x86, ARM as Linux runs it.
    Little,
    /// The high byte at the lower address: SPARC, s390; and the network (RFC 1700).
    Big,
}

/// The byte order of the machine that this runs on.
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

/// A machine's `long`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its byte order.
    pub order: Order,
    /// Its size in bytes: 4 or 8.
    pub long: usize,
}

/// Formats it as `little-endian, long has 8 octets`.
impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = if self.order == Order::Big { "big" } else { "little" };
        write!(f, "{order}-endian, long has {} octets", self.long)
    }
}

impl Machine {
    /// Makes the machine that `--order little|big` and `--long 4|8` describe; without them it is like
    /// this one.
    ///
    /// # Errors
    /// The options have other values.
    pub fn new<const N: usize>(line: &Words<N>) -> Result<Machine> {
        let order = line.value("--order")?.unwrap_or(NATIVE);
        match line.value("--long")?.unwrap_or(size_of::<c_long>()) {
            long @ (4 | 8) => Ok(Machine { order, long }),
            long => Err(err_quit(format!("--long '{long}': neither 4 nor 8"))),
        }
    }

    /// Returns a long as this machine has it in memory. Of a number that does not fit, the high bytes
    /// are missing, as after every overflow.
    #[must_use]
    pub fn bytes(&self, number: i64) -> Vec<u8> {
        let mut bytes: Vec<u8> = number.to_le_bytes().into_iter().take(self.long).collect();
        if self.order == Order::Big {
            bytes.reverse();
        }
        bytes
    }

    /// Returns a long out of this machine's memory, with its sign.
    #[must_use]
    pub fn number(&self, bytes: &[u8]) -> i64 {
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        let number = match self.order {
            Order::Big => bytes.iter().fold(0, add),
            Order::Little => bytes.iter().rev().fold(0, add),
        };
        let unused = 64 - 8 * self.long.clamp(1, 8);
        (number << unused).cast_signed() >> unused
    }

    /// Returns true when a long of this machine can be this number.
    #[must_use]
    pub fn holds(&self, number: i64) -> bool {
        self.number(&self.bytes(number)) == number
    }

    /// Reads a structure of this many longs, as many bytes as it has in this machine's memory.
    ///
    /// # Errors
    /// As read(2) says; `UnexpectedEof` when the connection ends before.
    pub fn read(&self, from: &mut impl Read, longs: usize) -> io::Result<Vec<i64>> {
        let mut memory = vec![0; longs * self.long];
        from.read_exact(&mut memory)?;
        Ok(memory.chunks(self.long).map(|bytes| self.number(bytes)).collect())
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
    fn each_machine_reads_its_own_numbers() {
        for machine in MACHINES {
            for number in [0, 1, -1, 258, -22, i64::from(i32::MIN), i64::from(i32::MAX)] {
                assert_eq!(machine.number(&machine.bytes(number)), number, "{machine} {number}");
                assert_eq!(machine.bytes(number).len(), machine.long);
            }
            assert_eq!(machine.holds(i64::MAX), machine.long == 8);
        }
    }

    #[test]
    fn this_machine_is_one_of_them() {
        let native = Machine { order: NATIVE, long: 8 };
        assert_eq!(native.bytes(0x0102_0304), 0x0102_0304_i64.to_ne_bytes());
    }
}
