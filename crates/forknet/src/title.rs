//! What `ps` shows of a process: the parent its clients, a child the one it serves.
//!
//! Linux has no call for it. A process writes over its own arguments, and over the environment
//! behind them where they are too short, and the kernel shows what stands there. Where the last
//! octet of the arguments is no longer the NUL that execve put there, /proc/PID/cmdline ends at the
//! first NUL instead of showing the whole space (proc_pid_cmdline(5)): so `ps` shows the title and
//! nothing behind it. /proc/PID/comm stays as it is, for pgrep and killall.
//!
//! Setting a title is no system call and allocates nothing, and only octets that differ are
//! written: a page that nobody writes to need not be copied after a fork.

use std::ffi::{CStr, c_char};
use std::fmt::{self, Display, Write};
use std::ops::Range;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use crate::accept::{Name, Peer};
use crate::fork::has_one_task;
use crate::listen::Listener;
use crate::transcript::printable;

/// Longer titles are cut, and no more of the environment is moved. A quarter of a page is more than
/// anybody reads in a line of `ps`; the kernel shows a page at most.
const LONGEST: usize = 1024;
/// What stands in place of the arguments' last NUL while the title is shorter than they were.
const MARK: u8 = b'.';
/// Names that clients choose are cut behind so many octets.
const LONGEST_NAME: usize = 64;

/// The title of a process that serves one client: `NAME: PEER`, and what [`Title::set`] adds.
///
/// Where a process serves several clients at once there is no title to set, and [`Title::set`] does
/// nothing.
#[derive(Clone, Copy, Debug)]
pub struct Title(Option<(Titles, Peer)>);

impl Title {
    /// One that shows nothing.
    #[must_use]
    pub const fn none() -> Title {
        Title(None)
    }

    /// Shows `NAME: PEER TEXT`. What does not fit is cut off. Control characters become `?`, but
    /// what a client chose should go through [`in_title`] first, so that one can still read it.
    pub fn set(&self, text: impl Display) {
        if let Some((titles, peer)) = self.0 {
            titles.show(format_args!("{peer} {text}"));
        }
    }
}

/// A name that a client chose, fit for a title: what does not print is escaped, and what is longer
/// than 64 octets is cut and ends in `...`.
#[must_use]
pub fn in_title(name: &[u8]) -> String {
    match name.get(..LONGEST_NAME) {
        Some(head) if head.len() < name.len() => printable(head) + "...",
        _ => printable(name),
    }
}

/// Shows the titles of a daemon, in the parent and in its children.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Titles {
    name: &'static str,
    /// None where there is no /proc: then no title is shown.
    space: Option<Space>,
}

impl Titles {
    /// Takes the space of the arguments and the environment for titles; until the first one it
    /// reads as before. The environment is moved, and std::env has it as before. The arguments must
    /// have been read already: std::env::args shows the title from now on. So does
    /// /proc/PID/environ, in place of the variables that had to make room.
    pub(crate) fn claim(name: &'static str) -> Titles {
        let space = Bounds::of_this_process().as_ref().map(Space::claim);
        if space.is_none() {
            log::debug!("no process titles: /proc/self/stat does not tell where they are");
        }
        Titles { name, space }
    }

    /// `NAME: PEER`: from now on this process serves one client.
    pub(crate) fn client(self, peer: Peer) -> Title {
        self.client_named(peer, &Name::of(peer))
    }

    /// As [`Titles::client`], with the name formatted by the parent: a child maps anew each part of the
    /// program that it comes to, and need not come to the formatting of numbers for this.
    pub(crate) fn client_named(self, peer: Peer, name: &Name) -> Title {
        if let Some(space) = self.space {
            space.compose(|pen| {
                pen.write_str(self.name)?;
                pen.write_str(": ")?;
                name.chars().try_for_each(|c| pen.write_char(c))
            });
        }
        Title(Some((self, peer)))
    }

    /// `NAME: parent, 3 of 256 clients, *:110`
    pub(crate) fn parent(self, clients: usize, limit: usize, listeners: &[Listener]) {
        self.show(format_args!("parent, {clients} of {limit} clients{}", Listed(listeners)));
    }

    /// `NAME: datagrams, *:7`
    pub(crate) fn datagrams(self, sockets: &[Listener]) {
        self.show(format_args!("datagrams{}", Listed(sockets)));
    }

