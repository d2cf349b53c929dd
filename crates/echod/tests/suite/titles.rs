//! What `ps` shows of echod, whatever space its arguments and environment leave for it.

use std::ffi::OsStr;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::common::{ECHOD, echod, talk};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use testkit::{
    Daemon, Peer, TempDir, children, command, only_child, run, title, wait_child, wait_title,
    wait_until,
};

/// What the child shows that serves this client.
fn shown(peer: &Peer) -> String {
    format!("echod: {}", peer.stream().local_addr().unwrap())
}

/// A child and its parent show what they should, and the parent goes back to no client.
fn both_show_their_titles(daemon: &Daemon) {
    let parent =
        |clients: usize| format!("echod: parent, {clients} of 256 clients, {}", daemon.addr());
    assert_eq!(title(daemon.pid()), parent(0), "from the moment it listens");
    let mut peer = talk(daemon.addr());
    assert_eq!(title(only_child(daemon.pid())), shown(&peer), "from before its first word");
    wait_title(daemon.pid(), &parent(1));
    peer.shutdown_write();
    assert!(peer.is_closed());
    wait_title(daemon.pid(), &parent(0));
}

#[test]
fn the_parent_shows_its_clients_and_a_child_the_one_it_serves() {
    both_show_their_titles(&echod(&[]));
}

#[test]
fn a_long_command_line_leaves_nothing_behind_the_title() {
    let many = vec!["-v"; 3000]; // more than the page that the kernel looks at
    both_show_their_titles(&echod(&many));
}

#[test]
fn a_long_environment_and_odd_variables_do_no_harm() {
    let mut odd = Command::new(ECHOD);
    odd.env_clear().arg0("e").env("A", "").env("LONG", "x".repeat(100_000)).env("=", "=");
    both_show_their_titles(&Daemon::spawn::<&str>(odd, &[]));
}

#[test]
fn a_title_is_cut_where_the_space_of_a_short_command_line_without_environment_ends() {
    let mut bare = Command::new(ECHOD);
    bare.env_clear().arg0("e");
    let daemon = Daemon::spawn::<&str>(bare, &[]);
    let user = if geteuid().is_root() { " -u root" } else { "" };
    let room = format!("e{user} -l 127.0.0.1:0").len();
    assert_eq!(title(daemon.pid()), "echod: parent, 0 of 256 clients"[..room]);
    let client = talk(daemon.addr());
    let whole = shown(&client);
    assert_eq!(title(only_child(daemon.pid())), whole.get(..room).unwrap_or(&whole));
}

#[test]
fn several_listeners_are_shown_and_a_client_of_a_unix_socket_has_no_address() {
    let dir = TempDir::new();
    let path = dir.path().join("s").display().to_string();
    let daemon = echod(&["-c", "7", "-l", "127.0.0.1:0", "-l", &format!("unix:{path}")]);
    daemon.wait_log(&format!("listening on unix:{path}"));
    let parent = format!("echod: parent, 0 of 7 clients, {}, unix:{path}", daemon.addr());
    assert_eq!(title(daemon.pid()), parent);
    let _client = std::os::unix::net::UnixStream::connect(&path).unwrap();
    wait_title(only_child(daemon.pid()), "echod: unix");
}

#[test]
fn a_parent_that_stops_says_for_whom_it_waits() {
    let daemon = echod(&[]);
    let peers = [talk(daemon.addr()), talk(daemon.addr())];
    daemon.signal(Signal::SIGTERM);
    wait_title(daemon.pid(), "echod: parent, stopping, 2 clients");
    let [one, other] = peers;
    drop(one);
    wait_title(daemon.pid(), "echod: parent, stopping, 1 client");
    drop(other);
}

