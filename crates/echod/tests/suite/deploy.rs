//! Pid file, daemon, privileges.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use crate::common::{ECHOD, echod, talk};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use testkit::{TempDir, children, command, file_of_descriptor, has_ended, run, wait_until};

#[test]
fn case_19_the_pid_file_names_the_server_is_locked_and_goes_with_it() {
    let dir = TempDir::new();
    let path = dir.path().join("echod.pid");
    let file = path.to_str().unwrap();
    let daemon = echod(&["-p", file]);
    let pid = daemon.pid();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{pid}\n"));
    let second = run(command(ECHOD, &["-l", "127.0.0.1:0", "-p", file]), b"");
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.ends_with(&format!("locked by the server with process id {pid}\n")), "{said}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{pid}\n"));
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(!path.exists());
}

#[test]
fn case_20_a_daemon_has_its_own_session_and_its_starter_returns_once_it_listens() {
    let dir = TempDir::new();
    let (pid_file, socket) = (dir.path().join("pid"), dir.path().join("sock"));
    let listen = format!("unix:{}", socket.display());
    let started =
        run(command(ECHOD, &["-d", "-p", pid_file.to_str().unwrap(), "-l", &listen]), b"");
    assert!(started.status.success(), "{started:?}");
    let mut client = UnixStream::connect(&socket).unwrap(); // at once: it listens already
    client.write_all(b"hello").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut echo = String::new();
    client.read_to_string(&mut echo).unwrap();
    assert_eq!(echo, "hello");
    let pid: i32 = std::fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
    assert_eq!(cwd.to_str(), Some("/"));
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let session = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(3).unwrap();
    assert_eq!(session, pid.to_string());
    for fd in 0..3 {
        assert_eq!(file_of_descriptor(pid, fd).unwrap().to_str(), Some("/dev/null"));
    }
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    wait_until("the daemon has ended", || has_ended(pid));
    assert!(!pid_file.exists() && !socket.exists());
}

#[test]
fn case_20_a_daemon_that_cannot_listen_says_so_to_its_starter() {
    let dir = TempDir::new();
    let occupied = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = occupied.local_addr().unwrap().to_string();
    let failed = run(command(ECHOD, &["-d", "-l", &at]), b"");
    assert_eq!(failed.status.code(), Some(1));
    let nowhere = dir.path().join("no/such/folder/pid");
    let args = ["-d", "-l", "127.0.0.1:0", "-p", nowhere.to_str().unwrap()];
    let failed = run(command(ECHOD, &args), b"");
    assert_eq!(failed.status.code(), Some(1));
    let said = String::from_utf8(failed.stderr).unwrap();
    assert!(said.contains("pid file") && said.contains("No such file or directory"), "{said}");
}

#[test]
fn case_28_root_serves_as_nobody_or_as_told() {
    if !geteuid().is_root() {
        // An ordinary user cannot become another one: that must be an error that says so.
        let failed = run(Command::new(ECHOD), b"");
        assert!(!failed.status.success()); // port 7
        let mut other = Command::new(ECHOD);
        other.args(["-l", "127.0.0.1:0", "-u", "root"]);
        let said = String::from_utf8(run(other, b"").stderr).unwrap();
        assert!(said.contains("user root: ") && said.contains("Operation not permitted"), "{said}");
        return;
    }
    for user in ["nobody", "65534", "65534:65534"] {
        let daemon = echod(&["-u", user]);
        let _client = talk(daemon.addr());
        for pid in children(daemon.pid()).into_iter().chain([daemon.pid()]) {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let ids = |name: &str| {
                let line = status.lines().find(|l| l.starts_with(name)).unwrap().to_owned();
                line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
            };
            assert_eq!(ids("Uid:"), ["65534"; 4]); // real, effective, saved, file system
            assert_eq!(ids("Gid:"), ["65534"; 4]);
            assert!(ids("Groups:").iter().all(|group| group == "65534"));
            for set in ["CapPrm:", "CapEff:", "CapInh:", "CapAmb:"] {
                assert_eq!(ids(set), ["0000000000000000"], "{set}");
            }
        }
    }
    let mut unsaid = Command::new(ECHOD);
    let mut child = unsaid.args(["-l", "127.0.0.1:0"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut log, &mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.contains("serving as user nobody"), "{line}");
}
