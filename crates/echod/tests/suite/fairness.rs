//! Places and turns: no client is refused that could have waited a moment, no listener keeps those of
//! another waiting, and no place is lost.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{ECHOD, echod, talk, wait_refused};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{
    Daemon, Peer, children, hasty_refusals, run, state, title, wait_child, wait_until, zombies,
};

fn addresses(daemon: &Daemon, count: usize) -> Vec<SocketAddr> {
    daemon.listening(count).iter().map(|at| at.parse().unwrap()).collect()
}

/// The processes that accept stand still meanwhile, and so see all that has come in one look.
fn while_stopped<T>(daemon: &Daemon, what: impl FnOnce() -> T) -> T {
    let all: Vec<i32> = children(daemon.pid()).into_iter().chain([daemon.pid()]).collect();
    let tell = |signal| all.iter().for_each(|pid| kill(Pid::from_raw(*pid), signal).unwrap());
    tell(Signal::SIGSTOP);
    wait_until("all are stopped", || all.iter().all(|pid| state(*pid) == Some('T')));
    let done = what();
    tell(Signal::SIGCONT);
    done
}

/// A server of one place and this number of listeners.
fn of_one_place(model: &str, listeners: usize) -> (Daemon, Vec<SocketAddr>) {
    let few = ["-m", model, "-n", "1", "-c", "1", "--over", "queue"];
    let daemon = echod(&[&["-l", "127.0.0.1:0"].repeat(listeners)[..], &few].concat());
    let at = addresses(&daemon, listeners);
    if model == "prefork" {
        wait_until("the worker is there", || children(daemon.pid()).len() == 1);
    }
    (daemon, at)
}

#[test]
fn a_listener_that_always_has_clients_does_not_keep_those_of_another_waiting() {
    for model in ["fork", "prefork", "thread", "iterative"] {
        let (daemon, at) = of_one_place(model, 2);
        let come = |addr: SocketAddr| {
            let mut peer = Peer::connect(addr);
            peer.send("hello\n");
            peer.shutdown_write();
            peer
        };
        let (many, mut one) = while_stopped(&daemon, || {
            let many: Vec<Peer> = (0..30).map(|_| come(at[0])).collect();
            (many, come(at[1]))
        });
        one.expect("hello\n");
        let name = format!("client {} start", one.stream().local_addr().unwrap());
        drop(many);
        daemon.wait_log(&name);
        let log = daemon.log();
        let before = log.split(&name).next().unwrap().matches(" start: ").count();
        assert!(before <= 2, "{model}: {before} clients of the other listener came first");
    }
}

#[test]
fn case_24_the_only_client_closes_and_is_served_again_at_once() {
    for model in ["fork", "prefork", "thread", "iterative"] {
        let daemon = echod(&["-m", model, "-n", "1", "-c", "1"]);
        let is_served = |_| {
            let mut peer = Peer::connect(daemon.addr());
            peer.try_send("hello\n").is_ok() && peer.line() == b"hello\n"
        };
        let (mut clients, mut refused) = (0, 0);
        while clients < 250 && refused < 20 {
            clients += 1;
            if !is_served(clients) {
                refused += 1;
                thread::sleep(Duration::from_secs(1)); // it waits again
            }
        }
        // On a busy machine the client before may take longer to go than the server waits for it.
        let hasty = hasty_refusals(&daemon.log());
        assert!(hasty * 10 < clients, "{model}: {hasty} of {clients}: {}", daemon.log());
    }
}

#[test]
fn case_24_over_queue_clients_of_several_listeners_wait_for_the_last_place() {
    for model in ["fork", "prefork", "thread"] {
        let (daemon, at) = of_one_place(model, 3);
        let peers = while_stopped(&daemon, || {
            let mut peers: Vec<Peer> = at.into_iter().map(Peer::connect).collect();
            peers.iter_mut().for_each(|peer| peer.send("hello\n"));
            peers
        });
        wait_until("one is served", || daemon.log().contains(" start: "));
        thread::sleep(Duration::from_millis(50)); // longer than a server that refuses would wait
        for mut peer in peers {
            peer.expect("hello\n");
        }
        assert!(!daemon.log().contains("refused"), "{model}: {}", daemon.log());
    }
}

