//! `--map FILE`: the names that clients ask for, and the files that they get.

use std::fs;
use std::os::unix::fs::symlink;

use super::udp::{Served, Udp, ack, rrq, wrq};
use nix::sys::signal::Signal;
use testkit::{TempDir, command, root_can_judge, run, wait_until};

const TFTPD: &str = env!("CARGO_BIN_EXE_tftpd");

/// A daemon with these rules, and the folder where the file with them is.
fn ruled(rules: &str, args: &[&str]) -> (Served, TempDir) {
    let dir = TempDir::new();
    let map = dir.file("map", rules);
    let args = [&["--map", map.to_str().unwrap()], args].concat();
    (Served::with(&args), dir)
}

fn get(served: &Served, name: &str) -> String {
    String::from_utf8(served.peer().get(&rrq(name.as_bytes(), "octet"))).unwrap()
}

#[track_caller]
fn refused(served: &Served, name: &str) -> u8 {
    served.refusal(rrq(name.as_bytes(), "octet"))
}

#[test]
fn backslashes_become_slashes_only_by_a_rule() {
    let (served, _dir) = ruled("slash", &[]);
    fs::create_dir(served.path("sub")).unwrap();
    served.write("sub/f", "below");
    assert_eq!(get(&served, r"sub\f"), "below");
    assert_eq!(get(&served, r"\sub\f"), "below");
    served.wait_line(r#"RRQ "sub\\f" octet as "sub/f": 5 octets"#, "complete");
    let plain = Served::with(&[]);
    plain.write(r"sub\f", "a name with a backslash");
    assert_eq!(get(&plain, r"sub\f"), "a name with a backslash");
}

#[test]
fn upper_case_is_folded_by_a_rule() {
    let (served, _dir) = ruled("slash\nlower", &[]);
    fs::create_dir(served.path("boot")).unwrap();
    served.write("boot/bcd", "small");
    assert_eq!(get(&served, r"\Boot\BCD"), "small");
    assert_eq!(get(&served, "BOOT/bcd"), "small");
}

#[test]
fn a_prefix_is_taken_away_or_put_before() {
    let (served, _dir) = ruled("prefix /tftpboot/ ''\nprefix old/ new/", &[]);
    fs::create_dir(served.path("new")).unwrap();
    served.write("x", "x");
    served.write("new/y", "y");
    assert_eq!(get(&served, "/tftpboot/x"), "x");
    assert_eq!(get(&served, "old/y"), "y");
    assert_eq!(get(&served, "x"), "x");
    assert_eq!(refused(&served, "tftpboot/x"), 1, "another prefix");
}

#[test]
fn a_regex_builds_the_name_from_its_groups() {
    let rule = r"regex ^pxelinux\.cfg/01-([0-9a-f-]{17})$ hosts/$1/config";
    let (served, _dir) = ruled(rule, &[]);
    fs::create_dir_all(served.path("hosts/52-54-00-ab-cd-0f")).unwrap();
    served.write("hosts/52-54-00-ab-cd-0f/config", "yours");
    assert_eq!(get(&served, "pxelinux.cfg/01-52-54-00-ab-cd-0f"), "yours");
    assert_eq!(refused(&served, "pxelinux.cfg/01-52-54-00-ab-cd-ff"), 1);
    served.wait_line("as \"hosts/52-54-00-ab-cd-ff/config\"", "ERROR 1");
}

#[test]
fn each_client_has_a_folder_by_its_address() {
    let (served, _dir) = ruled("prefix '' %i/", &["--create"]);
    fs::create_dir(served.path("127.0.0.1")).unwrap();
    fs::create_dir(served.path("127.0.0.9")).unwrap();
    served.write("127.0.0.1/x", "one");
    served.write("127.0.0.9/x", "nine");
    assert_eq!(get(&served, "x"), "one");
    let mut nine = served.peer();
    nine.socket = std::net::UdpSocket::bind("127.0.0.9:0").unwrap();
    assert_eq!(nine.get(&rrq(b"x", "octet")), b"nine");
    served.peer().put(&wrq(b"up", "octet"), b"mine");
    assert_eq!(served.read("127.0.0.1/up"), b"mine");
    for name in ["../127.0.0.9/x", "a/../../127.0.0.9/x"] {
        assert_eq!(refused(&served, name), 2, "another's: {name}");
        assert_eq!(served.refusal(wrq(name.as_bytes(), "octet")), 2, "another's: {name}");
    }
}

#[test]
fn a_client_whose_mac_address_is_unknown_meets_no_rule_that_names_it() {
    let (served, _dir) = ruled("prefix '' %m/\nprefix '' %x/", &[]);
    fs::create_dir(served.path("7F000001")).unwrap();
    served.write("7F000001/x", "by hexadecimal address");
    assert_eq!(get(&served, "x"), "by hexadecimal address");
}

#[test]
fn try_prefers_the_clients_own_file_and_folder() {
    let (served, _dir) = ruled("try %i/$0", &["--create", "--overwrite"]);
    fs::create_dir(served.path("127.0.0.1")).unwrap();
    served.write("127.0.0.1/own", "own");
    served.write("own", "common");
    served.write("other", "common");
    assert_eq!(get(&served, "own"), "own");
    assert_eq!(get(&served, "other"), "common");
    assert_eq!(refused(&served, "none"), 1);
    served.peer().put(&wrq(b"up", "octet"), b"mine");
    assert_eq!(served.read("127.0.0.1/up"), b"mine");
    fs::remove_dir_all(served.path("127.0.0.1")).unwrap();
    served.peer().put(&wrq(b"up", "octet"), b"everybody's");
    assert_eq!(served.read("up"), b"everybody's");
}

#[test]
fn deny_is_an_access_violation_and_stop_an_exception() {
    let (served, _dir) = ruled("stop ^pub/\nput deny .\ndeny \\.key$", &["--create"]);
    fs::create_dir(served.path("pub")).unwrap();
    served.write("a.key", "secret");
    served.write("pub/a.key", "public");
    assert_eq!(get(&served, "pub/a.key"), "public");
    for name in ["a.key", "./a.key", "pub/../a.key"] {
        assert_eq!(refused(&served, name), 2, "{name}");
    }
    assert_eq!(served.refusal(wrq(b"x", "octet")), 2);
    served.peer().put(&wrq(b"pub/x", "octet"), b"fine");
    served.wait_line("RRQ \"a.key\"", "Name is not allowed (ERROR 2)");
}

#[test]
fn no_rule_leads_out_of_the_root() {
    let rules = "prefix out/ ../\nprefix abs/ /etc/\ntry ../$0\nregex ^link$ ../secret";
    let (served, _dir) = ruled(rules, &["--create", "--overwrite"]);
    fs::write(served.dir.path().join("secret"), "secret").unwrap();
    symlink("../secret", served.path("sym")).unwrap();
    for name in ["out/secret", "link", "sym", "../secret"] {
        assert_eq!(refused(&served, name), 2, "RRQ {name}");
        assert_eq!(served.refusal(wrq(name.as_bytes(), "octet")), 2, "WRQ {name}");
    }
    assert_eq!(refused(&served, "abs/passwd"), 1);
    assert_eq!(refused(&served, "secret"), 1, "try sees nothing outside");
    assert_eq!(fs::read(served.dir.path().join("secret")).unwrap(), b"secret");
}

#[test]
fn an_empty_name_of_a_rules_making_is_refused() {
    let (served, _dir) = ruled("regex .* ''", &["--create"]);
    assert_eq!(refused(&served, "x"), 2);
    assert_eq!(served.refusal(wrq(b"x", "octet")), 2);
}

#[test]
fn a_faulty_file_is_named_with_line_and_reason() {
    let dir = TempDir::new();
    let root = dir.path().to_str().unwrap();
    let map = dir.file("map", "# names\nslash\nregex (a x\n");
    let map = map.to_str().unwrap();
    let fails = |map: &str, expected: &str| {
        let args = ["--root", root, "--map", map, "-l", "127.0.0.1:0"];
        let output = run(command(TFTPD, &args), b"");
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said, format!("tftpd: map {map}: {expected}\n"));
    };
    fails(map, "line 3: regex: unclosed group");
    fails("/no/such/map", "No such file or directory");
    fails(root, "Is a directory");
}

