//! Names that change while they are resolved.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::udp::{Served, ack, rrq, wrq};

/// Ends the swapping when the test ends, well or not.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Makes `name` be each of two things in turn, until told to stop.
fn swap(name: &Path, one: impl Fn(&Path), two: impl Fn(&Path), stop: &AtomicBool) {
    let fresh = name.with_extension("fresh");
    while !stop.load(Ordering::Relaxed) {
        for make in [&one as &dyn Fn(&Path), &two] {
            make(&fresh);
            fs::rename(&fresh, name).unwrap();
            thread::yield_now(); // on one processor what has the shorter time would not be seen
        }
    }
}

#[test]
fn a_name_swapped_for_a_link_during_the_request_never_leaves_the_root() {
    let served = Served::writable();
    let secret = served.dir.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    served.write("x", "public");
    let (name, stop) = (served.path("x"), AtomicBool::new(false));
    let public = |path: &Path| fs::write(path, "public").unwrap();
    let link = |path: &Path| symlink("../secret", path).unwrap();
    thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| swap(&name, public, link, &stop));
        let (mut served_whole, mut refused) = (0, 0);
        for round in 0..20_000 {
            if round >= 400 && served_whole > 0 && refused > 0 {
                break; // both were met with
            }
            let mut peer = served.peer();
            peer.send(rrq(b"x", "octet"));
            let answer = peer.recv();
            match answer[..4] {
                [0, 3, 0, 1] => {
                    assert_eq!(&answer[4..], b"public");
                    served_whole += 1;
                    peer.send(ack(1));
                }
                [0, 5, 0, 2] => refused += 1,
                _ => unreachable!("{}", answer.escape_ascii()),
            }
        }
        for _ in 0..100 {
            let mut peer = served.peer();
            peer.send(wrq(b"x", "octet"));
            let answer = peer.recv();
            if answer == ack(0) {
                peer.put_blocks(b"public");
            }
        }
        assert!(served_whole > 0 && refused > 0, "{served_whole} served, {refused} refused");
    });
    assert_eq!(fs::read(&secret).unwrap(), b"secret", "nothing was written through the link");
}

#[test]
fn a_folder_swapped_for_a_link_during_the_request_never_leaves_the_root() {
    let served = Served::writable();
    fs::create_dir(served.dir.path().join("private")).unwrap();
    fs::write(served.dir.path().join("private/x"), "secret").unwrap();
    fs::create_dir(served.path("real")).unwrap();
    served.write("real/x", "public");
    symlink("real", served.path("d")).unwrap();
    let (name, stop) = (served.path("d"), AtomicBool::new(false));
    let inside = |path: &Path| symlink("real", path).unwrap();
    let outside = |path: &Path| symlink("../private", path).unwrap();
    thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| swap(&name, inside, outside, &stop));
        for n in 0..400 {
            let mut peer = served.peer();
            peer.send(if n % 4 == 0 { wrq(b"d/new", "octet") } else { rrq(b"d/x", "octet") });
            let answer = peer.recv();
            match answer[..4] {
                [0, 3, 0, 1] => {
                    assert_eq!(&answer[4..], b"public");
                    peer.send(ack(1));
                }
                [0, 4, 0, 0] => peer.put_blocks(b"upload"),
                [0, 5, 0, 2] => (),
                _ => unreachable!("{}", answer.escape_ascii()),
            }
        }
    });
    let private = fs::read_dir(served.dir.path().join("private")).unwrap().count();
    assert_eq!(private, 1, "an upload left the root");
}
