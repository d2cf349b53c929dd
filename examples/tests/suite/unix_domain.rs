//! The UNIX-domain programs: streams as TCP, datagrams that cannot be answered without a name.

use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};

use testkit::{Daemon, Program, TempDir, names, wait_until};

fn server(program: &str, path: &Path) -> Daemon {
    let mut command = Command::new(program);
    command.arg(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    Daemon::adopt(command.spawn().unwrap())
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

const UNIXSTR_SERV: &str = env!("CARGO_BIN_EXE_unixstr_serv");
const UNIXSTR_CLI: &str = env!("CARGO_BIN_EXE_unixstr_cli");
const UNIXDG_SERV: &str = env!("CARGO_BIN_EXE_unixdg_serv");
const UNIXDG_CLI: &str = env!("CARGO_BIN_EXE_unixdg_cli");
const UNIXDG_CLI01: &str = env!("CARGO_BIN_EXE_unixdg_cli01");

#[test]
fn a_stream_serves_several_clients_at_once_and_leaves_no_zombie() {
    let dir = TempDir::new();
    let path = dir.path().join("unix.str");
    let server = server(UNIXSTR_SERV, &path);
    assert_eq!(server.listening(1), [format!("unix:{}", path.display())]);
    assert!(is_socket(&path));
    let mut clients = [1, 2].map(|_| Program::start(UNIXSTR_CLI, &[path.to_str().unwrap()]));
    for client in &mut clients {
        assert_eq!(client.ask("first"), "first");
    }
    assert_eq!(testkit::children(server.pid()).len(), 2);
    for client in &mut clients {
        assert_eq!(client.ask("second"), "second");
        assert!(client.wait().success());
    }
    wait_until("both children are gone", || testkit::children(server.pid()).is_empty());
}

#[test]
fn a_server_takes_its_name_again_and_leaves_other_files_alone() {
    let dir = TempDir::new();
    for program in [UNIXSTR_SERV, UNIXDG_SERV] {
        let path = dir.path().join("name");
        let _killed_by_sigterm = server(program, &path).stop();
        assert!(is_socket(&path), "the file outlives its server");
        drop(server(program, &path));
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "precious").unwrap();
        let mut refused = Program::start(program, &[path.to_str().unwrap()]);
        assert_eq!(refused.wait().code(), Some(1));
        assert!(refused.errors().ends_with("Address already in use\n"), "{}", refused.errors());
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_datagram_client_with_a_name_is_answered() {
    let dir = TempDir::new();
    let (path, mine) = (dir.path().join("unix.dg"), dir.path().join("my.dg"));
    let _server = server(UNIXDG_SERV, &path);
    let (path, mine) = (path.to_str().unwrap(), mine.to_str().unwrap());
    let mut clients = [&[path][..], &[path, mine]].map(|args| Program::start(UNIXDG_CLI, args));
    for client in &mut clients {
        assert_eq!(client.ask("one"), "one");
        assert_eq!(client.ask("two"), "two");
    }
    assert_eq!(names(dir.path()), ["my.dg", "unix.dg"]);
    for client in &mut clients {
        assert!(client.wait().success());
    }
    assert_eq!(names(dir.path()), ["unix.dg"]);
}

#[test]
fn a_datagram_client_without_a_name_waits_in_vain() {
    let dir = TempDir::new();
    let path = dir.path().join("unix.dg");
    let server = server(UNIXDG_SERV, &path);
    let mut client = Program::start(UNIXDG_CLI01, &[path.to_str().unwrap()]);
    client.send("one\n");
    server.wait_log("4 octets from a client without a name: it gets no answer");
    client.close_input();
    wait_until("the client waits in recv", || testkit::state(client.pid()) == Some('S'));
    assert!(client.is_running() && client.has_said_nothing());
    let mut other = Program::start(UNIXDG_CLI, &[path.to_str().unwrap()]);
    assert_eq!(other.ask("two"), "two"); // the server lives on, and answers who can be answered
    assert!(client.is_running() && client.has_said_nothing());
}

#[test]
fn a_client_that_never_reads_does_not_keep_the_server_from_the_others() {
    let dir = TempDir::new();
    let path = dir.path().join("unix.dg");
    let server = server(UNIXDG_SERV, &path);
    let deaf = UnixDatagram::bind(dir.path().join("deaf")).unwrap();
    for _ in 0..1000 {
        deaf.send_to(b"x", &path).unwrap();
    }
    server.wait_log("Resource temporarily unavailable");
    let mut other = Program::start(UNIXDG_CLI, &[path.to_str().unwrap()]);
    assert_eq!(other.ask("two"), "two");
}

#[test]
fn without_a_server_connect_says_so_and_the_client_s_own_name_is_removed() {
    let dir = TempDir::new();
    let (path, mine) = (dir.path().join("none"), dir.path().join("my.dg"));
    let (path, mine) = (path.to_str().unwrap(), mine.to_str().unwrap());
    for (program, args) in [(UNIXSTR_CLI, &[path][..]), (UNIXDG_CLI, &[path, mine])] {
        let mut client = Program::start(program, args);
        assert_eq!(client.wait().code(), Some(1));
        assert!(client.errors().ends_with("connect error: No such file or directory\n"));
    }
    assert_eq!(names(dir.path()), Vec::<String>::new());
}
