//! Too many failed logins make answers wait. The test is a proxy, for clients of other addresses. What was
//! computed is seen by the CPU time of the keeper's children, and by the log.

use std::time::Duration;

use accounts::Mechanism;
use testkit::{
    Peer, Stopwatch, children, cpu_ticks_of_children, each_model, judged_within, wait_until,
};

use crate::common::{HASH, LETTER, TestServer};
use crate::sasl::log_in;
use crate::separation::keeper_of;

const CHECKED_LATER: &str = "too many logins have failed, checked later";
const NOT_CHECKED: &str = "too many logins have failed, not checked";

/// Most time from the first failure to the last login of a try, so that all count as of one minute.
const QUICK: Duration = Duration::from_secs(40);

/// A server with mrose and levy, whose passwords are not hashed.
fn server(model: &str) -> TestServer {
    server_with(model, "levy:{PLAIN}x:::L:HOME/levy:\n")
}

/// The same with other users than mrose.
fn server_with(model: &str, users: &str) -> TestServer {
    let options = ["--auth-delay", "0", "--plaintext", "always", "--proxy-from", "127.0.0.1"];
    let options = [&options[..], &["-m", model, "-n", "12", "--max-per-ip", "100"]].concat();
    TestServer::with(&[LETTER], &options, users)
}

/// A line of the users file with a hash of many rounds.
fn dear(name: &str) -> String {
    let hash = HASH.replace("$6$", "$6$rounds=200000$");
    format!("{name}:{hash}:::L:HOME/{name}:\n")
}

/// A client of this address that has received the greeting.
fn client(server: &TestServer, address: &str) -> Peer {
    let family = if address.contains(':') { "TCP6" } else { "TCP4" };
    let server_address = if address.contains(':') { "2001:db8::25" } else { "192.0.2.1" };
    let mut peer = Peer::connect(server.daemon.addr());
    peer.send(format!("PROXY {family} {address} {server_address} 5210 110\r\n"));
    peer.expect("+OK ");
    peer
}

fn send_login(peer: &mut Peer, name: &str, password: &str) {
    peer.ask(&format!("USER {name}"), "+OK ");
    peer.send(format!("PASS {password}\r\n"));
}

fn fail(server: &TestServer, address: &str, name: &str) {
    let mut peer = client(server, address);
    send_login(&mut peer, name, "wrong");
    peer.expect("-ERR [AUTH] ");
}

fn succeed(server: &TestServer, address: &str) {
    let mut peer = client(server, address);
    send_login(&mut peer, "mrose", "tanstaaf");
    peer.expect("+OK maildrop has 1 ");
    peer.ask("QUIT", "+OK");
}

/// CPU time of the processes that have answered, once all have ended.
fn ticks(server: &TestServer) -> u64 {
    let keeper = keeper_of(&server.daemon);
    wait_until("all answering processes have ended", || children(keeper).is_empty());
    cpu_ticks_of_children(keeper)
}

fn lines(server: &TestServer, text: &str) -> usize {
    server.daemon.log().lines().filter(|line| line.contains(text)).count()
}

#[test]
fn after_ten_failures_of_an_address_nothing_is_computed_for_it_and_others_log_in() {
    each_model(&["fork", "prefork", "thread"], |model| {
        judged_within(QUICK, |watch| nothing_is_computed(model, watch));
    });
}

fn nothing_is_computed(model: &str, watch: &Stopwatch) {
    let server = server_with(model, &dear("levy"));
    let before = ticks(&server);
    (0..10).for_each(|n| fail(&server, "203.0.113.7", &format!("user{n}")));
    let checked = ticks(&server) - before;
    let before = ticks(&server);
    let mut refused: Vec<Peer> = (0..10).map(|_| client(&server, "203.0.113.7")).collect();
    for (peer, name) in refused.iter_mut().zip(["levy", "mrose", "unknown"].iter().cycle()) {
        send_login(peer, name, "tanstaaf"); // the right one is not checked either
    }
    watch.stop();
    wait_until("all ten wait", || lines(&server, NOT_CHECKED) == 10);
    succeed(&server, "203.0.113.8");
    for peer in &mut refused {
        peer.expect("-ERR [SYS/TEMP] login is not possible now");
        peer.ask("NOOP", "-ERR"); // still in AUTHORIZATION
    }
    let refused = ticks(&server) - before; // and the one who got in
    assert!(refused * 2 <= checked, "{model}: {checked} ticks for ten checks, then {refused}");
    assert_eq!(lines(&server, CHECKED_LATER), 0);
}

#[test]
fn each_mechanism_counts_a_failure_once_and_a_success_never() {
    judged_within(QUICK, each_mechanism_counts);
}

