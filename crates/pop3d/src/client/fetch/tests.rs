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

    /// What is stored, in the order of arrival.
    fn letters(&self) -> Vec<String> {
        let new = self.0.path().join("new");
        names(&new).iter().map(|name| fs::read_to_string(new.join(name)).unwrap()).collect()
    }

    /// Fetches from a server that says this; gives how it ended and what the server heard.
    fn fetch(&self, args: &[&str], says: &str) -> (Result<()>, String) {
        let folder = self.0.path().to_str().unwrap();
        let args = [args, &["-u", "u", "h", "fetch", folder]].concat();
        let options = options::parse(args.iter().map(OsString::from).collect()).unwrap();
        let mut conn = connection(says.as_bytes());
        let done = fetch(&mut conn, &options, self.0.path());
        (done, conn.heard().replace("\r\n", "|"))
    }
}

#[test]
fn only_what_is_new_is_fetched_and_nothing_is_deleted_unasked() {
    let folder = Folder::new();
    let says = "+OK\r\n1 a\r\n2 b\r\n.\r\n+OK\r\none\r\n.\r\n+OK\r\n..two\r\n.\r\n";
    let (done, heard) = folder.fetch(&[], says);
    done.unwrap();
    assert_eq!(heard, "UIDL|RETR 1|RETR 2|");
    assert_eq!(folder.letters(), ["one\n", ".two\n"]);
    let (done, heard) =
        folder.fetch(&["--keep"], "+OK\r\n1 b\r\n2 c\r\n.\r\n+OK\r\nthree\r\n.\r\n");
    done.unwrap();
    assert_eq!(heard, "UIDL|RETR 2|");
    assert_eq!(folder.letters().len(), 3);
}

#[test]
fn delete_comes_after_each_message_is_stored_and_for_those_known_from_before() {
    let folder = Folder::new();
    folder.fetch(&[], "+OK\r\n1 a\r\n.\r\n+OK\r\none\r\n.\r\n").0.unwrap();
    let says = "+OK\r\n1 a\r\n2 b\r\n.\r\n+OK\r\n+OK\r\ntwo\r\n.\r\n+OK\r\n";
    let (done, heard) = folder.fetch(&["--delete"], says);
    done.unwrap();
    assert_eq!(heard, "UIDL|DELE 1|RETR 2|DELE 2|");
    assert_eq!(folder.letters(), ["one\n", "two\n"]);
}

#[test]
fn a_message_cut_off_is_not_stored_and_what_came_before_is_remembered() {
    let folder = Folder::new();
    let says = "+OK\r\n1 a\r\n2 b\r\n.\r\n+OK\r\none\r\n.\r\n+OK\r\ntwo\r\n";
    assert!(folder.fetch(&[], says).0.is_err());
    assert_eq!(folder.letters(), ["one\n"]);
    assert_eq!(fs::read_dir(folder.0.path().join("tmp")).unwrap().count(), 0);
    let (done, heard) = folder.fetch(&[], "+OK\r\n1 a\r\n2 b\r\n.\r\n+OK\r\ntwo\r\n.\r\n");
    done.unwrap();
    assert_eq!(heard, "UIDL|RETR 2|");
}

#[test]
fn a_message_that_the_server_refuses_does_not_keep_the_others() {
    let folder = Folder::new();
    let says = "+OK\r\n1 a\r\n2 b\r\n.\r\n-ERR gone\r\n+OK\r\ntwo\r\n.\r\n+OK\r\n";
    let (done, heard) = folder.fetch(&["--delete"], says);
    assert_eq!(done.unwrap_err().to_string(), "h:110: RETR 1: -ERR gone");
    assert_eq!(heard, "UIDL|RETR 1|RETR 2|DELE 2|");
    assert_eq!(folder.letters(), ["two\n"]);
}

#[test]
fn two_messages_with_one_id_are_both_stored_and_later_neither_is_deleted() {
    let folder = Folder::new();
    let says = "+OK\r\n1 a\r\n2 a\r\n.\r\n+OK\r\none\r\n.\r\n+OK\r\none\r\n.\r\n";
    folder.fetch(&[], says).0.unwrap();
    assert_eq!(folder.letters().len(), 2);
    let (done, heard) = folder.fetch(&["--delete"], "+OK\r\n1 a\r\n2 a\r\n.\r\n");
    done.unwrap();
    assert_eq!(heard, "UIDL|");
}

#[test]
fn a_listing_that_is_none_stops_the_fetch() {
    for rows in ["x", "1", "1 ", "a b", "1 a b", "1 \u{e4}", "0 a", "+1 a", "1 a\r\n1 b"] {
        let folder = Folder::new();
        let (done, heard) = folder.fetch(&["--delete"], &format!("+OK\r\n{rows}\r\n.\r\n"));
        assert!(done.is_err(), "{rows}");
        assert_eq!(heard, "UIDL|");
    }
}