#[test]
fn a_detached_daemon_has_its_title_and_its_name_stays_for_pgrep() {
    let dir = TempDir::new();
    let pid_file = dir.path().join("pid");
    let start = command(ECHOD, &["-d", "-p", pid_file.to_str().unwrap(), "-l", "127.0.0.1:0"]);
    assert!(run(start, b"").status.success());
    let pid: i32 = std::fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    let (title, name) = (title(pid), std::fs::read_to_string(format!("/proc/{pid}/comm")));
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    testkit::wait_until("it has ended", || testkit::has_ended(pid));
    assert!(title.starts_with("echod: parent, 0 of 256 clients, 127.0.0.1:"), "{title:?}");
    assert_eq!(name.unwrap(), "echod\n");
}

#[test]
fn under_inetd_the_process_shows_its_client() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let socket = OwnedFd::from(listener.accept().unwrap().0);
    let twin = || Stdio::from(socket.try_clone().unwrap());
    let mut echod = command(ECHOD, &["-i"]);
    let mut echod = echod.stdin(twin()).stdout(twin()).stderr(twin()).spawn().unwrap();
    wait_title(echod.id() as i32, &format!("echod: {}", client.local_addr().unwrap()));
    client.shutdown(Shutdown::Both).unwrap();
    assert!(wait_child(&mut echod, "echod ends").success());
}

/// The first variable stands right behind the arguments, where the title goes first.
#[test]
fn the_log_follows_rust_log_though_the_title_stands_where_the_variable_stood() {
    let mut loud = Command::new(ECHOD);
    loud.env_clear().env("RUST_LOG", "warn,forknet=info").arg0("e");
    let daemon = Daemon::spawn(loud, &["-q"]);
    drop(talk(daemon.addr()));
    daemon.wait_log(" end: pid ");
    let environ = std::fs::read(format!("/proc/{}/environ", daemon.pid())).unwrap();
    let variable = OsStr::new("RUST_LOG=warn").as_encoded_bytes();
    assert!(!environ.starts_with(variable), "the title has reached it, or this shows nothing");
}

/// The titles of a daemon's children, sorted.
fn of_children(daemon: &Daemon) -> Vec<String> {
    let mut all: Vec<String> = children(daemon.pid()).into_iter().map(title).collect();
    all.sort();
    all
}

#[test]
fn a_preforked_worker_shows_its_client_and_then_that_it_is_idle() {
    let daemon = echod(&["-m", "prefork", "-n", "2"]);
    let idle = "echod: worker, idle".to_owned();
    let all_idle = || of_children(&daemon) == [idle.clone(), idle.clone()];
    wait_until("both workers say that they are idle", all_idle);
    let peer = talk(daemon.addr());
    assert_eq!(of_children(&daemon), [shown(&peer), idle.clone()]);
    let parent = |clients| format!("echod: parent, {clients} of 256 clients, {}", daemon.addr());
    wait_title(daemon.pid(), &parent(1));
    let other = talk(daemon.addr());
    wait_title(daemon.pid(), &parent(2));
    drop((peer, other));
    wait_until("the worker is idle again", all_idle);
    wait_title(daemon.pid(), &parent(0));
}

#[test]
fn the_iterative_server_shows_its_client_and_then_that_there_is_none() {
    let daemon = echod(&["-m", "iterative"]);
    let parent = format!("echod: parent, 0 of 256 clients, {}", daemon.addr());
    assert_eq!(title(daemon.pid()), parent);
    let peer = talk(daemon.addr());
    assert_eq!(title(daemon.pid()), shown(&peer));
    drop(peer);
    wait_title(daemon.pid(), &parent);
}

#[test]
fn with_a_thread_for_each_client_the_title_counts_them() {
    let daemon = echod(&["-m", "thread"]);
    let peers = [talk(daemon.addr()), talk(daemon.addr())];
    let parent = |clients| format!("echod: parent, {clients} of 256 clients, {}", daemon.addr());
    wait_title(daemon.pid(), &parent(2));
    drop(peers);
    wait_title(daemon.pid(), &parent(0));
}
