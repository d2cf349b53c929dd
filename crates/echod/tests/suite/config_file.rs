//! `--config FILE`: one option a line; the command line wins.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Output, Stdio};

use testkit::{Daemon, Peer, TempDir, run};

const DAEMON: &str = env!("CARGO_BIN_EXE_echod");

/// A daemon with these arguments and no others.
fn start(args: &[&str]) -> Daemon {
    let mut command = Command::new(DAEMON);
    command.args(args).stdin(Stdio::null()).stderr(Stdio::piped());
    Daemon::adopt(command.spawn().unwrap())
}

fn ended(args: &[&str]) -> Output {
    let mut command = Command::new(DAEMON);
    command.args(args);
    run(command, b"")
}

#[test]
fn a_daemon_can_have_all_its_options_from_a_file() {
    let dir = TempDir::new();
    let text = "# for a test\n\nlisten 127.0.0.1:0\n  listen\t127.0.0.1:0  \nmax-clients 3\nudp\nverbose\n";
    let user = if nix::unistd::geteuid().is_root() { "user root\n" } else { "" };
    let file = dir.file("echod.conf", format!("{text}{user}"));
    let daemon = start(&["--config", file.to_str().unwrap()]);
    assert_eq!(daemon.listening(4).len(), 4, "two for streams, two for datagrams");
    let mut peer = Peer::connect(daemon.addr());
    peer.ask("x", "x");
    testkit::wait_title(
        daemon.pid(),
        &format!("echod: parent, 1 of 3 clients, {}", titled(&daemon)),
    );
    drop(peer);
    assert!(daemon.stop().success());
}

fn titled(daemon: &Daemon) -> String {
    testkit::title(daemon.pid()).rsplit_once("clients, ").unwrap().1.to_owned()
}

#[test]
fn the_command_line_wins_and_what_may_be_given_several_times_adds() {
    let dir = TempDir::new();
    let text = "listen 127.0.0.1:0\nmax-clients 3\nreap none\ndaemon\nquiet\n";
    let file = dir.file("c", text).display().to_string();
    // -i excludes the file's daemon, -v its quiet.
    let output = ended(&["--config", &file, "-i", "-c", "many"]);
    assert!(said(&output).starts_with("echod: --max-clients 'many': "), "{}", said(&output));
    let mut args = vec!["--config", &file, "-l", "127.0.0.1:0", "-v", "-c", "5", "--check"];
    if nix::unistd::geteuid().is_root() {
        args.extend(["-u", "root"]);
    }
    assert!(ended(&args).status.success(), "{}", said(&ended(&args)));
    fs::write(&file, "listen 127.0.0.1:0\nmax-clients 3\nquiet\n").unwrap();
    args.retain(|arg| *arg != "--check");
    let daemon = start(&args);
    assert_eq!(daemon.listening(2).len(), 2, "{}", daemon.log());
    testkit::wait_title(
        daemon.pid(),
        &format!("echod: parent, 0 of 5 clients, {}", titled(&daemon)),
    );
    assert!(daemon.stop().success());
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_error_names_the_file_and_the_line_and_ends_like_a_wrong_command_line() {
    let dir = TempDir::new();
    for (text, complaint) in [
        (&b"#\nfrob 1\n"[..], ":2: frob: no such option"),
        (b"listen\n", ":1: listen: its argument is missing"),
        (b"udp\nsyslog yes\n", ":2: syslog: takes no argument"),
        (b"reap wait\nreap none\n", ":2: reap: given more than once"),
        (b"--reap wait\n", ":1: --reap: no such option; names stand without dashes here"),
        (b"config other\n", ":1: config: for the command line only"),
        (b"check\n", ":1: check: for the command line only"),
        (b"help\n", ":1: help: for the command line only"),
        (b"\n\nuser \xff\n", ":3: not UTF-8"),
        (b"udp\nmax-clients 0\n", ":2: --max-clients '0': not a whole number from 1 to 1000000"),
        (b"listen 7\n", ":1: --listen '7': no port; say HOST:PORT, [V6]:PORT or *:PORT"),
        (b"reap often\n", ":1: --reap 'often': not waitpid, wait or none"),
        (b"over silent\n", ":1: --over 'silent': not busy or queue"),
        (b"rate 5\n", ":1: --rate '5': not N/S"),
        (b"timeout 1 # a second\n", ":1: --timeout '1 # a second': not a number of seconds"),
    ] {
        let file = dir.file("c", text).display().to_string();
        let output = ended(&["--config", &file]);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        let expected = format!("echod: {file}{complaint}");
        assert!(said(&output).starts_with(&expected), "{expected}: {}", said(&output));
        assert!(said(&output).ends_with("\nTry 'echod --help' for more.\n"), "{}", said(&output));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_file_that_cannot_be_read_or_that_another_may_have_written_is_refused() {
    let dir = TempDir::new();
    let file = dir.file("c", "udp\n");
    symlink(&file, dir.path().join("link")).unwrap();
    fs::set_permissions(dir.file("open", ""), Permissions::from_mode(0o666)).unwrap();
    for (name, why) in [
        ("none", "No such file or directory"),
        ("link", "is a symbolic link"),
        ("open", "is writable by others"),
        (".", "Is a directory"),
    ] {
        let path = dir.path().join(name).display().to_string();
        let output = ended(&["--config", &path]);
        assert_eq!(output.status.code(), Some(2), "{name}: {}", said(&output));
        let expected = format!("echod: --config '{path}': {why}\n");
        assert!(said(&output).starts_with(&expected), "{expected}: {}", said(&output));
    }
}

#[test]
fn options_that_exclude_each_other_do_so_in_a_file_too() {
    let dir = TempDir::new();
    let file = dir.file("c", "inetd\ndaemon\n").display().to_string();
    let output = ended(&["--config", &file]);
    assert_eq!(output.status.code(), Some(2));
    let expected = format!("echod: {file}:2: --inetd and --daemon: only one of them\n");
    assert!(said(&output).starts_with(&expected), "{}", said(&output));
}

/// The file lies outside the folder of `--chroot` and is readable by root alone.
#[test]
fn the_file_is_read_before_any_right_is_given_up() {
    if !testkit::root_can_judge() {
        return;
    }
    let dir = TempDir::new();
    let jail = TempDir::new();
    let text = format!("listen 127.0.0.1:0\nuser 65534\nchroot {}\n", jail.path().display());
    let file = dir.file("c", text);
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let daemon = start(&["--config", file.to_str().unwrap()]);
    daemon.wait_log("serving as user");
    let mut peer = Peer::connect(daemon.addr());
    peer.ask("hello", "hello");
    daemon.signal(nix::sys::signal::Signal::SIGHUP); // does not read it again, and harms nothing
    peer.ask("again", "again");
    drop(peer);
    assert!(daemon.stop().success());
}
