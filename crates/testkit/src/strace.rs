//! System calls that fail as requested, by strace(1).

use std::process::Command;

use crate::judging::not_judged;

/// A command that runs the program that follows with system calls that fail: `calls` are traced, and
/// `injections` are as strace(1) takes them. The process that is started becomes the program. Where there
/// is no strace, or it may not trace, a line that says so goes to standard error past the harness.
#[must_use]
pub fn injected(calls: &str, injections: &[&str]) -> Option<Command> {
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-q", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
    command.args(injections.iter().flat_map(|inject| ["-e".into(), format!("inject={inject}")]));
    let tried = Command::new("strace").args(["-q", "-o", "/dev/null", "true"]).status();
    if tried.is_ok_and(|status| status.success()) {
        return Some(command);
    }
    not_judged("needs strace");
    None
}
