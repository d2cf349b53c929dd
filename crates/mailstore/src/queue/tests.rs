use super::*;
use crate::error::Error;
use crate::folder::Folder;
use crate::queue::control::WHOLE;
use crate::queue::envelope::sample;
use crate::queue::state::sample as state;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use testkit::{TempDir, names, root_can_judge};

fn ids() -> (Uid, Gid) {
    (nix::unistd::geteuid(), nix::unistd::getegid())
}

fn queue(dir: &Path) -> Queue {
    let (uid, gid) = ids();
    Queue::make(Folder::open(dir).unwrap(), uid, gid).unwrap()
}

fn put(queue: &Queue, text: &[u8]) -> OsString {
    let mut draft = queue.draft(&sample()).unwrap();
    draft.write_all(text).unwrap();
    let synced = draft.sync().unwrap();
    let name = synced.name().to_owned();
    QueuedDraft::publish_all(vec![synced]).unwrap();
    name
}

#[test]
fn a_letter_is_in_the_queue_once_it_is_published_and_not_before() {
    let dir = TempDir::new();
    let queue = queue(dir.path());
    let (letters, tmp) = (dir.path().join("letters"), dir.path().join("tmp"));
    let mut draft = queue.draft(&sample()).unwrap();
    draft.write_all(b"text\n").unwrap();
    let synced = draft.sync().unwrap();
    assert_eq!((names(&letters).len(), names(&tmp).len()), (0, 1));
    let name = synced.name().to_owned();
    QueuedDraft::publish_all(vec![synced]).unwrap();
    assert_eq!((queue.list().unwrap(), names(&tmp).len()), (vec![name.clone()], 0));
    let file = letters.join(&name);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let expected = [&sample().encode().unwrap()[..], b"text\n"].concat();
    assert_eq!(fs::read(file).unwrap(), expected);
}

#[test]
fn a_letter_that_is_dropped_leaves_nothing() {
    let dir = TempDir::new();
    let queue = queue(dir.path());
    drop(queue.draft(&sample()).unwrap());
    drop(queue.draft(&sample()).unwrap().sync().unwrap());
    for part in ["tmp", "letters", "state"] {
        assert_eq!(names(&dir.path().join(part)).len(), 0, "{part}");
    }
}

#[test]
fn letters_are_listed_in_the_order_in_which_they_came() {
    let dir = TempDir::new();
    let queue = queue(dir.path());
    let put: Vec<OsString> = (0..5).map(|_| put(&queue, b"x\n")).collect();
    assert_eq!(queue.list().unwrap(), put);
}

#[test]
fn one_process_at_a_time_has_a_letter_and_reads_it_whole() {
    let dir = TempDir::new();
    let queue = queue(dir.path());
    let name = put(&queue, b"Subject: a\n\ntext\n");
    assert!(!queue.is_being_sent(&name));
    let letter = queue.lock(&name).unwrap().unwrap();
    assert!(matches!(queue.lock(&name), Err(Error::InUse { .. })) && queue.is_being_sent(&name));
    assert_eq!((letter.name(), letter.envelope()), (name.as_os_str(), &sample()));
    assert_eq!(letter.text_length().unwrap(), 17);
    for _ in 0..2 {
        let mut text = String::new();
        letter.text().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "Subject: a\n\ntext\n");
    }
    drop(letter);
    assert!(!queue.is_being_sent(&name) && queue.lock(&name).unwrap().is_some());
}

#[test]
fn each_recipient_of_a_letter_has_one_process_at_a_time() {
    let dir = TempDir::new();
    let queue = queue(dir.path());
    let name = put(&queue, b"x\n");
    let mut first = queue.lock_for(&name, &[0]).unwrap().unwrap();
    assert!(matches!(queue.lock_for(&name, &[1, 0]), Err(Error::InUse { .. })));
    let mut second = queue.lock_for(&name, &[1]).unwrap().unwrap();
    assert!(matches!(queue.lock(&name), Err(Error::InUse { .. })));
    // Both append to one file.
    first.record(&[(0, state(Stage::Delivered, 0, "250 ok"))], false).unwrap();
    second.record(&[(1, state(Stage::Deferred, 9, "451 later"))], true).unwrap();
    drop((first, second));
    let letter = queue.lock(&name).unwrap().unwrap();
    let stages: Vec<Stage> = letter.states().iter().map(|it| it.stage).collect();
    assert_eq!(stages, [Stage::Delivered, Stage::Deferred]);
}