fn each_mechanism_counts(watch: &Stopwatch) {
    let server = server("fork");
    let by_auth = |mechanism, password| {
        let mut peer = client(&server, "203.0.113.7");
        let reply = log_in(&mut peer, mechanism, "mrose", password, false);
        let expected = if password == "wrong" { "-ERR [AUTH] " } else { "+OK " };
        assert!(reply.starts_with(expected), "{mechanism}: {reply}");
    };
    let all = [Mechanism::ScramSha256, Mechanism::CramMd5, Mechanism::Plain, Mechanism::Login];
    all.into_iter().for_each(|mechanism| by_auth(mechanism, "wrong"));
    for _ in 0..3 {
        succeed(&server, "203.0.113.7");
        all.into_iter().for_each(|mechanism| by_auth(mechanism, "tanstaaf"));
    }
    // One that goes away in the middle has guessed at nothing.
    for _ in 0..6 {
        let mut peer = client(&server, "203.0.113.7");
        peer.ask("AUTH SCRAM-SHA-256 biwsbj1tcm9zZSxyPXh4eHh4eHh4", "+ ");
        peer.ask("*", "-ERR");
    }
    (0..5).for_each(|n| fail(&server, "203.0.113.7", &format!("user{n}")));
    succeed(&server, "203.0.113.7"); // nine so far
    fail(&server, "203.0.113.7", "user9");
    assert_eq!(lines(&server, "too many logins"), 0, "{}", server.daemon.log());
    let mut peer = client(&server, "203.0.113.7");
    send_login(&mut peer, "mrose", "tanstaaf");
    watch.stop();
    server.daemon.wait_log(NOT_CHECKED);
}

#[test]
fn the_owner_of_a_name_that_many_addresses_guess_at_gets_in_and_they_do_not() {
    judged_within(QUICK, |watch| {
        let server = server("fork");
        (0..10).for_each(|n| fail(&server, &format!("203.0.113.{n}"), "mrose"));
        let mut guesser = client(&server, "203.0.113.3");
        send_login(&mut guesser, "Mrose", "tanstaaf"); // the same name
        let mut owner = client(&server, "203.0.113.77");
        send_login(&mut owner, "mrose", "tanstaaf");
        watch.stop();
        server.daemon.wait_log(NOT_CHECKED);
        server.daemon.wait_log(CHECKED_LATER);
        fail(&server, "203.0.113.3", "levy"); // another name is checked
        guesser.expect("-ERR [SYS/TEMP] ");
        owner.expect("+OK maildrop has 1 ");
    });
}

#[test]
fn a_network_of_ipv6_counts_as_one_address() {
    judged_within(QUICK, |watch| {
        let server = server("fork");
        (0..10).for_each(|n| fail(&server, &format!("2001:db8::{n}"), &format!("user{n}")));
        let mut peer = client(&server, "2001:db8::ffff:1");
        send_login(&mut peer, "mrose", "tanstaaf");
        watch.stop();
        server.daemon.wait_log(NOT_CHECKED);
        succeed(&server, "2001:db8:0:1::1");
    });
}

#[test]
fn clients_on_this_machine_count_by_their_names_alone() {
    judged_within(QUICK, |watch| {
        let server = TestServer::with(&[LETTER], &["--auth-delay", "0"], "");
        let fail = |name: &str| {
            let mut peer = server.client();
            send_login(&mut peer, name, "wrong");
            peer.expect("-ERR [AUTH] ");
        };
        (0..12).for_each(|n| fail(&format!("user{n}")));
        server.mrose().ask("QUIT", "+OK");
        assert_eq!(lines(&server, "too many logins"), 0);
        (0..10).for_each(|_| fail("mrose"));
        let mut peer = server.client();
        send_login(&mut peer, "mrose", "tanstaaf");
        watch.stop();
        server.daemon.wait_log(CHECKED_LATER);
        fail("user1");
        peer.expect("+OK maildrop has 1 ");
    });
}

#[test]
fn one_that_disconnects_while_it_waits_frees_its_place_after_the_wait_at_most() {
    judged_within(QUICK, |watch| {
        let server = server("fork");
        (0..10).for_each(|n| fail(&server, "203.0.113.7", &format!("user{n}")));
        let mut peer = client(&server, "203.0.113.7");
        send_login(&mut peer, "mrose", "tanstaaf");
        watch.stop();
        server.daemon.wait_log(NOT_CHECKED);
        peer.reset();
        ticks(&server);
        wait_until("the client's process has ended", || children(server.daemon.pid()).is_empty());
    });
}

#[test]
fn a_failure_costs_the_same_for_a_cheap_hash_a_dear_one_and_an_unknown_name() {
    let server = TestServer::with(
        &[],
        &["--auth-delay", "0"],
        &format!("{}bob:{HASH}:::B:HOME/bob:\n", dear("levy")),
    );
    let mut cost = ["levy", "bob", "mrose", "unknown"].map(|name| {
        let before = ticks(&server);
        for _ in 0..5 {
            let mut peer = server.client();
            send_login(&mut peer, name, "wrong");
            peer.expect("-ERR [AUTH] ");
        }
        (ticks(&server) - before, name)
    });
    cost.sort_unstable();
    let ((least, _), (most, _)) = (cost[0], cost[3]);
    // A check of bob's hash alone would cost a fortieth of levy's.
    assert!(most <= least.max(1) * 3, "{cost:?}");
    assert!(least >= 5, "{cost:?}: too cheap to tell");
}
