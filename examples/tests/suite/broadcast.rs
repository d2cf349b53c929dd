//! broadcast_send and broadcast_recv: on the loopback's own net, and over a cable between two machines.

use std::fs::File;
use std::process::Command;
use std::thread;

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, setns, unshare};
use testkit::{Program, in_namespaces, run};
use unp::netlink::{self, LOOPBACK};

const RECV: &str = env!("CARGO_BIN_EXE_broadcast_recv");

fn receiver(name: &str, at: &str) -> Program {
    let program = Program::start(RECV, &["--name", name, at]);
    program.wait_errors("listening on ");
    program
}

/// What the sender says; its answers in the order of the names in them.
fn send(to: &str, text: &str, wait: &str) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_broadcast_send"));
    command.args(["--wait", wait, to, text]);
    let output = run(command, b"");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
    lines.sort_by_key(|line| line.ends_with("is here").then(|| line.clone()));
    lines
}

#[test]
fn a_broadcast_needs_so_broadcast_and_reaches_every_receiver_once() {
    let mut one = receiver("one", "127.255.255.255:0");
    let at = one.errors().trim().replace("listening on ", "");
    let mut two = receiver("two", &at);
    let said = send(&at, "who is there?\x1b", "2");
    let port = at.rsplit(':').next().unwrap();
    assert_eq!(
        said[..3],
        [
            "without SO_BROADCAST: sendto error: Permission denied".to_owned(),
            format!("with SO_BROADCAST: 14 octets sent to {at}"),
            "2 answers".to_owned(),
        ]
    );
    let mut names: Vec<&str> =
        said[3..].iter().map(|line| line.split_once(": ").unwrap().1).collect();
    names.sort_unstable();
    assert_eq!(names, ["one is here", "two is here"]);
    assert!(said[3..].iter().all(|line| line.starts_with("127.") && line.contains(port)));
    for receiver in [&mut one, &mut two] {
        let heard = receiver.line().unwrap();
        assert!(heard.starts_with("127.0.0.1:") && heard.ends_with(": who is there?\\u{1b}"));
        assert!(receiver.has_said_nothing());
    }
}

#[test]
fn one_host_s_address_needs_no_so_broadcast() {
    let mut one = receiver("one", "127.0.0.1:0");
    let at = one.errors().trim().replace("listening on ", "");
    let said = send(&at, "hello", "0.2");
    assert_eq!(said[0], format!("{at} is one host's address: 5 octets sent"));
    assert!(one.line().unwrap().ends_with(": hello"));
}

#[test]
fn a_broadcast_goes_over_a_cable_to_all_receivers_of_the_other_host() {
    in_namespaces(&["--net"], concat!(module_path!(), "::two_hosts_and_a_cable"));
}

/// Another host: what runs in its network, as `ip netns exec` does it.
fn on<T: Send + 'static>(host: File, life: impl FnOnce() -> T + Send + 'static) -> T {
    let in_its_network = move || {
        setns(host, CloneFlags::CLONE_NEWNET).unwrap(); // this thread, and what it starts
        life()
    };
    thread::spawn(in_its_network).join().unwrap()
}

/// A host with nothing but a loopback.
fn new_host() -> File {
    let host = || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        File::open("/proc/thread-self/ns/net").unwrap()
    };
    thread::spawn(host).join().unwrap()
}

fn plug_in(name: &str, address: [u8; 4]) {
    let interface = if_nametoindex(name).unwrap();
    netlink::add_address(interface, address.into(), 24).unwrap();
    netlink::bring_up(interface, true).unwrap();
}

#[test]
#[ignore = "runs in a network namespace only, see a_broadcast_goes_over_a_cable"]
fn two_hosts_and_a_cable() {
    netlink::bring_up(LOOPBACK, true).unwrap();
    let other = new_host();
    match netlink::add_cable_to("here", "there", &other) {
        Err(Errno::EOPNOTSUPP) => {
            testkit::not_judged("this kernel has no veth");
            return;
        }
        made => made.unwrap(),
    }
    plug_in("here", [192, 0, 2, 2]);
    on(other.try_clone().unwrap(), || plug_in("there", [192, 0, 2, 1]));

    let mut hearers = ["one", "two"].map(|name| receiver(name, "0.0.0.0:9877"));
    let mut deaf = receiver("deaf", "192.0.2.2:9877"); // bound to one address
    let said = on(other.try_clone().unwrap(), || send("192.0.2.255:9877", "who is there?", "2"));
    assert_eq!(
        said,
        [
            "without SO_BROADCAST: sendto error: Permission denied",
            "with SO_BROADCAST: 13 octets sent to 192.0.2.255:9877",
            "2 answers",
            "192.0.2.2:9877: one is here",
            "192.0.2.2:9877: two is here",
        ]
    );
    for receiver in &mut hearers {
        assert!(receiver.line().unwrap().starts_with("192.0.2.1:"));
        assert!(receiver.has_said_nothing());
    }
    assert!(deaf.has_said_nothing());
    let said = on(other, || send("192.0.2.2:9877", "and you?", "2"));
    assert_eq!(said[2], "192.0.2.2:9877: deaf is here");
    assert!(deaf.line().unwrap().ends_with(": and you?"));
}
