//! Requests whose clients never answer, as those with forged addresses: they keep no client out that is there.

use crate::udp::{Served, Udp, ack, blocks, data, noise, rrq, wrq};

/// Requests of silent clients, many more than there are places.
fn flood(served: &Served, count: usize) -> Vec<Udp> {
    let silent = |number: usize| {
        let peer = served.peer();
        peer.send(if number.is_multiple_of(2) { rrq(b"x", "octet") } else { wrq(b"new", "octet") });
        peer
    };
    (0..count).map(silent).collect()
}

fn check(options: &[&str]) {
    let options = [&["--create", "--overwrite", "-c", "4"], options].concat();
    let served = Served::with(&options);
    let file = noise(1300, 1);
    served.write("x", &file);
    // One that has begun goes on, however many come.
    let mut first = served.peer();
    first.send(rrq(b"x", "octet"));
    first.expect(data(1, &file[..512]));
    first.send(ack(1));
    first.expect(data(2, &file[512..1024]));
    let _silent = flood(&served, 40);
    served.daemon.wait_log("not answered, gave way to another");
    // One that is there gets its file though all places are taken.
    assert_eq!(served.peer().get(&rrq(b"x", "octet")), file);
    let _more = flood(&served, 40);
    first.send(ack(2));
    first.expect_after(&data(2, &file[512..1024]), data(3, &file[1024..]));
    first.send(ack(3));
    assert_eq!(blocks(&file).count(), 3);
    served.wait_line("RRQ \"x\"", "complete");
}

#[test]
fn a_client_that_has_not_answered_gives_way_to_a_new_one() {
    for over in ["silent", "busy", "queue"] {
        check(&["--over", over]);
        check(&["--over", over, "--single-port"]);
    }
}

#[test]
fn of_one_address_too_the_oldest_without_an_answer_gives_way() {
    check(&["--max-per-ip", "4", "--over", "busy"]);
    check(&["--max-per-ip", "4", "--over", "busy", "--single-port"]);
}
