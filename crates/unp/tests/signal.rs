//! The slides' `signal`, its handlers, and `fork`, in a process that has no children.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, raise};
use unp::{
    Restart, SAY_ITS_NAME, SET_A_FLAG, SIG_CHLD_WAIT, SIG_CHLD_WAITPID, SIG_DFL, SIG_IGN, came,
    fork, signal, take, times,
};

#[test]
fn a_handler_leaves_errno_as_it_was() {
    for func in [SIG_CHLD_WAIT, SIG_CHLD_WAITPID, SAY_ITS_NAME, SET_A_FLAG] {
        signal(Signal::SIGCHLD, func, Restart::Yes).unwrap();
        Errno::EXFULL.set(); // no call made by a handler ends with this one
        raise(Signal::SIGCHLD).unwrap();
        assert_eq!(Errno::last(), Errno::EXFULL, "{func:?}");
    }
}

#[test]
fn the_flag_counts_until_it_is_taken_down() {
    signal(Signal::SIGUSR1, SET_A_FLAG, Restart::Yes).unwrap();
    assert!(!came(Signal::SIGUSR1));
    raise(Signal::SIGUSR1).unwrap();
    raise(Signal::SIGUSR1).unwrap();
    assert_eq!(times(Signal::SIGUSR1), 2);
    assert!(take(Signal::SIGUSR1));
    assert!(!take(Signal::SIGUSR1));
}

#[test]
fn signals_are_not_queued() {
    signal(Signal::SIGUSR2, SET_A_FLAG, Restart::Yes).unwrap();
    let mask = SigSet::from(Signal::SIGUSR2);
    mask.thread_block().unwrap();
    for _ in 0..5 {
        raise(Signal::SIGUSR2).unwrap();
    }
    assert!(!came(Signal::SIGUSR2));
    mask.thread_unblock().unwrap();
    assert_eq!(times(Signal::SIGUSR2), 1);
}

#[test]
fn an_ignored_signal_does_nothing() {
    signal(Signal::SIGHUP, SIG_IGN, Restart::Yes).unwrap();
    raise(Signal::SIGHUP).unwrap(); // by default the end
}

#[test]
fn nobody_catches_sigkill() {
    for func in [SIG_IGN, SET_A_FLAG] {
        assert_eq!(signal(Signal::SIGKILL, func, Restart::Yes), Err(Errno::EINVAL));
    }
    assert!(signal(Signal::SIGKILL, SIG_DFL, Restart::Yes).is_err());
}

#[test]
fn a_process_with_threads_is_not_forked() {
    std::thread::scope(|threads| {
        let (wake, sleep) = std::sync::mpsc::channel::<()>();
        threads.spawn(move || sleep.recv());
        assert_eq!(fork().err(), Some(Errno::EDEADLK));
        drop(wake);
    });
}
