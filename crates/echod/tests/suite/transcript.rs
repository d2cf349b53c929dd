//! SIGHUP: dialogues go on in the file that has the transcript's name now, as logrotate(8) needs it.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::common::{ECHOD, cleanup_helper, echod, echod_as, talk, wait_idle};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use testkit::{
    Daemon, MODELS, Peer, TempDir, children, command, each_model, has_ended, names, root_can_judge,
    run, uninterrupted, wait_until,
};

/// A transcript in a folder where only its owner may make files, and that does not stay.
struct Rotated {
    dir: TempDir,
    path: PathBuf,
    old: PathBuf,
}

impl Rotated {
    fn new() -> Rotated {
        let dir = TempDir::new();
        let (path, old) = (dir.path().join("transcript"), dir.path().join("transcript.1"));
        Rotated { dir, path, old }
    }

    fn option(&self) -> [&str; 2] {
        ["--transcript", self.path.to_str().unwrap()]
    }

    /// As logrotate(8) does it: moved, and then SIGHUP.
    fn rotate(&self, daemon: &Daemon) {
        let before = children(daemon.pid());
        fs::rename(&self.path, &self.old).unwrap();
        daemon.signal(Signal::SIGHUP);
        wait_until("there is a new file", || self.path.exists());
        // Workers and the process for datagrams begin again.
        wait_until("all processes know of it", || before.iter().all(|pid| has_ended(*pid)));
    }

    fn check(&self, what: &str) {
        let (old, new) = (fs::read_to_string(&self.old), fs::read_to_string(&self.path));
        let (old, new) = (old.unwrap(), new.unwrap());
        assert!(old.contains(" C: before\n") && !old.contains("after"), "{what}: {old}");
        assert!(new.contains(" C: after\n") && new.contains(" S: after\n"), "{what}: {new}");
        assert!(!new.contains("before"), "{what}: {new}");
        let file = fs::metadata(&self.path).unwrap();
        assert_eq!((file.mode() & 0o7777, file.uid()), (0o600, geteuid().as_raw()), "{what}");
    }
}

/// A client that says this and is gone.
fn say(addr: std::net::SocketAddr, word: &str) {
    let mut peer = Peer::connect(addr);
    peer.ask(word, word);
    peer.shutdown_write();
    assert_eq!(peer.rest(), b"");
}

#[test]
fn after_sighup_dialogues_are_written_to_the_new_file_under_any_model() {
    each_model(&MODELS, |model| {
        let rotated = Rotated::new();
        let daemon = echod_as(model, &rotated.option());
        say(daemon.addr(), "before");
        rotated.rotate(&daemon);
        say(daemon.addr(), "after");
        assert_eq!(daemon.stop().code(), Some(0));
        rotated.check(model);
    });
}

#[test]
fn a_server_that_may_no_longer_open_the_file_has_its_helper_do_it() {
    if !root_can_judge() {
        return;
    }
    each_model(&MODELS, |model| {
        for jailed in [false, true] {
            let rotated = Rotated::new();
            let jail = rotated.dir.path().join("jail");
            fs::create_dir(&jail).unwrap();
            let chroot = ["--chroot", jail.to_str().unwrap()];
            let chroot = if jailed { &chroot[..] } else { &[] };
            let args = [&["-u", "nobody"], chroot, &rotated.option()].concat();
            let daemon = echod_as(model, &args);
            assert!(cleanup_helper(&rotated.path).is_some());
            say(daemon.addr(), "before");
            rotated.rotate(&daemon);
            say(daemon.addr(), "after");
            let helper = cleanup_helper(&rotated.path).unwrap();
            assert_eq!(daemon.stop().code(), Some(0));
            rotated.check(model);
            wait_until("the helper has ended with it", || has_ended(helper));
            assert_eq!(names(rotated.dir.path()), ["jail", "transcript", "transcript.1"]);
        }
    });
}

#[test]
fn a_daemon_of_roots_that_serves_as_another_goes_on_in_the_new_file() {
    let rotated = Rotated::new();
    let pid_file = rotated.dir.path().join("pid");
    let socket = rotated.dir.path().join("sock");
    let listen = format!("unix:{}", socket.display());
    let args = ["-d", "-l", &listen, "-p", pid_file.to_str().unwrap()];
    let user: &[&str] = if geteuid().is_root() { &["-u", "nobody"] } else { &[] };
    let started = run(command(ECHOD, &[&args[..], user, &rotated.option()].concat()), b"");
    assert!(started.status.success(), "{started:?}");
    let pid: i32 = fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    if geteuid().is_root() {
        fs::set_permissions(&socket, PermissionsExt::from_mode(0o777)).unwrap();
    }
    let say = |word: &str| {
        use std::io::{Read, Write};
        let mut client = std::os::unix::net::UnixStream::connect(&socket).unwrap();
        client.write_all(format!("{word}\n").as_bytes()).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut echo = String::new();
        client.read_to_string(&mut echo).unwrap();
        assert_eq!(echo, format!("{word}\n"));
    };
    say("before");
    fs::rename(&rotated.path, &rotated.old).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGHUP).unwrap();
    wait_until("there is a new file", || rotated.path.exists());
    say("after");
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    wait_until("the daemon has ended", || has_ended(pid));
    rotated.check("-d");
}

