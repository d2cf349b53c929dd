//! Sizes are those of the text that is sent, and are measured once.

use std::fs::{File, FileTimes};
use std::io::Write;
use std::time::SystemTime;

use flate2::{Compression as Level, write::GzEncoder};

use super::*;
use crate::wire_size::WireSize;

/// `a\nb\n` under this name in `new`: 4 bytes, 6 with CRLF.
fn letter(path: &Path, name: &str) {
    fs::write(path.join("new").join(name), "a\nb\n").unwrap();
}

/// The sizes, and that what is sent has them; then the number of letters that were measured for it.
fn sizes(drop: &mut MaildirDrop) -> (Vec<u64>, usize) {
    let sizes: Vec<u64> = (0..drop.len()).map(|index| drop.size(index).unwrap()).collect();
    for (index, size) in sizes.iter().enumerate() {
        let sent = WireSize::of_file(drop.read(index).unwrap()).unwrap();
        assert_eq!(sent, *size, "letter {index}");
        assert!(!drop.correct_size(index, sent));
    }
    (sizes, drop.measured)
}

#[test]
fn no_wrong_size_in_a_name_is_believed() {
    let (_f, path) = maildir();
    let names = [
        "01.a",
        "02.a,S=4",
        "03.a,W=6",
        "04.a,S=4,W=6",
        "05.a,S=4,W=7",     // could be
        "06.a,S=4,W=4",     // could be
        "07.a,S=5,W=6",     // of another letter
        "08.a,S=400,W=500", // of another letter
        "09.a,S=4,W=3",
        "10.a,S=4,W=99",
        "11.a,S=4,W=0",
        "12.a,W=0",
        "13.a,S=0,W=0",
        "14.a,S=4,W=6,S=9",
        "15.a,S=4,S=4,W=5",
        "16.a,S=4,W=99999999999999999999999",
        "17.a,S=4,W=18446744073709551615",
        "18.a,S=18446744073709551615,W=18446744073709551615",
        "19.a,S=-4,W=-6",
        "20.a,W=99",
    ];
    names.iter().for_each(|name| letter(&path, name));
    for expected in [names.len(), 0] {
        let mut drop = opened(&path).unwrap();
        assert_eq!(sizes(&mut drop), (vec![6; names.len()], expected));
    }
}

#[test]
fn a_letter_is_measured_once_and_again_when_it_changes() {
    let (_f, path) = maildir();
    ["1.a", "2.a", "3.a,S=4,W=6"].iter().for_each(|name| letter(&path, name));
    let measured = || sizes(&mut opened(&path).unwrap());
    assert_eq!(measured(), (vec![6; 3], 3));
    assert_eq!(measured(), (vec![6; 3], 0));
    // Other flags, another folder.
    fs::rename(path.join("new/1.a"), path.join("cur/1.a:2,S")).unwrap();
    fs::rename(path.join("new/3.a,S=4,W=6"), path.join("cur/3.a,S=4,W=6:2,")).unwrap();
    assert_eq!(measured(), (vec![6; 3], 0));
    // More text, other text of the same length, another file under the same name.
    let mut more = File::options().append(true).open(path.join("cur/1.a:2,S")).unwrap();
    more.write_all(b"c\n").unwrap();
    assert_eq!(measured(), (vec![9, 6, 6], 1));
    let times = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH);
    fs::write(path.join("new/2.a"), "abc\n").unwrap();
    File::options().write(true).open(path.join("new/2.a")).unwrap().set_times(times).unwrap();
    assert_eq!(measured(), (vec![9, 5, 6], 1));
    fs::write(path.join("tmp/x"), "\n\n\n\n").unwrap();
    fs::rename(path.join("tmp/x"), path.join("cur/3.a,S=4,W=6:2,")).unwrap();
    assert_eq!(measured(), (vec![9, 5, 8], 1));
    assert_eq!(measured(), (vec![9, 5, 8], 0));
}

#[test]
fn without_its_cache_a_maildrop_is_measured_again() {
    let (_f, path) = maildir();
    letter(&path, "1.a");
    let measured = || sizes(&mut opened(&path).unwrap());
    assert_eq!(measured(), (vec![6], 1));
    fs::write(path.join("pop3d.sizes"), "damaged").unwrap();
    assert_eq!(measured(), (vec![6], 1));
    fs::remove_file(path.join("pop3d.sizes")).unwrap();
    assert_eq!(measured(), (vec![6], 1));
    assert_eq!(measured(), (vec![6], 0));
}

