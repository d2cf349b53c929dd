//! What was sent is marked as seen.

use super::*;

fn session(path: &Path) -> MaildirDrop {
    let walked = Folder::walk(path, |_| Ok(())).unwrap();
    let options = MaildirOptions { marks_seen: true, ..MaildirOptions::default() };
    MaildirDrop::open(&walked.folder, options).unwrap()
}

fn names(path: &Path) -> [Vec<String>; 2] {
    ["new", "cur"].map(|part| testkit::names(&path.join(part)))
}

#[test]
fn only_what_was_sent_to_its_end_is_marked_and_keeps_its_other_flags() {
    let (_f, path) = maildir();
    for name in ["new/1.a,S=2,W=3", "cur/2.a:2,FT", "cur/3.a:2,S", "new/4.a", "new/5.a"] {
        fs::write(path.join(name), "a\n").unwrap();
    }
    let mut drop = session(&path);
    let before = uids(&mut drop);
    for index in 0..=3 {
        drop.read(index).unwrap();
    }
    for index in 0..=2 {
        drop.correct_size(index, 3);
    }
    assert_eq!(names(&path)[0].len(), 3, "nothing before the end");
    std::mem::drop(drop);
    let [new, cur] = names(&path);
    assert_eq!(new, ["4.a", "5.a"]);
    assert_eq!(cur, ["1.a,S=2,W=3:2,S", "2.a:2,FST", "3.a:2,S"]);
    let mut drop = session(&path);
    assert_eq!(uids(&mut drop), before);
    // Without the option nothing moves.
    std::mem::drop(drop);
    let mut drop = opened(&path).unwrap();
    drop.correct_size(3, 3);
    std::mem::drop(drop);
    assert_eq!(names(&path)[0], ["4.a", "5.a"]);
}

#[test]
fn a_letter_that_was_moved_is_marked_where_it_is_and_one_that_is_gone_is_not() {
    let (_f, path) = maildir();
    for name in ["new/1.a", "new/2.a", "new/3.a", "new/4.a"] {
        fs::write(path.join(name), "a\n").unwrap();
    }
    let mut drop = session(&path);
    (0..4).for_each(|index| assert!(!drop.correct_size(index, 3)));
    fs::rename(path.join("new/1.a"), path.join("cur/1.a:2,R")).unwrap();
    fs::remove_file(path.join("new/2.a")).unwrap();
    assert_eq!(drop.remove([3].into_iter()).removed, 1);
    std::mem::drop(drop);
    let [new, cur] = names(&path);
    assert!(new.is_empty(), "{new:?}");
    assert_eq!(cur, ["1.a:2,RS", "3.a:2,S"]);
}

#[test]
fn no_other_letter_is_replaced_by_one_that_is_marked() {
    let (_f, path) = maildir();
    fs::write(path.join("new/1.a"), "one\n").unwrap();
    fs::write(path.join("cur/1.a:2,S"), "two\n").unwrap();
    let mut drop = session(&path);
    (0..2).for_each(|index| assert!(!drop.correct_size(index, 5)));
    std::mem::drop(drop);
    assert_eq!(fs::read_to_string(path.join("new/1.a")).unwrap(), "one\n");
    assert_eq!(fs::read_to_string(path.join("cur/1.a:2,S")).unwrap(), "two\n");
}