    /// `NAME: parent, stopping, 3 clients`
    pub(crate) fn stopping(self, clients: usize) {
        let s = if clients == 1 { "" } else { "s" };
        self.show(format_args!("parent, stopping, {clients} client{s}"));
    }

    /// `NAME: TEXT`, for a process that is neither.
    pub(crate) fn show(self, text: impl Display) {
        if let Some(space) = self.space {
            space.show(format_args!("{}: {text}", self.name));
        }
    }
}

/// `, *:110, unix:/run/pop3d`
struct Listed<'l>(&'l [Listener]);

impl Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|listener| write!(f, ", {listener}"))
    }
}

/// Where the kernel looks for arguments and environment, as addresses.
#[derive(Debug, PartialEq, Eq)]
struct Bounds {
    arguments: Range<usize>,
    environment: Range<usize>,
}

impl Bounds {
    fn of_this_process() -> Option<Bounds> {
        Bounds::parse(&std::fs::read("/proc/self/stat").ok()?)
    }

    /// Fields 48 to 51 of proc_pid_stat(5). The second is the program's name in parentheses, which
    /// may hold anything, so they are counted from its end.
    fn parse(stat: &[u8]) -> Option<Bounds> {
        let close = stat.iter().rposition(|b| *b == b')')?;
        let fields = std::str::from_utf8(stat.get(close + 1..)?).ok()?.split_ascii_whitespace();
        let mut addresses = fields.skip(48 - 3).map(|field| field.parse().ok());
        let arguments = addresses.next()??..addresses.next()??;
        let environment = addresses.next()??..addresses.next()??;
        let is_whole = arguments.start > 0 && !arguments.is_empty();
        is_whole.then_some(Bounds { arguments, environment })
    }

    /// How far a title may reach: into the environment only where that follows at once, for only
    /// then does the kernel show it.
    fn end(&self) -> usize {
        if self.environment.start == self.arguments.end {
            let enough = self.arguments.start.saturating_add(LONGEST);
            self.environment.end.min(enough).max(self.arguments.end)
        } else {
            self.arguments.end
        }
    }
}

/// The octets that the kernel shows as the command line.
#[derive(Clone, Copy)]
struct Space {
    /// The last one is never written: whatever still points in here ends at a NUL.
    octets: &'static [AtomicU8],
    /// How many of them were the arguments', the last NUL included.
    arguments: usize,
}

impl Space {
    /// Moves away what of the environment lies in the space.
    fn claim(bounds: &Bounds) -> Space {
        debug_assert!(has_one_task(), "another task may be reading the environment");
        let (start, end) = (bounds.arguments.start, bounds.end());
        move_environment(bounds.arguments.end..end);
        let first = std::ptr::with_exposed_provenance(start);
        // SAFETY: execve has put arguments and environment there, one behind the other, on the
        // stack of the first task, above every frame: readable and writable while the process
        // lives. No reference of Rust's leads there: the arguments were copied by `main`, the
        // environment was moved just now. Later readers are the kernel and, at worst, somebody
        // who asks std::env::args again and finds strings that end in time, for the last octet
        // stays NUL.
        let octets = unsafe { std::slice::from_raw_parts(first, end - start) };
        Space { octets, arguments: bounds.arguments.len() }
    }

    fn show(self, text: fmt::Arguments<'_>) {
        self.compose(|pen| pen.write_fmt(text));
    }

    fn compose(self, text: impl FnOnce(&mut Pen) -> fmt::Result) {
        let mut pen = Pen { space: self, at: 0 };
        let _cut_where_the_space_ends = text(&mut pen);
        let end = pen.at;
        self.put(end, 0);
        if end + 1 < self.arguments {
            self.put(self.arguments - 1, MARK);
        }
    }

    fn put(self, at: usize, octet: u8) {
        if let Some(place) = self.octets.get(at)
            && place.load(Relaxed) != octet
        {
            place.store(octet, Relaxed);
        }
    }
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Space({} octets)", self.octets.len())
    }
}

/// Writes a title; an error says that the space is full.
struct Pen {
    space: Space,
    at: usize,
}

impl Write for Pen {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.write_char(c))
    }

    fn write_char(&mut self, c: char) -> fmt::Result {
        let c = if c.is_control() { '?' } else { c };
        let mut octets = [0; 4];
        let octets = c.encode_utf8(&mut octets).as_bytes();
        let most = self.space.octets.len().min(LONGEST) - 1;
        if self.at + octets.len() > most {
            return Err(fmt::Error);
        }
        for octet in octets {
            self.space.put(self.at, *octet);
            self.at += 1;
        }
        Ok(())
    }
}

