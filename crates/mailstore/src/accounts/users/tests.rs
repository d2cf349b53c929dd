use std::fs;

use super::*;
use testkit::TempDir;

fn users(text: &[u8]) -> (TempDir, Users) {
    let folder = TempDir::new();
    let path = folder.path().join("users");
    fs::write(&path, text).unwrap();
    let users = Users::open(&path).unwrap();
    (folder, users)
}

fn names(text: &[u8]) -> Vec<String> {
    let (_folder, users) = users(text);
    let mut names = Vec::new();
    users
        .scan(|user| {
            names.push(user.name.escape_ascii().to_string());
            ControlFlow::Continue(())
        })
        .unwrap();
    names
}

#[test]
fn all_seven_fields_are_read() {
    let (_f, users) = users(b"levy:$6$x$y:1000:100:Levy,,:/home/levy:/bin/sh\n");
    let user = users.find(b"levy").unwrap().unwrap();
    assert_eq!((user.uid, user.gid), (Some(1000), Some(100)));
    assert_eq!(user.password, b"$6$x$y");
    assert_eq!(user.gecos, b"Levy,,");
    assert_eq!(user.home, Path::new("/home/levy"));
    assert_eq!(user.shell, b"/bin/sh");
    assert!(!format!("{user:?}").contains("$6$"));
}

#[test]
fn fields_at_the_end_may_be_missing() {
    let (_f, users) = users(b"a:{PLAIN}x y#z \nb:p::\nc:p:::::\nlast:p");
    assert_eq!(users.find(b"a").unwrap().unwrap().password, b"{PLAIN}x y#z ");
    assert_eq!(users.find(b"b").unwrap().unwrap().uid, None);
    assert_eq!(users.find(b"c").unwrap().unwrap().home, Path::new(""));
    assert!(users.find(b"last").unwrap().is_some());
    assert!(users.find(b"LAST").unwrap().is_none());
    assert!(users.find(b"").unwrap().is_none());
}

#[test]
fn comments_and_blank_lines_are_skipped() {
    assert_eq!(names(b"# a:b\n\n  \t\na:b\n#\n"), ["a"]);
    assert_eq!(names(b""), Vec::<String>::new());
}

#[test]
fn a_bad_line_is_skipped_and_the_rest_is_read() {
    let mut text =
        b":x\nonlyname\na:x:one\nb:x:1:-1\nc:x:99999999999\nd:1:2:3:4:5:6:7:8\n".to_vec();
    text.extend_from_slice(b"n\0l:x\nbin\xff:\xfe\xfd\nlast:x\n");
    assert_eq!(names(&text), ["bin\\xff", "last"]);
}

#[test]
fn a_line_over_the_limit_is_skipped_whole() {
    let mut text = b"a:x\nb:".to_vec();
    text.extend(std::iter::repeat_n(b'x', LINE_LIMIT - 2));
    text.extend_from_slice(b"\nc:");
    text.extend(std::iter::repeat_n(b'x', LINE_LIMIT * 3));
    text.extend_from_slice(b"\nd:x\ne:");
    text.extend(std::iter::repeat_n(b'x', LINE_LIMIT));
    assert_eq!(names(&text), ["a", "b", "d"]);
}

#[test]
fn the_first_line_of_a_name_counts() {
    let (_f, users) = users(b"a:first\na:second\n");
    assert_eq!(users.find(b"a").unwrap().unwrap().password, b"first");
    assert!(users.has_user().unwrap());
    assert!(!users.has_secret().unwrap());
}

#[test]
fn a_missing_file_and_a_folder_are_reported() {
    let folder = TempDir::new();
    let path = folder.path().join("none");
    let error = Users::open(&path).unwrap_err().to_string();
    assert_eq!(error, format!("users {}: No such file or directory", path.display()));
    let error = Users::open(folder.path()).unwrap_err().to_string();
    assert_eq!(error, format!("users {}: Is a directory", folder.path().display()));
}

#[test]
fn has_user_and_has_secret_find_a_matching_line() {
    for (text, any, secret) in [
        ("", false, false),
        ("# a:b\nbad\n", false, false),
        ("a:*\nb:{PLAIN}\n", true, false),
        ("a:*\nb:{PLAIN}x\n", true, true),
    ] {
        let (_f, users) = users(text.as_bytes());
        assert_eq!(
            (users.has_user().unwrap(), users.has_secret().unwrap()),
            (any, secret),
            "{text}"
        );
    }
}

#[test]
fn a_file_that_others_may_write_is_refused_and_opening_never_blocks() {
    let folder = TempDir::new();
    let path = folder.file("users", "levy:{PLAIN}secret:1000:1000::/home/levy\n");
    let refused = |path: &std::path::Path, why: &str| {
        let error = Users::open(path).unwrap_err().to_string();
        assert_eq!(error, format!("users {}: {why}", path.display()));
    };
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    refused(&link, "is a symbolic link");
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused(&fifo, "not a regular file");
    let two = folder.path().join("two");
    std::fs::hard_link(&path, &two).unwrap();
    refused(&two, "has 2 links");
    std::fs::remove_file(&two).unwrap();
    let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(&path, mode(0o664)).unwrap();
    refused(&path, "is writable by others");
    std::fs::set_permissions(&path, mode(0o640)).unwrap();
    assert!(Users::open(&path).is_ok());
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(&path, Some(4242), None).unwrap();
        refused(&path, "belongs to user 4242");
    }
}
