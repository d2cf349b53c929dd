//! `oob_server` and `oob_client`: the urgent octet, SIGURG, and the mark.

use testkit::Program;

const SERVER: &str = env!("CARGO_BIN_EXE_oob_server");
const CLIENT: &str = env!("CARGO_BIN_EXE_oob_client");

struct Pair {
    server: Program,
    client: Program,
}

/// Both, once the server has accepted the client and so has SIGURG sent to itself.
fn pair(options: &[&str]) -> Pair {
    let server = Program::start(SERVER, &[options, &["127.0.0.1:0"]].concat());
    server.wait_errors("listening on ");
    let said = server.errors();
    let at = said.trim_end().rsplit_once(' ').unwrap().1.to_owned();
    let mut pair = Pair { server, client: Program::start(CLIENT, &[&at]) };
    pair.server.line_with("a client");
    pair
}

impl Pair {
    /// The server's lines from here to the end of file, which the client brings about; what read(2)
    /// got in one piece or in several is joined.
    fn rest(&mut self) -> Vec<String> {
        assert!(self.client.wait().success(), "{}", self.client.errors());
        let mut lines: Vec<String> = Vec::new();
        loop {
            let line = self.server.line().unwrap();
            match (line.strip_prefix("read: "), lines.last_mut()) {
                (Some(more), Some(last)) if last.starts_with("read: ") => last.push_str(more),
                _ => lines.push(line),
            }
            if lines.last().unwrap() == "end of file" {
                return lines;
            }
        }
    }
}

#[test]
fn the_urgent_octet_overtakes_what_was_sent_before_it() {
    let mut pair = pair(&["--busy"]);
    pair.client.send("123\n!4\n567\n");
    assert_eq!(
        pair.rest(),
        ["SIGURG", "urgent: 4", "read: 123\\n", "at the mark", "read: 567\\n", "end of file"]
    );
}

#[test]
fn a_server_that_is_not_busy_gets_each_when_it_comes() {
    let mut pair = pair(&[]);
    for (typed, lines) in [
        ("123\n", &["read: 123\\n"][..]),
        ("!4\n", &["SIGURG", "urgent: 4"]),
        ("567\n", &["at the mark", "read: 567\\n"]),
        ("!8\n", &["SIGURG", "urgent: 8"]),
    ] {
        pair.client.send(typed);
        for line in lines {
            assert_eq!(pair.server.line_with("").as_str(), *line);
        }
    }
    assert_eq!(pair.rest(), ["at the mark", "end of file"]);
}

#[test]
fn inline_the_urgent_octet_keeps_its_place_and_the_mark_says_where() {
    let mut pair = pair(&["--busy", "--inline"]);
    pair.client.send("123\n!4\n567\n");
    assert_eq!(
        pair.rest(),
        ["SIGURG", "read: 123\\n", "at the mark", "read: 4567\\n", "end of file"]
    );
}

#[test]
fn only_the_last_octet_of_an_urgent_send_is_urgent() {
    let mut pair = pair(&["--busy"]);
    pair.client.send("!abc\n");
    assert_eq!(pair.rest(), ["SIGURG", "urgent: c", "read: ab", "at the mark", "end of file"]);
}

#[test]
fn of_two_urgent_octets_that_nobody_has_fetched_the_first_becomes_ordinary() {
    let mut pair = pair(&["--busy"]);
    // Stopped, the server can fetch neither before both are there.
    pair.server.signal(nix::sys::signal::Signal::SIGSTOP);
    testkit::wait_until("it is stopped", || testkit::state(pair.server.pid()) == Some('T'));
    pair.client.send("1\n!2\n3\n!4\n5\n");
    assert!(pair.client.wait().success());
    pair.server.signal(nix::sys::signal::Signal::SIGCONT);
    assert_eq!(
        pair.rest(),
        ["SIGURG", "urgent: 4", "read: 1\\n23\\n", "at the mark", "read: 5\\n", "end of file"]
    );
}

#[test]
fn the_next_client_finds_no_sigurg_of_the_one_before() {
    let mut pair = pair(&[]);
    pair.client.send("!1\n");
    assert_eq!(pair.rest(), ["SIGURG", "urgent: 1", "at the mark", "end of file"]);
    let said = pair.server.errors();
    let at = said.trim_end().rsplit_once(' ').unwrap().1.to_owned();
    pair.client = Program::start(CLIENT, &[&at]);
    pair.server.line_with("a client");
    pair.client.send("2\n");
    assert_eq!(pair.rest(), ["read: 2\\n", "end of file"]);
}