#[test]
fn what_has_become_of_a_recipient_is_known_to_the_next_process() {
    let dir = TempDir::new();
    let queue = queue(dir.path());
    let name = put(&queue, b"x\n");
    let deferred = state(Stage::Deferred, 1_733_001_800, "451 later");
    let delivered = state(Stage::Delivered, 0, "250 2.0.0 ok");
    let mut letter = queue.lock(&name).unwrap().unwrap();
    assert!(letter.states().iter().all(|it| it.stage == Stage::Waiting));
    letter.record(&[(0, deferred.clone()), (1, delivered.clone())], true).unwrap();
    assert!(letter.record(&[(2, delivered.clone())], true).is_err());
    drop(letter);
    // A crash cuts the line that is being written; the next one is not glued to it.
    let file = dir.path().join("state").join(&name);
    let mut cut = fs::OpenOptions::new().append(true).open(&file).unwrap();
    cut.write_all(b"1733000000 1 deliv").unwrap();
    let mut letter = queue.lock(&name).unwrap().unwrap();
    assert_eq!(letter.states(), [deferred.clone(), delivered.clone()]);
    letter.record(&[(0, delivered.clone())], false).unwrap();
    drop(letter);
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.ends_with(" 1 delivered 0 mx.test[192.0.2.7] 250 2.0.0 ok\n"), "{text}");
    let letter = queue.read(&name).unwrap().unwrap();
    let first = RecipientState { attempts: 1, ..delivered.clone() };
    assert_eq!(letter.states(), [first, delivered]);
}

#[test]
fn notifications_of_the_author_are_known_to_the_next_process() {
    let dir = TempDir::new();
    let queue = queue(dir.path());
    let name = put(&queue, b"x\n");
    let mut letter = queue.lock(&name).unwrap().unwrap();
    let states =
        [(0, state(Stage::Deferred, 9, "451 later")), (1, state(Stage::Failed, 0, "550 no"))];
    letter.record(&states, true).unwrap();
    letter.record_notified(&[1, 7]).unwrap();
    letter.note_warned(&[0, 7]).unwrap();
    letter.note_warned(&[]).unwrap();
    assert!(letter.is_warned(0) && !letter.is_warned(1) && !letter.is_warned(7));
    let known = letter.states().to_vec();
    drop(letter);
    assert_eq!(queue.read(&name).unwrap().unwrap().states(), known);
    assert!(
        known[0].is_warned
            && known[0].stage == Stage::Deferred
            && known[1].stage == Stage::Notified
    );
    assert_eq!(known[1].reply, b"550 no");
}

#[test]
fn a_letter_that_is_done_is_removed_with_its_states() {
    let dir = TempDir::new();
    let queue = queue(dir.path());
    let name = put(&queue, b"x\n");
    assert!(queue.hold(&name).unwrap());
    let mut letter = queue.lock(&name).unwrap().unwrap();
    letter.record(&[(0, state(Stage::Failed, 0, "550 no"))], true).unwrap();
    letter.remove().unwrap();
    for part in ["letters", "state", "hold"] {
        assert!(names(&dir.path().join(part)).is_empty(), "{part}");
    }
    assert!(queue.lock(&name).unwrap().is_none() && queue.read(&name).unwrap().is_none());
    assert!(names(&dir.path().join("state")).is_empty());
}

#[test]
fn a_letter_is_held_until_it_is_released() {
    let dir = TempDir::new();
    let queue = queue(dir.path());
    let name = put(&queue, b"x\n");
    assert!(!queue.is_held(&name) && !queue.release(&name).unwrap());
    assert!(queue.hold(&name).unwrap() && queue.hold(&name).unwrap() && queue.is_held(&name));
    assert_eq!(queue.held().unwrap(), std::slice::from_ref(&name));
    assert!(queue.release(&name).unwrap() && !queue.is_held(&name));
    assert!(!queue.hold(OsStr::new("none")).unwrap());
    for odd in ["../letters", "", "."] {
        assert!(queue.hold(OsStr::new(odd)).is_err() && queue.release(OsStr::new(odd)).is_err());
    }
}

#[test]
fn a_letter_is_deleted_though_a_process_sends_it() {
    let dir = TempDir::new();
    let queue = queue(dir.path());
    let (one, two) = (put(&queue, b"x\n"), put(&queue, b"y\n"));
    assert_eq!(queue.delete(&two).unwrap(), Some(false));
    let mut letter = queue.lock_for(&one, &[0]).unwrap().unwrap();
    assert_eq!(queue.delete(&one).unwrap(), Some(true));
    assert_eq!(queue.delete(&one).unwrap(), None);
    letter.record(&[(0, state(Stage::Delivered, 0, "250 ok"))], false).unwrap();
    let mut text = String::new();
    letter.text().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "x\n");
    drop(letter);
    queue.forget(&one);
    assert!(queue.list().unwrap().is_empty() && names(&dir.path().join("state")).is_empty());
    assert!(queue.delete(OsStr::new("../tmp")).is_err());
}