#[test]
fn sighup_reads_the_rules_again_for_the_next_client_and_a_fault_leaves_those_from_before() {
    let (served, dir) = ruled("prefix a/ b/", &[]);
    fs::create_dir(served.path("b")).unwrap();
    fs::create_dir(served.path("c")).unwrap();
    served.write("b/x", "b");
    served.write("c/x", "c");
    assert_eq!(get(&served, "a/x"), "b");
    let reload = |rules: &str, word: &str| {
        let fresh = dir.file("fresh", rules);
        fs::rename(fresh, dir.path().join("map")).unwrap(); // as editors do
        served.daemon.signal(Signal::SIGHUP);
        served.daemon.wait_log(word);
    };
    reload("prefix a/ c/\nlower", "map: 2 rules");
    assert_eq!(get(&served, "a/x"), "c");
    reload("prefix a/ b/\nlowr", "map: line 2: no such rule 'lowr': keeping the old rules");
    assert_eq!(get(&served, "a/x"), "c");
    fs::remove_file(dir.path().join("map")).unwrap();
    served.daemon.signal(Signal::SIGHUP);
    served.daemon.wait_log("map: No such file or directory: keeping the old rules");
    assert_eq!(get(&served, "a/x"), "c");
}

#[test]
fn in_a_jail_the_file_lies_inside_and_is_read_again_there() {
    if !root_can_judge() {
        return;
    }
    let jail = TempDir::new();
    fs::create_dir(jail.path().join("files")).unwrap();
    jail.file("files/x", "hello");
    jail.file("rules", "prefix a/ ''");
    symlink("/rules", jail.path().join("link")).unwrap(); // there is no such file outside
    let chroot = jail.path().to_str().unwrap();
    let args = |map| ["-u", "nobody", "--chroot", chroot, "--root", "/files", "--map", map];
    let refused = run(command(TFTPD, &args("/link")), b"");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(said, "tftpd: map /link: is a symbolic link\n"); // the one inside
    for map in ["/rules", "rules"] {
        jail.file("rules", "prefix a/ ''");
        let daemon = testkit::Daemon::start(TFTPD, &args(map));
        let get = |name: &[u8]| Udp::new(daemon.addr()).get(&rrq(name, "octet"));
        assert_eq!(get(b"a/x"), b"hello");
        jail.file("rules", "prefix b/ ''");
        daemon.signal(Signal::SIGHUP);
        daemon.wait_log(": 1 rules");
        assert_eq!(get(b"b/x"), b"hello");
    }
}

