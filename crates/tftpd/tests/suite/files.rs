//! Files that are odd, or change while they are read; room for uploads.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use super::udp::{Served, Udp, ack, data, noise, oack, rrq, with, wrq};
use testkit::{Daemon, TempDir, in_namespaces};

const TFTPD: &str = env!("CARGO_BIN_EXE_tftpd");

/// A daemon that serves a folder of the system's.
fn of_system(root: &str) -> Daemon {
    Daemon::start(TFTPD, &["--root", root])
}

/// Where the client has acknowledged the first `blocks` of `x` so far.
fn under_way(served: &Served, options: &str, answer: &str, blocks: u16) -> Udp {
    let mut peer = served.peer();
    peer.send(with(&rrq(b"x", "octet"), options));
    if !answer.is_empty() {
        peer.expect(oack(answer));
        peer.send(ack(0));
    }
    for block in 1..=blocks {
        assert_eq!(peer.recv()[..4], data(block, b"")[..]);
        peer.send(ack(block));
    }
    peer
}

/// Reads on; the ERROR that ends it, or the octets that came.
fn rest(peer: &mut Udp, blksize: usize) -> Result<usize, String> {
    let mut octets = 0;
    loop {
        let packet = peer.recv();
        if packet[..2] == [0, 5] {
            return Err(String::from_utf8_lossy(&packet[4..packet.len() - 1]).into_owned());
        }
        octets += packet.len() - 4;
        peer.send([&[0, 4], &packet[2..4]].concat());
        if packet.len() < 4 + blksize {
            return Ok(octets);
        }
    }
}

#[test]
fn a_file_that_shrinks_meanwhile_ends_with_an_error_and_never_as_if_it_were_whole() {
    let served = Served::with(&[]);
    for (left, options, answer, blksize) in [
        (0, "", "", 512),
        (512 * 100, "", "", 512),
        (512 * 100 + 7, "blksize 1024 tsize 0", "blksize 1024 tsize 200000", 1024),
        (0, "blksize 1024 windowsize 4", "blksize 1024 windowsize 4", 1024),
    ] {
        served.write("x", noise(200_000, 1));
        let mut peer = under_way(&served, options, answer, if blksize == 512 { 3 } else { 0 });
        File::options().write(true).open(served.path("x")).unwrap().set_len(left).unwrap();
        let error = rest(&mut peer, blksize).expect_err("no short file that looks whole");
        assert_eq!(error, "File changed while it was read", "{left} octets left");
        served.wait_line("RRQ \"x\"", "failed: File changed while it was read (ERROR 0)");
    }
}

#[test]
fn a_file_that_is_written_anew_meanwhile_is_no_mixture() {
    let served = Served::with(&[]);
    let long_ago = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for size in [200_000, 300_000] {
        served.write("x", noise(200_000, 1));
        File::options().write(true).open(served.path("x")).unwrap().set_modified(long_ago).unwrap();
        let mut peer = under_way(&served, "", "", 3);
        served.write("x", noise(size, 2));
        assert_eq!(rest(&mut peer, 512).unwrap_err(), "File changed while it was read", "{size}");
    }
}

#[test]
fn a_file_that_is_replaced_by_another_is_served_to_its_own_end() {
    let served = Served::with(&[]);
    served.write("x", noise(200_000, 1));
    let mut peer = under_way(&served, "", "", 3);
    served.write("y", noise(100, 2));
    fs::rename(served.path("y"), served.path("x")).unwrap();
    assert_eq!(rest(&mut peer, 512), Ok(200_000 - 3 * 512));
}

#[test]
fn a_file_that_grows_meanwhile_is_served_as_long_as_it_was() {
    let served = Served::with(&[]);
    served.write("x", noise(100_000, 1));
    let mut peer = under_way(&served, "tsize 0", "tsize 100000", 0);
    let grown = File::options().write(true).open(served.path("x")).unwrap();
    grown.set_len(150_000).unwrap();
    assert_eq!(rest(&mut peer, 512), Ok(100_000));
}

