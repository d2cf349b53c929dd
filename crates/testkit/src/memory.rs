//! The memory of another process: what it has, what it shares, and what stands in it. With
//! /proc/PID/mem a test writes there what an intruder in that process could write.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

use crate::judging::not_judged;

/// The name of a process's stack.
pub const STACK: &str = "[stack]";
/// Bytes of a page on all machines that the tests know.
const PAGE: u64 = 4096;

/// Some pages of a process's memory, from proc_pid_smaps(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The first address.
    pub start: u64,
    /// The address after the last one.
    pub end: u64,
    /// Such as `rw-p`: readable, writable, not executable, private.
    rights: String,
    /// The file, or `[heap]` and the like; empty for memory of no file.
    name: String,
    /// VmFlags.
    flags: Vec<String>,
}

impl Mapping {
    /// True for memory that this process can write to, and others see it.
    #[must_use]
    pub fn is_shared_and_writable(&self) -> bool {
        self.rights.starts_with("rw") && self.rights.ends_with('s')
    }

    /// True for memory that no child gets (`dc`, do not copy on fork: MADV_DONTFORK of madvise(2)).
    #[must_use]
    pub fn is_kept_from_children(&self) -> bool {
        self.flags.iter().any(|flag| flag == "dc")
    }

    /// How many pages these are.
    #[must_use]
    pub fn pages(&self) -> u64 {
        (self.end - self.start) / PAGE
    }

    /// True where the program can have written something: not in code or constants of its file.
    fn may_have_been_written(&self) -> bool {
        let is_writable = self.rights.starts_with("rw");
        let is_of_the_kernel = self.name.starts_with("[v"); // vvar, vdso, vsyscall
        (is_writable || self.name.is_empty()) && self.rights.starts_with('r') && !is_of_the_kernel
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x} {} {}", self.start, self.end, self.rights, self.name)
    }
}

/// All memory of a process.
///
/// # Panics
/// The process is gone, or this one may not look at it.
#[must_use]
pub fn mappings(pid: i32) -> Vec<Mapping> {
    let smaps = std::fs::read_to_string(format!("/proc/{pid}/smaps")).expect("a live process");
    let mut all: Vec<Mapping> = Vec::new();
    for line in smaps.lines() {
        if let Some(flags) = line.strip_prefix("VmFlags:") {
            let flags = flags.split_whitespace().map(str::to_owned).collect();
            all.last_mut().expect("a mapping before its flags").flags = flags;
        } else if let Some(mapping) = first_line(line) {
            all.push(mapping);
        }
    }
    all
}

/// `7f985ff81000-7f985ff82000 rw-s 00000000 00:01 2054 /dev/zero (deleted)`
fn first_line(line: &str) -> Option<Mapping> {
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let address = |text| u64::from_str_radix(text, 16).ok();
    let (start, end) = (address(start)?, address(end)?);
    let rights = fields.next()?.to_owned();
    let name = fields.nth(3).unwrap_or_default().trim().to_owned();
    Some(Mapping { start, end, rights, name, flags: Vec::new() })
}

/// True when this process may write to the memory of that one. Where it may not, a line that names the
/// test goes to standard error past the harness.
#[must_use]
pub fn can_take_over(pid: i32) -> bool {
    let answer = memory(pid);
    if let Err(error) = &answer {
        not_judged(format_args!("needs the right to trace a process ({error})"));
    }
    answer.is_ok()
}

fn memory(pid: i32) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).open(format!("/proc/{pid}/mem"))
}

/// What an intruder fills memory with.
#[derive(Clone, Copy, Debug)]
pub enum Garbage {
    /// The same byte everywhere.
    Byte(u8),
    /// Random bytes, which begin with this number.
    Random(u64),
}

impl Garbage {
    /// All kinds: all ones, which is -1 as a number; a letter; random bytes, others each time.
    #[must_use]
    pub fn kinds() -> [Garbage; 3] {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seed = now.map_or(1, |now| now.as_nanos() as u64) | 1;
        [Garbage::Byte(0xff), Garbage::Byte(b'A'), Garbage::Random(seed)]
    }

