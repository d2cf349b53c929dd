//! A preforked worker against its parent and the other workers: it shares pipes with them, and asks its
//! parent for each client over a socket of its own.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, setsockopt, shutdown, sockopt};
use nix::sys::time::TimeVal;
use nix::unistd::Pid;
use testkit::{
    Daemon, Garbage, Peer, can_take_over, children, has_ended, open_files, sockets_between, state,
    wait_until, zombies,
};

use crate::attack::{children_titled, server};
use crate::common::{connect_from, hello, served, server_of, signal, talk, wait_idle};

const WORKERS: usize = 4;
/// Another client's address.
const VICTIM: Ipv4Addr = Ipv4Addr::new(127, 77, 66, 55);
/// A question of a worker is an IPv6 address and a port, in bytes.
const QUESTION: usize = 18;
/// A server that has only seen a few of these may have seen them by luck.
const MANY: usize = 10_000;
/// Pause between two more of them.
const PAUSE: Duration = Duration::from_micros(100);

/// A prefork server and one of its idle workers, which is stopped: what is done with its descriptors is
/// done by the test alone. It ends only when the time of grace is over.
fn with_worker(limits: &[&str]) -> Option<(Daemon, i32)> {
    let workers = WORKERS.to_string();
    let daemon = server(&[&["-m", "prefork", "-n", &workers, "--grace", "1"], limits].concat());
    if !can_take_over(daemon.pid()) || !can_copy_descriptors(daemon.pid()) {
        return None;
    }
    wait_idle(&daemon, WORKERS);
    let worker = children(daemon.pid())[0];
    signal(worker, Signal::SIGSTOP);
    wait_until("it has stopped", || state(worker) == Some('T'));
    Some((daemon, worker))
}

/// Old kernels and some containers have no pidfd_getfd(2).
fn can_copy_descriptors(pid: i32) -> bool {
    let copy = sys::pidfd::descriptor_of(Pid::from_raw(pid), 0);
    if let Err(errno) = copy {
        testkit::not_judged(format_args!("needs pidfd_getfd ({errno})"));
    }
    copy.is_ok()
}

/// Copies of a worker's descriptors of this kind.
fn copies(worker: i32, is_meant: impl Fn(&str) -> bool) -> Vec<OwnedFd> {
    let files = open_files(worker).into_iter().filter(|(_, file)| is_meant(file));
    let copy = |(fd, _)| sys::pidfd::descriptor_of(Pid::from_raw(worker), fd).unwrap();
    files.map(copy).collect()
}

/// The worker's end of its line to the parent, which alone has no socket of the same number.
fn line(daemon: &Daemon, worker: i32) -> OwnedFd {
    let parents = open_files(daemon.pid());
    let is_own = |file: &str| !parents.values().any(|its| its == file);
    let mut own = copies(worker, |file| file.starts_with("socket:") && is_own(file));
    assert_eq!(own.len(), 1);
    own.remove(0)
}

/// Something that is done again and again in a thread, as long as this lives.
struct Again {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
}

impl Again {
    fn start(mut work: impl FnMut(usize) + Send + 'static) -> Again {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (is_over, done) = (Arc::clone(&stop), Arc::clone(&count));
        std::thread::spawn(move || {
            while !is_over.load(SeqCst) {
                let times = done.fetch_add(1, SeqCst);
                work(times);
                if times > MANY {
                    std::thread::sleep(PAUSE); // it goes on, but leaves others the processors
                }
            }
        });
        Again { stop, count }
    }

    fn wait(&self, times: usize) {
        wait_until("it was done often", || self.count.load(SeqCst) >= times);
    }
}

/// The thread is not waited for: one that attacks may be caught in a wait of its own.
impl Drop for Again {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
    }
}

/// Others are served, the parent handles signals, and ends in time.
fn check_and_stop(daemon: Daemon, mut others: Vec<Peer>) {
    (0..50).for_each(|_| drop(served(daemon.addr())));
    others.iter_mut().for_each(hello);
    daemon.signal(Signal::SIGUSR1);
    daemon.wait_log(" of 256 clients\n");
    drop(others);
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
    assert_eq!(daemon.stop().code(), Some(0));
}

/// Questions of any length, and answers that are not waited for.
#[test]
fn a_worker_that_floods_its_line_with_garbage_holds_nobody_up() {
    for limits in [&["--max-per-ip", "3"], &["--rate", "1000000/1"]] {
        let Some((daemon, worker)) = with_worker(limits) else { return };
        let others = vec![talk(daemon.addr())];
        let socket = line(&daemon, worker);
        let [.., random] = Garbage::kinds();
        let bytes = random.bytes(1 << 16);
        let flood = Again::start(move |n| {
            let length = if n % 2 == 0 { QUESTION } else { n % 64 };
            let question = &bytes[n * QUESTION % (bytes.len() - 64)..][..length.max(1)];
            match send(socket.as_raw_fd(), question, MsgFlags::MSG_DONTWAIT) {
                Ok(_) => {}
                Err(Errno::EAGAIN) => std::thread::yield_now(),
                Err(errno) => panic!("{errno}"),
            }
            let _answer = recv(socket.as_raw_fd(), &mut [0; 8], MsgFlags::MSG_DONTWAIT);
        });
        flood.wait(MANY);
        check_and_stop(daemon, others);
    }
}

/// The address as a worker asks about it.
fn question() -> [u8; QUESTION] {
    let mut question = [0; QUESTION];
    question[..16].copy_from_slice(&VICTIM.to_ipv6_mapped().octets());
    question
}

