use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;

use nix::unistd::mkfifo;

use super::*;
use testkit::TempDir;

fn maildir() -> (TempDir, PathBuf) {
    let folder = TempDir::new();
    let path = folder.path().join("Maildir");
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(path.join(part)).unwrap();
    }
    (folder, path)
}

/// Opens the maildrop at this path, as a session does.
fn opened(path: &Path) -> Result<MaildirDrop> {
    let walked = Folder::walk(path, |_| Ok(()))?;
    if walked.missing.is_empty() {
        MaildirDrop::open(&walked.folder, MaildirOptions::default())
    } else {
        Ok(MaildirDrop::none(path))
    }
}

fn uids(drop: &mut MaildirDrop) -> Vec<String> {
    (0..drop.len()).map(|i| String::from_utf8(drop.uid(i).unwrap()).unwrap()).collect()
}

fn text(drop: &mut MaildirDrop, index: usize) -> String {
    let mut text = String::new();
    drop.read(index).unwrap().read_to_string(&mut text).unwrap();
    text
}

#[test]
fn letters_of_new_and_cur_are_sorted_by_arrival() {
    let (_f, path) = maildir();
    for name in ["new/10.M5P1.h", "cur/9.M1P1.h:2,S", "cur/10.M40P1.h:2,", "new/100.a.h", "new/x"] {
        fs::write(path.join(name), "").unwrap();
    }
    let mut drop = opened(&path).unwrap();
    assert_eq!(uids(&mut drop), ["x", "9.M1P1.h", "10.M5P1.h", "10.M40P1.h", "100.a.h"]);
}

#[test]
fn letters_removed_by_another_program_do_not_cost_a_listing_each() {
    let (_f, path) = maildir();
    for number in 0..10 {
        fs::write(path.join(format!("new/{number}.a")), "").unwrap();
    }
    let mut drop = opened(&path).unwrap();
    for number in 0..9 {
        fs::remove_file(path.join(format!("new/{number}.a"))).unwrap();
    }
    fs::rename(path.join("new/9.a"), path.join("cur/9.a:2,S")).unwrap();
    for index in 0..9 {
        assert_eq!(drop.read(index).unwrap_err().kind(), Some(std::io::ErrorKind::NotFound));
    }
    assert_eq!(drop.listing, 1);
    // A letter that was listed is found again each time it moves.
    drop.read(9).unwrap();
    fs::rename(path.join("cur/9.a:2,S"), path.join("cur/9.a:2,RS")).unwrap();
    drop.read(9).unwrap();
    assert_eq!(drop.listing, 2);
    // A letter that was not listed counts as gone only for GONE_TTL.
    fs::write(path.join("cur/0.a:2,"), "").unwrap();
    drop.listed -= GONE_TTL;
    drop.read(0).unwrap();
}

#[test]
fn the_lock_holds_under_every_name_of_the_maildrop() {
    let (folder, path) = maildir();
    let other = folder.path().join("other");
    let first = opened(&path).unwrap();
    assert!(matches!(opened(&path), Err(Error::InUse { .. })));
    fs::rename(&path, &other).unwrap();
    assert!(matches!(opened(&other), Err(Error::InUse { .. })));
    assert!(opened(&path).unwrap().len() == 0, "it is not there");
    drop(first);
    opened(&other).unwrap();
}

#[test]
fn a_maildir_without_new_or_cur_is_a_temporary_error_and_never_empty() {
    for part in ["new", "cur"] {
        let (_f, path) = maildir();
        fs::remove_dir(path.join(part)).unwrap();
        let error = opened(&path).unwrap_err();
        let said = format!("open {}: No such file or directory", path.join(part).display());
        assert_eq!(error.to_string(), said);
        assert!(error.is_temporary());
    }
}

#[test]
fn a_link_to_a_maildir_or_to_a_part_of_it_is_an_error() {
    let (folder, path) = maildir();
    let link = folder.path().join("link");
    symlink(&path, &link).unwrap();
    assert!(opened(&link).is_err());
    for part in ["new", "cur"] {
        let (other, to) = (folder.path().join(part), path.join(part));
        fs::rename(&to, &other).unwrap();
        symlink(&other, &to).unwrap();
        let error = opened(&path).unwrap_err();
        assert!(!error.is_temporary(), "{error}");
        fs::remove_file(&to).unwrap();
        fs::write(&to, "").unwrap();
        let error = opened(&path).unwrap_err();
        assert!(error.to_string().ends_with("Not a directory"), "{error}");
        fs::remove_file(&to).unwrap();
        fs::rename(&other, &to).unwrap();
    }
    assert_eq!(opened(&path).unwrap().len(), 0);
}

