use std::collections::HashSet;
use std::fs;

use forknet::Stop;
use testkit::{TempDir, names};

use super::super::connection::tests::connection;
use super::super::options::tests::options;
use super::super::options::{Operation, Options};
use super::super::seen::Seen;
use super::super::{GRACE, deliver};
use super::*;

/// The reply to CAPA of a server that has none, and of one that takes many commands at once.
const NO_CAPA: &str = "-ERR\r\n";
const PIPELINING: &str = "+OK\r\nPIPELINING\r\n.\r\n";

struct Folder(TempDir);

/// What a run has done.
struct Done {
    result: Result<()>,
    received: String,
    summary: String,
}

impl Folder {
    fn new() -> Folder {
        Folder(TempDir::new())
    }

    /// Returns the stored letters in the order of arrival.
    fn letters(&self) -> Vec<String> {
        let new = self.0.path().join("new");
        names(&new).iter().map(|name| fs::read_to_string(new.join(name)).unwrap()).collect()
    }

    /// Fetches from a server that sends this, without CAPA.
    fn fetch(&self, args: &[&str], sends: &str) -> Done {
        self.fetch_from(args, &[NO_CAPA, sends].concat())
    }

    fn fetch_from(&self, args: &[&str], sends: &str) -> Done {
        let folder = self.0.path().to_str().unwrap();
        let options: Options =
            options(&[args, &["-u", "u", "h", "fetch", folder]].concat()).unwrap();
        let Operation::Fetch(fetch) = &options.operation else { panic!("no fetch") };
        let stop = Stop::catch(GRACE).unwrap();
        let mut fetcher = Fetcher {
            fetch,
            delivery: deliver::open(fetch, stop, options.timeout).unwrap(),
            seen: Seen::open(&options, fetch).unwrap(),
            shows_progress: false,
            stop,
        };
        let mut conn = connection(sends.as_bytes());
        let mut summary = Summary::default();
        let done = fetcher.run(&mut conn, &mut summary);
        let result = done.and(summary.failure().map_or(Ok(()), Err));
        let received = conn.received().replace("\r\n", "|");
        let received = received.strip_prefix("CAPA|").unwrap_or(&received).to_owned();
        Done { result, received, summary: summary.to_string() }
    }
}

#[test]
fn only_new_messages_are_fetched_and_none_is_deleted_without_delete() {
    let folder = Folder::new();
    let sends = "+OK\r\n1 a\r\n2 b\r\n.\r\n+OK\r\none\r\n.\r\n+OK\r\n..two\r\n.\r\n";
    let done = folder.fetch(&[], sends);
    done.result.unwrap();
    assert_eq!(done.received, "UIDL|RETR 1|RETR 2|");
    assert_eq!(done.summary, "2 new (11 octets), 0 known, 0 deleted on the server");
    assert_eq!(folder.letters(), ["one\n", ".two\n"]);
    let done = folder.fetch(&["--keep"], "+OK\r\n1 b\r\n2 c\r\n.\r\n+OK\r\nthree\r\n.\r\n");
    done.result.unwrap();
    assert_eq!(done.received, "UIDL|RETR 2|");
    assert_eq!(folder.letters().len(), 3);
}

#[test]
fn delete_marks_messages_once_they_are_stored_and_known_ones_too() {
    let folder = Folder::new();
    folder.fetch(&[], "+OK\r\n1 a\r\n.\r\n+OK\r\none\r\n.\r\n").result.unwrap();
    let sends = "+OK\r\n1 a\r\n2 b\r\n.\r\n+OK\r\n+OK\r\ntwo\r\n.\r\n+OK\r\n";
    let done = folder.fetch(&["--delete"], sends);
    done.result.unwrap();
    assert_eq!(done.received, "UIDL|DELE 1|RETR 2|DELE 2|");
    assert_eq!(folder.letters(), ["one\n", "two\n"]);
}