/// What the parent answers: yes, too many of the address, too often.
fn ask(socket: &OwnedFd) -> u8 {
    send(socket.as_raw_fd(), &question(), MsgFlags::empty()).unwrap();
    let mut answer = [0];
    assert_eq!(recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty()), Ok(1));
    answer[0]
}

/// True when a client of the victim's address is served.
fn is_served(daemon: &Daemon) -> Option<Peer> {
    let mut peer = connect_from(VICTIM, daemon.addr());
    (peer.try_send("hello\n").is_ok() && peer.hears("hello\n")).then_some(peer)
}

fn wait_served(daemon: &Daemon) -> Peer {
    let mut peer = None;
    wait_until("the victim is served", || {
        peer = is_served(daemon);
        peer.is_some()
    });
    peer.unwrap()
}

#[test]
fn a_worker_takes_one_place_of_anothers_address_at_most_and_not_for_ever() {
    let Some((daemon, worker)) = with_worker(&["--max-per-ip", "2"]) else { return };
    let socket = line(&daemon, worker);
    (0..1000).for_each(|_| assert_eq!(ask(&socket), 1)); // one after the other: each gives the last one up
    let one = wait_served(&daemon);
    assert!(is_served(&daemon).is_none(), "the worker has one place");
    signal(worker, Signal::SIGKILL);
    let other = wait_served(&daemon);
    drop(one);
    check_and_stop(daemon, vec![other]);
}

#[test]
fn what_a_worker_counts_under_a_rate_is_forgotten_in_time() {
    let Some((daemon, worker)) = with_worker(&["--rate", "5/1"]) else { return };
    let socket = line(&daemon, worker);
    wait_until("the rate is reached", || ask(&socket) == 3);
    drop(wait_served(&daemon));
    check_and_stop_without_rate(&daemon);
}

/// Under a rate the test's own address is limited, too.
fn check_and_stop_without_rate(daemon: &Daemon) {
    drop(served(daemon.addr()));
    assert!(zombies(daemon.pid()).is_empty());
}

/// Its end of the line would be readable for ever, and the parent never rest.
#[test]
fn a_worker_that_hangs_up_is_ended_and_replaced() {
    for how in [Shutdown::Both, Shutdown::Write] {
        let Some((daemon, worker)) = with_worker(&["--max-per-ip", "3"]) else { return };
        shutdown(line(&daemon, worker).as_raw_fd(), how).unwrap();
        wait_until("it is ended", || has_ended(worker));
        wait_until("there are as many as before", || {
            let idle = children_titled(&daemon, "worker, idle");
            idle.len() == WORKERS && !idle.contains(&worker)
        });
        check_and_stop(daemon, Vec::new());
    }
}

/// Flags of a descriptor are those of all processes that have it. So none may be shared with the parent or
/// another worker where that waits, or reads, or receives something from it.
#[test]
fn what_a_worker_does_to_its_pipes_holds_nobody_up_and_tells_nobody_anything() {
    let Some((daemon, worker)) = with_worker(&["--max-per-ip", "3"]) else { return };
    let others = vec![talk(daemon.addr())];
    let log = open_files(daemon.pid())[&2].clone();
    let shared = copies(worker, |file| {
        file != log && (file.starts_with("pipe:") || file.starts_with("anon_inode:[eventfd]"))
    });
    assert_eq!(shared.len(), 4, "its pipes, and a descriptor in reserve");
    for fd in &shared {
        let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL).unwrap());
        fcntl(fd, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK)).unwrap();
    }
    let abuse = Again::start(move |_| shared.iter().for_each(write_and_read));
    abuse.wait(MANY);
    check_and_stop(daemon, others);
}

/// As much as goes without waiting, now that the descriptor waits.
fn write_and_read(fd: &OwnedFd) {
    let is_ready = |flag| {
        let ready = poll(&mut [PollFd::new(fd.as_fd(), flag)], PollTimeout::ZERO);
        ready.is_ok_and(|ready| ready > 0)
    };
    let mut file = std::fs::File::from(fd.try_clone().unwrap());
    if is_ready(PollFlags::POLLOUT) {
        let _other_end = file.write(&1_u64.to_ne_bytes());
    }
    if is_ready(PollFlags::POLLIN) {
        let _other_end = file.read(&mut [0; 8]);
    }
}

/// Over the limit of clients the parent accepts at the workers' listener, to tell them so.
#[test]
fn a_worker_that_takes_the_parents_clients_at_a_listener_that_waits_does_not_keep_it_waiting() {
    let daemon = server(&["-m", "prefork", "-n", "2", "-c", "2", "--grace", "1"]);
    if !can_take_over(daemon.pid()) || !can_copy_descriptors(daemon.pid()) {
        return;
    }
    wait_idle(&daemon, 2);
    let others = vec![talk(daemon.addr()), talk(daemon.addr())];
    let worker = server_of(&daemon, &others[0]);
    let sockets = sockets_between("tcp", daemon.addr(), None);
    let listener = copies(worker, |file| sockets.iter().any(|its| its == file)).remove(0);
    let flags = OFlag::from_bits_retain(fcntl(&listener, FcntlArg::F_GETFL).unwrap());
    fcntl(&listener, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK)).unwrap();
    setsockopt(&listener, sockopt::ReceiveTimeout, &TimeVal::new(0, 0)).unwrap();
    let taken = Again::start(move |_| drop(sys::socket::accept(&listener)));
    for count in 1.. {
        drop(std::net::TcpStream::connect(daemon.addr()).unwrap());
        if taken.count.load(SeqCst) > 20 || count > 10_000 {
            break;
        }
    }
    daemon.signal(Signal::SIGUSR1);
    daemon.wait_log(" of 2 clients\n");
    drop(others);
    assert_eq!(daemon.stop().code(), Some(0));
}
