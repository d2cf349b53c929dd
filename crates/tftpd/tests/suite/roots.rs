//! Files as administrators lay them out: several roots, links with absolute targets, names with the root's own path; and
//! systems without openat2.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use super::udp::{Served, TFTPD, Udp, ack, data, noise, rrq, wrq};
use testkit::{Daemon, TempDir, injected, root_can_judge};

fn text(peer: &mut Udp, name: impl AsRef<[u8]>) -> String {
    String::from_utf8(peer.get(&rrq(name.as_ref(), "octet"))).unwrap()
}

fn code(mut peer: Udp, request: impl AsRef<[u8]>) -> u8 {
    peer.send(request);
    let answer = peer.recv();
    assert_eq!(answer[..3], [0, 5, 0], "{}", answer.escape_ascii());
    answer[3]
}

/// A daemon with these options, and with one port if this is a part of `single_port.rs`.
fn daemon(command: Command, args: &[&str]) -> Daemon {
    let single: &[&str] = if super::udp::is_single() { &["--single-port"] } else { &[] };
    Daemon::spawn(command, &[single, args].concat())
}

#[test]
fn an_absolute_link_to_a_path_of_the_root_is_followed() {
    let served = Served::writable();
    served.write("g", "hello");
    fs::create_dir(served.path("sub")).unwrap();
    served.write("sub/x", "deep");
    fs::write(served.dir.path().join("secret"), "secret").unwrap();
    symlink(served.path("g"), served.path("link")).unwrap();
    symlink(served.path("sub"), served.path("folder")).unwrap();
    symlink(served.path("folder"), served.path("sub/again")).unwrap();
    symlink(served.path("new"), served.path("dangling")).unwrap();
    symlink(served.path("../secret"), served.path("over")).unwrap();
    symlink(served.dir.path().join("secret"), served.path("beside")).unwrap();
    symlink("/g", served.path("slash")).unwrap();
    for (name, octets) in [
        ("link", "hello"),
        ("folder/x", "deep"),
        ("folder/again/x", "deep"),
        ("/folder/../g", "hello"),
    ] {
        assert_eq!(text(&mut served.peer(), name), octets, "{name}");
    }
    served.peer().put(&wrq(b"link", "octet"), b"replaced");
    assert_eq!(served.read("g"), b"replaced", "the file, and not the link");
    served.peer().put(&wrq(b"dangling", "octet"), b"made");
    assert_eq!(served.read("new"), b"made");
    served.peer().put(&wrq(b"folder/up", "octet"), b"up");
    assert_eq!(served.read("sub/up"), b"up");
    for name in ["over", "beside", "slash", "folder/../../secret"] {
        assert_eq!(served.refusal(rrq(name.as_bytes(), "octet")), 2, "RRQ {name}");
        assert_eq!(served.refusal(wrq(name.as_bytes(), "octet")), 2, "WRQ {name}");
    }
    assert_eq!(fs::read(served.dir.path().join("secret")).unwrap(), b"secret");
}

#[test]
fn under_chroot_a_link_to_slash_g_is_the_roots_g() {
    if !root_can_judge() {
        return;
    }
    let jail = TempDir::new();
    fs::create_dir_all(jail.path().join("files/sub")).unwrap();
    for (folder, root) in [("", "/"), ("files", "/files")] {
        let at = |name: &str| jail.path().join(folder).join(name);
        fs::create_dir_all(at("sub")).unwrap();
        fs::write(at("g"), "the root's").unwrap();
        for (name, target) in [
            ("a", "/g".to_owned()),
            ("b", format!("{root}/g")),
            ("c", at("g").display().to_string()),
            ("sub/d", "/sub/../g".to_owned()),
            ("e", "/etc/passwd".to_owned()),
            ("f", "/../../../etc/passwd".to_owned()),
        ] {
            let _ = fs::remove_file(at(name));
            symlink(target, at(name)).unwrap();
        }
        let chroot = jail.path().to_str().unwrap();
        let args = ["-u", "nobody", "--chroot", chroot, "--root", root];
        let served = daemon(Command::new(TFTPD), &args);
        let peer = || Udp::new(served.addr());
        for name in ["a", "b", "c", "sub/d"] {
            assert_eq!(text(&mut peer(), name), "the root's", "{root}: {name}");
        }
        let outside = at("g").display().to_string();
        assert_eq!(text(&mut peer(), &outside), "the root's", "its path as seen from outside");
        assert_eq!(code(peer(), rrq(b"e", "octet")), 1);
        assert_eq!(code(peer(), rrq(b"f", "octet")), 2);
    }
}

