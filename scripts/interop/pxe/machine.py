"""A network of two: this program's own host and a machine that boots from it."""

import os
import signal

from lib import Daemon, Failure, Missing, Program, check, need, run, same, show, wait_until
from lib.folder import Folder

HOST = "10.77.0.1"
MAC = "52:54:00:07:44:00"
# Seconds. A boot takes 7 (UEFI) or 20 (iPXE) on an idle machine.
LIMIT = 150
OVMF = "/usr/share/OVMF/OVMF_CODE.fd"


class Network:
    """A tap device in this process's own network namespace, and DHCP on it: dnsmasq gives out an
    address and the file's name, and no file."""

    def __init__(self, folder, file):
        self.started = []
        for words in ("tuntap add tap0 mode tap", f"addr add {HOST}/24 dev tap0", "link set tap0 up"):
            run(["ip", *words.split()]).good()
        self.start(Program([need("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null", "--port=0",
                            "--interface=tap0", "--bind-interfaces", "--user=root",
                            "--dhcp-range=10.77.0.10,10.77.0.20", f"--dhcp-boot={file},,{HOST}",
                            f"--dhcp-leasefile={folder / 'leases'}", f"--pid-file={folder / 'dnsmasq.pid'}",
                            "--log-facility=-"], folder / "dhcp.log"))

    def start(self, program):
        """A program that runs until the end."""
        self.started.append(program)
        return program

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for program in reversed(self.started):
            program.kill()


def qemu(firmware, serial):
    """The words that start the machine, without a disk and without a screen."""
    words = ["-accel", "tcg", "-m", "256", "-display", "none", "-monitor", "none", "-no-reboot",
             "-serial", f"file:{serial}", "-boot", "n",
             "-netdev", "tap,id=net,ifname=tap0,script=no,downscript=no"]
    card = f"virtio-net-pci,netdev=net,mac={MAC}"
    if firmware == "uefi":
        if not os.path.exists(OVMF):
            raise Missing(OVMF, "ovmf")
        return [*words, "-vga", "none", "-drive", f"if=pflash,format=raw,readonly=on,file={OVMF}",
                "-device", f"{card},romfile="]
    return [*words, "-device", card]


def boot(boot_of, programs, images):
    """Boots the machine once: fails unless it says that its image came whole."""
    with Folder("pxe") as place:
        folder = place.dir
        root = folder / "root"
        root.mkdir(mode=0o755)
        stored = root / boot_of.stored
        stored.parent.mkdir(parents=True, exist_ok=True)
        stored.write_bytes((images / boot_of.firmware).read_bytes())
        (folder / "map").write_text(boot_of.map)
        serial = folder / "serial"
        with Network(folder, boot_of.asked) as network:
            for words in boot_of.commands:
                run(words).good()
            options = [word.replace("MAP", str(folder / "map")) for word in boot_of.options]
            tftpd = network.start(Daemon([programs / "tftpd", "-v", "-l", f"{HOST}:69", "--root", root,
                                          *options], folder / "tftpd.log"))
            network.start(Program([need("qemu-system-x86_64"), *qemu(boot_of.firmware, serial)],
                                  folder / "qemu.log"))

            def spoken():
                said = serial.read_bytes() if serial.exists() else b""
                gone = [each.name for each in network.started if each.code() is not None]
                return boot_of.verdict(said) or (f"{gone} ended" if gone else "").encode()

            try:
                verdict = wait_until("no word on the serial line", spoken, LIMIT)
            except Failure as failure:
                verdict = str(failure).encode()
            check(verdict == boot_of.word, f"{verdict.decode()}; " + story(folder))
            tftpd.signal(signal.SIGTERM)
            same(tftpd.ends(), 0, "exit code of tftpd")
            for words in boot_of.logged:
                check(words in tftpd.log(), f"tftpd's log lacks '{words}':\n{tftpd.log()}")


def story(folder):
    """What everybody wrote, for a failure's text."""
    texts = (f"{file.name}: {show(file.read_bytes(), 1500)}"
             for file in sorted(folder.glob("*.log")) + [folder / "serial"] if file.exists())
    return "\n".join(texts)
