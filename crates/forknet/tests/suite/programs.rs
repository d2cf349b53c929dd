//! Programs that help to answer a question. This harness has no threads, as the processes that run them.

use std::ffi::CString;
use std::fs;
use std::io::ErrorKind;
use std::time::Duration;

use forknet::run_program;
use testkit::{TempDir, has_ended, wait_until};

/// A program with a child of its own: it writes their numbers, reads what it is given, and does not end.
const STUBBORN: &str = "echo $$ > \"$0.ids\"; sleep 1000 & echo $! >> \"$0.ids\"; cat <&3 > \"$0.read\"; \
    mv \"$0.read\" \"$0.done\"; trap '' TERM; sleep 1000; sleep 1000";

pub fn a_program_that_does_not_end_within_its_limit_is_killed_with_its_children() {
    let dir = TempDir::new();
    let name = dir.path().join("it").display().to_string();
    let arguments = ["/bin/sh", "-c", STUBBORN, &name].map(|it| CString::new(it).unwrap());
    // A program that was not started in time is killed as well: with a longer limit it is.
    let mut limit = Duration::from_millis(100);
    let ids = loop {
        let error = run_program(&arguments, b"levy\0secret\0\0", limit).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        if let Ok(read) = fs::read(format!("{name}.done")) {
            assert_eq!(read, b"levy\0secret\0\0");
            break fs::read_to_string(format!("{name}.ids")).unwrap();
        }
        limit *= 2;
        assert!(limit < testkit::WATCHDOG, "it never starts");
    };
    let ids: Vec<i32> = ids.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(ids.len(), 2);
    wait_until("both have ended", || ids.iter().all(|pid| has_ended(*pid)));
}

pub fn a_program_that_ends_within_its_limit_has_its_exit_code() {
    let arguments = ["/bin/sh", "-c", "exit 3"].map(|it| CString::new(it).unwrap());
    let ended = run_program(&arguments, b"", testkit::WATCHDOG).unwrap();
    assert_eq!((ended.code, ended.report), (Some(3), None));
}
