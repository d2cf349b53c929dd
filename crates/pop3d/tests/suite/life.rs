//! `--chroot`, SIGHUP, limits.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use crate::common::{LETTER, POP3D, TestServer, make_maildir, users_file};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{
    Daemon, Peer, TempDir, children, command, limit_of, root_can_judge, run, state, wait_child,
    wait_until,
};

#[test]
fn users_and_mail_are_looked_for_inside_the_jail() {
    if !root_can_judge() {
        return;
    }
    let jail = TempDir::new();
    make_maildir(&jail.path().join("mrose/Maildir"));
    jail.file("mrose/Maildir/new/1.a.test", LETTER);
    users_file(&jail, "mrose:{PLAIN}tanstaaf:65534:65534:Rose:/mrose:\n");
    for part in ["mrose", "mrose/Maildir", "mrose/Maildir/new", "mrose/Maildir/cur"] {
        chown(jail.path().join(part), Some(65_534), Some(65_534)).unwrap();
    }
    let root = jail.path().to_str().unwrap();
    let daemon = Daemon::start(POP3D, &["-u", "65534", "--chroot", root, "--users", "users"]);
    let mut peer = Peer::connect(daemon.addr());
    peer.expect("+OK ");
    peer.ask("USER mrose", "+OK");
    peer.ask("PASS tanstaaf", "+OK");
    peer.ask("LIST 1", "+OK 1 ");
    peer.ask("DELE 1", "+OK");
    peer.ask("QUIT", "+OK");
    assert!(testkit::names(&jail.path().join("mrose/Maildir/new")).is_empty());
}

#[test]
fn a_users_file_that_is_not_in_the_jail_is_told_at_the_start() {
    if !root_can_judge() {
        return;
    }
    let (jail, outside) = (TempDir::new(), TempDir::new());
    let users = outside.file("users", "").display().to_string();
    let root = jail.path().to_str().unwrap();
    let args = ["-u", "65534", "-l", "127.0.0.1:0", "--chroot", root, "--users", &users];
    for args in [&args[..], &[&["-d"][..], &args].concat()] {
        let failed = run(command(POP3D, args), b"");
        assert_eq!(failed.status.code(), Some(1));
        let said = String::from_utf8(failed.stderr).unwrap();
        assert!(said.ends_with(&format!("users {users}: No such file or directory\n")), "{said}");
    }
}

#[test]
fn case_18_after_sighup_a_new_user_gets_in_and_the_others_session_goes_on() {
    for model in ["fork", "prefork", "thread"] {
        let server = TestServer::with(&[LETTER], &["-m", model], "");
        let mut rose = server.mrose();
        add_levy(&server);
        let mut levy = server.client();
        levy.ask("USER levy", "+OK");
        levy.ask("PASS x", "+OK");
        rose.ask("STAT", "+OK 1 22");
        rose.ask("QUIT", "+OK");
    }
}

/// A new users file takes the place of the old one, and SIGHUP follows.
fn add_levy(server: &TestServer) {
    let home = server.path("levy").display().to_string();
    make_maildir(&server.path("levy/Maildir"));
    let users = std::fs::read_to_string(server.path("users")).unwrap();
    let new = server.dir.file("users.new", format!("{users}levy:{{PLAIN}}x:::Levy:{home}:\n"));
    std::fs::set_permissions(new, Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(server.path("users.new"), server.path("users")).unwrap();
    server.daemon.signal(Signal::SIGHUP);
    server.daemon.wait_log("SIGHUP");
}

#[test]
fn a_session_leaves_no_core_with_passwords_in_it_and_its_memory_is_bounded() {
    let server = TestServer::new(&[LETTER]);
    let _rose = server.mrose();
    let child = children(server.daemon.pid())[0];
    assert_eq!(limit_of(child, "Max core file size"), [Some(0); 2]);
    assert!(limit_of(child, "Max address space")[1].unwrap() < 1 << 30);
}

/// SIGTERM waits while a server starts; this is none.
#[test]
fn hash_that_waits_for_a_password_can_be_interrupted() {
    let mut hash = command(POP3D, &["--hash"]).stdin(Stdio::piped()).spawn().unwrap();
    let pid = hash.id() as i32;
    wait_until("it waits for the password", || state(pid) == Some('S'));
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    assert_eq!(wait_child(&mut hash, "it ends").signal(), Some(Signal::SIGTERM as i32));
}
