//! `--report FILE`: sums up a log: who got what, and what failed.
//!
//! Both logs are read, and may be mixed: tftpd's own, however it came to the file (standard error, syslog, a journal), and that
//! of `--transfer-log`. What strangers have written into a line, such as a file's name, can make no other numbers of it: a line
//! counts as a transfer only if all of it has the form that tftpd gives it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use forknet::{Error, Result};

/// Longest line that is read, in bytes; the rest of a longer one is left out.
const MAX_LINE: u64 = 64 * 1024;
/// Most rows of the table, each for a client and a file. Further ones are summed up in one.
const MAX_ROWS: usize = 100_000;
/// Words of an xferlog line.
const WORDS: usize = 18;

/// What one row is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    client: Option<IpAddr>,
    what: &'static str,
    file: String,
}

/// What a row tells.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sums {
    /// Transfers that were complete.
    times: u64,
    /// Bytes of these, and of those that failed.
    bytes: u64,
    /// How long they took together, in milliseconds.
    milliseconds: u64,
    /// Transfers that failed, and requests that were refused.
    failed: u64,
}

impl Sums {
    fn add(&mut self, other: Sums) {
        self.times = self.times.saturating_add(other.times);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.milliseconds = self.milliseconds.saturating_add(other.milliseconds);
        self.failed = self.failed.saturating_add(other.failed);
    }
}

/// Prints the table for a log; `-` is standard input.
///
/// # Errors
/// The file cannot be read; the table cannot be written.
pub fn print(path: &str) -> Result<()> {
    let failed = || Error::io(format!("report {path}"));
    let log: Box<dyn Read> = match path {
        "-" => Box::new(io::stdin()),
        path => Box::new(File::open(path).map_err(failed())?),
    };
    let rows = sum_up(BufReader::new(log)).map_err(failed())?;
    io::stdout().write_all(show(&rows).as_bytes()).map_err(Error::io("standard output"))
}

fn sum_up(mut log: impl BufRead) -> io::Result<BTreeMap<Key, Sums>> {
    let (mut rows, mut line) = (BTreeMap::<Key, Sums>::new(), Vec::new());
    loop {
        line.clear();
        if log.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(rows);
        }
        if !line.ends_with(b"\n") {
            log.skip_until(b'\n')?;
        }
        let text = String::from_utf8_lossy(&line);
        let Some((key, sums)) = of_log(&text).or_else(|| of_transfer_log(&text)) else { continue };
        let is_full = rows.len() >= MAX_ROWS && !rows.contains_key(&key);
        let others = || Key { client: None, what: "", file: "(others)".into() };
        rows.entry(if is_full { others() } else { key }).or_default().add(sums);
    }
}

/// Reads a line of tftpd's log.
fn of_log(line: &str) -> Option<(Key, Sums)> {
    let (at, what) = [(" RRQ \"", "got"), (" WRQ \"", "put")]
        .into_iter()
        .filter_map(|(text, what)| line.find(text).map(|at| (at, what)))
        .min()?;
    let (before, rest) = line.split_at_checked(at)?;
    let client: SocketAddr = before.rsplit(' ').next()?.parse().ok()?;
    let (name, rest) = quoted(rest.get(" RRQ \"".len()..)?)?;
    let (file, sums) = transfer(rest.trim_end()).unwrap_or((None, REFUSED));
    let key = Key { client: Some(client.ip()), what, file: file.unwrap_or(name).into() };
    (sums != Sums::default()).then_some((key, sums))
}

/// A request that was refused, and any other line about one that is no transfer.
const REFUSED: Sums = Sums { times: 0, bytes: 0, milliseconds: 0, failed: 1 };

/// Splits off a text up to its quotation mark, and what follows that.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let mut is_escaped = false;
    let end = text.bytes().position(|byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    })?;
    Some((text.get(..end)?, text.get(end + 1..)?))
}

