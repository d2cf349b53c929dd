use super::*;
use crate::queue::envelope::sample;
use nix::sys::stat::Mode;
use std::fs;
use std::io::Read;
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
    let mut letter = queue.lock(&name).unwrap().unwrap();
    assert!(matches!(queue.lock(&name), Err(Error::InUse { .. })));
    assert_eq!((letter.name(), letter.envelope()), (name.as_os_str(), &sample()));
    for _ in 0..2 {
        let mut text = String::new();
        letter.text().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "Subject: a\n\ntext\n");
    }
    drop(letter);
    assert!(queue.lock(&name).unwrap().is_some());
}

#[test]
fn what_has_become_of_a_recipient_is_known_to_the_next_process() {
    let dir = TempDir::new();
    let queue = queue(dir.path());
    let name = put(&queue, b"x\n");
    let deferred = RecipientState::Deferred { next: 1_733_001_800, reply: b"451 later".to_vec() };
    let delivered = RecipientState::Delivered(b"250 2.0.0 ok".to_vec());
    let mut letter = queue.lock(&name).unwrap().unwrap();
    assert_eq!(letter.states(), [RecipientState::Waiting, RecipientState::Waiting]);
    letter.update(0, deferred.clone()).unwrap();
    letter.update(1, delivered.clone()).unwrap();
    assert!(letter.update(2, delivered.clone()).is_err());
    drop(letter);
    // A crash cuts the line that is being written; the next one is not glued to it.
    let state = dir.path().join("state").join(&name);
    let mut cut = fs::OpenOptions::new().append(true).open(&state).unwrap();
    cut.write_all(b"1733000000 1 deliv").unwrap();
    let mut letter = queue.lock(&name).unwrap().unwrap();
    assert_eq!(letter.states(), [deferred, delivered.clone()]);
    letter.update(0, delivered.clone()).unwrap();
    drop(letter);
    let text = fs::read_to_string(&state).unwrap();
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.ends_with(" 1 delivered 0 250 2.0.0 ok\n"), "{text}");
    let letter = queue.lock(&name).unwrap().unwrap();
    assert_eq!(letter.states(), [delivered.clone(), delivered]);
}

#[test]
fn that_the_sender_was_told_of_a_delay_is_known_to_the_next_process() {
    let dir = TempDir::new();
    let queue = queue(dir.path());
    let name = put(&queue, b"x\n");
    let deferred = RecipientState::Deferred { next: 1_733_001_800, reply: b"451 later".to_vec() };
    let mut letter = queue.lock(&name).unwrap().unwrap();
    letter.update(1, deferred.clone()).unwrap();
    letter.note_warned(&[1, 7]).unwrap();
    letter.note_warned(&[]).unwrap();
    assert!(!letter.is_warned(0) && letter.is_warned(1) && !letter.is_warned(7));
    drop(letter);
    let letter = queue.lock(&name).unwrap().unwrap();
    assert!(!letter.is_warned(0) && letter.is_warned(1));
    assert_eq!(letter.states(), [RecipientState::Waiting, deferred]);
}

#[test]
fn a_letter_that_is_done_is_removed_with_its_states() {
    let dir = TempDir::new();
    let queue = queue(dir.path());
    let name = put(&queue, b"x\n");
    let mut letter = queue.lock(&name).unwrap().unwrap();
    letter.update(0, RecipientState::Failed(b"550 no".to_vec())).unwrap();
    letter.remove().unwrap();
    assert!(queue.list().unwrap().is_empty() && names(&dir.path().join("state")).is_empty());
    assert!(queue.lock(&name).unwrap().is_none());
}

#[test]
fn states_of_letters_that_are_gone_are_swept() {
    let dir = TempDir::new();
    let queue = queue(dir.path());
    let (here, gone) = (put(&queue, b"x\n"), put(&queue, b"x\n"));
    for name in [&here, &gone] {
        let mut letter = queue.lock(name).unwrap().unwrap();
        letter.update(0, RecipientState::Waiting).unwrap();
    }
    fs::remove_file(dir.path().join("letters").join(&gone)).unwrap();
    fs::write(dir.path().join("tmp/fresh"), "").unwrap();
    assert_eq!(queue.sweep().unwrap(), 1);
    let state = dir.path().join("state");
    assert!(state.join(&here).exists() && !state.join(&gone).exists());
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
