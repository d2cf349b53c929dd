//! How uploads are stored: their permissions, names that are taken, folders that are missing.

use crate::udp::{Served, ack, error, with, wrq};

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
    served.daemon.wait_log(" upload: stored as x.2");
    assert!(served.daemon.log().contains(" 127.0.0.1:"), "the line names the client");

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

#[test]
fn no_folder_is_made_for_an_upload_that_cannot_be() {
    let served = Served::with(&["--create", "--mkdir", "--max-size", "1000"]);
    for (name, code) in [
        (&b"new/"[..], 2),
        (b"new/.", 2),
        (b"new/deep/..", 2),
        (&[b"new/".repeat(65), b"x".to_vec()].concat(), 2),
    ] {
        assert_eq!(served.refusal(wrq(name, "octet")), code, "{}", name.escape_ascii());
    }
    assert_eq!(served.refusal(with(&wrq(b"new/x", "octet"), "tsize 1001")), 3);
    assert!(served.names().is_empty(), "{:?}", served.names());
    let deepest = [b"new/".repeat(64), b"x".to_vec()].concat();
    served.peer().put(&wrq(&deepest, "octet"), b"text");
}

#[test]
fn folders_count_for_the_quota_and_nothing_hides_below_many() {
    let served = Served::with(&["--create", "--mkdir", "--quota", "10240"]);
    let mut made = 0;
    let code = loop {
        let mut peer = served.peer();
        peer.send(wrq(format!("{made}/x").as_bytes(), "octet"));
        let answer = peer.recv();
        if answer != ack(0) {
            break answer[3];
        }
        peer.send(error(0, "the folder stays"));
        made += 1;
    };
    assert_eq!((made, code), (19, 3), "19 folders and a file are 10240 bytes");

    let served = Served::with(&["--create", "--quota", "100000"]);
    let deep = ["d"; 130].join("/");
    std::fs::create_dir_all(served.path(&deep)).unwrap();
    assert_eq!(served.refusal(wrq(format!("{deep}/x").as_bytes(), "octet")), 3);
}
