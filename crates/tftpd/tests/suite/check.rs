//! `--check` and `--config` with what tftpd alone reads: the root, the map, the quota.

use testkit::{TempDir, command, run};

const DAEMON: &str = env!("CARGO_BIN_EXE_tftpd");

fn checked(args: &[&str]) -> (Option<i32>, String) {
    let output = run(command(DAEMON, &[&["--check"], args].concat()), b"");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn the_root_and_the_map_are_opened() {
    let dir = TempDir::new();
    let root = dir.path().display().to_string();
    let map = dir.file("map", "regex ^a b\n").display().to_string();
    let wrong = dir.file("wrong", "regex ^a b\nfrob\n").display().to_string();
    for port in [&["--port-range", "2000:2010"][..], &["--single-port"]] {
        let args = [&["--root", &root, "--quota", "1000000", "--map", &map, "-v"], port].concat();
        assert_eq!(checked(&args).0, Some(0), "{}", checked(&args).1);
    }
    assert_eq!(
        checked(&["--root", "/no/folder"]),
        (Some(1), "tftpd: root /no/folder: No such file or directory\n".into())
    );
    let (code, said) = checked(&["--root", &root, "--map", &wrong]);
    assert_eq!(code, Some(1));
    assert!(
        said.starts_with("tftpd: map ") && said.contains("line 2: no such rule 'frob'"),
        "{said}"
    );
}

/// A start only warns of it, because the folder may be opened for the user later.
#[test]
fn a_root_that_the_user_may_not_search_is_a_fault() {
    if !testkit::root_can_judge() {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new();
    let root = dir.path().display().to_string();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let (code, said) = checked(&["--root", &root, "-u", "65534"]);
    let expected = "tftpd: root: Permission denied: no file can be served\n";
    assert_eq!((code, said.as_str()), (Some(1), expected));
}

#[test]
fn a_root_that_the_user_may_not_write_to_is_a_fault_where_files_are_to_be_made() {
    if !testkit::root_can_judge() {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new();
    let root = dir.path().display().to_string();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (code, said) = checked(&["--root", &root, "-u", "65534", "--create"]);
    let expected = "tftpd: root: Permission denied: no file can be made in it (--create)\n";
    assert_eq!((code, said.as_str()), (Some(1), expected));
    let (code, said) = checked(&["--root", &root, "-u", "65534", "--overwrite"]);
    let expected = "tftpd: root: Permission denied: no file in it can be replaced (--overwrite)\n";
    assert_eq!((code, said.as_str()), (Some(1), expected));
    assert_eq!(checked(&["--root", &root, "-u", "65534"]).0, Some(0));
}

#[test]
fn a_value_from_the_file_is_named_with_its_line() {
    let dir = TempDir::new();
    let root = dir.path().display();
    for (text, complaint) in [
        ("max-blksize 7", "--max-blksize '7': not a whole number from 8 to 65464"),
        ("port-range 6:5", "--port-range '6:5': "),
        ("model fork", "model: no such option"),
        ("over often", "--over 'often': not busy, queue or silent"),
    ] {
        let file = dir.file("c", format!("root {root}\n{text}\n")).display().to_string();
        let (code, said) = checked(&["--config", &file]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.starts_with(&format!("tftpd: {file}:2: {complaint}")), "{said}");
    }
}