unsafe extern "C" {
    /// environ(7): what std::env and getenv(3) read.
    static mut environ: *mut *mut c_char;
}

/// Copies the variables that begin at these addresses to the heap, where they stay.
fn move_environment(addresses: Range<usize>) {
    // SAFETY: a read of a pointer; one task at this point (asserted), so nobody changes it.
    let mut entry = unsafe { environ };
    while !entry.is_null() {
        // SAFETY: `environ` is an array of pointers that ends with a null one, which ends the loop;
        // this is one of them. With one task nobody changes or reads it meanwhile.
        let variable = unsafe { &mut *entry };
        if variable.is_null() {
            return;
        }
        if addresses.contains(&variable.expose_provenance()) {
            // SAFETY: each of them but the last points to a string that ends in NUL.
            *variable = unsafe { CStr::from_ptr(*variable) }.to_owned().into_raw();
        }
        // SAFETY: the null pointer was not yet reached, so there is a next element.
        entry = unsafe { entry.add(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The space of a program whose arguments took `arguments` octets of `all`.
    fn space(arguments: usize, all: usize) -> Space {
        let octets: Vec<AtomicU8> = (0..all).map(|_| AtomicU8::new(b'x')).collect();
        let space = Space { octets: octets.leak(), arguments };
        space.put(arguments - 1, 0);
        space.put(all - 1, 0);
        space
    }

    /// What the kernel makes of it (get_mm_cmdline in fs/proc/base.c).
    fn cmdline(space: Space) -> Vec<u8> {
        let octets: Vec<u8> = space.octets.iter().map(|octet| octet.load(Relaxed)).collect();
        if octets[space.arguments - 1] == 0 {
            return octets[..space.arguments].to_vec();
        }
        let nul = octets.iter().position(|octet| *octet == 0);
        octets[..nul.map_or(octets.len(), |nul| nul + 1)].to_vec()
    }

    #[test]
    fn the_kernel_shows_the_title_and_one_nul_whatever_its_length() {
        for (arguments, all) in [(10, 40), (40, 40), (2, 40), (39, 40)] {
            let space = space(arguments, all);
            for length in (0..60).chain((0..60).rev()) {
                let title = "t".repeat(length);
                space.show(format_args!("{title}"));
                let mut expected = title.into_bytes();
                expected.truncate(all - 1);
                expected.push(0);
                assert_eq!(cmdline(space), expected, "{length} of {arguments} of {all}");
            }
        }
    }

    #[test]
    fn a_title_is_cut_between_characters_and_shows_no_control_character() {
        let space = space(8, 8);
        space.show(format_args!("a\n\0{}", "\u{e9}\u{e9}\u{e9}"));
        assert_eq!(cmdline(space), "a??\u{e9}\u{e9}\0".as_bytes());
    }

    #[test]
    fn names_are_escaped_and_cut() {
        assert_eq!(in_title(b"a\x1b\xff"), "a\\u{1b}\\xff");
        assert_eq!(in_title(&[b'a'; 64]), "a".repeat(64));
        assert_eq!(in_title(&[b'a'; 65]), "a".repeat(64) + "...");
    }

    #[test]
    fn the_addresses_are_found_behind_any_name() {
        let fields = |last: &str| format!("1 (a) R 1) R{} {last}", " 0".repeat(44));
        let bounds = Bounds::parse(fields("100 110 110 150 0").as_bytes()).unwrap();
        assert_eq!(bounds, Bounds { arguments: 100..110, environment: 110..150 });
        assert_eq!(bounds.end(), 150);
        let apart = Bounds::parse(fields("100 110 120 150 0").as_bytes()).unwrap();
        assert_eq!(apart.end(), 110);
        let long = Bounds::parse(fields("100 110 110 15000 0").as_bytes()).unwrap();
        assert_eq!(long.end(), 100 + LONGEST);
        let arguments = Bounds::parse(fields("100 9000 9000 9500 0").as_bytes()).unwrap();
        assert_eq!(arguments.end(), 9000);
        for none in [&b""[..], b"1 (a) R 1 2", fields("0 0 0 0 0").as_bytes()] {
            assert_eq!(Bounds::parse(none), None);
        }
    }
}
