//! The hardware addresses of clients on the same network, as the kernel's tables have them.

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::FileExt;

use super::rtnetlink;

/// The ARP table: IPv4 alone.
const TABLE: &str = "/proc/net/arp";
/// The flag of an entry that is complete (ATF_COM of <linux/if_arp.h>).
const COMPLETE: u32 = 2;
/// Longest table that is read, in bytes.
const MAX_TABLE: usize = 1 << 20;
/// Bytes of one read(2).
const PAGE: usize = 4096;

/// The table, open from the start, because `--chroot` hides /proc and Landlock closes it.
/// rtnetlink, which knows the neighbours by IPv6, works inside.
#[derive(Debug)]
pub(super) struct Neighbours(Option<File>);

impl Neighbours {
    pub(super) fn open() -> Neighbours {
        Neighbours(File::open(TABLE).ok())
    }

    /// Returns the hardware address of a client as PXELINUX writes it: the type, 01 for Ethernet,
    /// and the bytes, with dashes between them and in lower case.
    pub(super) fn find(&self, peer: SocketAddr) -> Option<String> {
        let ip = match (peer.ip().to_canonical(), peer) {
            (IpAddr::V6(ip), SocketAddr::V6(peer)) => {
                let (kind, bytes) = rtnetlink::find(ip, peer.scope_id())?;
                let bytes = bytes.iter().map(|byte| format!("-{byte:02x}"));
                return Some(format!("{kind:02x}{}", bytes.collect::<String>()));
            }
            (ip, _) => ip,
        };
        let mut table = Vec::new();
        let mut page = [0; PAGE];
        // The kernel makes the table again for each read at an offset, so processes that share the
        // descriptor do not disturb each other.
        while let Some(length) = self.0.as_ref()?.read_at(&mut page, table.len() as u64).ok()
            && length > 0
            && table.len() < MAX_TABLE
        {
            table.extend_from_slice(page.get(..length).unwrap_or_default());
        }
        find(&String::from_utf8_lossy(&table), ip)
    }
}

fn find(table: &str, peer: IpAddr) -> Option<String> {
    table.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let address: IpAddr = words.next()?.parse().ok()?;
        let mut number = || u32::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
        let (kind, flags) = (number()?, number()?);
        let hardware = words.next()?;
        let usable = address == peer && flags & COMPLETE != 0 && is_hardware(hardware);
        usable.then(|| format!("{kind:02x}-{}", hardware.replace(':', "-").to_ascii_lowercase()))
    })
}

fn is_hardware(text: &str) -> bool {
    text.split(':').all(|byte| byte.len() == 2 && byte.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "\
IP address       HW type     Flags       HW address            Mask     Device
192.0.2.7        0x1         0x2         52:54:00:AB:cd:0f     *        eth0
192.0.2.8        0x1         0x0         00:00:00:00:00:00     *        eth0
192.0.2.9        0x20        0x2         80:00:02:08     *        ib0
192.0.2.10       0x1         0x2         ../../../../etc       *        eth0
";

    #[test]
    fn a_neighbour_is_named_as_pxelinux_does_and_a_stranger_not_at_all() {
        let hardware = |address: &str| find(SAMPLE, address.parse().unwrap());
        assert_eq!(hardware("192.0.2.7").as_deref(), Some("01-52-54-00-ab-cd-0f"));
        assert_eq!(hardware("192.0.2.8"), None, "not resolved");
        assert_eq!(hardware("192.0.2.9").as_deref(), Some("20-80-00-02-08"));
        assert_eq!(hardware("192.0.2.10"), None);
        assert_eq!(hardware("192.0.2.1"), None);
        assert_eq!(hardware("2001:db8::1"), None);
    }

    #[test]
    fn this_machines_own_table_can_be_read() {
        for stranger in ["192.0.2.77:9", "[::ffff:192.0.2.77]:9", "[2001:db8::77]:9"] {
            assert_eq!(Neighbours::open().find(stranger.parse().unwrap()), None);
        }
    }
}
