//! What the process of a mailbox asks the one that has an mbox's locks and may make files beside it: any messages, in
//! any order, of a process that may have been taken over. It can change the mbox, whose owner it is; it cannot remove
//! it or its mode, and when it ends no lock and no other file is left.
#![no_main]

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::OnceLock;

use forklore_fuzz::{option, scratch, write_private};
use libfuzzer_sys::fuzz_target;
use mailstore::{Folder, Spool, serve_spool};
use sys::scm_rights::{pair, receive, send};

/// Most messages of a session.
const MOST: usize = 24;
/// Longest answer in bytes.
const LONGEST: usize = 8 * 1024;

fuzz_target!(|data: &[u8]| {
    let (folder, path, owner) = site();
    write_private(path, b"From levy\nSubject: a\n\nb\n\n");
    let spool = Spool::new(folder, OsStr::new("mbox"), *owner);
    let (ours, theirs) = pair().expect("a socketpair");
    std::thread::scope(|scope| {
        let server = scope.spawn(|| serve_spool(spool, &theirs));
        ask(ours, data);
        assert!(server.join().is_ok());
    });
    let metadata = fs::symlink_metadata(path).expect("the mbox is there");
    assert!(metadata.is_file() && metadata.uid() == *owner);
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
    let entries = fs::read_dir(folder.path()).expect("a folder of ours");
    let left: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
    // The file of the session's lock stays.
    assert!(left.iter().all(|name| name == "mbox" || name == ".mbox.pop3"), "{left:?}");
});

fn site() -> &'static (Folder, PathBuf, u32) {
    static SITE: OnceLock<(Folder, PathBuf, u32)> = OnceLock::new();
    SITE.get_or_init(|| {
        let folder = scratch("spool");
        let owner = fs::metadata(&folder).expect("it was made").uid();
        let path = folder.join("mbox");
        (Folder::open(&folder).expect("a folder of ours"), path, owner)
    })
}

/// Sends messages, each a length and that many bytes, and reads their answers; then closes the line.
fn ask(line: OwnedFd, mut data: &[u8]) {
    let mut file: Option<OwnedFd> = None;
    let mut answer = [0; LONGEST];
    for _ in 0..MOST {
        let (length, rest) = option(data);
        let length = usize::from(length).min(rest.len());
        let (message, rest) = rest.split_at(length);
        data = rest;
        let message = match message {
            [] => return,
            // It may wait as long as it likes, a fuzzer does not.
            [b'l', ..] => b"l\0\0",
            message => message,
        };
        let with = (message == b"w").then_some(file.as_ref()).flatten();
        if send(&line, message, with.map(AsFd::as_fd)).is_err() {
            return;
        }
        let Ok((1.., with)) = receive(&line, &mut answer) else { return };
        if message == b"e" {
            return; // it has ended
        }
        if let Some(with) = with {
            let mut written = fs::File::from(with);
            let _ = written.write_all(b"From x\ny\n\n"); // one that is open for reading takes none
            file = Some(written.into());
        }
    }
}