#[test]
fn a_file_in_place_of_the_folder_is_a_permanent_error() {
    let folder = TempDir::new();
    let path = folder.path().join("Maildir");
    fs::write(&path, "").unwrap();
    let error = opened(&path).unwrap_err();
    assert_eq!(error.to_string(), format!("open {}: Not a directory", path.display()));
    assert!(!error.is_temporary());
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    fs::write(path.join("cur"), "").unwrap();
    assert!(opened(&path).is_err());
}

#[test]
fn only_regular_files_are_letters() {
    let (folder, path) = maildir();
    fs::write(folder.path().join("secret"), "s").unwrap();
    symlink(folder.path().join("secret"), path.join("new/1.link")).unwrap();
    mkfifo(&path.join("new/2.fifo"), Mode::S_IRWXU).unwrap();
    fs::create_dir(path.join("cur/3.folder")).unwrap();
    fs::write(path.join("cur/.hidden"), "").unwrap();
    fs::write(path.join("cur/4.letter"), "").unwrap();
    let mut drop = opened(&path).unwrap();
    assert_eq!(uids(&mut drop), ["4.letter"]);
    // A link or FIFO that replaces a letter later is not read either, and does not block.
    for make in [0, 1] {
        fs::remove_file(path.join("cur/4.letter")).unwrap();
        match make {
            0 => symlink(folder.path().join("secret"), path.join("cur/4.letter")).unwrap(),
            _ => mkfifo(&path.join("cur/4.letter"), Mode::S_IRWXU).unwrap(),
        }
        assert!(drop.read(0).is_err());
    }
}

#[test]
fn a_letter_is_found_again_after_its_flags_changed_or_it_moved() {
    let (_f, path) = maildir();
    for n in 1..=3 {
        fs::write(path.join(format!("new/{n}.a.h")), format!("{n}")).unwrap();
    }
    let mut drop = opened(&path).unwrap();
    let before = uids(&mut drop);
    fs::rename(path.join("new/1.a.h"), path.join("cur/1.a.h:2,S")).unwrap();
    fs::rename(path.join("new/3.a.h"), path.join("cur/3.a.h:2,")).unwrap();
    fs::write(path.join("new/2.b.h"), "came later").unwrap();
    assert_eq!([text(&mut drop, 0), text(&mut drop, 1), text(&mut drop, 2)], ["1", "2", "3"]);
    fs::rename(path.join("cur/1.a.h:2,S"), path.join("cur/1.a.h:2,RS")).unwrap();
    assert_eq!(text(&mut drop, 0), "1");
    assert_eq!(uids(&mut drop), before);
    fs::rename(path.join("cur/1.a.h:2,RS"), path.join("cur/1.a.h:2,FRS")).unwrap();
    assert_eq!(drop.remove([0, 2].into_iter()).removed, 2);
    let left = opened(&path);
    assert!(matches!(left, Err(Error::InUse { .. })));
    std::mem::drop(drop);
    assert_eq!(uids(&mut opened(&path).unwrap()), ["2.a.h", "2.b.h"]);
}

#[test]
fn a_letter_removed_by_another_program_is_an_error_and_counts_as_removed() {
    let (_f, path) = maildir();
    fs::write(path.join("new/1.a"), "1").unwrap();
    fs::write(path.join("new/2.a"), "2").unwrap();
    let mut drop = opened(&path).unwrap();
    fs::remove_file(path.join("new/1.a")).unwrap();
    let error = drop.read(0).unwrap_err();
    assert!(error.to_string().ends_with("new/1.a: No such file or directory"), "{error}");
    assert!(drop.size(0).is_err());
    assert_eq!(text(&mut drop, 1), "2");
    let removal = drop.remove(0..2);
    assert_eq!((removal.removed, removal.failed.len()), (2, 0));
}

#[test]
fn a_letter_that_cannot_be_removed_does_not_prevent_removing_the_others() {
    let (_f, path) = maildir();
    for name in ["new/1.a", "new/2.a", "new/3.a"] {
        fs::write(path.join(name), "").unwrap();
    }
    let mut drop = opened(&path).unwrap();
    fs::remove_file(path.join("new/2.a")).unwrap();
    fs::create_dir(path.join("new/2.a")).unwrap();
    let removal = drop.remove(0..3);
    assert_eq!((removal.removed, removal.failed.len()), (2, 1));
    assert!(removal.failed[0].to_string().contains("new/2.a: "));
    assert!(!path.join("new/3.a").exists());
}

#[test]
fn a_letter_seen_in_both_folders_is_one_letter() {
    let (_f, path) = maildir();
    fs::write(path.join("new/1.a"), "").unwrap();
    fs::hard_link(path.join("new/1.a"), path.join("cur/1.a:2,S")).unwrap();
    assert_eq!(uids(&mut opened(&path).unwrap()), ["1.a"]);
}

mod ids;
mod seen;
mod sizes;