#[test]
fn what_is_measured_is_kept_even_if_the_session_removes_letters() {
    let (_f, path) = maildir();
    ["1.a", "2.a"].iter().for_each(|name| letter(&path, name));
    let mut drop = opened(&path).unwrap();
    assert_eq!(drop.size(0).unwrap(), 6);
    assert_eq!(drop.size(1).unwrap(), 6);
    assert_eq!(drop.remove([0].into_iter()).removed, 1);
    std::mem::drop(drop);
    assert_eq!(sizes(&mut opened(&path).unwrap()), (vec![6], 0));
}

#[test]
fn in_a_large_maildrop_names_that_could_be_right_are_checked_in_some_sessions() {
    let (_f, path) = maildir();
    let count = MAX_LOOKED_AT + 1;
    for number in 0..count {
        letter(&path, &format!("{number:06}.a,S=4,W=7"));
    }
    letter(&path, "999999.a,S=4,W=99");
    let expected = |checked: usize| {
        let wrong = vec![7; count - checked];
        [vec![6; checked], wrong, vec![6]].concat()
    };
    for round in 1..=2 {
        let mut drop = opened(&path).unwrap();
        assert_eq!(drop.known_size(0), None, "not looked up at once");
        let sizes: Vec<u64> = (0..drop.len()).map(|index| drop.size(index).unwrap()).collect();
        assert_eq!(sizes, expected(round * MAX_MEASURED));
        let more = usize::from(round == 1); // the last one
        assert_eq!(drop.measured, MAX_MEASURED + more);
    }
    // One that is read tells its size.
    let mut drop = opened(&path).unwrap();
    (0..drop.len()).for_each(|index| assert!(drop.size(index).is_ok()));
    let last = count - 1;
    assert_eq!(drop.known_size(last), Some(7));
    let sent = WireSize::of_file(drop.read(last).unwrap()).unwrap();
    assert!(drop.correct_size(last, sent));
    assert_eq!(drop.known_size(last), Some(6));
    // And one whose size on disk is not that of its name is known as soon as it is open.
    fs::write(path.join("new").join(format!("{:06}.a,S=4,W=7", last - 1)), "a\n").unwrap();
    drop.read(last - 1).unwrap();
    assert_eq!(drop.size(last - 1).unwrap(), 3);
}

fn packed(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_letter_that_is_packed_with_gzip_is_sent_unpacked() {
    let (_f, path) = maildir();
    fs::write(path.join("cur/1.a,S=19,W=22:2,S"), packed("Subject: one\n\nbody\n")).unwrap();
    for measured in [1, 0] {
        let mut drop = opened(&path).unwrap();
        assert_eq!(sizes(&mut drop), (vec![22], measured));
        assert_eq!(text(&mut drop, 0), "Subject: one\n\nbody\n");
    }
    // Also where no size was asked for.
    fs::remove_file(path.join("pop3d.sizes")).unwrap();
    assert_eq!(text(&mut opened(&path).unwrap(), 0), "Subject: one\n\nbody\n");
}

#[test]
fn a_letter_that_cannot_be_unpacked_is_refused_and_never_sent_as_it_is() {
    let (_f, path) = maildir();
    let mut damaged = packed("Subject: one\n\nbody\n");
    damaged.pop();
    let letters: [&[u8]; 5] = [
        &damaged,
        b"BZh91AY&SY and so on",
        b"\x28\xb5\x2f\xfd and so on",
        b"\xfd7zXZ\0 and so on",
        b"Dovecot-LZ4\r and so on",
    ];
    for (number, letter) in letters.iter().enumerate() {
        fs::write(path.join(format!("new/{number}.a")), letter).unwrap();
    }
    for measured in [letters.len(), 0] {
        let mut drop = opened(&path).unwrap();
        for (index, letter) in letters.iter().enumerate() {
            assert_eq!(drop.size(index).unwrap(), letter.len() as u64, "never 0");
            let error = drop.read(index).unwrap_err();
            assert!(matches!(error, Error::Refused(_)) && !error.is_temporary());
            assert!(error.to_string().contains("cannot be unpacked"), "{error}");
        }
        assert_eq!(drop.measured, measured);
    }
}

#[test]
fn sizes_are_known_at_login_in_a_maildrop_of_ordinary_size() {
    let (_f, path) = maildir();
    ["1.a", "2.a,S=4,W=7"].iter().for_each(|name| letter(&path, name));
    let mut drop = opened(&path).unwrap();
    assert_eq!([0, 1].map(|index| drop.known_size(index)), [None; 2]);
    drop.look_up_sizes();
    assert_eq!([0, 1].map(|index| drop.known_size(index)), [Some(6); 2]);
    fs::remove_file(path.join("new/1.a")).unwrap();
    let mut drop = MaildirDrop::none(&path);
    drop.look_up_sizes();
    assert!(drop.size(0).is_err());
}
