use std::ffi::OsString;
use std::fs;

use testkit::{TempDir, names};

use super::super::connection::tests::connection;
use super::super::options;
use super::*;

struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(TempDir::new())
    }

    /// Returns the stored letters in the order of arrival.
    fn letters(&self) -> Vec<String> {
        let new = self.0.path().join("new");
        names(&new).iter().map(|name| fs::read_to_string(new.join(name)).unwrap()).collect()
    }

    /// Fetches from a server that sends this. Returns the result and the commands that the server
    /// received.
    fn fetch(&self, args: &[&str], sends: &str) -> (Result<()>, String) {
        let folder = self.0.path().to_str().unwrap();
        let args = [args, &["-u", "u", "h", "fetch", folder]].concat();
        let options = options::parse(args.iter().map(OsString::from).collect()).unwrap();
        let mut conn = connection(sends.as_bytes());
        let done = fetch(&mut conn, &options, self.0.path());
        (done, conn.received().replace("\r\n", "|"))
    }
}

#[test]
fn only_new_messages_are_fetched_and_none_is_deleted_without_delete() {
    let folder = Folder::new();
    let sends = "+OK\r\n1 a\r\n2 b\r\n.\r\n+OK\r\none\r\n.\r\n+OK\r\n..two\r\n.\r\n";
    let (done, received) = folder.fetch(&[], sends);
    done.unwrap();
    assert_eq!(received, "UIDL|RETR 1|RETR 2|");
    assert_eq!(folder.letters(), ["one\n", ".two\n"]);
    let (done, received) =
        folder.fetch(&["--keep"], "+OK\r\n1 b\r\n2 c\r\n.\r\n+OK\r\nthree\r\n.\r\n");
    done.unwrap();
    assert_eq!(received, "UIDL|RETR 2|");
    assert_eq!(folder.letters().len(), 3);
}

#[test]
fn delete_marks_each_message_once_it_is_stored_and_known_ones_too() {
    let folder = Folder::new();
    folder.fetch(&[], "+OK\r\n1 a\r\n.\r\n+OK\r\none\r\n.\r\n").0.unwrap();
    let sends = "+OK\r\n1 a\r\n2 b\r\n.\r\n+OK\r\n+OK\r\ntwo\r\n.\r\n+OK\r\n";
    let (done, received) = folder.fetch(&["--delete"], sends);
    done.unwrap();
    assert_eq!(received, "UIDL|DELE 1|RETR 2|DELE 2|");
    assert_eq!(folder.letters(), ["one\n", "two\n"]);
}

#[test]
fn a_truncated_message_is_not_stored_and_earlier_ones_are_recorded() {
    let folder = Folder::new();
    let sends = "+OK\r\n1 a\r\n2 b\r\n.\r\n+OK\r\none\r\n.\r\n+OK\r\ntwo\r\n";
    assert!(folder.fetch(&[], sends).0.is_err());
    assert_eq!(folder.letters(), ["one\n"]);
    assert_eq!(fs::read_dir(folder.0.path().join("tmp")).unwrap().count(), 0);
    let (done, received) = folder.fetch(&[], "+OK\r\n1 a\r\n2 b\r\n.\r\n+OK\r\ntwo\r\n.\r\n");
    done.unwrap();
    assert_eq!(received, "UIDL|RETR 2|");
}

#[test]
fn a_refused_message_does_not_prevent_fetching_the_others() {
    let folder = Folder::new();
    let sends = "+OK\r\n1 a\r\n2 b\r\n.\r\n-ERR gone\r\n+OK\r\ntwo\r\n.\r\n+OK\r\n";
    let (done, received) = folder.fetch(&["--delete"], sends);
    assert_eq!(done.unwrap_err().to_string(), "h:110: RETR 1: -ERR gone");
    assert_eq!(received, "UIDL|RETR 1|RETR 2|DELE 2|");
    assert_eq!(folder.letters(), ["two\n"]);
}

#[test]
fn two_messages_with_one_id_are_both_stored_and_neither_is_deleted() {
    let folder = Folder::new();
    let sends = "+OK\r\n1 a\r\n2 a\r\n.\r\n+OK\r\none\r\n.\r\n+OK\r\none\r\n.\r\n";
    folder.fetch(&[], sends).0.unwrap();
    assert_eq!(folder.letters().len(), 2);
    let (done, received) = folder.fetch(&["--delete"], "+OK\r\n1 a\r\n2 a\r\n.\r\n");
    done.unwrap();
    assert_eq!(received, "UIDL|");
}

#[test]
fn an_invalid_listing_stops_the_fetch() {
    for rows in ["x", "1", "1 ", "a b", "1 a b", "1 \u{e4}", "0 a", "+1 a", "1 a\r\n1 b"] {
        let folder = Folder::new();
        let (done, received) = folder.fetch(&["--delete"], &format!("+OK\r\n{rows}\r\n.\r\n"));
        assert!(done.is_err(), "{rows}");
        assert_eq!(received, "UIDL|");
    }
}