#[test]
fn a_file_that_the_servers_user_cannot_read_again_is_warned_of_at_the_start() {
    if !root_can_judge() {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new();
    dir.file("x", "hello");
    let map = dir.file("map", "prefix a/ ''");
    fs::set_permissions(&map, fs::Permissions::from_mode(0o600)).unwrap();
    let (root, map) = (dir.path().to_str().unwrap(), map.to_str().unwrap());
    let args = ["-u", "nobody", "--root", root, "--map", map];
    let daemon = testkit::Daemon::start(TFTPD, &args);
    assert_eq!(Udp::new(daemon.addr()).get(&rrq(b"a/x", "octet")), b"hello");
    let warning = format!("WARN tftpd[{}]: map {map}: Permission denied", daemon.pid());
    wait_until("it warns", || daemon.log().contains(&warning));
}

#[test]
fn under_load_a_request_meets_the_old_rules_or_the_new_ones_and_never_none() {
    let (served, dir) = ruled("prefix a/ b/", &[]);
    for folder in ["b", "c"] {
        fs::create_dir(served.path(folder)).unwrap();
        served.write(&format!("{folder}/x"), folder);
    }
    for round in 0..100 {
        let to = if round % 2 == 0 { "c" } else { "b" };
        let fresh = dir.file("fresh", format!("prefix a/ {to}/"));
        fs::rename(fresh, dir.path().join("map")).unwrap();
        let mut peer = served.peer();
        peer.send(rrq(b"a/x", "octet"));
        served.daemon.signal(Signal::SIGHUP);
        let answer = peer.recv();
        assert_eq!(answer[..4], [0, 3, 0, 1], "{}", answer.escape_ascii());
        peer.send(ack(1));
    }
}

#[test]
fn try_says_what_each_rule_makes_of_a_name_and_serves_nothing() {
    let dir = TempDir::new();
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("new")).unwrap();
    fs::write(root.join("new/x"), "x").unwrap();
    let rules = "# ours\nprefix old/ new/\nput from 192.0.2.0/24 prefix '' in/\n\ndeny secret$\n";
    let map = dir.file("map", rules);
    let ask = |name: &str, more: &[&str]| {
        let (map, root) = (map.to_str().unwrap(), root.to_str().unwrap());
        let args = [&["--root", root, "--map", map, "--try", name], more].concat();
        let output = testkit::run(testkit::command(env!("CARGO_BIN_EXE_tftpd"), &args), b"");
        let said = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), said, String::from_utf8(output.stderr).unwrap())
    };
    let (code, said, errors) = ask("old/x", &["--from", "192.0.2.7"]);
    let wanted = "RRQ \"old/x\" from 192.0.2.7\n\
        line 2: prefix old/ new/: \"new/x\"\n\
        line 3: put from 192.0.2.0/24 prefix '' in/: not for this request\n\
        line 5: deny secret$: no change\n\
        the name is \"new/x\", whose file is there\n\n\
        WRQ \"old/x\" from 192.0.2.7\n\
        line 2: prefix old/ new/: \"new/x\"\n\
        line 3: put from 192.0.2.0/24 prefix '' in/: \"in/new/x\"\n\
        line 5: deny secret$: no change\n\
        the name is \"in/new/x\", whose folder is not there\n";
    assert_eq!((code, said.as_str(), errors.as_str()), (Some(0), wanted, ""));
    let (code, said, errors) = ask("old/secret", &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("line 5: deny secret$: refused\nrefused: Name is not allowed"), "{said}");
    assert_eq!(errors, "tftpd: --try: the name is refused\n");
    assert_eq!(ask("x", &["--from", "here"]).0, Some(2));
}
