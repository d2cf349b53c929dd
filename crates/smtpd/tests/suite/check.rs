//! `--check` and `--config` with what smtpd alone reads: domains, the users file, the postmaster.

use crate::common::{SMTPD, with_root};
use testkit::{TempDir, command, run};

fn checked(args: &[&str]) -> (Option<i32>, String) {
    let output = run(command(SMTPD, &with_root(&[&["--check"], args].concat())), b"");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_the_daemon_would_read_at_its_start_is_read() {
    let dir = TempDir::new();
    let users = dir.file("users", "levy:x:::Levy:/home/levy:\n").display().to_string();
    assert_eq!(checked(&["--users", &users, "--postmaster", "levy"]), (Some(0), String::new()));
    for (args, complaint) in [
        (&["--users", "/no/file"][..], "users /no/file: No such file or directory"),
        (&["--users", &users, "--postmaster", "mrose"], "--postmaster 'mrose': no such user"),
        (&["--users", &users, "--domain", "a b"], "--domain 'a b': not a domain"),
    ] {
        assert_eq!(checked(args), (Some(1), format!("smtpd: {complaint}\n")));
    }
}

#[test]
fn a_domain_of_the_file_is_one_more_and_a_wrong_one_is_named_with_its_line() {
    let dir = TempDir::new();
    let users = dir.file("users", "levy:x:::Levy:/home/levy:\n").display().to_string();
    let file = dir.file("c", "domain red.test\ndomain a..b\nstrict-space\n").display().to_string();
    let (code, said) = checked(&["--users", &users, "--config", &file, "--domain", "topaz.test"]);
    assert_eq!(
        (code, said),
        (Some(1), format!("smtpd: {file}:2: --domain 'a..b': not a domain\n"))
    );
}
