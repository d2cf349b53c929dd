//! utmp(5): who is logged in on which terminal.

/// Length of a record in bytes: with 32-bit times where the machine also has 32-bit programs, otherwise with 64-bit
/// ones.
const RECORD: usize = if cfg!(target_arch = "x86_64") { 384 } else { 400 };
/// Where fields begin, and their lengths, in bytes.
const LINE: (usize, usize) = (8, 32);
const USER: (usize, usize) = (44, 32);
/// The type of a record of a user who is logged in: `USER_PROCESS`.
const USER_PROCESS: i16 = 7;
/// Longest part of the file that is read, in bytes.
pub const MAX_FILE: u64 = 1 << 20;

/// Returns the terminals of a user, as names below `/dev`, each once.
#[must_use]
pub fn lines(file: &[u8], user: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for record in file.chunks_exact(RECORD) {
        let kind = record.first_chunk().map(|kind| i16::from_ne_bytes(*kind));
        // The field holds 32 bytes of a name.
        let is_users = field(record, USER) == user.get(..USER.1).unwrap_or(user);
        if kind == Some(USER_PROCESS)
            && is_users
            && let Some(line) = line(field(record, LINE))
            && !found.contains(&line)
        {
            found.push(line);
        }
    }
    found
}

/// Returns a field up to its first NUL.
fn field(record: &[u8], (at, length): (usize, usize)) -> &[u8] {
    let field = record.get(at..at + length).unwrap_or_default();
    field.split(|&b| b == 0).next().unwrap_or_default()
}

/// Returns a line that is the name of a terminal, such as `tty1` and `pts/3`: programs of users can write utmp.
fn line(line: &[u8]) -> Option<String> {
    let is_name = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_alphanumeric);
    let parts = line.split(|&b| b == b'/').count();
    let is_good = parts <= 2 && line.split(|&b| b == b'/').all(is_name);
    is_good.then(|| String::from_utf8_lossy(line).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: i16, line: &str, user: &str) -> Vec<u8> {
        let mut record = vec![0; RECORD];
        record[..2].copy_from_slice(&kind.to_ne_bytes());
        record[LINE.0..LINE.0 + line.len()].copy_from_slice(line.as_bytes());
        record[USER.0..USER.0 + user.len()].copy_from_slice(user.as_bytes());
        record
    }

    #[test]
    fn terminals_are_those_of_the_user_who_is_logged_in() {
        let file = [
            record(2, "~", "reboot"),
            record(7, "pts/3", "levy"),
            record(8, "pts/4", "levy"),
            record(7, "tty1", "bob"),
            record(7, "tty2", "levy"),
            record(7, "pts/3", "levy"),
            record(7, "../etc/passwd", "levy"),
            record(7, "/pts/1", "levy"),
            record(7, "pts/../sda", "levy"),
            record(7, "", "levy"),
        ]
        .concat();
        assert_eq!(lines(&file, b"levy"), ["pts/3", "tty2"]);
        assert_eq!(lines(&file, b"bob"), ["tty1"]);
        assert_eq!(lines(&file, b"lev"), Vec::<String>::new());
        assert_eq!(lines(&file[..100], b"levy"), Vec::<String>::new());
        let long = "l".repeat(32);
        let file = record(7, "tty1", &long);
        assert_eq!(lines(&file, format!("{long}x").as_bytes()), ["tty1"]);
    }
}
