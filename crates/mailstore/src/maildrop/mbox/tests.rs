use std::fs::{self, FileTimes};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::SystemTime;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::unistd::geteuid;
use testkit::{TempDir, names};

use super::*;
use crate::folder::Folder;
use crate::mbox::fault::{Fault, set};
use crate::mbox::spool::Spool;
use crate::mbox::spool_line::{SpoolLine, serve};

/// Letters of these numbers in an mbox.
fn mbox_of(numbers: impl IntoIterator<Item = usize>) -> String {
    let letter = |n| format!("From levy Mon Nov 30 11:00:00 2026\nSubject: {n}\n\n>From {n}\n\n");
    numbers.into_iter().map(letter).collect()
}

/// A folder with an mbox of letters 1 to 5, as of yesterday.
fn mailbox() -> (TempDir, PathBuf) {
    let dir = TempDir::new();
    let path = dir.file("mbox", mbox_of(1..=5));
    let yesterday = SystemTime::now() - Duration::from_secs(86_400);
    let times = FileTimes::new().set_accessed(yesterday).set_modified(yesterday);
    File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
    (dir, path)
}

fn spool(path: &Path) -> Spool {
    let folder = Folder::open(path.parent().unwrap()).unwrap();
    Spool::new(&folder, path.file_name().unwrap(), geteuid().as_raw()).unwrap()
}

fn open(path: &Path) -> Result<MboxDrop> {
    MboxDrop::open(SpoolAt::Here(Box::new(spool(path))), MboxIds::Content)
}

fn text(drop: &mut MboxDrop, index: usize) -> Result<String> {
    let mut text = String::new();
    drop.read(index)?.read_to_string(&mut text).map_err(Error::io("read", Path::new("letter")))?;
    Ok(text)
}

