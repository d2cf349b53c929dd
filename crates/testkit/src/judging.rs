//! What a test says where it cannot judge: one that passes without having looked must not do so in silence.

use std::fmt::Display;
use std::io::Write;

use nix::unistd::geteuid;

/// Says that this test cannot judge here, and why: on standard error past the harness, which would keep
/// it to itself.
pub fn not_judged(why: impl Display) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "NOT JUDGED, {why}: {test}"); // best effort
}

/// Returns true when root runs the test; says so where an ordinary user cannot judge what it is about.
#[must_use]
pub fn root_can_judge() -> bool {
    let is_root = geteuid().is_root();
    if !is_root {
        not_judged("needs root");
    }
    is_root
}
