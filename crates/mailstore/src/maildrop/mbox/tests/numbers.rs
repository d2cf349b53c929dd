//! Letters that share an id, and the numbers that tell them apart.

use std::collections::HashSet;

use super::*;

#[test]
fn letters_that_share_an_id_keep_theirs_when_others_are_removed() {
    let letter = |end: &str, head: &str| {
        format!("From x{end}{head}Message-ID: <1>{end}{end}{head}{end}{end}")
    };
    for (ids, end) in [(MboxIds::Popa3d, "\n"), (MboxIds::Popa3d, "\r\n"), (MboxIds::Content, "\n")]
    {
        let heads =
            if ids == MboxIds::Content { [""; 4] } else { ["", "A: a\n", "B: b\n", " \tfolded\n"] };
        let (dir, heads) = (TempDir::new(), heads.map(|head| head.replace('\n', end)));
        let path = dir.file("mbox", heads.iter().map(|head| letter(end, head)).collect::<String>());
        let session = || MboxDrop::open(SpoolAt::Here(Box::new(spool(&path))), ids).unwrap();
        let uids = |drop: &MboxDrop| -> Vec<_> {
            (0..drop.len())
                .map(|index| String::from_utf8(drop.uid(index).unwrap()).unwrap())
                .collect()
        };
        let all = uids(&session());
        assert_eq!(all[1..3], [format!("{}.2", all[0]), format!("{}.3", all[0])]);
        for removed in 1..=2 {
            assert_eq!(session().remove([0].into_iter()).removed, 1);
            assert_eq!(
                uids(&session())[..3 - removed],
                all[removed..3],
                "{end:?} {}",
                content(&path)
            );
        }
        let noted = format!("From x{end}X-UIDL-Number: 3{end}{}Message-ID", heads[2]);
        assert!(content(&path).starts_with(&noted), "{}", content(&path));
        // A letter that comes has the next number.
        append(&path, &letter(end, &heads[0]));
        let with_new = uids(&session());
        assert_eq!(with_new[0], all[2]);
        assert!(with_new.last().unwrap().starts_with(&format!("{}.", all[0])), "{with_new:?}");
        assert_eq!(with_new.iter().collect::<HashSet<_>>().len(), with_new.len());
    }
}

#[test]
fn a_number_that_a_sender_has_written_makes_no_two_ids_one() {
    let dir = TempDir::new();
    let numbers = ["2", "999999999", "4294967295", "1", "x", ""];
    let letter = |number| format!("From x\nX-UIDL-Number: {number}\nA: b\n\n");
    let path = dir.file("mbox", numbers.map(letter).concat());
    let drop = open(&path).unwrap();
    let ids: HashSet<_> = (0..6).map(|index| drop.uid(index).unwrap()).collect();
    assert_eq!(ids.len(), 6);
}