fn content(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn append(path: &Path, text: &str) {
    File::options().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn failure(removal: &Removal) -> String {
    assert_eq!((removal.removed, removal.failed.len()), (0, 1));
    assert!(removal.failed[0].is_temporary());
    removal.failed[0].to_string()
}

#[test]
fn what_is_removed_is_gone_and_the_rest_is_as_it_was() {
    let (dir, path) = mailbox();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let before = fs::metadata(&path).unwrap();
    let mut drop = open(&path).unwrap();
    assert_eq!(names(dir.path()), [".mbox.pop3", "mbox"]);
    let uids: Vec<_> = (0..5).map(|index| drop.uid(index).unwrap()).collect();
    assert_eq!(text(&mut drop, 1).unwrap(), "Subject: 2\n\nFrom 2\n");
    assert_eq!(drop.size(1), Some(22));
    let removal = drop.remove([0, 2, 3].into_iter());
    assert_eq!((removal.removed, removal.failed.len()), (3, 0));
    std::mem::drop(drop);
    assert_eq!(names(dir.path()), [".mbox.pop3", "mbox"]);
    assert_eq!(content(&path), mbox_of([2, 5]));
    let after = fs::metadata(&path).unwrap();
    assert_eq!(after.permissions(), before.permissions());
    assert_eq!(after.modified().unwrap(), before.modified().unwrap());
    let mut drop = open(&path).unwrap();
    assert_eq!([0, 1].map(|index| drop.uid(index).unwrap()), [&uids[1][..], &uids[4]]);
    assert_eq!(drop.remove(0..2).removed, 2);
    assert_eq!(content(&path), "");
    std::mem::drop(drop);
    assert_eq!(open(&path).unwrap().len(), 0);
}

#[test]
fn a_session_that_removes_nothing_changes_nothing() {
    let (_dir, path) = mailbox();
    let before = fs::metadata(&path).unwrap();
    assert_eq!(open(&path).unwrap().remove([].into_iter()).removed, 0);
    let after = fs::metadata(&path).unwrap();
    assert_eq!(
        (after.ino(), after.mtime(), after.ctime()),
        (before.ino(), before.mtime(), before.ctime())
    );
}

#[test]
fn without_an_mbox_there_are_no_letters() {
    let dir = TempDir::new();
    let path = dir.path().join("mbox");
    let mut drop = open(&path).unwrap();
    assert_eq!(drop.len(), 0);
    assert!(drop.read(0).is_err() && drop.uid(0).is_none());
    assert!(matches!(open(&path), Err(Error::InUse { .. })));
    fs::write(&path, mbox_of([1])).unwrap();
    assert_eq!(drop.remove(0..1).removed, 0);
    std::mem::drop(drop);
    assert_eq!(
        (names(dir.path()), content(&path)),
        (vec![".mbox.pop3".into(), "mbox".into()], mbox_of([1]))
    );
}

#[test]
fn what_is_delivered_during_the_session_is_kept_and_not_seen() {
    for (removed, left) in
        [(vec![4], vec![1, 2, 3, 4]), (vec![0, 1, 2, 3, 4], vec![]), (vec![0], vec![2, 3, 4, 5])]
    {
        for between in ["", "\n"] {
            let (_dir, path) = mailbox();
            let mut drop = open(&path).unwrap();
            append(&path, between);
            append(&path, &mbox_of([6, 7]));
            assert_eq!(drop.len(), 5);
            assert_eq!(text(&mut drop, 4).unwrap(), "Subject: 5\n\nFrom 5\n");
            assert_eq!(drop.remove(removed.clone().into_iter()).removed, removed.len());
            let between = if removed.contains(&4) { "" } else { between };
            assert_eq!(content(&path), mbox_of(left.clone()) + between + &mbox_of([6, 7]));
        }
    }
}

#[test]
fn a_change_by_another_program_is_an_error_and_nothing_is_removed() {
    let changed = mbox_of([1, 2]) + &mbox_of(3..=5).replacen("Subject", "Status: RO\nSubject", 1);
    let swapped = mbox_of([1, 2, 4, 3, 5]);
    let other = mbox_of(1..=5).replacen(">From 2", ">From 9", 1);
    for now in
        [changed, swapped, other, mbox_of([1, 2, 3]), mbox_of(2..=5), String::new(), "x".into()]
    {
        let (_dir, path) = mailbox();
        let mut drop = open(&path).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(0).unwrap();
        append(&path, &now);
        let why = failure(&drop.remove([1].into_iter()));
        assert!(why.contains(&path.display().to_string()), "{why}");
        assert_eq!(content(&path), now);
    }
}

#[test]
fn flags_that_are_changed_in_place_are_no_change() {
    let (_dir, path) = mailbox();
    fs::write(&path, mbox_of(1..=3).replace("Subject", "Status: O \nSubject")).unwrap();
    let mut drop = open(&path).unwrap();
    let seen = mbox_of(1..=3).replace("Subject", "Status: RO\nSubject");
    fs::write(&path, &seen).unwrap();
    assert_eq!(text(&mut drop, 0).unwrap(), "Status: RO\nSubject: 1\n\nFrom 1\n");
    assert_eq!(drop.remove([0].into_iter()).removed, 1);
    assert_eq!(content(&path), mbox_of([2, 3]).replace("Subject", "Status: RO\nSubject"));
}

#[test]
fn a_file_in_the_place_of_the_mbox_is_an_error() {
    let (dir, path) = mailbox();
    let mut drop = open(&path).unwrap();
    fs::rename(&path, dir.path().join("away")).unwrap();
    assert!(failure(&drop.remove(0..1)).contains("has removed it"));
    fs::write(&path, mbox_of(1..=5)).unwrap();
    assert!(failure(&drop.remove(0..1)).contains("another program has changed it"));
    assert_eq!(content(&path), mbox_of(1..=5));
    assert_eq!(text(&mut drop, 0).unwrap(), "Subject: 1\n\nFrom 1\n", "the file that it was");
}

#[test]
fn what_is_no_letter_is_not_taken_for_one_when_the_last_one_goes() {
    let (_dir, path) = mailbox();
    let mut drop = open(&path).unwrap();
    append(&path, "more of letter 5\n\n");
    assert!(failure(&drop.remove(4..5)).contains("is no letter"));
    assert_eq!(drop.remove(0..1).removed, 1);
    assert_eq!(content(&path), mbox_of(2..=5) + "more of letter 5\n\n");
}

#[test]
fn a_letter_that_another_program_changes_is_not_sent() {
    let (_dir, path) = mailbox();
    let mut drop = open(&path).unwrap();
    let mut begun = drop.read(2).unwrap();
    fs::write(&path, mbox_of([1, 2, 4, 5])).unwrap();
    assert!(text(&mut drop, 0).is_ok(), "it is where it was");
    let error = text(&mut drop, 2).unwrap_err().to_string();
    assert!(error.ends_with("another program has changed it during the session"), "{error}");
    // What has begun has no end that looks like one.
    assert!(begun.read_to_end(&mut Vec::new()).is_err());
}

#[test]
fn a_file_that_is_no_mbox_of_the_users_is_an_error() {
    let (dir, path) = mailbox();
    fs::write(&path, "Subject: 1\n\n").unwrap();
    let error = open(&path).unwrap_err();
    assert!(error.is_temporary() && error.to_string().contains("does not begin with \"From \""));
    let link = dir.path().join("link");
    symlink(&path, &link).unwrap();
    assert!(
        open(&link).unwrap_err().to_string().ends_with("link: Too many levels of symbolic links")
    );
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(open(&fifo).unwrap_err().to_string().ends_with("is not a regular file"));
    assert_eq!(
        names(dir.path()),
        [".fifo.pop3", ".link.pop3", ".mbox.pop3", "fifo", "link", "mbox"]
    );
    let folder = Folder::open(dir.path()).unwrap();
    let spool = Spool::new(&folder, "mbox".as_ref(), geteuid().as_raw() + 1).unwrap();
    let error =
        MboxDrop::open(SpoolAt::Here(Box::new(spool)), MboxIds::Content).unwrap_err().to_string();
    assert!(error.contains("belongs to uid"), "{error}");
}

#[test]
fn one_session_at_a_time_and_no_lock_that_holds_up_a_delivery() {
    let (dir, path) = mailbox();
    let first = open(&path).unwrap();
    assert!(matches!(open(&path), Err(Error::InUse { .. })));
    assert!(!dir.path().join("mbox.lock").exists());
    assert!(lock(&File::options().append(true).open(&path).unwrap(), libc::F_OFD_SETLK));
    drop(first);
    drop(open(&path).unwrap());
}

/// Locks a whole file as other programs do; returns whether that has succeeded.
fn lock(file: &File, how: i32) -> bool {
    let whole = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    match how {
        libc::F_OFD_SETLK => fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&whole)).is_ok(),
        _ => fcntl(file.as_fd(), FcntlArg::F_OFD_SETLKW(&whole)).is_ok(),
    }
}