#[test]
fn the_process_for_datagrams_begins_again_with_the_new_file() {
    each_model(&MODELS, |model| {
        let rotated = Rotated::new();
        let user: &[&str] = if geteuid().is_root() { &["-u", "nobody"] } else { &[] };
        let daemon = echod_as(model, &[&["--udp"], user, &rotated.option()].concat());
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(testkit::WATCHDOG)).unwrap();
        client.connect(daemon.addr()).unwrap(); // of the same number as the TCP port
        let say = |word: &str| {
            client.send(format!("{word}\n").as_bytes()).unwrap();
            let mut echo = [0; 16];
            assert_eq!(
                uninterrupted(|| client.recv(&mut echo)).unwrap(),
                word.len() + 1,
                "{model}"
            );
        };
        say("before");
        wait_until("it is written", || fs::read_to_string(&rotated.path).unwrap().contains("S: "));
        rotated.rotate(&daemon);
        daemon.wait_log("datagrams end: ");
        say("after");
        wait_until("it is written", || fs::read_to_string(&rotated.path).unwrap().contains("S: "));
        assert_eq!(daemon.stop().code(), Some(0));
        rotated.check(model);
    });
}

/// Waits until the server has done all that its signals so far have asked for: a second table is the work of
/// a later round.
fn wait_for_next_round(daemon: &Daemon) {
    let tables = || daemon.log().matches(" clients\n").count();
    for _ in 0..2 {
        let before = tables();
        daemon.signal(Signal::SIGUSR1);
        wait_until("the table is logged", || tables() > before);
    }
}

/// A session goes on where it began; a worker is replaced when it has none.
#[test]
fn a_session_outlives_the_change_and_a_busy_worker_is_replaced_after_it() {
    each_model(&["fork", "prefork", "thread"], |model| {
        let rotated = Rotated::new();
        let daemon = echod_as(model, &[&["-n", "1"][..], &rotated.option()].concat());
        let mut long = Peer::connect(daemon.addr());
        long.ask("before", "before");
        let worker = children(daemon.pid());
        fs::rename(&rotated.path, &rotated.old).unwrap();
        daemon.signal(Signal::SIGHUP);
        wait_until("there is a new file", || rotated.path.exists());
        wait_for_next_round(&daemon);
        long.ask("still", "still");
        // Clients that wait meanwhile do not keep the one worker as it is.
        let waiting: Vec<Peer> = (0..5).map(|_| Peer::connect(daemon.addr())).collect();
        if model == "fork" {
            assert!(children(daemon.pid()).iter().any(|pid| worker.contains(pid)));
        }
        drop(long);
        for mut peer in waiting {
            peer.ask("after", "after");
        }
        if model == "prefork" {
            wait_idle(&daemon, 1);
            assert_ne!(children(daemon.pid()), worker);
        }
        assert_eq!(daemon.stop().code(), Some(0));
        rotated.check(model);
        assert!(fs::read_to_string(&rotated.old).unwrap().contains(" C: still\n"), "{model}");
    });
}

/// `said` is the warning; the old file goes on, and the next SIGHUP may find a better one.
fn refuses(rotated: &Rotated, daemon: &Daemon, prepare: impl Fn(&Path), said: &str) {
    say(daemon.addr(), "before");
    fs::rename(&rotated.path, &rotated.old).unwrap();
    prepare(&rotated.path);
    daemon.signal(Signal::SIGHUP);
    let path = rotated.path.display();
    daemon.wait_log(&format!("WARN echod[{}]: transcript {path}: {said}", daemon.pid()));
    daemon.wait_log(": the old file goes on");
    say(daemon.addr(), "before");
    let old = fs::read_to_string(&rotated.old).unwrap();
    assert_eq!(old.matches(" C: before\n").count(), 2, "{old}");
    fs::remove_file(&rotated.path).unwrap();
    daemon.signal(Signal::SIGHUP);
    wait_until("there is a new file", || rotated.path.exists());
    say(daemon.addr(), "after");
    rotated.check(said);
}

#[test]
fn a_file_that_another_has_put_there_is_told_of_and_the_old_one_goes_on() {
    let user: &[&str] = if geteuid().is_root() { &["-u", "nobody"] } else { &[] };
    for user in [user, &[]] {
        let victim = TempDir::new();
        let victim = victim.file("victim", "precious\n");
        let rotated = Rotated::new();
        let daemon = echod(&[user, &rotated.option()].concat());
        refuses(&rotated, &daemon, |path| symlink(&victim, path).unwrap(), "is a symbolic link");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious\n");
        let rotated = Rotated::new();
        let daemon = echod(&[user, &rotated.option()].concat());
        let others = |path: &Path| {
            fs::write(path, "").unwrap();
            fs::set_permissions(path, PermissionsExt::from_mode(0o666)).unwrap();
        };
        refuses(&rotated, &daemon, others, "is writable by others");
    }
}

#[test]
fn without_its_helper_a_server_says_so_and_goes_on() {
    if !root_can_judge() {
        return;
    }
    let rotated = Rotated::new();
    let daemon = echod(&[&["-u", "nobody"][..], &rotated.option()].concat());
    let helper = cleanup_helper(&rotated.path).unwrap();
    kill(Pid::from_raw(helper), Signal::SIGKILL).unwrap();
    wait_until("the helper is gone", || has_ended(helper));
    daemon.signal(Signal::SIGHUP);
    daemon.wait_log("cleanup helper: Broken pipe: the old file goes on");
    say(daemon.addr(), "before");
    assert!(fs::read_to_string(&rotated.path).unwrap().contains(" C: before\n"));
    assert_eq!(daemon.stop().code(), Some(0));
}

/// A helper is a process more: it is there only where it is of use.
#[test]
fn a_server_that_can_do_it_itself_has_no_helper() {
    let rotated = Rotated::new();
    let daemon = echod(&rotated.option());
    drop(talk(daemon.addr()));
    assert!(cleanup_helper(&rotated.path).is_none());
    if geteuid().is_root() {
        let daemon = echod(&["-u", "nobody", "--transcript", "/dev/stderr"]);
        let found = cleanup_helper(Path::new("/dev/stderr"));
        assert!(found.is_none(), "nothing can take the place of standard error");
        drop(daemon);
    }
}
