//! Processes as /proc shows them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::wait::{WATCHDOG, holds_within, wait_until};

/// The state letter of a process (`S` sleeping, `Z` zombie …), or `None` when there is none.
#[must_use]
pub fn state(pid: i32) -> Option<char> {
    stat(pid).map(|(state, _)| state)
}

/// True when a process has ended, whether it was waited for or not.
#[must_use]
pub fn has_ended(pid: i32) -> bool {
    matches!(state(pid), None | Some('Z' | 'X'))
}

/// State and parent of a process, from /proc/PID/stat. The command's name, in parentheses, may
/// hold anything, so both are counted from its end.
fn stat(pid: i32) -> Option<(char, i32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// All children of a process, zombies too.
///
/// # Panics
/// /proc cannot be read.
#[must_use]
pub fn children(parent: i32) -> Vec<i32> {
    let Some(mut found) = listed_children(parent) else { return found_children(parent) };
    loop {
        // One that ends meanwhile may hide another from the kernel's list.
        match listed_children(parent) {
            Some(again) if again != found => found = again,
            _ => return found,
        }
    }
}

/// What /proc/PID/task/*/children tells, which not every kernel has.
fn listed_children(parent: i32) -> Option<Vec<i32>> {
    let mut all = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{parent}/task")).ok()? {
        let list = std::fs::read_to_string(task.ok()?.path().join("children")).ok()?;
        all.extend(list.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    all.sort_unstable();
    Some(all)
}

/// What all processes tell of their parents.
fn found_children(parent: i32) -> Vec<i32> {
    let all = std::fs::read_dir("/proc").expect("/proc");
    let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|(_, ppid)| ppid == parent)).collect()
}

/// The children of a process that have ended and were not waited for.
#[must_use]
pub fn zombies(parent: i32) -> Vec<i32> {
    children(parent).into_iter().filter(|pid| state(*pid) == Some('Z')).collect()
}

/// How many descriptors a process has open.
///
/// # Panics
/// The process is gone.
#[must_use]
pub fn descriptors(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("a live process").count()
}

/// How many descriptors a process has open while it waits: one that is at work may have another for
/// a moment.
///
/// # Panics
/// The process is gone, or never waits.
#[must_use]
pub fn descriptors_at_rest(pid: i32) -> usize {
    let mut count = 0;
    wait_until("the process waits", || {
        let waits = || state(pid) == Some('S');
        let before = waits();
        count = descriptors(pid);
        before && waits()
    });
    count
}

/// The most memory that a process has held so far, in KiB (VmHWM).
///
/// # Panics
/// The process is gone.
#[must_use]
pub fn peak_memory(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a live process");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    peak.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
}

/// A field of /proc/PID/status, such as `Threads:` or `SigCgt:`: its first word.
///
/// # Panics
/// The process is gone, or there is no such field.
#[must_use]
pub fn status_field(pid: i32, name: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a live process");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a field");
    line.split_whitespace().next().unwrap_or_default().to_owned()
}

/// A mask of signals in /proc/PID/status, such as `SigBlk:`; signal N is bit N-1.
///
/// # Panics
/// As [`status_field`].
#[must_use]
pub fn signal_mask(pid: i32, name: &str) -> u64 {
    u64::from_str_radix(&status_field(pid, name), 16).expect("a mask")
}

/// How many tasks (threads) a process has.
///
/// # Panics
/// The process is gone.
#[must_use]
pub fn tasks(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).expect("a live process").count()
}

/// CPU time of a process so far, in clock ticks (a hundredth of a second).
///
/// # Panics
/// The process is gone.
#[must_use]
pub fn cpu_ticks(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a live process");
    let fields = stat.rsplit_once(')').expect("a name").1;
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.map(|t| t.parse::<u64>().expect("a number")).sum()
}

/// CPU time of the children of a process that have ended and were waited for, in clock ticks.
///
/// # Panics
/// The process is gone.
#[must_use]
pub fn cpu_ticks_of_children(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a live process");
    let fields = stat.rsplit_once(')').expect("a name").1;
    let ticks = fields.split_whitespace().skip(13).take(2);
    ticks.map(|t| t.parse::<u64>().expect("a number")).sum()
}

/// The sockets of a process, each once however many descriptors it has for it, by inode.
#[must_use]
pub fn sockets_of(pid: i32) -> BTreeSet<String> {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
    let files = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let names = files.map(|file| file.to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("socket:")).collect()
}

/// What a descriptor of a process is, such as `socket:[4711]` or `/dev/null`.
#[must_use]
pub fn file_of_descriptor(pid: i32, fd: i32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok()
}

/// How many TCP sockets of this machine with `port` at either end are in a state, numbered as in
/// /proc/net/tcp (`01` ESTABLISHED, `06` TIME_WAIT, `08` CLOSE_WAIT, `0A` LISTEN).
#[must_use]
pub fn sockets_in(state: &str, port: u16) -> usize {
    let port = format!(":{port:04X}");
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(std::fs::read_to_string);
    let lines = tables.iter().flatten().flat_map(|table| table.lines().skip(1));
    lines
        .filter(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            fields.len() > 3
                && fields[3] == state
                && (fields[1].ends_with(&port) || fields[2].ends_with(&port))
        })
        .count()
}

/// The command line of a process as `ps -o args` shows it, from /proc/PID/cmdline: arguments behind
/// the first are separated by NULs, and so is whatever follows a title that should not.
/// Empty when there is no such process.
#[must_use]
pub fn title(pid: i32) -> String {
    let shown = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let shown = shown.strip_suffix(b"\0").unwrap_or(&shown);
    String::from_utf8_lossy(shown).into_owned()
}

/// Waits until `ps` shows just this title for a process.
///
/// # Panics
/// It shows another for longer than the watchdog allows.
pub fn wait_title(pid: i32, expected: &str) {
    let mut shown = String::new();
    let is_shown = holds_within(WATCHDOG, || {
        shown = title(pid);
        shown == expected
    });
    assert!(is_shown, "watchdog: process {pid} shows {shown:?}, not {expected:?}");
}

/// The one child of a process.
///
/// # Panics
/// It has none for longer than the watchdog allows, or several.
#[must_use]
pub fn only_child(parent: i32) -> i32 {
    let mut all = Vec::new();
    wait_until("there is a child", || {
        all = children(parent);
        !all.is_empty()
    });
    assert_eq!(all.len(), 1, "children: {all:?}");
    all[0]
}

/// The soft and the hard limit of a process, as /proc/PID/limits names them; none is unlimited.
///
/// # Panics
/// The process is gone, or there is no such limit.
#[must_use]
pub fn limit_of(pid: i32, name: &str) -> [Option<u64>; 2] {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("a live process");
    let line = limits.lines().find_map(|line| line.strip_prefix(name)).expect("a limit");
    let mut values = line.split_whitespace().map(|value| value.parse().ok());
    [values.next().unwrap(), values.next().unwrap()]
}