#[test]
fn the_runner_is_asked_once_and_there_is_one() {
    let dir = TempDir::new();
    let queue = queue(dir.path());
    assert!(!queue.take_flush());
    queue.ask_flush().unwrap();
    queue.ask_flush().unwrap();
    assert!(queue.take_flush() && !queue.take_flush());
    // As another process sees it.
    let is_locked = || {
        let file = fs::File::open(dir.path().join("runner")).unwrap();
        let mut lock = libc::flock { l_type: libc::F_WRLCK as libc::c_short, ..WHOLE };
        fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock)).unwrap();
        libc::c_int::from(lock.l_type) != libc::F_UNLCK
    };
    let lock = queue.lock_runner().unwrap();
    assert!(lock.is_some() && is_locked());
    drop(lock);
    assert!(!is_locked() && queue.lock_runner().unwrap().is_some());
}

#[test]
fn states_of_letters_that_are_gone_are_swept() {
    let dir = TempDir::new();
    let queue = queue(dir.path());
    let (here, gone) = (put(&queue, b"x\n"), put(&queue, b"x\n"));
    for name in [&here, &gone] {
        assert!(queue.hold(name).unwrap());
        let mut letter = queue.lock(name).unwrap().unwrap();
        letter.record(&[(0, RecipientState::default())], false).unwrap();
    }
    fs::remove_file(dir.path().join("letters").join(&gone)).unwrap();
    fs::write(dir.path().join("tmp/fresh"), "").unwrap();
    assert_eq!(queue.sweep().unwrap(), 2);
    for part in ["state", "hold"].map(|part| dir.path().join(part)) {
        assert!(part.join(&here).exists() && !part.join(&gone).exists());
    }
    assert_eq!(names(&dir.path().join("tmp")).len(), 1);
}

#[test]
fn what_is_no_letter_is_refused_and_not_followed() {
    let dir = TempDir::new();
    let queue = queue(dir.path());
    fs::write(dir.path().join("secret"), "forklore letter 1\nto <a@b.test>\n\n").unwrap();
    symlink("../secret", dir.path().join("letters/link")).unwrap();
    fs::write(dir.path().join("letters/odd"), "x\n").unwrap();
    nix::unistd::mkfifo(&dir.path().join("letters/fifo"), Mode::S_IRWXU).unwrap();
    for name in ["../secret", "", ".", "..", "link", "odd", "fifo"] {
        assert!(queue.lock(OsStr::new(name)).is_err(), "{name}");
    }
    assert!(queue.lock(OsStr::new("none")).unwrap().is_none());
}

#[test]
fn a_queue_that_others_may_use_is_refused() {
    let dir = TempDir::new();
    drop(queue(dir.path()));
    let tmp = dir.path().join("letters");
    fs::set_permissions(&tmp, fs::Permissions::from_mode(0o755)).unwrap();
    let (uid, gid) = ids();
    let made = Queue::make(Folder::open(dir.path()).unwrap(), uid, gid);
    assert!(matches!(made, Err(Error::Refused(_))));
}

#[test]
fn root_makes_a_queue_for_its_owner() {
    if !root_can_judge() {
        return;
    }
    let dir = TempDir::below(Path::new("/run"));
    let (uid, gid) = (Uid::from_raw(4242), Gid::from_raw(4243));
    let made = Queue::make(Folder::open(dir.path()).unwrap(), uid, gid).unwrap();
    assert_eq!(made.parts.letters.owner().unwrap(), (uid, gid));
    let other = Queue::open(Folder::open(dir.path()).unwrap(), Uid::from_raw(4244));
    assert!(matches!(other, Err(Error::Refused(_))));
}

#[test]
fn a_notification_that_is_under_way_is_swept_only_when_its_letter_is_gone() {
    let dir = TempDir::new();
    let queue = queue(dir.path());
    let (here, gone) = (put(&queue, b"x\n"), put(&queue, b"x\n"));
    let then = std::time::SystemTime::now() - std::time::Duration::from_secs(37 * 60 * 60);
    for name in [&here, &gone] {
        let draft = queue.draft_notice(name, 1, &sample()).unwrap().sync().unwrap();
        let path = dir.path().join("tmp").join(draft.name());
        queue.keep_notices(vec![draft]).unwrap();
        let times = fs::FileTimes::new().set_accessed(then).set_modified(then);
        fs::File::open(path).unwrap().set_times(times).unwrap();
    }
    queue.delete(&gone).unwrap();
    assert_eq!(queue.sweep().unwrap(), 1);
    queue.publish_notice(&here, 1).unwrap();
    assert_eq!(queue.list().unwrap().len(), 2);
    queue.publish_notice(&here, 1).unwrap(); // a second time nothing is left to do
}

#[test]
fn what_will_be_written_has_its_room_before() {
    let dir = TempDir::new();
    let queue = queue(dir.path());
    let name = put(&queue, b"x\n");
    let mut letter = queue.lock(&name).unwrap().unwrap();
    let all: Vec<usize> = (0..letter.envelope().recipients.len()).collect();
    letter.record_sending(&all).unwrap();
    assert_eq!(letter.states(), vec![RecipientState::default(); all.len()]);
    let again = queue.read(&name).unwrap().unwrap();
    assert_eq!(again.states(), letter.states(), "an attempt that has begun changes nothing");
}