#[test]
fn a_name_that_begins_with_the_roots_path_needs_no_map() {
    let served = Served::with(&["--create", "--overwrite", "--mkdir"]);
    served.write("pxelinux.0", "hello");
    fs::write(served.dir.path().join("secret"), "secret").unwrap();
    let root = served.path("").display().to_string();
    let root = root.trim_end_matches('/');
    for name in ["pxelinux.0", "/./pxelinux.0", "//pxelinux.0", "/sub/../pxelinux.0"] {
        let name =
            if name.starts_with('/') { format!("{root}{name}") } else { format!("{root}/{name}") };
        if name.contains("sub") {
            fs::create_dir(served.path("sub")).unwrap();
        }
        assert_eq!(text(&mut served.peer(), &name), "hello", "{name}");
    }
    served.peer().put(&wrq(format!("{root}/up").as_bytes(), "octet"), b"up");
    served.peer().put(&wrq(format!("{root}/made/for/it").as_bytes(), "octet"), b"it");
    assert_eq!((served.read("up"), served.read("made/for/it")), (b"up".to_vec(), b"it".to_vec()));
    assert_eq!(served.names(), ["made", "pxelinux.0", "sub", "up"]);
    for (name, refused) in [("/../secret", 2), ("", 2), ("/none", 1), ("x/pxelinux.0", 1)] {
        assert_eq!(
            served.refusal(rrq(format!("{root}{name}").as_bytes(), "octet")),
            refused,
            "{name}"
        );
    }
    let relative = root.trim_start_matches('/');
    assert_eq!(served.refusal(rrq(format!("{relative}/pxelinux.0").as_bytes(), "octet")), 1);
    // A file that has that name below the root keeps it.
    let inner = served.path(relative);
    fs::create_dir_all(&inner).unwrap();
    fs::write(inner.join("pxelinux.0"), "inner").unwrap();
    assert_eq!(text(&mut served.peer(), format!("{root}/pxelinux.0")), "inner");
}

#[test]
fn a_file_that_is_touched_but_not_changed_goes_on() {
    let served = Served::with(&[]);
    let file = noise(20_000, 1);
    served.write("x", &file);
    let mut peer = served.peer();
    peer.send(rrq(b"x", "octet"));
    let mut got = Vec::new();
    for block in 1u16.. {
        let packet = peer.recv();
        assert_eq!(packet[..4], data(block, b"")[..], "{}", packet.escape_ascii());
        got.extend_from_slice(&packet[4..]);
        if block == 3 {
            let touched = File::options().write(true).open(served.path("x")).unwrap();
            touched.set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
        }
        peer.send(ack(block));
        if packet.len() < 516 {
            break;
        }
    }
    assert_eq!(got, file);
    served.wait_line("RRQ \"x\"", "complete");
}

#[test]
fn where_openat2_is_refused_names_are_walked_and_do_not_leave_the_root() {
    for errno in ["EPERM", "ENOSYS"] {
        let inject = format!("openat2:error={errno}");
        let Some(mut strace) = injected("openat2", &[&inject]) else { return };
        strace.arg(TFTPD);
        let served = Served::spawn(strace, &["--create", "--overwrite", "--mkdir"]);
        served.daemon.wait_log("openat2 does not work here: names are resolved folder by folder");
        served.write("g", "hello");
        fs::create_dir(served.path("sub")).unwrap();
        served.write("sub/x", "deep");
        fs::write(served.dir.path().join("secret"), "secret").unwrap();
        symlink("sub", served.path("near")).unwrap();
        symlink(served.path("sub"), served.path("far")).unwrap();
        symlink("../secret", served.path("out")).unwrap();
        symlink("..", served.path("up")).unwrap();
        symlink("/etc", served.path("etc")).unwrap();
        for (name, octets) in
            [("g", "hello"), ("/sub//./x", "deep"), ("near/x", "deep"), ("far/../g", "hello")]
        {
            assert_eq!(text(&mut served.peer(), name), octets, "{errno}: {name}");
        }
        for name in ["../secret", "sub/../../secret", "out", "up/secret", "etc/passwd"] {
            assert_eq!(served.refusal(rrq(name.as_bytes(), "octet")), 2, "{errno}: RRQ {name}");
            assert_eq!(served.refusal(wrq(name.as_bytes(), "octet")), 2, "{errno}: WRQ {name}");
        }
        assert_eq!(served.refusal(rrq(b"none", "octet")), 1);
        served.peer().put(&wrq(b"near/new", "octet"), b"new");
        served.peer().put(&wrq(b"made/new", "octet"), b"newer");
        assert_eq!(
            (served.read("sub/new"), served.read("made/new")),
            (b"new".into(), b"newer".into())
        );
        assert_eq!(fs::read(served.dir.path().join("secret")).unwrap(), b"secret");
    }
}

