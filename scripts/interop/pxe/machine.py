"""A network of two: this program's own host and a machine that boots from it."""

import os
import subprocess
import tempfile
from pathlib import Path

from harness import Failure, check, end, need, show, wait_until

HOST = "10.77.0.1"
MAC = "52:54:00:07:44:00"
# Seconds. A boot takes 7 (UEFI) or 20 (iPXE) on an idle machine.
LIMIT = 150
OVMF = "/usr/share/OVMF/OVMF_CODE.fd"


def command(*words):
    """Runs a short command of the system's to its end."""
    done = subprocess.run([need(words[0]), *words[1:]], capture_output=True, check=False, text=True)
    check(done.returncode == 0, f"{' '.join(words)}: {done.stderr.strip()}")


class Network:
    """A tap device in this process's own network namespace, and DHCP on it: dnsmasq gives out an
    address and the file's name, and no file."""

    def __init__(self, folder, file):
        self.started = []
        command("ip", "link", "set", "lo", "up")
        command("ip", "tuntap", "add", "tap0", "mode", "tap")
        command("ip", "addr", "add", f"{HOST}/24", "dev", "tap0")
        command("ip", "link", "set", "tap0", "up")
        self.start("dnsmasq", folder / "dhcp.log", "--keep-in-foreground", "--conf-file=/dev/null",
                   "--port=0", "--interface=tap0", "--bind-interfaces", "--user=root",
                   "--dhcp-range=10.77.0.10,10.77.0.20", f"--dhcp-boot={file},,{HOST}",
                   f"--dhcp-leasefile={folder / 'leases'}", f"--pid-file={folder / 'dnsmasq.pid'}",
                   "--log-facility=-")

    def start(self, program, log, *words):
        """A program that runs until the end; what it writes goes into `log`."""
        with open(log, "wb") as out:
            process = subprocess.Popen(
                [program if os.sep in program else need(program), *map(str, words)], cwd="/",
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
        self.started.append(process)
        return process

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.started):
            end(process)


def qemu(firmware, serial):
    """The words that start the machine, without a disk and without a screen."""
    words = ["-accel", "tcg", "-m", "256", "-display", "none", "-monitor", "none", "-no-reboot",
             "-serial", f"file:{serial}", "-boot", "n",
             "-netdev", "tap,id=net,ifname=tap0,script=no,downscript=no"]
    card = f"virtio-net-pci,netdev=net,mac={MAC}"
    if firmware == "uefi":
        check(os.path.exists(OVMF), f"{OVMF} is not there: run scripts/interop/setup")
        return [*words, "-vga", "none", "-drive", f"if=pflash,format=raw,readonly=on,file={OVMF}",
                "-device", f"{card},romfile="]
    return [*words, "-device", card]


def boot(boot_of, programs, images):
    """Boots the machine once: fails unless it says that its image came whole."""
    with tempfile.TemporaryDirectory(prefix="forklore-pxe.") as folder:
        folder = Path(folder)
        folder.chmod(0o755)
        root = folder / "root"
        root.mkdir(mode=0o755)
        stored = root / boot_of.stored
        stored.parent.mkdir(parents=True, exist_ok=True)
        stored.write_bytes((images / boot_of.firmware).read_bytes())
        (folder / "map").write_text(boot_of.map)
        log, serial = folder / "tftpd.log", folder / "serial"
        with Network(folder, boot_of.asked) as network:
            for words in boot_of.commands:
                command(*words)
            options = [word.replace("MAP", str(folder / "map")) for word in boot_of.options]
            tftpd = network.start(str(programs / "tftpd"), log, "-v", "-l", f"{HOST}:69", "--root", root,
                                  *options)
            wait_until("tftpd listens", lambda: b"listening on" in log.read_bytes())
            network.start("qemu-system-x86_64", folder / "qemu.log",
                          *qemu(boot_of.firmware, serial))

            def spoken():
                said = serial.read_bytes() if serial.exists() else b""
                gone = [each.args[0] for each in network.started if each.poll() is not None]
                return boot_of.verdict(said) or (f"{gone} ended" if gone else "").encode()

            try:
                verdict = wait_until("no word on the serial line", spoken, LIMIT)
            except Failure as failure:
                verdict = str(failure).encode()
            check(verdict == boot_of.word, f"{verdict.decode()}; " + story(folder))
            tftpd.terminate()
            check(tftpd.wait(10) == 0, f"tftpd ended with {tftpd.returncode}")
            said = log.read_text(encoding="utf-8", errors="backslashreplace")
            for words in boot_of.logged:
                check(words in said, f"tftpd's log lacks '{words}':\n{said}")


def story(folder):
    """What everybody wrote, for a failure's text."""
    texts = (f"{file.name}: {show(file.read_bytes(), 1500)}"
             for file in sorted(folder.glob("*.log")) + [folder / "serial"] if file.exists())
    return "\n".join(texts)