/// Reads what follows the name: ` octet blksize=1468 as "x": 8 octets, 1 blocks, 0 retransmissions, 0.001 s: complete`.
fn transfer(text: &str) -> Option<(Option<&str>, Sums)> {
    let mut rest = text;
    let mut file = None;
    let numbers = loop {
        if let Some(numbers) = rest.strip_prefix(": ") {
            break numbers;
        }
        rest = rest.strip_prefix(' ')?;
        if let Some(name) = rest.strip_prefix("as \"") {
            let (name, after) = quoted(name)?;
            (file, rest) = (Some(name), after);
        } else {
            let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'=';
            let end = rest.bytes().position(|byte| !is_word(byte))?;
            rest = rest.get(end..)?;
        }
    };
    let mut parts = numbers.splitn(2, " s: ");
    let (numbers, result) = (parts.next()?, parts.next()?);
    let mut counts = numbers.split(", ");
    let bytes: u64 = counts.next()?.strip_suffix(" octets")?.parse().ok()?;
    let milliseconds = milliseconds(counts.last()?)?;
    let sums = Sums { times: 0, bytes, milliseconds, failed: 0 };
    let sums = match result {
        "complete" | "complete, but for the last ACK" => Sums { times: 1, ..sums },
        result if result.contains(" octets, ") => return None, // a stranger's words
        result if result.starts_with("no more than the options: ") => Sums::default(),
        result if result.starts_with("failed: ") => Sums { failed: 1, ..sums },
        _ => return None,
    };
    Some((file, sums))
}

fn milliseconds(seconds: &str) -> Option<u64> {
    let time = Duration::try_from_secs_f64(seconds.parse().ok()?).ok()?;
    u64::try_from(time.as_millis()).ok()
}

/// Reads a line of `--transfer-log`.
fn of_transfer_log(line: &str) -> Option<(Key, Sums)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let words: [&str; WORDS] = words.try_into().ok()?;
    let [_, _, _, _, _, seconds, client, bytes, file, _, _, direction, .., service, _, _, status] =
        words;
    let what = match (service, direction) {
        ("tftp", "o") => "got",
        ("tftp", "i") => "put",
        _ => return None,
    };
    let is_complete = status == "c";
    let sums = Sums {
        times: is_complete.into(),
        bytes: bytes.parse().ok()?,
        milliseconds: milliseconds(seconds)?,
        failed: (!is_complete).into(),
    };
    let file = file.strip_prefix('/').unwrap_or(file).to_owned();
    Some((Key { client: Some(client.parse().ok()?), what, file }, sums))
}

/// Returns the table: a row for each client and file, and one for all.
fn show(rows: &BTreeMap<Key, Sums>) -> String {
    let mut all = Sums::default();
    rows.values().for_each(|sums| all.add(*sums));
    let heading = ["CLIENT", "WHAT", "FILE", "TIMES", "BYTES", "SECONDS", "FAILED"];
    let mut cells = vec![heading.map(str::to_owned)];
    for (key, sums) in rows {
        let client = key.client.map(|client| client.to_string()).unwrap_or_default();
        cells.push(row([client, key.what.into(), printable(&key.file)], *sums));
    }
    cells.push(row(["all".into(), String::new(), String::new()], all));
    let width =
        |column: usize| cells.iter().filter_map(|row| row.get(column)).map(String::len).max();
    let widths: Vec<usize> = (0..heading.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut table = String::new();
    for row in &cells {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            // numbers to the right
            let _ = match column {
                0..=2 => write!(line, "{cell:<width$}  "),
                _ => write!(line, "{cell:>width$}  "),
            };
        }
        table += line.trim_end();
        table.push('\n');
    }
    table
}

/// Returns a name without control characters, which tftpd does not log, but another program may have.
fn printable(file: &str) -> String {
    let show = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.into() };
    file.chars().map(show).collect()
}

