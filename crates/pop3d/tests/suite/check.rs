//! `--check` and `--config` with what pop3d alone reads: the users file.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;

use nix::unistd::geteuid;
use testkit::{TempDir, command, run};

use crate::common::{FRONT, users_file};

const DAEMON: &str = env!("CARGO_BIN_EXE_pop3d");
const LEVY: &str = "levy:{PLAIN}x:::Levy:/home/levy:\n";

fn checked(args: &[&str]) -> (Option<i32>, String) {
    // An ordinary user cannot become another one, and --check says so.
    let user: &[&str] = if geteuid().is_root() { &["-u", FRONT] } else { &[] };
    let output = run(command(DAEMON, &[&["--check"], user, args].concat()), b"");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn the_users_file_is_read() {
    let dir = TempDir::new();
    let file = dir.file("users", LEVY);
    let users = file.display().to_string();
    let why = "has passwords and is readable by every user (chmod 640)";
    let refused = (Some(1), format!("pop3d: users {users}: {why}\n"));
    assert_eq!(checked(&["--users", &users]), refused);
    set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    assert_eq!(checked(&["--users", &users]), (Some(0), String::new()));
    assert_eq!(
        checked(&["--users", "/no/file"]),
        (Some(1), "pop3d: users /no/file: No such file or directory\n".into())
    );
    std::fs::write(&file, format!("{LEVY}mrose\n")).unwrap(); // its mode stays
    let (code, said) = checked(&["--users", &users]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(":2: no password field\n") && said.ends_with("1 warning\n"), "{said}");
    let (code, said) = checked(&["--users", &users, "--plaintext", "yes"]);
    assert_eq!(code, Some(1));
    assert!(said.starts_with("pop3d: --plaintext 'yes': not never, loopback or always"), "{said}");
}

#[test]
fn a_value_from_the_file_is_named_with_its_line() {
    let dir = TempDir::new();
    let file = dir.file("c", "mail ~/Mail\nauth-delay 61\n").display().to_string();
    let (code, said) = checked(&["--config", &file]);
    let expected =
        format!("pop3d: {file}:2: --auth-delay '61': not a number of seconds from 0 to 60");
    assert_eq!((code, said.trim_end()), (Some(1), expected.as_str()));
    let file = dir.file("c", "\nmail %x\n").display().to_string();
    let (code, said) = checked(&["--config", &file]);
    assert_eq!(code, Some(1));
    assert!(said.starts_with(&format!("pop3d: {file}:2: --mail '%x': ")), "{said}");
}

/// The last of the lines is named; a wrong command line ends with 1 here.
#[test]
fn options_that_do_not_go_together_are_named_with_their_line() {
    let dir = TempDir::new();
    for (text, complaint) in [
        ("mail mbox:/x/%u\nseen\n", ":2: --seen is for Maildirs"),
        ("#\ntls-cert /x\n", ":2: --tls-cert and --tls-key come in pairs"),
        ("tls-listen 127.0.0.1:0\n", ":1: --tls-listen needs --tls-cert and --tls-key"),
    ] {
        let file = dir.file("c", text).display().to_string();
        let (code, said) = checked(&["--config", &file]);
        let expected = format!("pop3d: {file}{complaint}\n");
        assert_eq!((code, said), (Some(1), expected));
    }
}

#[test]
fn below_chroot_the_users_file_is_looked_for_and_root_reads_it() {
    if !testkit::root_can_judge() {
        return;
    }
    let jail = TempDir::new();
    let folder = jail.path().display().to_string();
    let args = ["--chroot", &folder, "--users", "/users"];
    let (code, said) = checked(&args);
    assert_eq!(
        (code, said.as_str()),
        (Some(1), "pop3d: users /users: No such file or directory\n")
    );
    let users = users_file(&jail, LEVY);
    assert_eq!(checked(&args), (Some(0), String::new()));
    set_permissions(&users, Permissions::from_mode(0o644)).unwrap();
    let (code, said) = checked(&args);
    assert_eq!(code, Some(1));
    assert!(said.starts_with("pop3d: users /users: has passwords and is readable"), "{said}");
}

#[test]
fn root_serves_no_stranger_as_root() {
    if !testkit::root_can_judge() {
        return;
    }
    let dir = TempDir::new();
    let users = users_file(&dir, LEVY).display().to_string();
    for args in [&["-u", "root"][..], &["-u", "0:65534"], &["-l", "127.0.0.1:0", "-u", "root"]] {
        let mut command = std::process::Command::new(DAEMON);
        command.args(["--users", &users]).args(args);
        if !args.contains(&"-l") {
            command.arg("--check");
        }
        let output = run(command, b"");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("refusing to serve as root: -u names the user"), "{said}");
    }
    let output = run(
        {
            let mut command = std::process::Command::new(DAEMON);
            command.args(["--users", &users, "-l", "127.0.0.1:0"]);
            command
        },
        b"",
    );
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.ends_with("name the user to serve as with -u USER\n"), "{said}");
}
