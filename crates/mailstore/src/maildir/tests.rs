use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use testkit::{TempDir, names};

use super::*;

fn maildir() -> (TempDir, Maildir) {
    let folder = TempDir::new();
    let maildir = Maildir::create(folder.path().join("Maildir")).unwrap();
    (folder, maildir)
}

fn files(maildir: &Maildir, part: &str) -> Vec<String> {
    names(&maildir.path().join(part))
}

fn letter(maildir: &Maildir, text: &[u8]) -> Synced {
    let mut draft = maildir.draft().unwrap();
    draft.write_all(text).unwrap();
    draft.sync().unwrap()
}

#[test]
fn a_letter_goes_from_tmp_to_new_with_its_sizes_in_the_name() {
    let (_f, maildir) = maildir();
    let mut draft = maildir.draft().unwrap();
    assert_eq!((files(&maildir, "tmp").len(), files(&maildir, "new").len()), (1, 0));
    draft.write_all(b"Subject: x\n").unwrap();
    draft.write_all(b"\n.\nend").unwrap();
    let synced = draft.sync().unwrap();
    assert_eq!((synced.bytes(), synced.octets()), (17, 22));
    let published = synced.publish().unwrap();
    assert_eq!(fs::read(published.path()).unwrap(), b"Subject: x\n\n.\nend");
    let mode = fs::metadata(published.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(files(&maildir, "tmp").is_empty());
    let names = files(&maildir, "new");
    assert!(names[0].ends_with(",S=17,W=22"), "{names:?}");
    drop(published);
    assert_eq!(files(&maildir, "new"), names);
}

#[test]
fn a_letter_dropped_before_it_is_published_leaves_nothing() {
    let (_f, maildir) = maildir();
    drop(maildir.draft().unwrap());
    drop(letter(&maildir, b"x\n"));
    assert!(files(&maildir, "tmp").is_empty());
    assert!(files(&maildir, "new").is_empty());
}

#[test]
fn a_published_letter_can_be_retracted_even_after_a_reader_moved_it() {
    let (_f, maildir) = maildir();
    letter(&maildir, b"x\n").publish().unwrap().retract().unwrap();
    assert!(files(&maildir, "new").is_empty());

    let published = letter(&maildir, b"x\n").publish().unwrap();
    let keep = letter(&maildir, b"x\n").publish().unwrap();
    for letter in [published.path(), keep.path()] {
        let name = letter.file_name().unwrap().to_str().unwrap();
        fs::rename(&letter, maildir.path().join("cur").join(format!("{name}:2,S"))).unwrap();
    }
    published.retract().unwrap();
    assert_eq!(files(&maildir, "cur").len(), 1);
    keep.retract().unwrap();
    assert!(files(&maildir, "cur").is_empty());
}

#[test]
fn publishing_never_overwrites_a_letter() {
    let (_f, maildir) = maildir();
    let synced = letter(&maildir, b"mine\n");
    let mut name = synced.unpublished.base.clone();
    name.push(",S=5,W=6");
    let taken = maildir.path().join("new").join(name);
    fs::write(&taken, "theirs").unwrap();
    let error = synced.publish().unwrap_err().to_string();
    assert!(error.ends_with(": File exists"), "{error}");
    assert_eq!(fs::read(&taken).unwrap(), b"theirs");
    assert!(files(&maildir, "tmp").is_empty());
}

#[test]
fn create_creates_missing_folders() {
    let folder = TempDir::new();
    let path = folder.path().join("a/b/Maildir");
    Maildir::create(&path).unwrap();
    for part in ["", "tmp", "new", "cur"] {
        let mode = fs::metadata(path.join(part)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{part}");
    }
    Maildir::create(&path).unwrap();
}

#[test]
fn what_is_no_folder_in_place_of_a_folder_is_an_error_and_blocks_nothing() {
    let folder = TempDir::new();
    let path = folder.path().join("Maildir");
    fs::write(&path, "").unwrap();
    let error = Maildir::create(&path).unwrap_err();
    assert!(error.to_string().ends_with(": Not a directory"), "{error}");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    for part in ["tmp", "new", "cur"] {
        let part = path.join(part);
        fs::write(&part, "").unwrap();
        assert!(Maildir::create(&path).is_err());
        fs::remove_file(&part).unwrap();
        nix::unistd::mkfifo(&part, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(Maildir::create(&path).is_err());
        fs::remove_file(&part).unwrap();
        symlink(folder.path(), &part).unwrap();
        assert!(Maildir::create(&path).is_err());
        fs::remove_file(&part).unwrap();
    }
    Maildir::create(&path).unwrap();
}

#[test]
fn another_file_in_place_of_a_draft_is_not_published_and_blocks_nothing() {
    let (_f, maildir) = maildir();
    for replace in [
        |path: &Path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
        |path: &Path| symlink("/etc/passwd", path).unwrap(),
        |path: &Path| fs::write(path, "other").unwrap(),
    ] {
        let synced = letter(&maildir, b"mine\n");
        let path = synced.unpublished.path();
        let kept = fs::File::open(&path).unwrap(); // its inode is not used again
        fs::remove_file(&path).unwrap();
        replace(&path);
        assert_eq!(kept.metadata().unwrap().nlink(), 0);
        let error = synced.publish().unwrap_err().to_string();
        assert!(error.ends_with("another file was put in the letter's place"), "{error}");
        assert!(files(&maildir, "new").is_empty() && files(&maildir, "tmp").is_empty());
    }
}

#[test]
fn a_path_that_leads_elsewhere_later_makes_no_difference() {
    let (folder, maildir) = maildir();
    let synced = letter(&maildir, b"mine\n");
    let (path, moved) = (folder.path().join("Maildir"), folder.path().join("moved"));
    fs::rename(&path, &moved).unwrap();
    symlink("/", &path).unwrap();
    synced.publish().unwrap();
    assert_eq!(names(&moved.join("new")).len(), 1);
    letter(&maildir, b"x\n").publish().unwrap().retract().unwrap();
    assert_eq!(names(&moved.join("new")).len(), 1);
}

#[test]
fn publishing_into_a_removed_folder_fails() {
    let (_f, maildir) = maildir();
    let synced = letter(&maildir, b"x\n");
    fs::remove_dir(maildir.path().join("new")).unwrap();
    assert!(synced.publish().is_err());
    assert!(files(&maildir, "tmp").is_empty());
}

#[test]
fn a_batch_becomes_visible_as_a_whole_or_not_at_all() {
    let (_f, maildir) = maildir();
    let drafts = |count: usize| -> Vec<Draft> {
        let draft = |n| {
            let mut draft = maildir.draft().unwrap();
            writeln!(draft, "{n}").unwrap();
            draft.start_sync();
            draft
        };
        (0..count).map(draft).collect()
    };
    let synced = Draft::sync_all(drafts(40)).unwrap();
    assert_eq!((files(&maildir, "tmp").len(), files(&maildir, "new").len()), (40, 0));
    let names: Vec<_> = synced.iter().map(Synced::name).collect();
    let published = Synced::publish_all(synced).unwrap();
    assert_eq!(files(&maildir, "new").len(), 40);
    for ((n, published), name) in (0..).zip(&published).zip(&names) {
        assert_eq!(fs::read_to_string(published.path()).unwrap(), format!("{n}\n"));
        assert_eq!(published.path().file_name().unwrap(), name.as_os_str());
    }
    let synced = Draft::sync_all(drafts(3)).unwrap();
    let last = maildir.path().join("tmp").join(files(&maildir, "tmp").last().unwrap());
    fs::remove_file(last).unwrap();
    assert!(Synced::publish_all(synced).is_err());
    assert_eq!((files(&maildir, "tmp").len(), files(&maildir, "new").len()), (0, 40));
    assert!(Draft::sync_all(Vec::new()).unwrap().is_empty());
    assert!(Synced::publish_all(Vec::new()).unwrap().is_empty());
}

#[test]
fn a_letter_for_another_mailbox_of_the_same_owner_is_a_second_name_of_one_file() {
    let (folder, maildir) = maildir();
    let other = Maildir::create(folder.path().join("Other")).unwrap();
    let written = letter(&maildir, b"x\ny\n");
    let linked = other.link(&written).unwrap().unwrap();
    assert_eq!((linked.bytes(), linked.octets()), (4, 6));
    assert_ne!(linked.name(), written.name(), "no two letters have one name");
    let (one, two) = (written.publish().unwrap(), linked.publish().unwrap());
    let inode = |letter: &Published| fs::metadata(letter.path()).unwrap().ino();
    assert_eq!(inode(&one), inode(&two));
    assert_eq!(fs::metadata(one.path()).unwrap().nlink(), 2, "no name is left in tmp");
    // One that is taken back leaves the other.
    one.retract().unwrap();
    assert_eq!(fs::read(two.path()).unwrap(), b"x\ny\n");
    // A name that was made and not published is gone; the letter that it was made of is not.
    let written = letter(&maildir, b"z\n");
    drop(other.link(&written).unwrap().unwrap());
    assert_eq!((files(&other, "tmp").len(), files(&maildir, "tmp").len()), (0, 1));
    written.publish().unwrap();
}

#[test]
fn a_letter_on_another_disk_gets_a_file_of_its_own() {
    // /dev/shm is a disk of its own where it is mounted.
    let (_f, maildir) = maildir();
    let disk = |path: &Path| fs::metadata(path).unwrap().dev();
    let shm = Path::new("/dev/shm");
    if !shm.is_dir() || disk(shm) == disk(maildir.path()) {
        return;
    }
    let folder = TempDir::below(shm);
    let other = Maildir::create(folder.path().join("Other")).unwrap();
    let written = letter(&maildir, b"x\n");
    assert!(other.link(&written).unwrap().is_none());
    assert!(files(&other, "tmp").is_empty());
}

#[test]
fn what_was_set_aside_and_not_used_is_given_back() {
    let (_f, maildir) = maildir();
    let mut draft = maildir.draft().unwrap();
    draft.reserve(1 << 20).unwrap();
    let path = draft.unpublished.path();
    assert_eq!(fs::metadata(&path).unwrap().len(), 0, "a reader of sizes sees none of it");
    draft.write_all(b"x\n").unwrap();
    let published = draft.sync().unwrap().publish().unwrap();
    let found = fs::metadata(published.path()).unwrap();
    assert_eq!(found.len(), 2);
    assert!(found.blocks() * 512 <= 64 * 1024, "{} blocks", found.blocks());
    // A letter may be longer than its client has written.
    let mut draft = maildir.draft().unwrap();
    draft.reserve(1).unwrap();
    draft.write_all(&[b'x'; 5000]).unwrap();
    assert_eq!(draft.sync().unwrap().bytes(), 5000);
}

#[test]
fn more_than_a_file_can_have_is_refused_before_the_letter_comes() {
    let (_f, maildir) = maildir();
    let mut draft = maildir.draft().unwrap();
    let refused = draft.reserve(u64::MAX);
    // A file system that sets nothing aside says nothing.
    assert!(refused.is_err() || draft.reserve(1).is_ok());
    if let Err(error) = refused {
        assert!(error.to_string().starts_with("write to "), "{error}");
    }
    draft.write_all(b"x\n").unwrap();
    assert_eq!(draft.sync().unwrap().bytes(), 2, "the draft is as good as before");
}

#[test]
fn drafts_of_one_file_are_written_once_or_by_another_one_from_the_start() {
    let (dir, one) = maildir();
    let other = Maildir::create(dir.path().join("Other")).unwrap();
    let mut first = one.draft().unwrap();
    let second = other.draft_of_same(&first).unwrap().unwrap();
    first.write_all(b"letter\n").unwrap();
    let written = first.sync().unwrap();
    let own = one.draft().unwrap().as_written(&written);
    drop(own.expect_err("a file of its own"));
    let same = second.as_written(&written).expect("the same file");
    for published in Synced::publish_each(vec![written, same]) {
        let published = published.unwrap();
        assert_eq!(fs::read(published.path()).unwrap(), b"letter\n");
        assert_eq!(fs::metadata(published.path()).unwrap().nlink(), 2);
    }
    // The first one breaks off.
    let mut first = one.draft().unwrap();
    let mut second = other.draft_of_same(&first).unwrap().unwrap();
    first.write_all(b"let").unwrap();
    drop(first);
    second.write_all(b"letter\n").unwrap();
    let published = second.sync().unwrap().publish().unwrap();
    assert_eq!(fs::read(published.path()).unwrap(), b"letter\n");
    assert!(files(&one, "tmp").is_empty() && files(&other, "tmp").is_empty());
}

#[test]
fn one_that_was_waited_for_is_not_waited_for_again_unless_another_one_is_in_its_place() {
    let dir = TempDir::new();
    let mut safe = SafeMaildirs::default();
    let open =
        |safe: &SafeMaildirs| Maildir::make_with(Folder::open(dir.path()).unwrap(), safe).unwrap();
    let waits = |maildir: &Maildir| maildir.parts.folders().count() == 2;
    let first = open(&safe);
    assert!(waits(&first), "it is new");
    safe.add(&first.draft().unwrap().sync().unwrap().publish().unwrap());
    assert!(!waits(&open(&safe)));
    assert!(waits(&open(&SafeMaildirs::default())), "another process does not know it");
    fs::remove_dir_all(dir.path().join("new")).unwrap();
    assert!(waits(&open(&safe)), "this one was not waited for");
}
