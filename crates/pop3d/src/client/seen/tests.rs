use std::ffi::OsStr;

use testkit::TempDir;

use super::super::options::Operation;
use super::super::options::tests::options;
use super::*;

/// An account of the command line that is delivered to this folder.
fn open(folder: &TempDir, host: &str) -> Result<Seen> {
    let folder = folder.path().to_str().unwrap();
    let options = options(&["-u", "a", host, "fetch", folder]).unwrap();
    let Operation::Fetch(fetch) = &options.operation else { panic!("no fetch") };
    Seen::open(&options, fetch)
}

fn ids(seen: &Seen) -> Vec<String> {
    let mut ids: Vec<_> = seen.ids.keys().map(|id| id.escape_ascii().to_string()).collect();
    ids.sort();
    ids
}

#[test]
fn saved_ids_are_loaded_again_whichever_way_the_host_is_typed() {
    let folder = TempDir::new();
    let mut seen = open(&folder, "localhost").unwrap();
    assert!(!seen.contains(b"1.a"));
    for id in [&b"1.a"[..], b"2.b", b"3 c"] {
        seen.stored(id);
        seen.flush().unwrap();
    }
    seen.keep_only(&HashSet::from([&b"1.a"[..], b"3 c", b"4.d"]));
    seen.save().unwrap();
    drop(seen);
    let again = open(&folder, "127.0.0.1").unwrap();
    assert_eq!(ids(&again), ["1.a", "3 c"]);
    drop(again);
    assert!(ids(&open(&folder, "other").unwrap()).is_empty());
    assert!(folder.path().join(".pop3c.seen.a@localhost").exists());
}

#[test]
fn one_run_at_a_time_has_an_account() {
    let folder = TempDir::new();
    let first = open(&folder, "h").unwrap();
    assert_eq!(open(&folder, "H.").unwrap_err().status, Status::InUse);
    open(&folder, "i").unwrap();
    drop(first);
    open(&folder, "h").unwrap();
}

#[test]
fn ids_of_earlier_versions_are_taken_over() {
    let folder = TempDir::new();
    folder.file(".pop3c.seen.a@127.0.0.1:110", "1.a\n2.b gone\nhalf");
    folder.file(".pop3c.seen.a@localhost:110", "%41\n");
    let mut seen = open(&folder, "localhost").unwrap();
    assert_eq!(ids(&seen), ["%41", "1.a"]);
    assert!(seen.age(b"1.a").is_some_and(|age| age < 60));
    seen.save().unwrap();
    drop(seen);
    assert_eq!(
        fs::read_dir(folder.path())
            .unwrap()
            .filter(|it| {
                it.as_ref().unwrap().file_name().to_str().unwrap().starts_with(".pop3c.seen")
            })
            .count(),
        1
    );
    assert_eq!(ids(&open(&folder, "localhost").unwrap()), ["%41", "1.a"]);
}

#[test]
fn after_a_kill_the_maildir_decides_whether_a_letter_was_stored() {
    let folder = TempDir::new();
    let maildir = Maildir::create(folder.path()).unwrap();
    let publish = |seen: &mut Seen, id: &[u8]| {
        let letter = maildir.draft().unwrap().sync().unwrap();
        seen.storing([(id, letter.name())].into_iter()).unwrap();
        letter.publish().unwrap()
    };
    let mut seen = open(&folder, "h").unwrap();
    publish(&mut seen, b"new");
    let read = publish(&mut seen, b"read");
    publish(&mut seen, b"gone").retract().unwrap();
    publish(&mut seen, b"recorded").retract().unwrap();
    seen.stored(b"recorded");
    seen.flush().unwrap();
    seen.storing([(&b"never"[..], OsStr::new("1.a.h").to_owned())].into_iter()).unwrap();
    let path = read.path();
    let name = path.file_name().unwrap().to_str().unwrap();
    fs::rename(&path, folder.path().join(format!("cur/{name}:2,S"))).unwrap();
    // The process is killed here, in the middle of a line.
    seen.journal.as_mut().unwrap().write_all(b"+ ha").unwrap();
    drop(seen);
    let mut again = open(&folder, "h").unwrap();
    assert_eq!(ids(&again), ["new", "read", "recorded"]);
    again.stored(b"lf");
    again.flush().unwrap();
    drop(again);
    assert_eq!(ids(&open(&folder, "h").unwrap()), ["lf", "new", "read", "recorded"]);
}
