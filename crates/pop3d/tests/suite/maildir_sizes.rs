//! The sizes of a Maildir's letters: what LIST and STAT tell is what RETR sends (RFC 1939 §11), whatever names say.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use testkit::{Peer, run};

use crate::common::{LETTER, TestServer, give, until_dot};

/// The rows of LIST, after a look at each message: RETR sends as many octets, in the reply and in the text.
fn checked_sizes(client: &mut Peer) -> Vec<u64> {
    client.ask("LIST", "+OK");
    let rows = until_dot(client);
    let sizes: Vec<u64> =
        rows.iter().map(|row| row.split_once(' ').unwrap().1.parse().unwrap()).collect();
    client.ask("STAT", &format!("+OK {} {}\r\n", sizes.len(), sizes.iter().sum::<u64>()));
    for (number, size) in (1..).zip(&sizes) {
        client.ask(&format!("LIST {number}"), &format!("+OK {number} {size}\r\n"));
        client.ask(&format!("RETR {number}"), &format!("+OK {size} octets"));
        let lines = until_dot(client);
        let unstuffed = lines.iter().map(|line| line.strip_prefix('.').unwrap_or(line).len() + 2);
        assert_eq!(unstuffed.sum::<usize>() as u64, *size, "message {number}");
    }
    sizes
}

#[test]
fn no_wrong_size_in_a_name_reaches_list_or_stat() {
    let server = TestServer::new(&[]);
    for (number, sizes) in [
        ",S=2,W=3",
        ",S=50,W=77",
        ",S=2,W=4",
        ",S=2,W=2",
        ",S=2,W=1",
        ",S=2,W=0",
        ",W=0",
        ",W=18446744073709551615",
        ",W=99999999999999999999999999",
        ",S=2,W=3,S=3,W=4",
        ",S=2",
        "",
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(server.maildir().join(format!("new/{number:02}.a{sizes}")), "x\n").unwrap();
    }
    let mut client = server.client();
    client.ask("USER mrose", "+OK");
    client.ask("PASS tanstaaf", "+OK maildrop has 12 messages (36 octets)");
    assert_eq!(checked_sizes(&mut client), [3; 12]);
}

#[test]
fn a_letter_that_changes_between_two_sessions_has_its_new_size() {
    let server = TestServer::new(&[LETTER, LETTER]);
    assert_eq!(checked_sizes(&mut server.mrose()), [22, 22]);
    let file = server.maildir().join("new/1.a.test");
    File::options().append(true).open(file).unwrap().write_all(b".more\n").unwrap();
    assert_eq!(checked_sizes(&mut server.mrose()), [29, 22]);
}

#[test]
fn a_letter_is_measured_once_and_its_size_kept_for_later_sessions() {
    let server = TestServer::new(&[LETTER, LETTER]);
    server.mrose().ask("QUIT", "+OK");
    // Other text of the same length, and of the same time: who looks at the file only sees no change.
    let file = server.maildir().join("new/2.a.test");
    let changed = fs::metadata(&file).unwrap().modified().unwrap();
    fs::write(&file, LETTER.replace('\n', "x")).unwrap();
    let open = File::options().write(true).open(&file).unwrap();
    open.set_modified(changed).unwrap();
    let maildir = server.maildir();
    fs::rename(maildir.join("new/2.a.test"), maildir.join("cur/2.a.test:2,S")).unwrap();
    server.mrose().ask("LIST 2", "+OK 2 22\r\n");
    assert!(!server.daemon.log().contains("ignored"));
}

#[test]
fn a_cache_of_sizes_that_is_damaged_or_that_others_may_write_is_not_believed() {
    let server = TestServer::new(&[LETTER]);
    server.mrose().ask("QUIT", "+OK");
    let cache = server.maildir().join("pop3d.sizes");
    let bytes = fs::read(&cache).unwrap();
    assert_eq!(fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o600);
    // An entry that says 99: octets are its fifth number.
    let mut forged = bytes.clone();
    forged[24 + 4 * 8] = 99;
    let sizes = || {
        let mut client = server.mrose();
        let sizes = checked_sizes(&mut client);
        client.ask("QUIT", "+OK"); // the cache is written before the reply
        sizes
    };
    fs::write(&cache, &forged).unwrap();
    assert_eq!(sizes(), [22]);
    fs::write(&cache, &bytes).unwrap();
    fs::set_permissions(&cache, Permissions::from_mode(0o622)).unwrap();
    assert_eq!(sizes(), [22]);
    server.daemon.wait_log("pop3d.sizes: another user could have written it; ignored");
}

/// Packs a file with this program, where it is installed.
fn packed(program: &str, text: &str) -> Option<Vec<u8>> {
    let mut command = std::process::Command::new(program);
    command.arg("-c");
    let found = std::process::Command::new(program).arg("--version").output().is_ok();
    found.then(|| run(command, text.as_bytes()).stdout)
}

#[test]
fn a_letter_packed_with_gzip_is_sent_as_its_text_and_one_packed_otherwise_is_refused() {
    let server = TestServer::new(&[LETTER]);
    let new = server.maildir().join("new");
    let text = "Subject: packed\n\n.body\nof a letter\n";
    fs::write(new.join("2.a,S=35,W=39"), packed("gzip", text).unwrap()).unwrap();
    fs::write(new.join("3.a"), b"\x28\xb5\x2f\xfd and so on").unwrap();
    let mut client = server.mrose();
    client.ask("LIST 2", "+OK 2 39\r\n");
    client.ask("RETR 2", "+OK 39 octets");
    assert_eq!(until_dot(&mut client), ["Subject: packed", "", "..body", "of a letter"]);
    client.ask("TOP 2 0", "+OK");
    assert_eq!(until_dot(&mut client), ["Subject: packed", ""]);
    client.ask("RETR 3", "-ERR [SYS/PERM]");
    client.ask("TOP 3 1", "-ERR [SYS/PERM]");
    client.ask("RETR 1", "+OK 22");
    until_dot(&mut client);
    server.daemon.wait_log("new/3.a: packed by another program, not sent: it is zstd");
    client.ask("DELE 3", "+OK");
    client.ask("QUIT", "+OK");
    assert_eq!(server.letters().len(), 2);
}

#[test]
fn what_other_packers_make_is_refused_too() {
    let server = TestServer::new(&[]);
    let mut count = 0;
    for program in ["bzip2", "xz", "zstd", "lz4"] {
        let Some(bytes) = packed(program, "Subject: one\n\nbody\n") else { continue };
        count += 1;
        let file = server.maildir().join(format!("new/{count}.{program}"));
        fs::write(&file, bytes).unwrap();
        give(&file);
    }
    let mut client = server.mrose();
    for number in 1..=count {
        client.ask(&format!("RETR {number}"), "-ERR [SYS/PERM]");
    }
    client.ask("NOOP", "+OK");
}
