//! `--check` and `--config` with what pop3d alone reads: the users file.

use testkit::{TempDir, command, run};

const DAEMON: &str = env!("CARGO_BIN_EXE_pop3d");
const LEVY: &str = "levy:{PLAIN}x:::Levy:/home/levy:\n";

fn checked(args: &[&str]) -> (Option<i32>, String) {
    let output = run(command(DAEMON, &[&["--check"], args].concat()), b"");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn the_users_file_is_read() {
    let dir = TempDir::new();
    let users = dir.file("users", LEVY).display().to_string();
    assert_eq!(checked(&["--users", &users]), (Some(0), String::new()));
    assert_eq!(
        checked(&["--users", "/no/file"]),
        (Some(1), "pop3d: users /no/file: No such file or directory\n".into())
    );
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

#[test]
fn below_chroot_and_as_the_user_of_u_the_users_file_must_be_readable() {
    if !testkit::root_can_judge() {
        return;
    }
    let jail = TempDir::new();
    let folder = jail.path().display().to_string();
    let args = ["--chroot", &folder, "--users", "/users", "-u", "65534"];
    let (code, said) = checked(&args);
    assert_eq!(
        (code, said.as_str()),
        (Some(1), "pop3d: users /users: No such file or directory\n")
    );
    let users = jail.file("users", LEVY);
    assert_eq!(checked(&args), (Some(0), String::new()));
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&users, std::fs::Permissions::from_mode(0o600)).unwrap();
    let (code, said) = checked(&args);
    assert_eq!((code, said.as_str()), (Some(1), "pop3d: users /users: Permission denied\n"));
}