    /// This much of it.
    #[must_use]
    pub fn bytes(self, length: usize) -> Vec<u8> {
        match self {
            Garbage::Byte(byte) => vec![byte; length],
            Garbage::Random(mut state) => {
                let next = || {
                    state ^= state << 13; // xorshift of 64 bits (Marsaglia 2003)
                    state ^= state >> 7;
                    state ^= state << 17;
                    (state >> 32) as u8
                };
                std::iter::repeat_with(next).take(length).collect()
            }
        }
    }
}

/// Overwrites all memory that a process can write to and shares with others. Returns the number of
/// pages.
///
/// # Panics
/// The process is gone, or this one may not do it.
pub fn fill_shared_pages(pid: i32, garbage: Garbage) -> u64 {
    let memory = memory(pid).expect("the right to write there");
    let shared: Vec<_> =
        mappings(pid).into_iter().filter(Mapping::is_shared_and_writable).collect();
    for mapping in &shared {
        let bytes = garbage.bytes((mapping.end - mapping.start) as usize);
        memory.write_all_at(&bytes, mapping.start).expect("a page that is there");
    }
    shared.iter().map(Mapping::pages).sum()
}

/// What stands in the memory that a process's program can have written to: its data, heap and stack,
/// what it has mapped and what it shares. Code and constants of its file are left out.
#[derive(Debug)]
pub struct Image(Vec<(Mapping, Vec<u8>)>);

impl Image {
    /// Reads it. The process goes on meanwhile.
    ///
    /// # Panics
    /// As [`fill_shared_pages`].
    #[must_use]
    pub fn of(pid: i32) -> Image {
        let memory = memory(pid).expect("the right to read there");
        let read = |mapping: Mapping| {
            let mut bytes = vec![0; (mapping.end - mapping.start) as usize];
            // Of a file that is shorter than its mapping the rest cannot be read.
            let mut done = 0;
            while let Ok(more @ 1..) =
                memory.read_at(&mut bytes[done..], mapping.start + done as u64)
            {
                done += more;
            }
            bytes.truncate(done);
            (mapping, bytes)
        };
        let all = mappings(pid).into_iter();
        Image(all.filter(Mapping::may_have_been_written).map(read).collect())
    }

    /// Where these bytes stand: the name of the memory, and the address.
    ///
    /// # Panics
    /// There are none.
    #[must_use]
    pub fn find(&self, needle: &[u8]) -> Vec<(String, u64)> {
        let (first, rest) = needle.split_first().expect("bytes to find");
        let places = |(mapping, bytes): &(Mapping, Vec<u8>)| {
            let begins = bytes.iter().enumerate().filter(|(_, byte)| *byte == first);
            let at = begins.map(|(at, _)| at).filter(|at| bytes[at + 1..].starts_with(rest));
            at.map(|at| (mapping.name.clone(), mapping.start + at as u64)).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(places).collect()
    }

    /// Which of these numbers stand there as aligned 32-bit words, but for the stack, where numbers of any
    /// size stand.
    #[must_use]
    pub fn words(&self, numbers: &[i32]) -> BTreeSet<i32> {
        let wanted: BTreeSet<i32> = numbers.iter().copied().collect();
        let parts = self.0.iter().filter(|(mapping, _)| mapping.name != STACK);
        let words = parts.flat_map(|(_, bytes)| bytes.chunks_exact(4));
        let numbers = words.map(|word| i32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
        numbers.filter(|number| wanted.contains(number)).collect()
    }

    /// The bytes at an address, as far as they are there.
    #[must_use]
    pub fn at(&self, start: u64, length: usize) -> &[u8] {
        let part = self.0.iter().find(|(mapping, _)| (mapping.start..mapping.end).contains(&start));
        let rest = part.and_then(|(mapping, bytes)| bytes.get((start - mapping.start) as usize..));
        rest.map_or(&[], |rest| &rest[..rest.len().min(length)])
    }
}