#[test]
fn delete_after_counts_from_the_day_a_message_was_stored() {
    let folder = Folder::new();
    let again = "+OK\r\n1 a\r\n.\r\n";
    let first = format!("{again}+OK\r\none\r\n.\r\n");
    assert_eq!(folder.fetch(&["--delete-after", "2"], &first).received, "UIDL|RETR 1|");
    assert_eq!(folder.fetch(&["--delete-after", "2"], again).received, "UIDL|");
    let file = folder.0.path().join(".pop3c.seen.u@h");
    let text = fs::read_to_string(&file).unwrap();
    let (head, since) = text.trim_end().rsplit_once(' ').unwrap();
    let since: u64 = since.parse().unwrap();
    for (days, received) in [(1, "UIDL|"), (2, "UIDL|DELE 1|")] {
        fs::write(&file, format!("{head} {}\n", since - days * 86_400)).unwrap();
        let done = folder.fetch(&["--delete-after", "2"], &format!("{again}+OK\r\n"));
        assert_eq!(done.received, received);
    }
}

#[test]
fn a_truncated_message_is_not_stored_and_earlier_ones_are_recorded() {
    let folder = Folder::new();
    let sends = "+OK\r\n1 a\r\n2 b\r\n.\r\n+OK\r\none\r\n.\r\n+OK\r\ntwo\r\n";
    let done = folder.fetch(&[], sends);
    assert_eq!(done.result.unwrap_err().code(), 75);
    assert_eq!(done.summary, "1 new (5 octets), 0 known, 0 deleted on the server");
    assert_eq!(folder.letters(), ["one\n"]);
    assert_eq!(fs::read_dir(folder.0.path().join("tmp")).unwrap().count(), 0);
    let done = folder.fetch(&[], "+OK\r\n1 a\r\n2 b\r\n.\r\n+OK\r\ntwo\r\n.\r\n");
    done.result.unwrap();
    assert_eq!(done.received, "UIDL|RETR 2|");
}

#[test]
fn a_refused_message_does_not_prevent_fetching_the_others() {
    let folder = Folder::new();
    let sends = "+OK\r\n1 a\r\n2 b\r\n.\r\n-ERR gone\r\n+OK\r\ntwo\r\n.\r\n+OK\r\n";
    let done = folder.fetch(&["--delete"], sends);
    let failure = done.result.unwrap_err();
    assert_eq!(failure.error.to_string(), "h:110: RETR 1: -ERR gone");
    assert_eq!(failure.code(), 69);
    assert_eq!(done.received, "UIDL|RETR 1|RETR 2|DELE 2|");
    assert_eq!(folder.letters(), ["two\n"]);
}

#[test]
fn two_messages_with_one_id_are_both_stored_and_neither_is_deleted() {
    let folder = Folder::new();
    let sends = "+OK\r\n1 a\r\n2 a\r\n.\r\n+OK\r\none\r\n.\r\n+OK\r\none\r\n.\r\n";
    folder.fetch(&[], sends).result.unwrap();
    assert_eq!(folder.letters().len(), 2);
    let done = folder.fetch(&["--delete"], "+OK\r\n1 a\r\n2 a\r\n.\r\n");
    done.result.unwrap();
    assert_eq!(done.received, "UIDL|");
}

#[test]
fn of_two_messages_with_one_id_both_are_fetched_again_when_one_failed() {
    let folder = Folder::new();
    let sends = "+OK\r\n1 a\r\n2 a\r\n.\r\n+OK\r\none\r\n.\r\n-ERR no\r\n";
    folder.fetch(&[], sends).result.unwrap_err();
    let sends = "+OK\r\n1 a\r\n2 a\r\n.\r\n+OK\r\none\r\n.\r\n+OK\r\ntwo\r\n.\r\n";
    assert_eq!(folder.fetch(&[], sends).received, "UIDL|RETR 1|RETR 2|");
}

