//! Processes beside the server that stand still.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use testkit::{
    TempDir, each_model, has_ended, names, root_can_judge, state, title, wait_until, within_once,
};

use crate::attack::{datagram_helper, server, server_as};
use crate::common::{signal, talk};

/// How long a server waits at its end for its cleanup helper, as the manual tells.
const CLEANUP_WAIT: Duration = Duration::from_secs(10);

/// The cleanup helper of the files in this folder.
pub fn cleanup_helper(folder: &Path) -> Option<i32> {
    let folder = folder.display().to_string();
    let all = std::fs::read_dir("/proc").unwrap();
    let mut pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.find(|pid| {
        let title = title(*pid);
        title.strip_prefix("echod: caretaker of ").is_some_and(|files| files.contains(&folder))
    })
}

fn stop(pid: i32) {
    signal(pid, Signal::SIGSTOP);
    wait_until("it has stopped", || state(pid) == Some('T'));
}

#[test]
fn a_stopped_process_for_datagrams_stops_neither_clients_nor_the_end_of_the_server() {
    each_model(&["fork", "prefork", "iterative"], |model| {
        let daemon = server_as(model, &[]);
        let helper = datagram_helper(&daemon);
        stop(helper);
        (0..20).for_each(|_| drop(talk(daemon.addr())));
        daemon.signal(Signal::SIGUSR1);
        daemon.wait_log(" clients\n");
        assert_eq!(daemon.stop().code(), Some(0), "{model}");
        assert!(has_ended(helper), "{model}");
    });
}

#[test]
fn a_stopped_cleanup_helper_delays_the_end_by_ten_seconds_at_most_and_cleans_up_later() {
    if !root_can_judge() {
        return;
    }
    // As long again for what a machine that is busy takes.
    within_once(2 * CLEANUP_WAIT, ended_with_a_stopped_helper);
}

/// How long the end took.
fn ended_with_a_stopped_helper() -> Duration {
    let dir = TempDir::new();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (pid_file, socket) = (path("pid"), format!("unix:{}", path("sock")));
    let daemon = server(&["-l", "127.0.0.1:0", "-l", &socket, "-p", &pid_file]);
    let helper = cleanup_helper(dir.path()).unwrap();
    stop(helper);
    drop(talk(daemon.addr()));
    let since = Instant::now();
    assert_eq!(daemon.stop().code(), Some(0));
    let took = since.elapsed();
    assert_eq!(names(dir.path()), ["pid", "sock"]);
    signal(helper, Signal::SIGCONT);
    wait_until("the files are gone", || names(dir.path()).is_empty());
    wait_until("the helper has ended", || has_ended(helper));
    took
}
