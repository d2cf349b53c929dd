//! Unique ids: from names, from other servers' lists, and of letters that share a name.

use super::*;

fn session(path: &Path, ids: UniqueIds) -> MaildirDrop {
    let walked = Folder::walk(path, |_| Ok(())).unwrap();
    let options = MaildirOptions { ids, ..MaildirOptions::default() };
    MaildirDrop::open(&walked.folder, options).unwrap()
}

fn ids(path: &Path, ids: UniqueIds) -> Vec<String> {
    uids(&mut session(path, ids))
}

fn letter(path: &Path, name: &str) {
    fs::write(path.join(name), "a\n").unwrap();
}

#[test]
fn two_letters_with_one_name_keep_different_ids_when_they_move() {
    let (_f, path) = maildir();
    fs::write(path.join("cur/1.a:2,S"), "one\n").unwrap();
    fs::write(path.join("new/1.a"), "two\n").unwrap();
    fs::hard_link(path.join("new/1.a"), path.join("cur/1.a:2,")).unwrap();
    let mut drop = opened(&path).unwrap();
    let before = uids(&mut drop);
    assert_eq!(before.len(), 2);
    assert!(before[0] != before[1] && !before.contains(&"1.a".to_owned()), "{before:?}");
    let texts = [0, 1].map(|index| text(&mut drop, index));
    fs::rename(path.join("cur/1.a:2,S"), path.join("cur/1.a:2,RS")).unwrap();
    fs::remove_file(path.join("cur/1.a:2,")).unwrap();
    assert_eq!([0, 1].map(|index| text(&mut drop, index)), texts);
    assert_eq!(uids(&mut drop), before);
    let (one, two) = if texts[0] == "one\n" { (0, 1) } else { (1, 0) };
    assert_eq!(drop.remove([two].into_iter()).removed, 1);
    assert_eq!(fs::read_to_string(path.join("cur/1.a:2,RS")).unwrap(), "one\n");
    std::mem::drop(drop);
    assert_eq!(uids(&mut opened(&path).unwrap()), [&before[one][..]], "also when it is alone");
}

#[test]
fn a_letter_that_comes_under_the_name_of_another_changes_no_id() {
    let (_f, path) = maildir();
    ["cur/1.a:2,S", "new/2.a", "new/3.a"].iter().for_each(|name| letter(&path, name));
    let mut drop = opened(&path).unwrap();
    drop.look_up_sizes();
    std::mem::drop(drop);
    fs::write(path.join("tmp/x"), "twin\n").unwrap();
    fs::rename(path.join("tmp/x"), path.join("new/1.a")).unwrap();
    let sorted = || {
        let mut ids = uids(&mut opened(&path).unwrap());
        ids.sort();
        ids
    };
    let with_twin = sorted();
    assert!(["1.a", "2.a", "3.a"].iter().all(|id| with_twin.contains(&(*id).to_owned())));
    assert_eq!(with_twin.len(), 4);
    assert_eq!(sorted(), with_twin, "in the next session, too");
    fs::rename(path.join("new/1.a"), path.join("cur/1.a:2,F")).unwrap();
    assert_eq!(sorted(), with_twin, "and when it has moved");
    // Alone it has its own id still, because a client may have seen that of the first one.
    fs::remove_file(path.join("cur/1.a:2,S")).unwrap();
    let alone = sorted();
    assert!(alone.len() == 3 && !alone.contains(&"1.a".to_owned()), "{alone:?}");
    assert!(alone.iter().all(|id| with_twin.contains(id)));
}

