//! The title that ps(1) shows of a process, and the environment after it.
//!
//! Linux has no call for it. A process overwrites its own arguments, and the environment after them
//! where they are too short, and the kernel shows the new text. If the last byte of the arguments
//! is no longer the NUL that execve put there, /proc/PID/cmdline ends at the first NUL
//! (proc_pid_cmdline(5)), so that `ps` shows nothing after the title. /proc/PID/comm does not
//! change, for pgrep and killall.
//!
//! Setting a title makes no system call and allocates nothing. It writes only bytes that differ,
//! because a page that is not written to is not copied after a fork.

use std::ffi::{CStr, OsStr, c_char};
use std::fmt::{self, Write};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use nix::errno::Errno;

use crate::fork::OneTask;

/// Longest title, in bytes. The kernel shows a page at most.
const MAX_TITLE: usize = 1024;
/// Replaces the last NUL of the arguments while the title is shorter than they were.
const MARK: u8 = b'.';

/// The space that [`claim`] has taken.
static SPACE: OnceLock<Space> = OnceLock::new();

/// Takes the space of the arguments and the environment for titles. Moves the variables of these
/// names elsewhere, where std::env finds them; erases all others. The arguments do not change until
/// the first title.
///
/// Read the arguments before: std::env::args shows the title from now on, and /proc/PID/environ the
/// rest of the space.
///
/// # Errors
/// ENOTSUP where /proc/self/stat does not give the addresses of arguments and environment; then
/// titles do nothing. EDEADLK where another task may be reading the environment; then it does not
/// change.
pub fn claim(keep: &[&str]) -> nix::Result<()> {
    OneTask::check()?;
    if SPACE.get().is_some() {
        return Ok(());
    }
    let bounds = Bounds::of_this_process();
    keep_variables(keep);
    let bounds = bounds.ok_or(Errno::ENOTSUP)?;
    SPACE.get_or_init(|| Space::claim(&bounds));
    Ok(())
}

/// Shows a title, cut where the space ends. Control characters become `?`.
pub fn show(text: fmt::Arguments<'_>) {
    if let Some(space) = SPACE.get() {
        space.show(text);
    }
}

/// The addresses of arguments and environment, as the kernel has them.
#[derive(Debug, PartialEq, Eq)]
struct Bounds {
    arguments: Range<usize>,
    environment: Range<usize>,
}

impl Bounds {
    fn of_this_process() -> Option<Bounds> {
        Bounds::parse(&std::fs::read("/proc/self/stat").ok()?)
    }

    /// Reads fields 48 to 51 of proc_pid_stat(5). They are counted from the end of field 2, the
    /// program's name in parentheses, because that may hold any characters.
    fn parse(stat: &[u8]) -> Option<Bounds> {
        let close = stat.iter().rposition(|b| *b == b')')?;
        let fields = std::str::from_utf8(stat.get(close + 1..)?).ok()?.split_ascii_whitespace();
        let mut addresses = fields.skip(48 - 3).map(|field| field.parse().ok());
        let arguments = addresses.next()??..addresses.next()??;
        let environment = addresses.next()??..addresses.next()??;
        let is_whole = arguments.start > 0 && !arguments.is_empty();
        is_whole.then_some(Bounds { arguments, environment })
    }

    /// Returns the end of the space for titles. The environment is part of it only where it follows
    /// the arguments directly, because the kernel shows it only then.
    fn end(&self) -> usize {
        if self.environment.start == self.arguments.end {
            let enough = self.arguments.start.saturating_add(MAX_TITLE);
            self.environment.end.min(enough).max(self.arguments.end)
        } else {
            self.arguments.end
        }
    }
}

/// The bytes that the kernel shows as the command line.
#[derive(Clone, Copy)]
struct Space {
    /// The last byte is never written, so that a string that starts in here ends at a NUL.
    bytes: &'static [AtomicU8],
    /// Length of the arguments with their last NUL.
    arguments: usize,
}

impl Space {
    /// Erases the environment, whose variables were moved.
    fn claim(bounds: &Bounds) -> Space {
        let environment = at(&bounds.environment);
        environment.iter().for_each(|byte| byte.store(0, Relaxed));
        let bytes = at(&(bounds.arguments.start..bounds.end()));
        Space { bytes, arguments: bounds.arguments.len() }
    }

    fn show(self, text: fmt::Arguments<'_>) {
        let mut pen = TitleWriter { space: self, at: 0 };
        let _ = pen.write_fmt(text); // cut where the space ends
        let end = pen.at;
        self.put(end, 0);
        if end + 1 < self.arguments {
            self.put(self.arguments - 1, MARK);
        }
    }

    fn put(self, at: usize, byte: u8) {
        if let Some(place) = self.bytes.get(at)
            && place.load(Relaxed) != byte
        {
            place.store(byte, Relaxed);
        }
    }
}

/// Returns the bytes at these addresses.
fn at(addresses: &Range<usize>) -> &'static [AtomicU8] {
    let first = std::ptr::with_exposed_provenance(addresses.start);
    // SAFETY: execve has put arguments and environment there, one after the other, on the stack of
    // the first task, above every frame: readable and writable while the process lives. No Rust
    // reference points there, because `main` has copied the arguments, and `keep_variables` has
    // copied `environ`. Later readers are the kernel and std::env::args, whose strings end within
    // the space because the last byte stays NUL.
    unsafe { std::slice::from_raw_parts(first, addresses.len()) }
}

