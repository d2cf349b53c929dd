//! Clients that cannot be served, told so in the words of POP3 (RFC 2449 §8, RFC 3206).

use crate::common::{TestServer, text};
use testkit::{CONCURRENT, MODELS, Peer, each_model, wait_until};

/// All that a client receives that is refused.
fn refusal(server: &TestServer) -> String {
    text(&Peer::connect(server.daemon.addr()).rest())
}

const BUSY: &str = "-ERR [SYS/TEMP] too many clients, try again later\r\n";

#[test]
fn case_24_over_the_limit_of_clients_the_answer_is_pop3() {
    each_model(&CONCURRENT, |model| {
        let server = TestServer::with(&[], &["-m", model, "-n", "1", "-c", "1"], "");
        let mut first = server.client();
        assert_eq!(refusal(&server), BUSY);
        first.ask("QUIT", "+OK");
        drop(first);
        wait_until("there is a place again", || {
            Peer::connect(server.daemon.addr()).line().starts_with(b"+OK")
        });
    });
}

#[test]
fn case_24_over_the_limit_of_its_address_the_answer_is_pop3() {
    each_model(&CONCURRENT, |model| {
        let server = TestServer::with(&[], &["-m", model, "--max-per-ip", "1"], "");
        let _first = server.client();
        assert_eq!(refusal(&server), BUSY);
    });
}

#[test]
fn case_24_an_address_that_comes_too_often_is_told_in_pop3() {
    each_model(&MODELS, |model| {
        let server = TestServer::with(&[], &["-m", model, "--rate", "1/3600"], "");
        server.client().ask("QUIT", "+OK");
        assert_eq!(refusal(&server), BUSY);
    });
}

#[test]
fn case_24_with_over_queue_the_next_client_waits_for_its_greeting() {
    each_model(&MODELS, |model| {
        let limits = ["-m", model, "-n", "1", "-c", "1", "--over", "queue"];
        let server = TestServer::with(&[], &limits, "");
        let mut first = server.client();
        let mut second = Peer::connect(server.daemon.addr());
        assert!(second.is_silent(), "two are served");
        first.ask("QUIT", "+OK");
        drop(first);
        second.expect("+OK ");
    });
}