#[test]
fn a_lock_of_another_program_is_waited_for() {
    let (dir, path) = mailbox();
    let file = File::options().append(true).open(&path).unwrap();
    assert!(lock(&file, libc::F_OFD_SETLK));
    assert!(matches!(open(&path), Err(Error::InUse { .. })));
    assert_eq!(names(dir.path()), [".mbox.pop3", "mbox"]);
    drop(file);
    let dotlock = dir.file("mbox.lock", std::process::id().to_string());
    assert!(matches!(open(&path), Err(Error::InUse { .. })));
    let release = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        fs::remove_file(dotlock).unwrap();
    });
    assert_eq!(open(&path).unwrap().len(), 5);
    release.join().unwrap();
}

#[test]
fn a_delivery_that_waits_for_the_lock_with_the_old_file_open_loses_nothing() {
    for round in 0..20 {
        let (_dir, path) = mailbox();
        let mut drop = open(&path).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        let count = std::thread::scope(|scope| {
            let delivery = scope.spawn(|| {
                let mut count = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let mut file = File::options().append(true).open(&path).unwrap();
                    assert!(lock(&file, libc::F_OFD_SETLKW));
                    count += 1;
                    file.write_all(mbox_of([100 + count]).as_bytes()).unwrap();
                }
                count
            });
            std::thread::sleep(Duration::from_millis(round));
            assert_eq!(drop.remove(0..5).removed, 5);
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            delivery.join().unwrap()
        });
        let mut found: Vec<_> =
            content(&path).lines().filter(|l| l.starts_with("Sub")).map(str::to_owned).collect();
        found.sort();
        let mut sent: Vec<_> = (1..=count).map(|n| format!("Subject: {}", 100 + n)).collect();
        sent.sort();
        assert_eq!(found, sent);
    }
}

/// The mbox as it was before and as it is to be.
fn one_of_both(path: &Path) {
    let now = content(path);
    let (before, after) = (mbox_of(1..=5) + &mbox_of([6]), mbox_of([2, 3, 5, 6]));
    assert!(now == before || now == after, "{now}");
}

