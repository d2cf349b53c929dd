//! What echod tells the service manager, which the tests play themselves.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::process::Command;
use std::time::Duration;

use crate::common::{ECHOD, talk};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{
    Daemon, TempDir, WATCHDOG, children, command, file_of_descriptor, has_ended, root_can_judge,
    run, state, wait_until,
};

/// The service manager's end of `NOTIFY_SOCKET`.
struct Manager {
    socket: UnixDatagram,
    address: String,
    dir: TempDir,
}

impl Manager {
    fn new() -> Manager {
        let dir = TempDir::new();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Manager::of(socket, path.to_str().unwrap().to_owned(), dir)
    }

    fn of(socket: UnixDatagram, address: String, dir: TempDir) -> Manager {
        socket.set_read_timeout(Some(WATCHDOG)).unwrap();
        Manager { socket, address, dir }
    }

    fn starts(&self, args: &[&str], variables: &[(&str, &str)]) -> Daemon {
        let mut command = Command::new(ECHOD);
        command.env("NOTIFY_SOCKET", &self.address).envs(variables.iter().copied());
        Daemon::spawn(command, args)
    }

    /// The next message.
    fn hears(&self) -> io::Result<String> {
        let mut buffer = [0; 500];
        let n = loop {
            match self.socket.recv(&mut buffer) {
                // A wait with a limit ends so when this process was stopped meanwhile: signal(7).
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                received => break received?,
            }
        };
        Ok(String::from_utf8(buffer[..n].to_vec()).unwrap())
    }

    /// The next message that begins so; others before it are passed over.
    fn awaits(&self, prefix: &str) -> String {
        loop {
            let message = self.hears().unwrap_or_else(|e| panic!("no {prefix}: {e}"));
            if message.starts_with(prefix) {
                return message;
            }
        }
    }

    /// True when nothing but the count of clients comes within this time.
    fn hears_nothing_for(&self, time: Duration) -> bool {
        self.socket.set_read_timeout(Some(time)).unwrap();
        let heard = loop {
            match self.hears() {
                Ok(message) if message.starts_with("STATUS=") => {}
                heard => break heard,
            }
        };
        self.socket.set_read_timeout(Some(WATCHDOG)).unwrap();
        heard.is_err()
    }
}

#[test]
fn case_27_ready_comes_only_once_it_listens() {
    for _ in 0..5 {
        let manager = Manager::new();
        let socket = manager.dir.path().join("sock");
        let listen = format!("unix:{}", socket.display());
        let mut command = Command::new(ECHOD);
        command.env("NOTIFY_SOCKET", &manager.address);
        let daemon = std::thread::spawn(move || Daemon::spawn(command, &["-l", &listen]));
        assert_eq!(manager.hears().unwrap(), "READY=1");
        let _at_once = UnixStream::connect(&socket).unwrap();
        drop(daemon.join().unwrap());
    }
}

#[test]
fn an_abstract_socket_hears_it_too() {
    let name = format!("forklore-notify-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    let manager = Manager::of(socket, format!("@{name}"), TempDir::new());
    let daemon = manager.starts(&[], &[]);
    manager.awaits("READY=1");
    assert_eq!(daemon.stop().code(), Some(0));
    manager.awaits("STOPPING=1");
}

#[test]
fn ready_comes_after_privileges_are_dropped() {
    if !root_can_judge() {
        return;
    }
    let manager = Manager::new();
    let daemon = manager.starts(&["-u", "nobody"], &[]);
    manager.awaits("READY=1");
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    assert!(status.contains("Uid:\t65534\t65534\t65534\t65534"), "{status}");
}

#[test]
fn a_detached_server_names_its_process_before_its_starter_returns() {
    let manager = Manager::new();
    let pid_file = manager.dir.path().join("pid");
    let listen = format!("unix:{}", manager.dir.path().join("sock").display());
    let mut start = command(ECHOD, &["-d", "-p", pid_file.to_str().unwrap(), "-l", &listen]);
    start.env("NOTIFY_SOCKET", &manager.address);
    assert!(run(start, b"").status.success());
    manager.socket.set_nonblocking(true).unwrap(); // it is there already
    let pid: i32 = std::fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    assert_eq!(manager.hears().unwrap(), format!("READY=1\nMAINPID={pid}"));
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    wait_until("the daemon has ended", || has_ended(pid));
}

#[test]
fn the_count_of_clients_is_told() {
    let manager = Manager::new();
    let daemon = manager.starts(&["-c", "7"], &[]);
    let client = talk(daemon.addr());
    manager.awaits("STATUS=1 of 7 clients");
    drop(client);
    manager.awaits("STATUS=0 of 7 clients");
}

#[test]
fn sighup_is_a_reload_with_its_time_and_then_ready_again() {
    let manager = Manager::new();
    let daemon = manager.starts(&[], &[]);
    manager.awaits("READY=1");
    daemon.signal(Signal::SIGHUP);
    let reloading = manager.awaits("RELOADING=1");
    let usec = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&reloading);
    assert!(usec.parse::<u64>().is_ok_and(|usec| usec > 0), "{usec}");
    assert_eq!(manager.hears().unwrap(), "READY=1");
    assert!(manager.hears_nothing_for(Duration::from_millis(50)), "one reload for one SIGHUP");
}

