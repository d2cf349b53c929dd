//! Raspberry Pis boot: the requests that they were seen to send, in their order, with their options and from their ports.

use std::fs;
use std::net::UdpSocket;

use super::udp::{Served, Udp, ack, data, error, noise, oack, rrq, with};

/// A file that the board wants, and what it finds.
enum Wish {
    /// It is not there: the next name is tried.
    Missing(&'static str),
    /// Its size is asked for, and the transfer ended by ERROR 0, "Early terminate".
    Size(&'static str),
    /// The file itself.
    File(&'static str),
}

use Wish::{File, Missing, Size};

/// Boots a board: `options` are those of its requests, and each request comes from the next of `ports` sockets.
fn boot(served: &Served, options: &str, blksize: usize, ports: usize, wishes: &[Wish]) {
    let sockets: Vec<Udp> = (0..ports).map(|_| served.peer()).collect();
    let again = |socket: &UdpSocket| Udp::on(socket.try_clone().unwrap(), served.daemon.addr());
    for (wish, n) in wishes.iter().zip(0..) {
        let mut peer = again(&sockets[n % ports].socket);
        let (Missing(name) | Size(name) | File(name)) = *wish;
        peer.send(with(&rrq(name.as_bytes(), "octet"), options));
        if let Missing(_) = wish {
            peer.expect_error(1);
            continue;
        }
        let file = served.read(name);
        let granted = options.replace("tsize 0", &format!("tsize {}", file.len()));
        if let Size(_) = wish {
            peer.expect(oack(&granted));
            peer.send(error(0, "Early terminate"));
            continue;
        }
        if !options.is_empty() {
            peer.expect(oack(&granted));
            peer.send(ack(0));
        }
        let mut got = Vec::new();
        for block in 1u16.. {
            let packet = peer.recv();
            assert_eq!(packet[..4], data(block, b"")[..], "{name}");
            got.extend_from_slice(&packet[4..]);
            peer.send(ack(block));
            if packet.len() < 4 + blksize {
                break;
            }
        }
        assert!(got == file, "{name}");
    }
}

fn files(served: &Served, serial: &str, names: &[&str]) {
    fs::create_dir(served.path(serial)).unwrap();
    for (name, n) in names.iter().zip(1..) {
        served.write(name, noise(3000 * n + 17, n as u64));
    }
}

/// The ROM asks without options; the second stage for the size of each file first, from a few ports in turn.
#[test]
fn a_raspberry_pi_3_boots() {
    let served = Served::with(&[]);
    let names = [
        "bootcode.bin",
        "e1ffda08/start.elf",
        "e1ffda08/config.txt",
        "e1ffda08/fixup.dat",
        "e1ffda08/bcm2710-rpi-3-b-plus.dtb",
        "e1ffda08/cmdline.txt",
        "e1ffda08/kernel8.img",
    ];
    files(&served, "e1ffda08", &names);
    boot(&served, "", 512, 2, &[File("bootcode.bin"), Missing("bootsig.bin")]);
    boot(
        &served,
        "tsize 0",
        512,
        4,
        &[
            Size("e1ffda08/start.elf"),
            File("e1ffda08/start.elf"),
            Missing("e1ffda08/autoboot.txt"),
            File("e1ffda08/config.txt"),
            Missing("e1ffda08/recovery.elf"),
            File("e1ffda08/start.elf"),
            File("e1ffda08/fixup.dat"),
            Missing("e1ffda08/recovery.elf"),
            Size("e1ffda08/config.txt"),
            File("e1ffda08/config.txt"),
            Missing("e1ffda08/dt-blob.bin"),
            Missing("e1ffda08/recovery.elf"),
            Size("e1ffda08/config.txt"),
            File("e1ffda08/config.txt"),
            Missing("e1ffda08/bootcfg.txt"),
            Size("e1ffda08/bcm2710-rpi-3-b-plus.dtb"),
            File("e1ffda08/bcm2710-rpi-3-b-plus.dtb"),
            Missing("e1ffda08/overlays/overlay_map.dtb"),
            Missing("e1ffda08/overlays/overlay_map.dtb"),
            Size("e1ffda08/cmdline.txt"),
            File("e1ffda08/cmdline.txt"),
            Missing("e1ffda08/armstub8.bin"),
            Size("e1ffda08/kernel8.img"),
            File("e1ffda08/kernel8.img"),
        ],
    );
    assert!(!served.daemon.log().contains("WARN"), "{}", served.daemon.log());
}

/// The EEPROM looks into the folder of its serial number first, and then into the root.
#[test]
fn a_raspberry_pi_4_boots() {
    let served = Served::with(&[]);
    let names = ["d9780558/keep", "config.txt", "start4.elf", "fixup4.dat", "kernel8.img"];
    files(&served, "d9780558", &names);
    boot(
        &served,
        "tsize 0 blksize 1024",
        1024,
        16,
        &[
            Missing("d9780558/start4.elf"),
            Missing("d9780558/start.elf"),
            Size("config.txt"),
            File("config.txt"),
            Missing("pieeprom.sig"),
            Missing("recover4.elf"),
            Missing("recovery.elf"),
            Size("start4.elf"),
            File("start4.elf"),
            Size("fixup4.dat"),
            File("fixup4.dat"),
            File("config.txt"),
            Missing("bcm2711-rpi-4-b.dtb"),
            Size("kernel8.img"),
            File("kernel8.img"),
        ],
    );
    assert!(!served.daemon.log().contains("WARN"), "{}", served.daemon.log());
}
