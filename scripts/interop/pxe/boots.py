"""What is booted, and how tftpd is started for it."""

from dataclasses import dataclass

from images import BROKEN, WHOLE


@dataclass(frozen=True)
class Boot:
    """One boot: `asked` is the name that DHCP hands out, `stored` the file below the root, `logged`
    what tftpd's log must show in the end."""

    name: str
    firmware: str
    asked: str
    stored: str
    options: tuple = ()
    map: str = ""
    commands: tuple = ()
    logged: tuple = ()
    word: bytes = WHOLE.encode()

    def verdict(self, said):
        """The word that was said on the serial line, if one was."""
        return next((word.encode() for word in (WHOLE, BROKEN) if word.encode() in said), None)


# Drops every 20th datagram on its way in, at random, and every 20th that tftpd sends.
LOSS = tuple(("iptables", "-A", chain, "-p", "udp", "!", way, "67", "-m", "statistic",
              "--mode", "random", "--probability", "0.05", "-j", "DROP")
             for chain, way in (("INPUT", "--dport"), ("OUTPUT", "--sport")))

BOOTS = [
    Boot("iPXE: blksize and tsize", "bios", "boot.bios", "boot.bios", logged=("blksize=1432",)),
    Boot("UEFI: asks for tsize first, then for a window of 4 blocks", "uefi", "boot.uefi",
         "boot.uefi", logged=("windowsize=4",)),
    Boot("iPXE: --single-port", "bios", "boot.bios", "boot.bios", ("--single-port",)),
    Boot("UEFI: --single-port", "uefi", "boot.uefi", "boot.uefi", ("--single-port",)),
    Boot("UEFI: --port-range of two ports", "uefi", "boot.uefi", "boot.uefi",
         ("--port-range", "40000:40001")),
    Boot("iPXE: 5 % of the datagrams are lost on each way", "bios", "boot.bios", "boot.bios",
         commands=LOSS),
    Boot("U-Boot: blocks of 1468 and 512, windows of 8, a file that is not there", "uboot", "image", "image"),
    Boot("U-Boot: --single-port", "uboot", "image", "image", ("--single-port",)),
]