fn row([client, what, file]: [String; 3], sums: Sums) -> [String; 7] {
    let Sums { times, bytes, milliseconds, failed } = sums;
    let seconds = format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000);
    [client, what, file, times.to_string(), bytes.to_string(), seconds, failed.to_string()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(log: &str) -> Vec<String> {
        let table = show(&sum_up(log.as_bytes()).unwrap());
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        table.lines().skip(1).map(words).collect()
    }

    #[test]
    fn both_logs_are_summed_up_by_client_and_file() {
        let log = "\
2026-01-31T12:00:00.000Z INFO tftpd[1]: listening on 127.0.0.1:69
2026-01-31T12:00:00.000Z INFO tftpd[2]: 192.0.2.7:5210 RRQ \"motd\" octet blksize=1468: 8 octets, 1 blocks, 0 retransmissions, 0.001 s: complete
Jan 31 12:00:00 host tftpd[2]: 192.0.2.7:5211 RRQ \"motd\" octet: 8 octets, 1 blocks, 0 retransmissions, 3 unexpected packets, 0.250 s: complete, but for the last ACK
2026-01-31T12:00:00.000Z INFO tftpd[2]: 192.0.2.7:5210 RRQ \"mtod\" octet: 0 octets, 0 blocks, 0 retransmissions, 0.000 s: refused: No such file or directory (ERROR 1)
2026-01-31T12:00:00.000Z INFO tftpd[2]: 192.0.2.10:5 RRQ \"b\\\\x\" octet as \"b/x\": 100 octets, 1 blocks, 0 retransmissions, 1.500 s: failed: Connection timed out
2026-01-31T12:00:00.000Z INFO tftpd[2]: 192.0.2.7:5 RRQ \"motd\" octet tsize=8: 0 octets, 0 blocks, 0 retransmissions, 0.000 s: no more than the options: peer says ERROR 8
Sat Jan 31 12:00:00 2026 0.250 192.0.2.7 50 /up/a\\x20b b _ i a - tftp 0 * c
Sat Jan 31 12:00:00 2026 1.000 192.0.2.7 50 /up/a\\x20b b _ i a - tftp 0 * i
Sat Jan 31 12:00:00 2026 1 192.0.2.7 50 /ftp b _ i a - ftp 0 * c
";
        assert_eq!(
            report(log),
            [
                "192.0.2.7 got motd 2 16 0.251 0",
                "192.0.2.7 got mtod 0 0 0.000 1",
                "192.0.2.7 put up/a\\x20b 1 100 1.250 1",
                "192.0.2.10 got b/x 0 100 1.500 1",
                "all 3 216 3.001 3",
            ]
        );
    }

    #[test]
    fn what_a_stranger_writes_into_a_line_makes_no_transfer_of_it() {
        let fake = ": 9 octets, 9 blocks, 0 retransmissions, 9.000 s: complete";
        let end =
            ": 0 octets, 0 blocks, 0 retransmissions, 0.000 s: refused: Unknown mode (ERROR 4)";
        for request in [
            format!("RRQ \"x\" octet{fake}"),
            format!("RRQ \"x\" octet blksize=9{fake}"),
            "RRQ \"x\" octet: 9 octets, 9 blocks, 0 retransmissions, 9.000 s: failed: x".to_owned(),
            format!("RRQ \"x\\\" octet{fake}\" octet"),
            format!("RRQ \"x\" oct et{fake}"),
        ] {
            let log = format!("INFO tftpd[2]: 192.0.2.7:5 {request}{end}\n");
            let last = report(&log).pop().unwrap();
            assert_eq!(last, "all 0 0 0.000 1", "{request}");
        }
        let said = format!(
            "INFO tftpd[2]: 192.0.2.7:5 RRQ \"x\" octet: 5 octets, 1 blocks, 0 retransmissions, 0.100 s: failed: peer says: x{fake} (ERROR 0)\n"
        );
        assert_eq!(report(&said).pop().unwrap(), "all 0 0 0.000 1");
        assert_eq!(report("no log\n\n \"\n RRQ \"\nx RRQ \"a").pop().unwrap(), "all 0 0 0.000 0");
    }

    #[test]
    fn what_another_program_has_written_does_nothing_to_a_terminal() {
        let log = "Sat Jan 31 12:00:00 2026 1 192.0.2.7 50 /a\x1b[2J\u{9b}b b _ o a - tftp 0 * c\n";
        let table = show(&sum_up(log.as_bytes()).unwrap());
        assert!(table.contains("a\\u{1b}[2J\\u{9b}b"), "{table}");
        assert!(table.chars().all(|c| c == '\n' || !c.is_control()));
    }

    #[test]
    fn a_line_without_an_end_is_bounded() {
        let mut long = vec![b'x'; 3 * MAX_LINE as usize];
        long.extend_from_slice(
            b"\nSat Jan 31 12:00:00 2026 1 192.0.2.7 50 /a b _ o a - tftp 0 * c",
        );
        let rows = sum_up(&long[..]).unwrap();
        assert_eq!(rows.len(), 1);
    }
}