#[test]
fn case_27_the_watchdog_is_fed_until_the_parent_is_stopped() {
    let manager = Manager::new();
    let daemon = manager.starts(&[], &[("WATCHDOG_USEC", "100000")]);
    for _ in 0..4 {
        manager.awaits("WATCHDOG=1");
    }
    daemon.signal(Signal::SIGSTOP);
    wait_until("it is stopped", || state(daemon.pid()) == Some('T'));
    manager.socket.set_nonblocking(true).unwrap();
    while manager.hears().is_ok() {}
    manager.socket.set_nonblocking(false).unwrap();
    assert!(manager.hears_nothing_for(Duration::from_millis(300)));
    daemon.signal(Signal::SIGCONT);
    manager.awaits("WATCHDOG=1");
}

#[test]
fn the_watchdog_is_fed_under_load_and_while_the_last_clients_end() {
    let manager = Manager::new();
    let daemon = manager.starts(&[], &[("WATCHDOG_USEC", "50000")]);
    let mut client = talk(daemon.addr());
    for _ in 0..200 {
        drop(talk(daemon.addr()));
    }
    manager.awaits("WATCHDOG=1");
    daemon.signal(Signal::SIGTERM);
    manager.awaits("STOPPING=1");
    for _ in 0..3 {
        manager.awaits("WATCHDOG=1");
    }
    client.ask("still here?", "still here?");
}

#[test]
fn every_model_is_ready_feeds_the_watchdog_and_stops() {
    for model in ["fork", "prefork", "thread", "iterative"] {
        let manager = Manager::new();
        let daemon = manager.starts(&["-m", model, "-n", "2"], &[("WATCHDOG_USEC", "50000")]);
        assert_eq!(manager.hears().unwrap(), "READY=1", "{model}");
        for _ in 0..3 {
            talk(daemon.addr());
            manager.awaits("WATCHDOG=1");
        }
        daemon.signal(Signal::SIGHUP);
        manager.awaits("RELOADING=1");
        assert_eq!(manager.hears().unwrap(), "READY=1", "{model}");
        assert_eq!(daemon.stop().code(), Some(0), "{model}");
        manager.awaits("STOPPING=1");
    }
}

#[test]
fn nobody_is_fed_who_did_not_ask_or_asked_another_process() {
    for variables in [
        &[][..],
        &[("WATCHDOG_USEC", "1000"), ("WATCHDOG_PID", "1")],
        &[("WATCHDOG_USEC", "1000"), ("WATCHDOG_PID", "me")],
        &[("WATCHDOG_USEC", "soon")],
    ] {
        let manager = Manager::new();
        let daemon = manager.starts(&[], variables);
        manager.awaits("READY=1");
        assert!(manager.hears_nothing_for(Duration::from_millis(50)), "{variables:?}");
        assert_eq!(daemon.stop().code(), Some(0));
        assert!(manager.hears().unwrap().starts_with("STOPPING=1"), "{variables:?}");
    }
}

#[test]
fn a_manager_that_is_deaf_gone_or_nowhere_never_stops_the_service() {
    let manager = Manager::new();
    let daemon = manager.starts(&[], &[("WATCHDOG_USEC", "2000")]);
    // No manager reads: the queue is full after some beats, and the server serves on.
    for _ in 0..50 {
        talk(daemon.addr());
    }
    drop(manager);
    talk(daemon.addr());
    daemon.wait_log("NOTIFY_SOCKET: Connection refused; the service manager is not told");
    talk(daemon.addr());
    assert_eq!(daemon.stop().code(), Some(0));
    for nowhere in ["/no/such/socket", "@no-such-forklore-socket", "relative", "vsock:2:1", ""] {
        let mut command = Command::new(ECHOD);
        command.env("NOTIFY_SOCKET", nowhere);
        let daemon = Daemon::spawn::<&str>(command, &[]);
        assert!(daemon.log().contains("WARN"), "{}", daemon.log());
        talk(daemon.addr());
        assert_eq!(daemon.stop().code(), Some(0));
    }
}

#[test]
fn a_child_has_no_way_to_the_manager() {
    let manager = Manager::new();
    let daemon = manager.starts(&[], &[]);
    let _client = talk(daemon.addr());
    let child = children(daemon.pid())[0];
    let files = (0..64).filter_map(|fd| file_of_descriptor(child, fd));
    let sockets = files.filter(|file| file.to_string_lossy().starts_with("socket:"));
    assert_eq!(sockets.count(), 1);
}