#[test]
fn files_of_proc_and_sys_come_whole_and_tell_no_size() {
    let proc = of_system("/proc/sys/kernel");
    assert_eq!(Udp::new(proc.addr()).get(&rrq(b"ostype", "octet")), b"Linux\n");
    assert_eq!(Udp::new(proc.addr()).get(&rrq(b"ostype", "netascii")), b"Linux\r\n");
    let mut peer = Udp::new(proc.addr());
    let request = with(&rrq(b"ostype", "octet"), "tsize 0 blksize 1000");
    assert_eq!(peer.get_with(&request, "blksize 1000", 1000, 1), b"Linux\n");
    let folder = Path::new("/sys/kernel/mm/transparent_hugepage");
    if let Ok(enabled) = fs::read(folder.join("enabled")) {
        let sys = of_system(folder.to_str().unwrap());
        assert_eq!(Udp::new(sys.addr()).get(&rrq(b"enabled", "octet")), enabled);
        let mut peer = Udp::new(sys.addr());
        assert_eq!(peer.get(&with(&rrq(b"enabled", "octet"), "tsize 0")), enabled, "no OACK");
    }
}

#[test]
fn the_links_of_proc_that_lead_anywhere_are_not_followed() {
    let proc = of_system("/proc");
    for name in ["self/exe", "self/root/etc/passwd", "self/cwd/etc/passwd", "self/fd/0"] {
        let mut peer = Udp::new(proc.addr());
        peer.send(rrq(name.as_bytes(), "octet"));
        peer.expect_error(2);
    }
    assert!(Udp::new(proc.addr()).get(&rrq(b"self/status", "octet")).starts_with(b"Name:"));
}

#[test]
fn a_file_system_that_is_mounted_below_the_root_is_part_of_it() {
    if !super::udp::is_single() {
        in_namespaces(&["--mount"], concat!(module_path!(), "::with_a_disk_below_the_root"));
    }
}

#[test]
#[ignore = "needs a mount namespace; see above"]
fn with_a_disk_below_the_root() {
    let (root, disk) = (TempDir::new(), TempDir::new());
    mount("65536", &disk);
    fs::write(disk.path().join("x"), "on the disk").unwrap();
    fs::create_dir(root.path().join("sub")).unwrap();
    let below = root.path().join("sub");
    let bound = Command::new("mount").arg("--bind").args([disk.path(), &below]).status().unwrap();
    assert!(bound.success());
    let args = ["--root", root.path().to_str().unwrap(), "--create", "--overwrite", "-u", "root"];
    let daemon = Daemon::start(TFTPD, &args);
    assert_eq!(Udp::new(daemon.addr()).get(&rrq(b"sub/x", "octet")), b"on the disk");
    for text in [&b"new"[..], b"newer"] {
        Udp::new(daemon.addr()).put(&wrq(b"sub/up", "octet"), text);
        assert_eq!(fs::read(disk.path().join("up")).unwrap(), text);
    }
    let mut peer = Udp::new(daemon.addr());
    peer.send(rrq(b"sub/../../etc/passwd", "octet"));
    peer.expect_error(2);
    drop(daemon);
    let _gone_with_the_namespace = Command::new("umount").arg(&below).status();
    umount(&disk);
}

#[test]
fn a_huge_sparse_file_tells_its_size_and_is_served_at_once() {
    let served = Served::with(&[]);
    served.write("x", "head");
    let size = (5 << 40) + 1;
    File::options().write(true).open(served.path("x")).unwrap().set_len(size).unwrap();
    let answer = format!("tsize {size} blksize 8192");
    let mut peer = under_way(&served, "tsize 0 blksize 8192", &answer, 0);
    for block in 1..100 {
        let mut octets = vec![0; 8192];
        if block == 1 {
            octets[..4].copy_from_slice(b"head");
        }
        peer.expect(data(block, &octets));
        peer.send(ack(block));
    }
}

#[test]
fn over_the_quota_is_error_3_and_what_is_replaced_does_not_count() {
    let served = Served::with(&["--create", "--overwrite", "--quota", "10000"]);
    served.peer().put(&wrq(b"a", "octet"), &noise(6000, 1));
    let mut peer = served.peer();
    peer.send(wrq(b"b", "octet"));
    peer.expect(ack(0));
    for (block, octets) in noise(4001, 1).chunks(512).enumerate() {
        peer.send(data(block as u16 + 1, octets));
        if block < 7 {
            peer.expect_after(&ack(block as u16), ack(block as u16 + 1));
        }
    }
    assert_eq!(peer.expect_error(3), "Disk quota exceeded");
    served.wait_line("WRQ \"b\"", "Disk quota exceeded (ERROR 3)");
    served.peer().put(&wrq(b"b", "octet"), &noise(4000, 1));
    served.peer().put(&wrq(b"a", "octet"), &noise(5999, 2));
    assert_eq!(served.refusal(with(&wrq(b"c", "octet"), "tsize 2")), 3);
    served.peer().put(&wrq(b"a", "octet"), &noise(100, 2));
    served.peer().put_with(&with(&wrq(b"c", "octet"), "tsize 2"), "tsize 2", b"ok", 512, 1);
    assert_eq!(served.names(), ["a", "b", "c"]);
}

