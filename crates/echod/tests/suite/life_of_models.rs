//! Start and end of the server designs other than one process per client, which the other
//! files are about.

use std::os::unix::net::UnixStream;
use std::process::Command;

use crate::common::{ECHOD, echod, talk};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{
    Daemon, TempDir, children, command, file_of_descriptor, has_ended, limit_of, names,
    root_can_judge, run, wait_until,
};

const MODELS: [&str; 3] = ["prefork", "thread", "iterative"];

fn serve(model: &str, more: &[&str]) -> Daemon {
    echod(&[&["-m", model][..], more].concat())
}

/// Every task of a server and of its children, as /proc names them.
fn tasks(daemon: &Daemon) -> Vec<String> {
    let processes = children(daemon.pid()).into_iter().chain([daemon.pid()]);
    let of = |pid: i32| {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        tasks.map(move |task| task.unwrap().path().display().to_string())
    };
    processes.flat_map(of).collect()
}

#[test]
fn case_19_pid_file_and_socket_go_whoever_the_server_is_and_however_it_ends() {
    let user = if root_can_judge() { &["-u", "nobody"][..] } else { &[] };
    for model in MODELS {
        let dir = TempDir::new();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let (pid_file, socket) = (path("pid"), format!("unix:{}", path("sock")));
        let args = [user, &["-p", &pid_file, "-l", &socket]].concat();
        let mut daemon = serve(model, &args);
        drop(UnixStream::connect(path("sock")).unwrap());
        if !user.is_empty() {
            daemon.signal(Signal::SIGKILL);
            assert!(!daemon.wait().success());
            wait_until("the killed server's files are gone", || names(dir.path()).is_empty());
            daemon = serve(model, &args);
        }
        assert_eq!(names(dir.path()), ["pid", "sock"], "{model}");
        assert_eq!(daemon.stop().code(), Some(0), "{model}");
        assert!(names(dir.path()).is_empty(), "{model}");
    }
}

#[test]
fn case_20_a_daemon_has_its_own_session_and_its_starter_returns_once_it_listens() {
    for model in MODELS {
        let dir = TempDir::new();
        let (pid_file, socket) = (dir.path().join("pid"), dir.path().join("sock"));
        let listen = format!("unix:{}", socket.display());
        let args = ["-m", model, "-d", "-p", pid_file.to_str().unwrap(), "-l", &listen];
        let started = run(command(ECHOD, &args), b"");
        assert!(started.status.success(), "{started:?}");
        drop(UnixStream::connect(&socket).unwrap()); // at once: it listens already
        let pid: i32 = std::fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
        let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
        assert_eq!(cwd.to_str(), Some("/"));
        assert_eq!(nix::unistd::getsid(Some(Pid::from_raw(pid))).unwrap().as_raw(), pid);
        for fd in 0..3 {
            assert_eq!(file_of_descriptor(pid, fd).unwrap().to_str(), Some("/dev/null"));
        }
        kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
        wait_until("the daemon has ended", || has_ended(pid));
        assert!(names(dir.path()).is_empty(), "{model}");
    }
}

#[test]
fn case_28_no_task_keeps_a_privilege() {
    if !root_can_judge() {
        return;
    }
    for model in MODELS {
        let daemon = serve(model, &["-u", "65534"]);
        let _client = talk(daemon.addr());
        for task in tasks(&daemon) {
            let status = std::fs::read_to_string(format!("{task}/status")).unwrap();
            let field = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
            };
            assert_eq!(field("Uid:"), ["65534"; 4], "{model}");
            assert_eq!(field("Gid:"), ["65534"; 4], "{model}");
            assert!(field("Groups:").iter().all(|group| group == "65534"), "{model}");
            assert_eq!((field("CapPrm:"), field("CapEff:")), (none(), none()), "{model}");
        }
    }
}

fn none() -> Vec<String> {
    vec!["0".repeat(16)]
}

#[test]
fn a_server_of_threads_has_the_descriptors_that_its_clients_need_and_memory_for_them() {
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -S -n 64 && exec \"$@\"", "sh", ECHOD]);
    let daemon = Daemon::spawn(shell, &["-m", "thread", "-c", "200", "--max-per-ip", "200"]);
    let clients: Vec<_> = (0..200).map(|_| talk(daemon.addr())).collect();
    assert!(limit_of(daemon.pid(), "Max open files")[0].unwrap() >= 200);
    assert_eq!(limit_of(daemon.pid(), "Max address space")[1], None);
    assert_eq!(limit_of(daemon.pid(), "Max core file size"), [Some(0); 2]);
    drop(clients);
}
