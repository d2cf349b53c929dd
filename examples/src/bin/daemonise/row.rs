//! One line about this process, from /proc.

use std::fs::{read_link, read_to_string};

use unp::{Result, err_quit, err_sys};

/// The names of the columns.
pub(crate) const HEADER: &str = "STEP                PID    PPID    PGID     SID  TTY     UMASK  0, 1, 2                           CWD";

/// Returns the line about this process after a step.
pub(crate) fn row(step: &str) -> Result<String> {
    let stat = read_to_string("/proc/self/stat").map_err(err_sys("/proc/self/stat"))?;
    // The name, in parentheses, may contain any byte. After it come state, parent, group, session,
    // terminal.
    let fields = stat.rsplit_once(')').map_or("", |(_pid_and_name, fields)| fields);
    let mut fields = fields.split_whitespace().skip(1);
    let mut field = || fields.next().unwrap_or_default();
    let [ppid, pgid, sid, tty] = [field(), field(), field(), field()];
    let status = read_to_string("/proc/self/status").map_err(err_sys("/proc/self/status"))?;
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:")).unwrap_or_default();
    let pid = std::process::id();
    let tty = tty.parse().map(terminal).map_err(|_| err_quit("/proc/self/stat: no terminal"))?;
    let (umask, files, cwd) =
        (umask.trim(), ["fd/0", "fd/1", "fd/2"].map(file).join(" "), file("cwd"));
    let ids = format!("{pid:>7} {ppid:>7} {pgid:>7} {sid:>7}");
    Ok(format!("{step:<16}{ids}  {tty:<7} {umask:<6} {files:<34} {cwd}"))
}

/// Returns the target of a link below /proc/self.
fn file(name: &str) -> String {
    let file = read_link(format!("/proc/self/{name}"));
    file.map_or_else(|_| "-".to_owned(), |file| file.display().to_string())
}

/// Returns the name of a terminal by its number (tty(4), pts(4)), `-` for none.
fn terminal(number: u32) -> String {
    let (major, minor) = (number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xf_ff00);
    match (major, minor) {
        (0, 0) => "-".to_owned(),
        (4, minor @ 0..64) => format!("tty{minor}"),
        (4, minor) => format!("ttyS{}", minor - 64),
        (136..144, minor) => format!("pts/{}", minor + ((major - 136) << 8)),
        _ => format!("{major}:{minor}"),
    }
}

#[cfg(test)]
mod tests {
    use super::terminal;

    #[test]
    fn terminals_have_their_names_in_dev() {
        for (number, name) in
            [(0, "-"), (0x0401, "tty1"), (0x0440, "ttyS0"), (0x8803, "pts/3"), (0x8900, "pts/256")]
        {
            assert_eq!(terminal(number), name);
        }
    }
}
