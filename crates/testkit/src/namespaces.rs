//! Tests that need a network or files of their own: namespaces(7).

use std::io::Write;
use std::process::Command;

use nix::unistd::geteuid;

use crate::daemon::run;
use crate::judging::not_judged;

/// Runs another test of the same binary as root of namespaces of its own (`--net`, `--mount`: the
/// options of unshare(1)). Its name has its modules, the crate among them, as `concat!(module_path!(),
/// "::name")` gives it. That test is `#[ignore]`d, so that it runs nowhere else. Where the system allows no
/// such namespace, a line that says so goes to standard error past the harness.
///
/// # Panics
/// The test fails there.
pub fn in_namespaces(kinds: &[&str], test: &str) {
    let as_root: &[&str] = &[];
    let ways = [as_root, &["--user", "--map-root-user"]];
    let ways = if geteuid().is_root() { &ways[..] } else { &ways[1..] };
    let unshare = |way: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(way).args(kinds);
        command
    };
    let allowed = |way: &&&[&str]| {
        unshare(way).arg("true").output().is_ok_and(|output| output.status.success())
    };
    let Some(way) = ways.iter().find(allowed) else {
        not_judged(format_args!("needs namespaces ({})", kinds.join(" ")));
        return;
    };
    let (_program, test) = test.split_once("::").unwrap_or(("", test)); // as the harness lists it
    let mut command = unshare(way);
    command.arg(std::env::current_exe().expect("this test's own binary"));
    command.args(["--exact", test, "--ignored", "--nocapture"]);
    let output = run(command, b"");
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    for line in err.lines().filter(|line| line.starts_with("NOT JUDGED")) {
        let _ = writeln!(std::io::stderr(), "{line}");
    }
    let passed = output.status.success() && out.contains("1 passed");
    assert!(passed, "in namespaces:\n{out}\n{err}");
}
