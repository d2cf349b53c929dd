//! `--transfer-log` and `--report`.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use testkit::{Daemon, TempDir, command, root_can_judge, run, wait_until};

use crate::udp::{Served, TFTPD, Udp, ack, data, noise, oack, rrq, with, wrq};

/// The lines of a file, once there are as many.
fn lines(path: &Path, count: usize) -> Vec<String> {
    let read = || fs::read_to_string(path).unwrap_or_default();
    wait_until("the lines are there", || read().lines().count() >= count && read().ends_with('\n'));
    let lines: Vec<String> = read().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), count, "{lines:?}");
    lines
}

/// A line without what is different each time: the date, the time that it took.
fn fixed(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
    assert_eq!(words.len(), 18, "{line}");
    let date = words[..5].join(" ");
    assert!(words[3].len() == 8 && words[4].len() == 4, "{date}");
    let seconds: f64 = words[5].parse().unwrap();
    assert!((0.0..600.0).contains(&seconds), "{line}");
    words[6..].join(" ")
}

#[test]
fn each_transfer_has_a_line_of_xferlog_in_the_transfer_log() {
    for single in [&[][..], &["--single-port"]] {
        let dir = TempDir::new();
        let log = dir.path().join("xferlog");
        let map = dir.file("map", "prefix mapped/ ''\n");
        let more =
            ["--transfer-log", log.to_str().unwrap(), "--map", map.to_str().unwrap(), "--create"];
        let served = Served::with(&[&more, single].concat());
        served.write("x y\n", noise(600, 1));
        let expected = |n: usize| fixed(&lines(&log, n)[n - 1]);
        served.peer().get(&rrq(b"mapped/x y\n", "octet"));
        assert_eq!(expected(1), r"127.0.0.1 600 /x\x20y\n b _ o a - tftp 0 * c");
        served.peer().put(&wrq(b"//up", "netascii"), b"text\r\n");
        assert_eq!(expected(2), "127.0.0.1 6 /up a _ i a - tftp 0 * c");
        let mut peer = served.peer();
        peer.send(rrq(b"x y\n", "octet"));
        peer.expect(data(1, &noise(600, 1)[..512]));
        peer.send(b"\0\x05\0\0enough\0");
        assert_eq!(expected(3), r"127.0.0.1 512 /x\x20y\n b _ o a - tftp 0 * i");
        // Refused, and asked for its size only: no file was transferred.
        assert_eq!(served.refusal(rrq(b"none", "octet")), 1);
        peer.send(b"");
        let mut peer = served.peer();
        peer.send(with(&rrq(b"x y\n", "octet"), "tsize 0"));
        peer.expect(oack("tsize 600"));
        peer.send(b"\0\x05\0\x08size\0");
        served.wait_line("tsize=600", "no more than the options");
        lines(&log, 3);
        let report = run(command(TFTPD, &["--report", log.to_str().unwrap()]), b"");
        assert!(report.status.success());
        let table = String::from_utf8(report.stdout).unwrap();
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let rows: Vec<_> = table.lines().map(words).collect();
        assert_eq!(rows[0], ["CLIENT", "WHAT", "FILE", "TIMES", "BYTES", "SECONDS", "FAILED"]);
        let without_seconds =
            |row: &[String]| [&row[..row.len() - 2], &row[row.len() - 1..]].concat();
        assert_eq!(without_seconds(&rows[1]), ["127.0.0.1", "got", r"x\x20y\n", "1", "1112", "1"]);
        assert_eq!(without_seconds(&rows[2]), ["127.0.0.1", "put", "up", "1", "6", "0"]);
        assert_eq!(without_seconds(&rows[3]), ["all", "2", "1118", "1"]);
    }
}