#[test]
fn zombies_do_not_use_up_the_limit_of_their_address() {
    for how in ["wait", "none"] {
        let daemon = echod(&["--reap", how, "--max-per-ip", "3"]);
        for served in 1..=8 {
            drop(talk(daemon.addr()));
            let left = if how == "none" { served } else { 0 };
            wait_until("the child has ended, and was reaped or not", || {
                let (all, zombies) = (children(daemon.pid()), zombies(daemon.pid()));
                all.len() == left && zombies.len() == left
            });
        }
    }
}

#[test]
fn who_waits_for_a_place_gets_it_though_nobody_hears_of_the_ends_of_children() {
    let daemon = echod(&["--reap", "none", "--over", "queue", "-c", "1"]);
    let first = talk(daemon.addr());
    let mut second = Peer::connect(daemon.addr());
    second.send("hello\n");
    // The parent waits, and has looked whether there is a place, before there is one.
    wait_until("the parent waits", || state(daemon.pid()) == Some('S'));
    drop(first);
    second.expect("hello\n");
}

#[test]
fn workers_that_nobody_would_replace_are_refused() {
    for how in ["wait", "none"] {
        let mut command = Command::new(ECHOD);
        command.args(["-l", "127.0.0.1:0", "-m", "prefork", "--reap", how]);
        let output = run(command, b"");
        assert_eq!(output.status.code(), Some(2));
        let complaint = format!("echod: --reap '{how}': not with --model prefork");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with(&complaint));
    }
}

#[test]
fn case_27_inetds_socket_is_not_given_back_while_a_worker_has_a_client_or_had_one() {
    // A machine that stands still for longer than the idle limit says nothing: a longer one, then.
    assert!([3, 6, 12].into_iter().any(is_kept_while_used), "never without a long pause");
}

/// Returns whether all clients came in time to be judged.
fn is_kept_while_used(idle: u64) -> bool {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let mut command = Command::new(ECHOD);
    command.args(["-i", "-m", "prefork", "-t", &idle.to_string(), "--grace", "0", "-qq"]);
    let mut server = command.stdin(OwnedFd::from(listener)).spawn().unwrap();
    drop(command); // its copy of the listener: a client of a server that has ended is refused
    let idle = Duration::from_secs(idle);
    let (mut last, mut is_judged) = (Instant::now(), true);
    let mut is_used = |peer: &mut Option<Peer>| {
        let echoes = |peer: &mut Peer| peer.try_send("hello\n").is_ok() && peer.hears("hello\n");
        let is_served = peer.as_mut().is_some_and(echoes);
        is_judged &= last.elapsed() < idle * 2 / 3;
        last = Instant::now();
        assert!(is_served || !is_judged, "it ended though it was used");
        is_judged
    };
    let client = || TcpStream::connect(addr).ok().map(Peer::new);
    thread::sleep(idle / 10); // the parent has looked, and there was no client
    let (mut peer, until) = (client(), Instant::now() + idle * 4 / 3);
    while is_used(&mut peer) && Instant::now() < until {
        thread::sleep(Duration::from_millis(50));
    }
    drop(peer);
    let until = Instant::now() + idle * 4 / 3;
    while is_used(&mut client()) && Instant::now() < until {
        thread::sleep(Duration::from_millis(20));
    }
    assert!(wait_child(&mut server, "echod without a client").success());
    is_judged
}

#[test]
fn case_09_killed_parents_port_is_free_though_no_worker_ever_waits() {
    let mut daemon = echod(&["-m", "prefork", "-n", "2"]);
    let streams: Vec<TcpStream> =
        (0..2).map(|_| TcpStream::connect(daemon.addr()).unwrap()).collect();
    thread::scope(|scope| {
        for stream in &streams {
            scope.spawn(|| while (&*stream).write_all(&[b'x'; 65_536]).is_ok() {});
            scope.spawn(|| while matches!((&*stream).read(&mut [0; 65_536]), Ok(1..)) {});
        }
        wait_until("both are served", || {
            let workers = children(daemon.pid()).into_iter();
            workers.filter(|pid| title(*pid).contains("127.0.0.1")).count() == 2
        });
        daemon.signal(Signal::SIGKILL);
        daemon.wait();
        wait_refused(daemon.addr());
        streams.iter().for_each(|stream| stream.shutdown(Shutdown::Both).unwrap());
    });
}