#[test]
fn an_invalid_listing_stops_the_fetch() {
    for rows in ["x", "1", "1 ", "a b", "0 a", "+1 a", "1 a\r\n1 b", "18446744073709551616 a"] {
        let folder = Folder::new();
        let done = folder.fetch(&["--delete"], &format!("+OK\r\n{rows}\r\n.\r\n"));
        assert_eq!(done.result.unwrap_err().code(), 76, "{rows}");
        assert_eq!(done.received, "UIDL|");
    }
}

#[test]
fn blanks_in_rows_are_taken_also_within_an_id() {
    let folder = Folder::new();
    let rows = "+OK\r\n 1  a \r\n2\tb c\r\n3 \u{e4}\r\n.\r\n";
    let letter = "+OK\r\nx\r\n.\r\n";
    let done = folder.fetch(&[], &[rows, letter, letter, letter].concat());
    done.result.unwrap();
    assert_eq!(done.received, "UIDL|RETR 1|RETR 2|RETR 3|");
    let again = folder.fetch(&[], "+OK\r\n1 a\r\n2 b c\r\n3 \u{e4}\r\n.\r\n");
    assert_eq!(again.received, "UIDL|");
}

#[test]
fn without_uidl_all_is_fetched_and_deleted_or_nothing() {
    let folder = Folder::new();
    let sends = "-ERR no UIDL\r\n+OK\r\n1 5\r\n2 5\r\n.\r\n+OK\r\none\r\n.\r\n+OK\r\ntwo\r\n.\r\n";
    let failure = folder.fetch(&[], sends).result.unwrap_err();
    assert!(failure.error.to_string().contains("no UIDL") && failure.code() == 69);
    let done = folder.fetch(&["--delete"], &format!("{sends}+OK\r\n+OK\r\n"));
    done.result.unwrap();
    assert_eq!(done.received, "UIDL|LIST|RETR 1|RETR 2|DELE 1|DELE 2|");
    assert_eq!(folder.letters(), ["one\n", "two\n"]);
}

#[test]
fn with_pipelining_commands_are_sent_before_the_replies_and_dele_after_the_copy() {
    let folder = Folder::new();
    let listing = "+OK\r\n1 a\r\n2 b\r\n.\r\n+OK\r\n1 5\r\n2 5\r\n.\r\n";
    let letters = "+OK\r\none\r\n.\r\n+OK\r\ntwo\r\n.\r\n";
    // The first reply to DELE does not come: nothing is lost, and the copies are known.
    let done = folder.fetch_from(&["--delete"], &[PIPELINING, listing, letters].concat());
    assert_eq!(done.result.unwrap_err().code(), 75);
    assert_eq!(done.received, "UIDL|LIST|RETR 1|RETR 2|DELE 1|DELE 2|");
    assert_eq!(folder.letters(), ["one\n", "two\n"]);
    let done = folder.fetch_from(&["--delete"], &[PIPELINING, listing, "+OK\r\n+OK\r\n"].concat());
    done.result.unwrap();
    assert_eq!(done.received, "UIDL|LIST|DELE 1|DELE 2|");
}

#[test]
fn messages_in_flight_are_bounded_by_what_list_says_and_lies_hurt_nothing() {
    let folder = Folder::new();
    let max = u64::MAX;
    let listing =
        format!("+OK\r\n1 a\r\n2 b\r\n3 c\r\n.\r\n+OK\r\n1 {max}\r\n2 {max}\r\n3 0\r\n.\r\n");
    let letters = "+OK\r\none\r\n.\r\n".repeat(3);
    let done = folder.fetch_from(&[], &[PIPELINING, &listing, &letters].concat());
    done.result.unwrap();
    assert_eq!(done.summary, "3 new (15 octets), 0 known, 0 deleted on the server");
}

