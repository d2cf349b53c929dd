//! Delivery and reading at the same time, on one Maildir.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::HashSet;
use std::io::{Read, Write};
use std::path::Path;
use std::thread;

use mailstore::{Error, Folder, Maildir, MaildirOptions, Maildrop};
use testkit::TempDir;

fn open(path: &Path) -> mailstore::Result<Maildrop> {
    Maildrop::open(&Folder::walk(path, |_| Ok(()))?.folder, MaildirOptions::default())
}

#[test]
fn a_reader_never_sees_a_part_of_a_letter_and_in_the_end_sees_all() {
    const WRITERS: usize = 4;
    const LETTERS: usize = 40;
    let folder = TempDir::new();
    let maildir = Maildir::create(folder.path()).unwrap();
    let deliver = |writer: usize| {
        let maildir = maildir.clone();
        thread::spawn(move || {
            for number in 0..LETTERS {
                let mut draft = maildir.draft().unwrap();
                for line in 0..50 {
                    writeln!(draft, "writer {writer} letter {number} line {line}").unwrap();
                }
                draft.write_all(b"the end\n").unwrap();
                draft.sync().unwrap().publish().unwrap();
            }
        })
    };
    let writers: Vec<_> = (0..WRITERS).map(deliver).collect();
    loop {
        let done = writers.iter().all(thread::JoinHandle::is_finished);
        let mut maildrop = open(folder.path()).unwrap();
        let mut ids = HashSet::new();
        for index in 0..maildrop.len() {
            assert!(ids.insert(maildrop.uid(index).unwrap()), "two letters with one id");
            let mut text = String::new();
            maildrop.read(index).unwrap().read_to_string(&mut text).unwrap();
            assert!(text.ends_with("line 49\nthe end\n"));
            let octets = text.len() + text.lines().count();
            assert_eq!(maildrop.size(index).ok(), Some(octets as u64));
        }
        if done {
            assert_eq!(maildrop.len(), WRITERS * LETTERS);
            break;
        }
    }
    writers.into_iter().for_each(|writer| writer.join().unwrap());
}

#[test]
fn of_many_who_want_the_lock_at_once_one_has_it() {
    let folder = TempDir::new();
    Maildir::create(folder.path()).unwrap();
    let start = std::sync::Barrier::new(16);
    let holders = thread::scope(|scope| {
        let (start, path) = (&start, folder.path());
        let tries: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(move || {
                    start.wait();
                    let maildrop = match open(path) {
                        Ok(maildrop) => Some(maildrop),
                        Err(Error::InUse { .. }) => None,
                        Err(error) => panic!("{error}"),
                    };
                    start.wait(); // held until all have tried
                    maildrop.is_some()
                })
            })
            .collect();
        tries.into_iter().map(|one| one.join().unwrap()).filter(|has| *has).count()
    });
    assert_eq!(holders, 1);
}