/// Runs UPDATE with a fault at each instant; returns how many there were.
fn at_each_instant(fault: fn(u32) -> Fault, check: impl Fn(&Path, Removal)) -> u32 {
    for instant in 0.. {
        let (_dir, path) = mailbox();
        let mut drop = open(&path).unwrap();
        append(&path, &mbox_of([6]));
        set(fault(instant));
        let removal = drop.remove([0, 3].into_iter());
        std::mem::drop(drop);
        let count = set(Fault::None);
        one_of_both(&path);
        let is_through =
            removal.failed.is_empty() && removal.unsynced.is_none() && count <= instant;
        if is_through {
            return instant;
        }
        check(&path, removal);
        // The next session finds everything, and leaves nothing behind.
        assert_eq!(open(&path).unwrap().len(), content(&path).matches("From levy").count());
        assert_eq!(names(path.parent().unwrap()), [".mbox.pop3", "mbox"]);
    }
    0
}

#[test]
fn a_kill_at_any_instant_of_update_loses_no_letter() {
    let count = at_each_instant(
        |instant| Fault::Kill(instant + 1),
        |path, _| {
            // Of a process that has ended; this one has not.
            let _ = fs::remove_file(path.with_file_name("mbox.lock"));
        },
    );
    assert!(count >= 8, "{count}");
}

#[test]
fn a_disk_that_fails_at_any_instant_of_update_loses_no_letter() {
    let count = at_each_instant(Fault::Full, |path, removal| {
        match (&removal.failed[..], &removal.unsynced) {
            ([failed], None) => assert!(failed.is_full() && removal.removed == 0, "{failed}"),
            ([], Some(unsynced)) => assert!(unsynced.is_full() && removal.removed == 2),
            _ => panic!("{removal:?}"),
        }
        assert_eq!(names(path.parent().unwrap()), [".mbox.pop3", "mbox"]);
    });
    assert!(count >= 8, "{count}");
}

#[test]
fn another_process_can_have_the_locks() {
    let (dir, path) = mailbox();
    let (ours, theirs) = sys::scm_rights::pair().unwrap();
    let spool = spool(&path);
    let served = std::thread::spawn(move || serve(Ok(spool), &theirs));
    let line = SpoolLine::new(ours, &path).unwrap();
    let mut drop = MboxDrop::open(SpoolAt::There(line), MboxIds::Content).unwrap();
    assert!(matches!(open(&path), Err(Error::InUse { .. })));
    append(&path, &mbox_of([6]));
    assert_eq!(drop.remove([0, 4].into_iter()).removed, 2);
    assert_eq!(content(&path), mbox_of([2, 3, 4, 6]));
    let why = failure(&drop.remove([0].into_iter()));
    assert!(why.contains("another program has changed it"), "{why}");
    fs::remove_file(&path).unwrap();
    symlink("elsewhere", &path).unwrap();
    let removal = drop.remove([0].into_iter());
    assert!(removal.failed[0].to_string().ends_with("mbox: Too many levels of symbolic links"));
    std::mem::drop(drop);
    served.join().unwrap();
    assert_eq!(names(dir.path()), [".mbox.pop3", "mbox"]);
}

#[test]
fn locks_that_are_asked_for_twice_are_given_back_once_and_leave_nothing() {
    let (dir, path) = mailbox();
    let mut spool = spool(&path);
    let limit = std::time::Duration::from_secs(1);
    for _ in 0..2 {
        assert!(spool.lock(limit).unwrap().is_some());
    }
    assert!(names(dir.path()).contains(&"mbox.lock".to_owned()));
    spool.unlock();
    assert!(!names(dir.path()).contains(&"mbox.lock".to_owned()), "{:?}", names(dir.path()));
}

#[test]
fn a_hundred_thousand_letters_are_read_once() {
    let dir = TempDir::new();
    let path = dir.file("mbox", mbox_of(1..=100_000));
    let mut drop = open(&path).unwrap();
    assert_eq!(drop.len(), 100_000);
    assert_eq!(text(&mut drop, 99_999).unwrap(), "Subject: 100000\n\nFrom 100000\n");
    let removal = drop.remove((0..100_000).filter(|index| index % 2 == 0));
    assert_eq!(removal.removed, 50_000);
    std::mem::drop(drop);
    assert_eq!(open(&path).unwrap().len(), 50_000);
}

mod numbers;
