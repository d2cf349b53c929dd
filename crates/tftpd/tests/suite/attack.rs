//! The process of a transfer is taken over: what it can do to its parent, to other transfers and to
//! strangers.

use std::fs::{self, File, Permissions};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::PermissionsExt;

use crate::udp::{Served, Udp, ack, data, noise, oack, rrq, with, wrq};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{
    Bystander, Garbage, Image, Mapping, TempDir, can_take_over, check_unknown, children,
    fill_shared_pages, has_ended, held_by, log_of_lines, mappings, start_as_nobody, title,
    wait_until,
};

/// Clients at once.
const CLIENTS: usize = 6;
/// Longer than two blocks, in bytes.
const LENGTH: usize = 1200;

/// A server whose root has the file `x`, and takes uploads into `sub`.
fn served(args: &[&str]) -> Served {
    let dir = TempDir::new();
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("sub")).unwrap();
    for folder in [&root, &root.join("sub")] {
        fs::set_permissions(folder, Permissions::from_mode(0o777)).unwrap();
    }
    fs::write(root.join("x"), noise(LENGTH, 1)).unwrap();
    let root = root.display().to_string();
    let args = [&["--root", &root, "--create", "--overwrite"], args].concat();
    let daemon = start_as_nobody(env!("CARGO_BIN_EXE_tftpd"), &args);
    Served { daemon, dir }
}

/// A transfer with it waits longer than a test may take.
const PATIENT: &str = "timeout 255";

fn request_to_read() -> Vec<u8> {
    with(&rrq(b"x", "octet"), PATIENT)
}

fn request_to_write(name: &str) -> Vec<u8> {
    with(&wrq(format!("sub/{name}").as_bytes(), "octet"), PATIENT)
}

/// Begins to read `x`.
fn reading(mut peer: Udp) -> Udp {
    peer.send(request_to_read());
    peer.expect(oack(PATIENT));
    peer.send(ack(0));
    peer.expect(data(1, &noise(LENGTH, 1)[..512]));
    peer
}

/// Reads the rest of it.
fn read_on(mut peer: Udp) {
    let file = noise(LENGTH, 1);
    let mut before = data(1, &file[..512]);
    for (octets, block) in crate::udp::blocks(&file).zip(1..).skip(1) {
        peer.send(ack(block - 1));
        peer.expect_after(&before, data(block, octets));
        before = data(block, octets);
    }
    peer.send(ack(3));
}

/// Begins to write a file.
fn writing(served: &Served, name: &str) -> Udp {
    let mut peer = served.peer();
    peer.send(request_to_write(name));
    peer.expect(oack(PATIENT));
    peer
}