#[test]
fn without_a_note_the_letter_in_cur_had_the_name_first_and_keeps_its_id() {
    for kind in [UniqueIds::Name, UniqueIds::Dovecot, UniqueIds::Courier] {
        let (_f, path) = maildir();
        ["cur/1.a:2,S", "new/1.a", "new/2.a"].iter().for_each(|name| letter(&path, name));
        fs::write(path.join("dovecot-uidlist"), LIST).unwrap();
        fs::write(path.join("courierpop3dsizelist"), "/3 2 99\n1.a:2,S 3 1:99:0\n").unwrap();
        let expected = match kind {
            UniqueIds::Name => "1.a",
            UniqueIds::Dovecot => "000000014c0907b0",
            UniqueIds::Courier => "UID1-99",
        };
        let sorted = || {
            let mut all = ids(&path, kind);
            all.sort();
            all
        };
        let with_twin = sorted();
        assert_eq!(with_twin.iter().filter(|id| *id == expected).count(), 1, "{with_twin:?}");
        assert_eq!(with_twin.len(), 3);
        fs::rename(path.join("new/1.a"), path.join("cur/1.a:2,F")).unwrap();
        assert_eq!(sorted(), with_twin, "both in cur");
        fs::remove_file(path.join("cur/1.a:2,S")).unwrap();
        let alone = sorted();
        assert!(alone.len() == 2 && !alone.contains(&expected.to_owned()), "{alone:?}");
        assert!(alone.iter().all(|id| with_twin.contains(id)));
    }
}

const LIST: &str = "3 V1275660208 N4 G3085f01b7f11094c501100008c4a11c1\n\
    1 :1.a\n2 W3 Pold :2.a\n3 :3.a,S=2,W=3\n";

#[test]
fn dovecots_ids_stay_when_letters_move_and_new_letters_get_the_next_ones() {
    let (_f, path) = maildir();
    ["cur/1.a:2,S", "new/2.a", "cur/3.a,S=2,W=3:2,", "new/5.M2.a", "new/5.M1.a"]
        .iter()
        .for_each(|name| letter(&path, name));
    let list = path.join("dovecot-uidlist");
    fs::write(&list, LIST).unwrap();
    let expected =
        ["000000014c0907b0", "old", "000000034c0907b0", "000000044c0907b0", "000000054c0907b0"];
    assert_eq!(ids(&path, UniqueIds::Dovecot), expected);
    assert_eq!(fs::read_to_string(&list).unwrap(), format!("{LIST}4 :5.M1.a\n5 :5.M2.a\n"));
    fs::rename(path.join("new/5.M1.a"), path.join("cur/5.M1.a:2,RS")).unwrap();
    fs::rename(path.join("new/2.a"), path.join("cur/2.a:2,")).unwrap();
    assert_eq!(ids(&path, UniqueIds::Dovecot), expected);
    assert!(!path.join("dovecot-uidlist.lock").exists());
    // Numbers of removed letters are never given again.
    fs::remove_file(path.join("new/5.M2.a")).unwrap();
    letter(&path, "new/6.a");
    assert_eq!(ids(&path, UniqueIds::Dovecot)[4], "000000064c0907b0");
    assert_eq!(ids(&path, UniqueIds::Name)[4], "6.a");
}

#[test]
fn of_letters_with_one_id_in_dovecots_list_the_first_has_it_and_the_other_its_own_for_ever() {
    let (_f, path) = maildir();
    ["cur/1.a:2,S", "new/2.a", "new/3.a"].iter().for_each(|name| letter(&path, name));
    let list = path.join("dovecot-uidlist");
    fs::write(&list, "3 V7 N4\n1 Pold :1.a\n2 Pold :2.a\n3 :3.a\n").unwrap();
    let before = ids(&path, UniqueIds::Dovecot);
    assert_eq!((&before[0][..], &before[2][..]), ("old", "0000000300000007"));
    assert_ne!(before[1], "old");
    assert_eq!(ids(&path, UniqueIds::Dovecot), before);
    // Dovecot takes a letter out of its list that is gone.
    fs::remove_file(path.join("cur/1.a:2,S")).unwrap();
    fs::write(&list, "3 V7 N4\n2 Pold :2.a\n3 :3.a\n").unwrap();
    assert_eq!(ids(&path, UniqueIds::Dovecot), before[1..]);
}