#[test]
fn uploads_that_end_at_once_do_not_exceed_the_quota_together() {
    let served = Served::with(&["--create", "--quota", "10000"]);
    let mut peers: Vec<Udp> = (0..5).map(|_| served.peer()).collect();
    for (n, peer) in peers.iter_mut().enumerate() {
        peer.send(with(&wrq(format!("f{n}").as_bytes(), "octet"), "blksize 4000"));
        peer.expect(oack("blksize 4000"));
    }
    peers.iter().for_each(|peer| peer.send(data(1, &noise(3000, 1))));
    let codes: Vec<u8> = peers.iter_mut().map(|peer| peer.recv()[1]).collect();
    assert_eq!(codes.iter().filter(|code| **code == 4).count(), 3, "{codes:?}");
    assert_eq!(served.names().len(), 3, "the others left nothing");
}

#[test]
fn an_upload_that_says_that_it_is_larger_than_the_disk_is_refused_at_once() {
    let served = Served::with(&["--create"]);
    let request = with(&wrq(b"x", "octet"), "tsize 9000000000000000000");
    let mut peer = served.peer();
    peer.send(request);
    assert_eq!(peer.expect_error(3), "No space left on device");
    assert!(served.names().is_empty());
}

#[test]
fn a_disk_that_fills_up_is_error_3_and_nothing_is_left() {
    if !super::udp::is_single() {
        in_namespaces(&["--mount"], concat!(module_path!(), "::on_a_small_disk"));
    }
}

#[test]
fn a_disk_that_does_not_know_how_large_it_is_takes_files_of_any_size() {
    if !super::udp::is_single() {
        in_namespaces(&["--mount"], concat!(module_path!(), "::on_a_disk_without_limit"));
    }
}

/// An empty file system of its own for this namespace.
fn mount(size: &str, at: &TempDir) {
    let size = format!("size={size}");
    let args = ["-t", "tmpfs", "-o", &size, "none"];
    let output = Command::new("mount").args(args).arg(at.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn umount(at: &TempDir) {
    let _gone_with_the_namespace = Command::new("umount").arg(at.path()).status();
}

#[test]
#[ignore = "needs a mount namespace; see above"]
fn on_a_disk_without_limit() {
    let dir = TempDir::new();
    mount("0", &dir);
    let args = ["--root", dir.path().to_str().unwrap(), "--create", "-u", "root"];
    let daemon = Daemon::start(TFTPD, &args);
    let request = with(&wrq(b"x", "octet"), "tsize 2");
    Udp::new(daemon.addr()).put_with(&request, "tsize 2", b"ok", 512, 1);
    assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"ok");
    drop(daemon);
    umount(&dir);
}

#[test]
#[ignore = "needs a mount namespace; see above"]
fn on_a_small_disk() {
    let dir = TempDir::new();
    mount("65536", &dir);
    fs::write(dir.path().join("x"), noise(20_000, 1)).unwrap();
    let daemon = Daemon::start(
        TFTPD,
        &["--root", dir.path().to_str().unwrap(), "--create", "--overwrite", "-u", "root"],
    );
    for name in [&b"new"[..], b"x"] {
        let mut peer = Udp::new(daemon.addr());
        peer.send(wrq(name, "octet"));
        peer.expect(ack(0));
        for block in 1..1000 {
            peer.send(data(block, &[1; 512]));
            let answer = peer.recv();
            if answer != ack(block) {
                assert_eq!(answer[..4], [0, 5, 0, 3], "{}", answer.escape_ascii());
                break;
            }
        }
        daemon.wait_log("No space left on device (ERROR 3)");
        assert_eq!(fs::read(dir.path().join("x")).unwrap(), noise(20_000, 1));
        assert_eq!(testkit::names(dir.path()), ["x"]);
    }
    Udp::new(daemon.addr()).put(&wrq(b"small", "octet"), &noise(10_000, 2));
    assert_eq!(fs::read(dir.path().join("small")).unwrap(), noise(10_000, 2));
    drop(daemon);
    umount(&dir);
}
