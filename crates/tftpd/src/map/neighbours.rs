//! Hardware addresses of clients on the same network, from the kernel's neighbour tables.

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::FileExt;

use super::rtnetlink;

/// The ARP table, which has IPv4 neighbours only.
const TABLE: &str = "/proc/net/arp";
/// Flag of a complete entry (ATF_COM of <linux/if_arp.h>).
const COMPLETE: u32 = 2;
/// Most bytes read of the table.
const MAX_TABLE: usize = 1 << 20;
/// Bytes of one read(2).
const PAGE: usize = 4096;

/// The ARP table, opened at the start because `--chroot` and Landlock make /proc inaccessible.
/// rtnetlink, which has the IPv6 neighbours, still works then.
#[derive(Debug)]
pub(super) struct Neighbours(Option<File>);

impl Neighbours {
    pub(super) fn open() -> Neighbours {
        Neighbours(File::open(TABLE).ok())
    }

    /// Returns the hardware address of a client as PXELINUX writes it: the type (01 for Ethernet)
    /// and the bytes in lower-case hexadecimal, separated by dashes.
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
        // pread(2) has no shared offset, so processes that share the descriptor do not disturb each
        // other.
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
    fn a_neighbour_is_named_as_in_pxelinux_and_an_unknown_address_has_no_name() {
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