/// The process whose title begins so, behind the client's address.
fn process_of(served: &Served, peer: &Udp, what: &str) -> i32 {
    let shown = format!("tftpd: {} {what}", peer.addr());
    let mut found = None;
    wait_until("there is a process for the transfer", || {
        let all = children(served.daemon.pid());
        found = all.into_iter().find(|pid| title(*pid).starts_with(&shown));
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn shared_pages_full_of_garbage_harm_no_other_transfer_and_nobody_else() {
    let limit = CLIENTS.to_string();
    let mut served =
        served(&["-c", &limit, "--max-per-ip", &limit, "--over", "busy", "--grace", "5"]);
    if !can_take_over(served.daemon.pid()) {
        return;
    }
    let bystanders = [Bystander::start(served.daemon.pid()), Bystander::start(0)];
    for garbage in Garbage::kinds() {
        eprintln!("{garbage:?}");
        round(&served, garbage);
        bystanders.iter().for_each(Bystander::check);
    }
    // All places are there still, and none more.
    let peers: Vec<Udp> = (0..CLIENTS).map(|_| reading(served.peer())).collect();
    let mut late = served.peer();
    late.send(rrq(b"x", "octet"));
    assert_eq!(late.expect_error(0), "Too many transfers, try again later");
    peers.into_iter().for_each(read_on);
    served.daemon.signal(Signal::SIGTERM);
    assert_eq!(served.daemon.wait().code(), Some(0));
    served.daemon.wait_log("]: stopped\n");
    let _ = log_of_lines(&served.daemon, "tftpd");
    bystanders.iter().for_each(Bystander::check);
}

/// Two processes are taken over: one in a transfer, and one that has taken a file and only lingers. Other
/// transfers go on meanwhile, and new ones begin.
fn round(served: &Served, garbage: Garbage) {
    let (reader, mut writer) = (reading(served.peer()), writing(served, "other"));
    let attacker = reading(served.peer());
    let mut uploader = writing(served, "mine");
    uploader.put_blocks(b"short");
    let lingering = process_of(served, &uploader, "WRQ sub/mine complete");
    let taken_over = process_of(served, &attacker, "RRQ x");
    for pid in [taken_over, lingering] {
        assert!(fill_shared_pages(pid, garbage) > 0);
    }
    // The parent reads what they say: the same requests come again.
    let at = served.daemon.addr();
    attacker.socket.send_to(&request_to_read(), at).unwrap();
    uploader.socket.send_to(&request_to_write("mine"), at).unwrap();
    read_on(reading(served.peer()));
    table_is_logged(served);
    writer.put_blocks(&noise(LENGTH, 2));
    assert_eq!(served.read("sub/other"), noise(LENGTH, 2));
    read_on(reader);
    // Both may have been answered by a new process, too, and have given way.
    for peer in [&attacker, &uploader] {
        wait_until("the attackers' processes have ended", || {
            let all = children_of(served, peer);
            for pid in &all {
                let _ended_already = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
            all.is_empty()
        });
    }
    // One that is ending has no title any more.
    wait_until("both have ended", || has_ended(taken_over) && has_ended(lingering));
    served.daemon.wait_log(&format!("pid {taken_over}, "));
}

fn children_of(served: &Served, peer: &Udp) -> Vec<i32> {
    let shown = format!("tftpd: {}", peer.addr());
    let all = children(served.daemon.pid()).into_iter();
    all.filter(|pid| title(*pid).starts_with(&shown)).collect()
}

fn table_is_logged(served: &Served) {
    let tables = || served.daemon.log().matches(&format!(" of {CLIENTS} clients\n")).count();
    let before = tables();
    served.daemon.signal(Signal::SIGUSR1);
    wait_until("the table is logged", || tables() > before);
}

/// Commits wait while the test has the lock that keeps the quota.
fn lock(served: &Served) -> Flock<File> {
    let root = File::open(served.path("")).unwrap();
    Flock::lock(root, FlockArg::LockExclusive).map_err(|(_, errno)| errno).unwrap()
}

/// With one process for all clients there are children that commit uploads, and read no socket.
#[test]
fn the_process_that_commits_an_upload_shares_no_memory_and_holds_no_socket() {
    let served = served(&["--single-port", "--quota", "1000000"]);
    if !can_take_over(served.daemon.pid()) {
        return;
    }
    let (lock, reader) = (lock(&served), reading(served.peer()));
    let mut writer = writing(&served, "up");
    writer.send(data(1, b"upload"));
    wait_until("it waits for the lock", || !children_of(&served, &writer).is_empty());
    let helper = children_of(&served, &writer)[0];
    wait_until("it has closed the socket", || {
        held_by(&served.daemon, helper, None).iter().all(|file| file != "datagrams")
    });
    wait_until("it has given the memory up", || {
        !mappings(helper).iter().any(Mapping::is_shared_and_writable)
    });
    assert_eq!(fill_shared_pages(helper, Garbage::Byte(0xff)), 0);
    let files = held_by(&served.daemon, helper, None);
    let is_known = |file: &String| {
        let root = served.path("").display().to_string();
        matches!(file.as_str(), "/dev/null" | "log" | "anon_inode:[landlock-ruleset]")
            || file.starts_with(root.trim_end_matches('/'))
    };
    assert!(files.iter().all(is_known), "{files:#?}");
    read_on(reading(served.peer()));
    read_on(reader);
    drop(lock);
    writer.expect(ack(1));
    assert_eq!(served.read("sub/up"), b"upload");
    assert_eq!(served.daemon.stop().code(), Some(0));
}

#[test]
fn the_process_of_a_transfer_holds_its_socket_its_files_and_the_page_of_its_own_line() {
    let dir = TempDir::new(); // a file of its own gives the server a cleanup helper
    let served = served(&["-p", dir.path().join("pid").to_str().unwrap()]);
    if !can_take_over(served.daemon.pid()) {
        return;
    }
    let (one, other) = (reading(served.peer()), writing(&served, "up"));
    let root = served.path("").display().to_string();
    let root = root.trim_end_matches('/');
    for (peer, what, below) in [(&one, "RRQ", 1), (&other, "WRQ", 2)] {
        let pid = process_of(&served, peer, what);
        let mut held = Vec::new();
        let expected = ["/dev/null", "/dev/null", "below", "below", "log", "own socket", "root"];
        let expected = [&expected[..2], &expected[4 - below..]].concat();
        wait_until("it holds what it should", || {
            let files = held_by(&served.daemon, pid, None).into_iter();
            let name = |file: String| match file.strip_prefix(root) {
                Some("") => "root".into(),
                Some(_) => "below".into(),
                None => file,
            };
            held = files.map(name).filter(|file| !file.contains("landlock")).collect();
            held.sort();
            held == expected || has_ended(pid)
        });
        assert_eq!(held, expected, "{what}");
        let shared = mappings(pid).into_iter().filter(Mapping::is_shared_and_writable);
        assert_eq!(shared.map(|mapping| mapping.pages()).sum::<u64>(), 1, "{what}");
    }
}

#[test]
fn a_child_finds_neither_addresses_nor_process_ids_of_others_in_its_memory() {
    let served = served(&[]);
    if !can_take_over(served.daemon.pid()) {
        return;
    }
    let from = |last: u8| {
        let ip = Ipv4Addr::new(127, 70 + last, 66, 50 + last);
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        reading(Udp::on(socket, served.daemon.addr()))
    };
    let victims = [1, 2, 3, 4].map(from);
    let others = [(); 4].map(|()| reading(served.peer()));
    let known = victims.each_ref().map(|peer| (peer.addr(), process_of(&served, peer, "RRQ x")));
    for other in &others[1..] {
        check_unknown(process_of(&served, other, "RRQ x"), &known);
    }
    let parent = Image::of(served.daemon.pid());
    let kept = mappings(served.daemon.pid());
    let kept: Vec<&Mapping> = kept.iter().filter(|m| m.is_kept_from_children()).collect();
    assert!(!kept.is_empty());
    let [ip, ..] = known.map(|(address, _)| address.ip());
    let std::net::IpAddr::V4(ip) = ip else { panic!("{ip}") };
    assert!(!parent.find(&ip.octets()).is_empty(), "the parent knows it, or this shows nothing");
    for pid in children(served.daemon.pid()) {
        assert!(!mappings(pid).iter().any(Mapping::is_kept_from_children), "{}", title(pid));
    }
}
