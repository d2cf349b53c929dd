//! `--chroot`, SIGHUP, limits.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::udp::{Served, Udp, ack, data, rrq, wrq};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{
    Daemon, TempDir, children, command, copy_program, file_of_descriptor, injected, limit_of,
};
use testkit::{names, root_can_judge, run, wait_until};

const TFTPD: &str = env!("CARGO_BIN_EXE_tftpd");

#[test]
fn the_root_is_looked_for_inside_the_jail_even_through_links() {
    if !root_can_judge() {
        return;
    }
    let jail = TempDir::new();
    fs::create_dir(jail.path().join("files")).unwrap();
    jail.file("files/x", "hello");
    symlink("/files", jail.path().join("link")).unwrap(); // there is no such folder outside
    symlink("/etc", jail.path().join("out")).unwrap();
    let chroot = jail.path().to_str().unwrap();
    for root in ["/files", "files", "/link", "/../files"] {
        let args = ["-u", "nobody", "--chroot", chroot, "--root", root];
        let daemon = Daemon::start(TFTPD, &args);
        let mut peer = Udp::new(daemon.addr());
        peer.send(rrq(b"x", "octet"));
        peer.expect(data(1, b"hello"));
        peer.send(ack(1));
        let held = (0..64).filter_map(|fd| file_of_descriptor(daemon.pid(), fd));
        for folder in held.filter(|file| file.is_dir()) {
            assert!(folder.starts_with(jail.path()), "{folder:?} is outside");
        }
    }
    for (jail, root, complaint) in [
        (chroot, "/out", "root /out: No such file"),
        (chroot, "/nowhere", "root /nowhere: No such file"),
        ("/no/jail", "/", "chroot /no/jail: No such file"),
    ] {
        let args = ["-u", "nobody", "-l", "127.0.0.1:0", "--chroot", jail, "--root", root];
        let said = String::from_utf8(run(command(TFTPD, &args), b"").stderr).unwrap();
        assert!(said.starts_with(&format!("tftpd: {complaint}")), "{said}");
    }
}