#[test]
fn the_servers_own_log_is_summed_up_too() {
    let served = Served::with(&[]);
    served.write("motd", "hello");
    for _ in 0..2 {
        served.peer().get(&rrq(b"motd", "octet"));
    }
    assert_eq!(served.refusal(rrq(b"mtod", "octet")), 1);
    served.wait_line("RRQ \"mtod\"", "refused");
    wait_until("both are logged", || served.daemon.log().matches(": complete").count() == 2);
    let report = run(command(TFTPD, &["--report", "-"]), served.daemon.log().as_bytes());
    let table = String::from_utf8(report.stdout).unwrap();
    let row = |file: &str| {
        let row = table.lines().find(|line| line.contains(file)).unwrap();
        row.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(row("motd")[..5], ["127.0.0.1", "got", "motd", "2", "10"]);
    assert_eq!(row("mtod")[3..5], ["0", "0"]);
    assert_eq!(row("mtod")[6], "1");
    let missing = run(command(TFTPD, &["--report", "/no/such/log"]), b"");
    assert_eq!(missing.status.code(), Some(1));
    let said = String::from_utf8(missing.stderr).unwrap();
    assert_eq!(said, "tftpd: report /no/such/log: No such file or directory\n");
}

#[test]
fn the_transfer_log_is_opened_again_on_sighup() {
    for single in [&[][..], &["--single-port"]] {
        let dir = TempDir::new();
        let [log, old] = ["xferlog", "xferlog.1"].map(|name| dir.path().join(name));
        let served = Served::with(&[&["--transfer-log", log.to_str().unwrap()], single].concat());
        served.write("x", "hello");
        served.peer().get(&rrq(b"x", "octet"));
        lines(&log, 1);
        fs::rename(&log, &old).unwrap();
        served.daemon.signal(Signal::SIGHUP);
        wait_until("there is another", || log.exists());
        served.daemon.wait_log("SIGHUP");
        served.peer().get(&rrq(b"x", "octet"));
        lines(&log, 1);
        lines(&old, 1);
    }
}

/// The user that the server becomes may not write there; a process that still may opens it again.
#[test]
fn the_transfer_log_is_opened_with_the_rights_of_the_start() {
    if !root_can_judge() {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new();
    let folder = dir.path().join("logs");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    fs::create_dir(dir.path().join("files")).unwrap();
    dir.file("files/x", "hello");
    let [log, old] = ["xferlog", "xferlog.1"].map(|name| folder.join(name));
    let chroot = dir.path().to_str().unwrap();
    let args = ["-u", "nobody", "--chroot", chroot, "--root", "/files", "--transfer-log"];
    let daemon = Daemon::start(TFTPD, &[&args[..], &[log.to_str().unwrap()]].concat());
    for _ in 0..2 {
        Udp::new(daemon.addr()).get(&rrq(b"x", "octet"));
        lines(&log, 1);
        fs::rename(&log, &old).unwrap();
        daemon.signal(Signal::SIGHUP);
        wait_until("there is another", || log.exists());
    }
    assert!(!daemon.log().contains("the old file goes on"), "{}", daemon.log());
}

#[test]
fn a_transfer_log_that_others_may_write_or_whose_folder_is_missing_is_refused() {
    let dir = TempDir::new();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(dir.path().join("x"), &link).unwrap();
    let root = dir.path().to_str().unwrap();
    for check in [&[][..], &["--check"]] {
        for (path, why) in [
            (link.to_str().unwrap(), "is a symbolic link"),
            ("/no/such/folder/log", "No such file or directory"),
        ] {
            let args =
                [check, &["--root", root, "-l", "127.0.0.1:0", "--transfer-log", path]].concat();
            let output = run(command(TFTPD, &args), b"");
            assert_eq!(output.status.code(), Some(1));
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(said, format!("tftpd: transfer log {path}: {why}\n"), "{check:?}");
        }
    }
}

#[test]
fn an_upload_that_fails_is_incomplete_in_the_transfer_log() {
    let dir = TempDir::new();
    let log = dir.path().join("xferlog");
    let served =
        Served::with(&["--create", "--max-size", "1000", "--transfer-log", log.to_str().unwrap()]);
    let mut peer = served.peer();
    peer.send(wrq(b"big", "octet"));
    peer.expect(ack(0));
    peer.send(data(1, &[1; 512]));
    peer.expect(ack(1));
    peer.send(data(2, &[1; 512]));
    peer.expect_error(3);
    let line = fixed(&lines(&log, 1)[0]);
    assert!(line.ends_with(" /big b _ i a - tftp 0 * i"), "{line}");
}