/// Writes a title; fails when the space is full.
struct TitleWriter {
    space: Space,
    at: usize,
}

impl Write for TitleWriter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.write_char(c))
    }

    fn write_char(&mut self, c: char) -> fmt::Result {
        let c = if c.is_control() { '?' } else { c };
        let mut bytes = [0; 4];
        let bytes = c.encode_utf8(&mut bytes).as_bytes();
        let most = self.space.bytes.len().min(MAX_TITLE) - 1;
        if self.at + bytes.len() > most {
            return Err(fmt::Error);
        }
        for byte in bytes {
            self.space.put(self.at, *byte);
            self.at += 1;
        }
        Ok(())
    }
}

unsafe extern "C" {
    /// environ(7): what std::env and getenv(3) read.
    static mut environ: *mut *mut c_char;
}

/// Replaces the environment by copies of these variables, and erases the others as far as `environ`
/// points to them. [`Space::claim`] erases the rest.
fn keep_variables(names: &[&str]) {
    let is_kept = |variable: &CStr| {
        let name = variable.to_bytes().split(|byte| *byte == b'=').next().unwrap_or_default();
        names.iter().any(|kept| OsStr::new(kept).as_bytes() == name)
    };
    let mut kept = Vec::new();
    // SAFETY: a read of a pointer; one task at this point (checked), so nothing changes it.
    let mut entry = unsafe { environ };
    while !entry.is_null() {
        // SAFETY: `environ` is an array of pointers that ends with a null one, which ends the loop;
        // this is one of them. With one task nothing changes it meanwhile.
        let variable = unsafe { *entry };
        if variable.is_null() {
            break;
        }
        // SAFETY: each of them but the last points to a string that ends in NUL.
        let string = unsafe { CStr::from_ptr(variable) };
        let length = string.count_bytes();
        if is_kept(string) {
            kept.push(string.to_owned().into_raw());
        } else {
            // SAFETY: the bytes of a string that execve has put on the stack or setenv(3) into the
            // heap, both writable; no reference to it is left, and no other task can read it.
            unsafe { variable.write_bytes(0, length) };
        }
        // SAFETY: the null pointer was not yet reached, so there is a next element.
        entry = unsafe { entry.add(1) };
    }
    kept.push(null_mut());
    // SAFETY: an array of pointers to strings that end in NUL, ended by a null pointer, none of
    // which is ever freed; one task at this point, so nothing reads the variable meanwhile.
    unsafe { environ = kept.leak().as_mut_ptr() };
}

/// Removes a variable from the environment and returns its value, because it is not meant for
/// programs that this process starts. `None` too where another task may be reading the environment.
#[must_use]
pub fn take_variable(name: &str) -> Option<String> {
    let value = std::env::var_os(name)?;
    OneTask::check().ok()?;
    // SAFETY: one task at this point, as was just checked, so nothing else reads or writes the
    // environment.
    unsafe { std::env::remove_var(name) };
    Some(value.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes the space of a program whose arguments take `arguments` of `all` bytes.
    fn space(arguments: usize, all: usize) -> Space {
        let bytes: Vec<AtomicU8> = (0..all).map(|_| AtomicU8::new(b'x')).collect();
        let space = Space { bytes: bytes.leak(), arguments };
        space.put(arguments - 1, 0);
        space.put(all - 1, 0);
        space
    }

    /// Returns what the kernel shows (get_mm_cmdline in fs/proc/base.c).
    fn cmdline(space: Space) -> Vec<u8> {
        let bytes: Vec<u8> = space.bytes.iter().map(|byte| byte.load(Relaxed)).collect();
        if bytes[space.arguments - 1] == 0 {
            return bytes[..space.arguments].to_vec();
        }
        let nul = bytes.iter().position(|byte| *byte == 0);
        bytes[..nul.map_or(bytes.len(), |nul| nul + 1)].to_vec()
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
    fn the_addresses_are_found_after_any_program_name() {
        let fields = |last: &str| format!("1 (a) R 1) R{} {last}", " 0".repeat(44));
        let bounds = Bounds::parse(fields("100 110 110 150 0").as_bytes()).unwrap();
        assert_eq!(bounds, Bounds { arguments: 100..110, environment: 110..150 });
        assert_eq!(bounds.end(), 150);
        let apart = Bounds::parse(fields("100 110 120 150 0").as_bytes()).unwrap();
        assert_eq!(apart.end(), 110);
        let long = Bounds::parse(fields("100 110 110 15000 0").as_bytes()).unwrap();
        assert_eq!(long.end(), 100 + MAX_TITLE);
        let arguments = Bounds::parse(fields("100 9000 9000 9500 0").as_bytes()).unwrap();
        assert_eq!(arguments.end(), 9000);
        for none in [&b""[..], b"1 (a) R 1 2", fields("0 0 0 0 0").as_bytes()] {
            assert_eq!(Bounds::parse(none), None);
        }
    }
}
