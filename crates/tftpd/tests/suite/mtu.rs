//! `--mtu-blksize`: no block is longer than the route's MTU lets it be.

use crate::udp::{Served, Udp, oack, rrq, with, wrq};
use testkit::in_namespaces;
use unp::netlink::{LOOPBACK, bring_up, set_mtu};

#[test]
fn with_mtu_blksize_no_block_needs_fragments() {
    in_namespaces(&["--net"], concat!(module_path!(), "::on_a_link_of_1500_bytes"));
}

#[test]
#[ignore = "needs a network namespace; see above"]
fn on_a_link_of_1500_bytes() {
    set_mtu(LOOPBACK, 1500).unwrap();
    bring_up(LOOPBACK, true).unwrap();
    for single in [&[][..], &["--single-port"]] {
        let more = ["--mtu-blksize", "--create", "-l", "*:0"];
        let served = Served::with(&[&more, single].concat());
        served.write("x", vec![1; 5000]);
        let listening = served.daemon.listening(1);
        let port = listening[0].rsplit(':').next().unwrap();
        for (at, largest) in [("127.0.0.1", 1468), ("[::1]", 1448)] {
            let peer = || Udp::new(format!("{at}:{port}").parse().unwrap());
            for (request, asked, granted) in [
                (rrq(b"x", "octet"), "blksize 65464", format!("blksize {largest}")),
                (rrq(b"x", "octet"), "blksize 1024", "blksize 1024".into()),
                (rrq(b"x", "octet"), "blksize2 8192", "blksize2 1024".into()),
                (wrq(b"up", "octet"), "blksize 9000", format!("blksize {largest}")),
                (
                    wrq(b"up2", "octet"),
                    "windowsize 4 blksize 9000",
                    format!("windowsize 4 blksize {largest}"),
                ),
            ] {
                let mut peer = peer();
                peer.send(with(&request, asked));
                peer.expect(oack(&granted));
                peer.send(b"\0\x05\0\x08no\0");
            }
        }
    }
    let served = Served::with(&[]);
    served.write("x", vec![1; 5000]);
    let mut peer = served.peer();
    peer.send(with(&rrq(b"x", "octet"), "blksize 8192"));
    peer.expect(oack("blksize 8192"));
    peer.send(b"\0\x05\0\x08no\0");
}