/// Folders, each with a file `x` that holds the folder's name, and one of that name.
fn folders(names: &[&str]) -> TempDir {
    let dir = TempDir::new();
    for name in names {
        fs::create_dir(dir.path().join(name)).unwrap();
        dir.file(&format!("{name}/x"), name);
        dir.file(&format!("{name}/{name}"), name);
    }
    dir
}

#[test]
fn several_roots_are_searched_in_order() {
    let dir = folders(&["one", "two"]);
    let [one, two] = ["one", "two"].map(|name| dir.path().join(name).display().to_string());
    let args = ["--root", &one, "--root", &two, "--create", "--overwrite"];
    let served = daemon(Command::new(TFTPD), &args);
    let peer = || Udp::new(served.addr());
    for (name, octets) in [("x", "one"), ("one", "one"), ("two", "two")] {
        assert_eq!(text(&mut peer(), name), octets);
    }
    assert_eq!(text(&mut peer(), format!("{two}/x")), "two", "by its whole path");
    assert_eq!(code(peer(), rrq(b"none", "octet")), 1);
    assert_eq!(code(peer(), rrq(b"../two/x", "octet")), 2);
    fs::create_dir(dir.path().join("two/sub")).unwrap();
    for (name, file) in [("new", "one/new"), ("two", "two/two"), ("sub/new", "two/sub/new")] {
        Udp::new(served.addr()).put(&wrq(name.as_bytes(), "octet"), b"up");
        assert_eq!(fs::read(dir.path().join(file)).unwrap(), b"up", "{name}");
    }
}

#[test]
fn a_root_may_be_for_one_address_of_the_server_or_for_clients() {
    let dir = folders(&["common", "second", "client", "net"]);
    let root = |of: &str, name: &str| format!("{of}{}", dir.path().join(name).display());
    let roots = [
        root("", "common"),
        root("127.0.0.2=", "second"),
        root("127.0.0.3=", "client"),
        root("127.0.0.4/32=", "net"),
    ];
    let args: Vec<&str> =
        roots.iter().flat_map(|root| ["--root", root]).chain(["-l", "*:0"]).collect();
    let served = daemon(Command::new(TFTPD), &args);
    let listening = served.listening(1);
    let port = listening[0].rsplit(':').next().unwrap();
    let from = |client: &str, asked: &str| {
        let socket = std::net::UdpSocket::bind((client, 0)).unwrap();
        Udp::on(socket, format!("{asked}:{port}").parse().unwrap())
    };
    for (client, asked, own) in [
        ("127.0.0.1", "127.0.0.1", "common"),
        ("127.0.0.1", "127.0.0.2", "second"),
        ("127.0.0.3", "127.0.0.1", "client"),
        ("127.0.0.4", "127.0.0.1", "net"),
        ("127.0.0.3", "127.0.0.2", "second"),
    ] {
        assert_eq!(text(&mut from(client, asked), "x"), own, "{client} asks {asked}");
        assert_eq!(text(&mut from(client, asked), "common"), "common", "those for all come last");
        for other in ["second", "client", "net"].into_iter().filter(|other| *other != own) {
            assert_eq!(
                code(from(client, asked), rrq(other.as_bytes(), "octet")),
                1,
                "{client}: {other}"
            );
        }
    }
}
