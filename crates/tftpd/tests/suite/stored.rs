//! How uploads are stored: their permissions, names that are taken, folders that are missing.

use crate::udp::{Served, wrq};

#[test]
fn an_upload_gets_the_permissions_that_the_umask_leaves() {
    for (umask, mode) in [("027", 0o640), ("0", 0o666), ("177", 0o600)] {
        let served = Served::with(&["--create", "--umask", umask]);
        served.peer().put(&wrq(b"x", "octet"), b"hello");
        let found = std::fs::metadata(served.path("x")).unwrap().permissions();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&found) & 0o777, mode, "{umask}");
    }
}

#[test]
fn an_upload_whose_name_is_taken_becomes_what_on_exist_says() {
    let put = |served: &Served, text: &[u8]| served.peer().put(&wrq(b"x", "octet"), text);
    let served = Served::with(&["--create", "--on-exist", "number"]);
    for text in [&b"one"[..], b"two", b"three"] {
        put(&served, text);
    }
    assert_eq!(served.names(), ["x", "x.1", "x.2"]);
    assert_eq!((served.read("x"), served.read("x.2")), (b"one".to_vec(), b"three".to_vec()));
    served.daemon.wait_log("upload: stored as x.2");

    let served = Served::with(&["--create", "--on-exist", "date"]);
    for text in [&b"one"[..], b"two", b"three"] {
        put(&served, text);
    }
    let names = served.names();
    assert_eq!(names.len(), 3, "{names:?}");
    for name in &names[1..] {
        let date = name.strip_prefix("x.20").unwrap();
        assert!(date.len() >= 14 && date.contains('T') && date.contains('Z'), "{name}");
    }
    assert_eq!(served.read("x"), b"one");

    let served = Served::with(&["--create", "--on-exist", "replace"]);
    put(&served, b"one");
    put(&served, b"two");
    assert_eq!((served.names(), served.read("x")), (vec!["x".to_owned()], b"two".to_vec()));

    let served = Served::with(&["--create", "--on-exist", "refuse"]);
    put(&served, b"one");
    assert_eq!(served.refusal(wrq(b"x", "octet")), 6);
}

#[test]
fn with_mkdir_the_folders_of_an_upload_are_made_below_the_root() {
    let served = Served::with(&["--create", "--mkdir"]);
    for name in ["a/b/c", "a/b/d", "/a//./e/f", "g"] {
        served.peer().put(&wrq(name.as_bytes(), "octet"), b"text");
    }
    for name in ["a/b/c", "a/b/d", "a/e/f", "g"] {
        assert_eq!(served.read(name), b"text", "{name}");
    }
    for name in ["../out/x", "a/../../out/x", "a/../new/x"] {
        assert_eq!(served.refusal(wrq(name.as_bytes(), "octet")), 2, "{name}");
    }
    assert!(!served.path("new").exists() && !served.path("../out").exists());
    let served = Served::with(&["--create"]);
    assert_eq!(served.refusal(wrq(b"a/x", "octet")), 1, "without the option");
}