#[test]
fn what_a_killed_upload_leaves_in_a_jail_is_removed_by_a_later_one() {
    if !root_can_judge() {
        return;
    }
    let jail = TempDir::new(); // without /proc, so that a file has a name while it is written
    fs::set_permissions(jail.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let chroot = jail.path().to_str().unwrap();
    let args = ["-u", "nobody", "--chroot", chroot, "--root", "/", "--create"];
    let daemon = Daemon::start(TFTPD, &args);
    let mut peer = Udp::new(daemon.addr());
    peer.send(wrq(b"killed", "octet"));
    peer.expect(ack(0));
    let left = names(jail.path());
    assert!(left.len() == 1 && left[0].starts_with(".tftp-new."), "{left:?}");
    for pid in children(daemon.pid()) {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    wait_until("the upload is killed", || children(daemon.pid()).is_empty());
    let an_hour_ago = SystemTime::now() - Duration::from_secs(3600);
    let opened = fs::File::options().write(true).open(jail.path().join(&left[0])).unwrap();
    opened.set_modified(an_hour_ago).unwrap();
    drop(opened);
    Udp::new(daemon.addr()).put(&wrq(b"x", "octet"), b"text");
    assert_eq!(names(jail.path()), ["x"]);
}

#[test]
fn case_18_sighup_keeps_the_socket_and_the_transfer_and_the_next_client_sees_the_new_file() {
    let served = Served::with(&[]);
    let socket = || (3..10).filter_map(|fd| file_of_descriptor(served.daemon.pid(), fd));
    let before: Vec<_> = socket().collect();
    served.write("x", "a".repeat(512));
    let mut first = served.peer();
    first.send(rrq(b"x", "octet"));
    first.expect(data(1, &[b'a'; 512]));
    served.daemon.signal(Signal::SIGHUP);
    served.daemon.wait_log("SIGHUP");
    assert_eq!(socket().collect::<Vec<_>>(), before);
    served.write("y", "new");
    let mut second = served.peer();
    second.send(rrq(b"y", "octet"));
    second.expect(data(1, b"new"));
    second.send(ack(1));
    first.send(ack(1));
    first.expect(data(2, b""));
    first.send(ack(2));
}

#[test]
fn an_upload_cannot_grow_much_over_max_size_whatever_the_code_does() {
    for (more, expected) in [(&["--max-size", "4096"][..], Some(4096 + (1 << 20))), (&[], None)] {
        let served = Served::with(more);
        served.write("x", "a".repeat(512));
        let mut peer = served.peer();
        peer.send(rrq(b"x", "octet"));
        peer.expect(data(1, &[b'a'; 512]));
        wait_until("there is a child", || !children(served.daemon.pid()).is_empty());
        let child = children(served.daemon.pid())[0];
        assert_eq!(limit_of(child, "Max file size"), [expected; 2]);
        assert_eq!(limit_of(child, "Max core file size"), [Some(0); 2]);
        assert!(limit_of(child, "Max address space")[1].unwrap() < 1 << 30);
    }
}

/// What cannot be received keeps its socket readable: such a wait would return at once for ever.
#[test]
fn a_recvmsg_that_goes_on_failing_is_told_of_once_and_tried_again_now_and_then() {
    // A single port asks for the socket's errors each time, too.
    for (more, calls) in [(&[][..], 102), (&["--single-port"], 204)] {
        let inject = format!("recvmsg:error=EACCES:when=1..{calls}");
        let Some(mut strace) = injected("recvmsg", &[&inject]) else { return };
        strace.arg(TFTPD);
        let dir = TempDir::new();
        dir.file("x", "hello");
        let root = ["--root", dir.path().to_str().unwrap()];
        let daemon = Daemon::spawn(strace, &[&root, more].concat());
        let mut peer = Udp::new(daemon.addr());
        peer.send(rrq(b"x", "octet"));
        peer.expect(data(1, b"hello"));
        peer.send(ack(1));
        daemon.wait_log("recvmsg: works again");
        assert_eq!(daemon.log().matches("goes on failing").count(), 1);
        assert_eq!(daemon.stop().code(), Some(0));
    }
}

#[test]
fn d_says_where_the_log_goes_or_that_there_is_none() {
    let dir = TempDir::new();
    let pid_file = dir.path().join("pid");
    for (more, says) in [
        (&[][..], "tftpd: detached: there is no log from now on, for --syslog is not given\n"),
        (&["--syslog"], "tftpd: detached: the log goes to syslog\n"),
    ] {
        let root = dir.path().to_str().unwrap();
        let args = ["-d", "-p", pid_file.to_str().unwrap(), "--root", root, "-l", "127.0.0.1:0"];
        let output = run(command(TFTPD, &[&args, more].concat()), b"");
        assert_eq!(output.status.code(), Some(0));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.ends_with(says), "{said}");
        let pid = fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGTERM).unwrap();
        wait_until("it has ended", || !pid_file.exists());
    }
}

/// What `FROM scratch` and `USER 65534` make of it: no /proc, no /dev, no users, no other file.
#[test]
fn in_a_container_with_nothing_but_the_program_files_come_and_go_over_one_port() {
    if !root_can_judge() {
        return;
    }
    use std::os::unix::fs::{PermissionsExt, chown};
    let dir = TempDir::new();
    copy_program(Path::new(TFTPD), &dir.path().join("tftpd"));
    let files = dir.path().join("files");
    fs::create_dir(&files).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    chown(&files, Some(65534), Some(65534)).unwrap();
    fs::write(files.join("x"), "hello").unwrap();
    symlink("/files/x", files.join("link")).unwrap();
    let mut chroot = std::process::Command::new("chroot");
    chroot.arg("--userspec=65534:65534").arg(dir.path()).arg("/tftpd");
    chroot.args([
        "--single-port",
        "-l",
        "127.0.0.1:0",
        "--root",
        "/files",
        "--create",
        "--overwrite",
    ]);
    let daemon = Daemon::adopt(chroot.stderr(std::process::Stdio::piped()).spawn().unwrap());
    let peer = || Udp::new(daemon.addr());
    assert_eq!(peer().get(&rrq(b"x", "octet")), b"hello");
    assert_eq!(peer().get(&rrq(b"link", "octet")), b"hello");
    for text in [&b"new"[..], b"newer"] {
        peer().put(&crate::udp::wrq(b"up", "octet"), text);
        assert_eq!(fs::read(files.join("up")).unwrap(), text);
    }
    assert_eq!(testkit::names(&files), ["link", "up", "x"]);
    assert!(!daemon.log().contains("ERROR"), "{}", daemon.log());
}
