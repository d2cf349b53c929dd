//! The lists of unique ids that Dovecot and Courier leave in a Maildir: any bytes. A letter has an id that is one, the
//! same in each session; a line of Dovecot's that is right gives its own; and nothing of a list is lost or changed.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use forklore_fuzz::{option, scratch, write_private};
use libfuzzer_sys::fuzz_target;
use mailstore::{Folder, MaildirOptions, Maildrop, UniqueIds};

/// The letters, by their names without flags.
const NAMES: [&str; 4] = ["1.M1P1.h,S=3,W=4", "2.M2P1.h", "3.M3P1.h", "4.M4P1.h"];

fuzz_target!(|data: &[u8]| {
    let maildir = maildir();
    let (choice, list) = option(data);
    let is_courier = choice & 1 == 1;
    let (ids, name) = match is_courier {
        false => (UniqueIds::Dovecot, "dovecot-uidlist"),
        true => (UniqueIds::Courier, "courierpop3dsizelist"),
    };
    let path = maildir.join(name);
    write_private(&path, list);
    // What it has noted of an earlier list's ids: those that were two letters' stay apart.
    let _ = fs::remove_file(maildir.join("pop3d.sizes"));
    let first = uids(maildir, ids);
    let after = fs::read(&path).expect("the list is there");
    assert!(after.starts_with(list), "the list has lost something");
    assert!(!is_courier || after == list);
    assert_eq!(uids(maildir, ids), first, "the ids of the next session");
    assert_eq!(fs::read(&path).expect("the list is there"), after);
    if !is_courier {
        judge(&after, &first);
    }
});

fn maildir() -> &'static PathBuf {
    static MAILDIR: OnceLock<PathBuf> = OnceLock::new();
    MAILDIR.get_or_init(|| {
        let maildir = scratch("uidlist");
        for folder in ["tmp", "new", "cur"] {
            fs::create_dir(maildir.join(folder)).expect("a Maildir");
        }
        for (index, name) in NAMES.iter().enumerate() {
            let place =
                if index % 2 == 0 { format!("new/{name}") } else { format!("cur/{name}:2,S") };
            fs::write(maildir.join(place), "a\n\n").expect("a letter");
        }
        maildir
    })
}

fn uids(maildir: &std::path::Path, ids: UniqueIds) -> Vec<Vec<u8>> {
    let folder = Folder::open(maildir).expect("a folder of ours");
    let options = MaildirOptions { ids, ..MaildirOptions::default() };
    let mut drop = Maildrop::open(&folder, options).expect("a list that is wrong is no trouble");
    let uids: Vec<_> = (0..drop.len()).filter_map(|index| drop.uid(index)).collect();
    assert_eq!(uids.len(), NAMES.len());
    for uid in &uids {
        assert!((1..=70).contains(&uid.len()) && uid.iter().all(u8::is_ascii_graphic));
    }
    uids
}

/// Reads Dovecot's list as its format has it, where no line has fields of its own; such a list has all letters.
fn judge(list: &[u8], uids: &[Vec<u8>]) {
    let Some(entries) = entries(list) else { return };
    let expected = NAMES.iter().map(|name| entries.iter().rfind(|(_, of)| of == name.as_bytes()));
    for (uid, entry) in uids.iter().zip(expected) {
        let (id, _) = entry.expect("each letter was added to the list");
        assert_eq!(uid, id);
    }
}

/// Returns ids and names; `None` for a list that is wrong or has fields.
fn entries(list: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let text = list.strip_suffix(b"\n")?;
    let mut lines = text.split(|&byte| byte == b'\n');
    let header = std::str::from_utf8(lines.next()?).ok()?;
    let [_, validity, next] = header.split(' ').collect::<Vec<_>>()[..] else { return None };
    let number = |text: &str| {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty();
        text.parse::<u32>().ok().filter(|number| is_number && *number > 0)
    };
    let validity =
        header.starts_with("3 ").then(|| validity.strip_prefix('V').and_then(number))??;
    let next = next.strip_prefix('N').and_then(number)?;
    let mut last = 0;
    let mut entries = Vec::new();
    for line in lines {
        let at = line.windows(2).position(|two| two == b" :")?;
        let uid = number(std::str::from_utf8(&line[..at]).ok()?)
            .filter(|uid| *uid > last && *uid < u32::MAX)?;
        let name = &line[at + 2..];
        if name.is_empty() || name.contains(&b'/') {
            return None;
        }
        last = uid;
        let name = name.split(|&byte| byte == b':').next().unwrap_or_default();
        entries.push((format!("{uid:08x}{validity:08x}").into_bytes(), name.to_vec()));
    }
    // At the end of the numbers no letter can be added.
    (next < u32::MAX - 8 && last < u32::MAX - 8).then_some(entries)
}