#[test]
fn without_a_list_that_can_be_used_ids_are_names_and_the_list_is_left_alone() {
    let (_f, path) = maildir();
    ["new/1.a", "new/9.a"].iter().for_each(|name| letter(&path, name));
    let list = path.join("dovecot-uidlist");
    assert_eq!(ids(&path, UniqueIds::Dovecot), ["1.a", "9.a"]);
    assert!(!list.exists());
    for wrong in ["", "3 V1 N1", "3 V1 N9\n2 :1.a\n1 :2.a\n"] {
        fs::write(&list, wrong).unwrap();
        assert_eq!(ids(&path, UniqueIds::Dovecot), ["1.a", "9.a"]);
        assert_eq!(fs::read_to_string(&list).unwrap(), wrong);
    }
    // A line that its writer has not finished: what stands before it counts, and nothing is added.
    let cut = "3 V1 N2\n1 :1.a\n2 :9";
    fs::write(&list, cut).unwrap();
    assert_eq!(ids(&path, UniqueIds::Dovecot), ["0000000100000001", "9.a"]);
    assert_eq!(fs::read_to_string(&list).unwrap(), cut);
    fs::remove_file(&list).unwrap();
    symlink(path.join("elsewhere"), &list).unwrap();
    fs::write(path.join("elsewhere"), LIST).unwrap();
    assert_eq!(ids(&path, UniqueIds::Dovecot), ["1.a", "9.a"]);
}

#[test]
fn a_list_of_version_1_goes_on_as_it_began() {
    let (_f, path) = maildir();
    ["new/1.a", "new/9.a"].iter().for_each(|name| letter(&path, name));
    let list = path.join("dovecot-uidlist");
    fs::write(&list, "1 7 5\n2 1.a\n").unwrap();
    for _session in 0..2 {
        let expected = ["0000000200000007", "0000000500000007"];
        assert_eq!(ids(&path, UniqueIds::Dovecot), expected);
        assert_eq!(fs::read_to_string(&list).unwrap(), "1 7 5\n2 1.a\n5 9.a\n");
    }
}

#[test]
fn while_dovecot_has_its_lock_the_ids_of_new_letters_are_names() {
    let (_f, path) = maildir();
    ["new/1.a", "new/9.a"].iter().for_each(|name| letter(&path, name));
    fs::write(path.join("dovecot-uidlist"), LIST).unwrap();
    fs::write(path.join("dovecot-uidlist.lock"), "1:another.test").unwrap();
    assert_eq!(ids(&path, UniqueIds::Dovecot), ["000000014c0907b0", "9.a"]);
    assert_eq!(fs::read_to_string(path.join("dovecot-uidlist")).unwrap(), LIST);
    assert!(path.join("dovecot-uidlist.lock").exists());
}

#[test]
fn couriers_ids_are_taken_where_it_has_the_letter() {
    let (_f, path) = maildir();
    ["cur/1.a:2,RS", "new/2.a"].iter().for_each(|name| letter(&path, name));
    assert_eq!(ids(&path, UniqueIds::Courier), ["1.a", "2.a"]);
    fs::write(path.join("courierpop3dsizelist"), "/3 2 99\n1.a:2,S 3 1:99:0\n").unwrap();
    assert_eq!(ids(&path, UniqueIds::Courier), ["UID1-99", "2.a"]);
    fs::write(path.join("courierpop3dsizelist"), "damaged").unwrap();
    assert_eq!(ids(&path, UniqueIds::Courier), ["1.a", "2.a"]);
}

#[test]
fn of_letters_with_one_name_one_at_most_has_the_id_of_the_list() {
    let (_f, path) = maildir();
    ["cur/1.a:2,S", "new/1.a", "new/2.a"].iter().for_each(|name| letter(&path, name));
    fs::write(path.join("dovecot-uidlist"), LIST).unwrap();
    let ids = ids(&path, UniqueIds::Dovecot);
    assert_eq!(ids[2], "old");
    assert!(ids[0] != ids[1] && (ids[0].len() == 32 || ids[1].len() == 32), "{ids:?}");
}