#[test]
fn filters_leave_messages_by_size_age_and_number() {
    let listing = "+OK\r\n1 a\r\n2 b\r\n3 c\r\n.\r\n+OK\r\n1 5\r\n2 50\r\n3 500\r\n.\r\n";
    let letter = "+OK\r\none\r\n.\r\n";
    let old = "+OK\r\nDate: Thu, 01 Jan 1970 00:01:00 +0000\r\n\r\n.\r\n";
    for (args, more, received, summary) in [
        (
            &["--max-size", "50"][..],
            letter.repeat(2),
            "RETR 1|RETR 2|",
            "2 new (10 octets), 0 known, 0 deleted on the server, 1 left by the filters",
        ),
        (
            &["--min-size", "51"],
            letter.to_owned(),
            "RETR 3|",
            "1 new (5 octets), 0 known, 0 deleted on the server, 2 left by the filters",
        ),
        (
            &["--max-letters", "1"],
            letter.to_owned(),
            "RETR 1|",
            "1 new (5 octets), 0 known, 0 deleted on the server, 2 left by the filters",
        ),
        (
            &["--max-age", "30"],
            format!("{old}-ERR no TOP\r\n{old}{letter}"),
            "TOP 1 0|TOP 2 0|TOP 3 0|RETR 2|",
            "1 new (5 octets), 0 known, 0 deleted on the server, 2 left by the filters",
        ),
        (
            &["--check", "--max-size", "50"],
            String::new(),
            "",
            "2 new (55 octets), 0 known, 1 left by the filters",
        ),
    ] {
        let folder = Folder::new();
        let done = folder.fetch_from(args, &[PIPELINING, listing, &more].concat());
        done.result.unwrap();
        assert_eq!(done.received, format!("UIDL|LIST|{received}"), "{args:?}");
        assert_eq!(done.summary, summary);
    }
}

#[test]
fn a_batch_is_kept_when_the_connection_is_lost() {
    let folder = Folder::new();
    let listing = "+OK\r\n1 a\r\n2 b\r\n3 c\r\n.\r\n+OK\r\n.\r\n";
    let letters = "+OK\r\none\r\n.\r\n+OK\r\ntwo\r\n.\r\n+OK\r\nthr";
    let done = folder.fetch_from(&["--delete"], &[PIPELINING, listing, letters].concat());
    assert_eq!(done.result.unwrap_err().code(), 75);
    assert_eq!(folder.letters(), ["one\n", "two\n"]);
    assert!(!done.received.contains("DELE"));
    let again = folder.fetch(&[], "+OK\r\n1 a\r\n2 b\r\n.\r\n");
    assert_eq!(again.received, "UIDL|");
    let known: HashSet<_> = ["a", "b"].into();
    let text = fs::read_to_string(folder.0.path().join(".pop3c.seen.u@h")).unwrap();
    assert!(known.iter().all(|id| text.contains(&format!("+ {id} "))), "{text}");
}

#[test]
fn where_uidl_or_a_list_that_is_needed_is_refused_nothing_is_fetched() {
    let refused = "-ERR [SYS/TEMP] disk\r\n";
    let listed = "+OK\r\n1 9\r\n.\r\n";
    for (args, capa, sends, status) in [
        (&["--delete"][..], NO_CAPA, [refused, "", ""], Status::Temporary),
        (&["--delete"], PIPELINING, [refused, listed, ""], Status::Temporary),
        (&["--delete"], NO_CAPA, ["-ERR\r\n", "-ERR\r\n", ""], Status::Unavailable),
        (&["--delete"], PIPELINING, ["-ERR\r\n", refused, ""], Status::Temporary),
        (&["--max-size", "5"], NO_CAPA, ["+OK\r\n1 a\r\n.\r\n", refused, ""], Status::Temporary),
    ] {
        let folder = Folder::new();
        let done = folder.fetch_from(args, &[capa, &sends.concat()].concat());
        assert_eq!(done.result.unwrap_err().status, status, "{sends:?}");
        assert!(!done.received.contains("RETR"), "{}", done.received);
    }
}
