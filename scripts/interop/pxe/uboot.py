"""U-Boot's own TFTP client, in a PC that qemu makes: what it has loaded is whole, by the sum that it computes."""

import os
import re
import select
import signal
import subprocess
import time
import zlib
from pathlib import Path

from lib import Daemon, Failure, Missing, check, need, run, same, show
from lib.folder import Folder

ROM = "/usr/lib/u-boot/qemu-x86/u-boot.rom"
HOST, MACHINE, MAC = "10.77.0.1", "10.77.0.2", "52:54:00:07:44:00"
SIZE = 300_001
# Seconds for one command; the machine takes five to its prompt on an idle machine.
LIMIT = 120
# Now and then U-Boot does not come to its prompt in qemu, before it has looked at the network: starts, and seconds for each.
STARTS, START_LIMIT = 4, 45
PROMPT = re.compile(rb"^=> ", re.MULTILINE)
# What is typed before each load, and what tftpd's log must show of it.
LOADS = (("", "blksize=1468"), ("setenv tftpblocksize 512; ", "blksize=512"),
         ("setenv tftpblocksize 1468; setenv tftpwindowsize 8; ", "windowsize=8"))


class Console:
    """The machine's serial line."""

    def __init__(self, process):
        self.process, self.said = process, b""

    def until(self, pattern, limit=LIMIT):
        """Everything up to what matches."""
        end = time.monotonic() + limit
        while not (found := re.search(pattern, self.said)):
            ready, _, _ = select.select([self.process.stdout], [], [], max(end - time.monotonic(), 0))
            piece = os.read(self.process.stdout.fileno(), 4096) if ready else b""
            if not piece:
                raise Failure(f"no {pattern} on the serial line: {show(self.said[-1500:], 1500)}")
            self.said += piece
        before, self.said = self.said[:found.start()], self.said[found.end():]
        return before

    def type(self, line):
        """Gives a command; what it said up to the next prompt."""
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        self.until(b"\n")
        return self.until(PROMPT)


def qemu():
    if not os.path.exists(ROM):
        raise Missing(ROM, "u-boot-qemu")
    return [need("qemu-system-x86_64"), "-accel", "tcg", "-machine", "pc", "-m", "256", "-display", "none",
            "-monitor", "none", "-serial", "stdio", "-bios", ROM,
            "-netdev", "tap,id=net,ifname=tap0,script=no,downscript=no",
            "-device", f"e1000,netdev=net,mac={MAC}"]


def started():
    """A machine at U-Boot's prompt."""
    for number in range(1, STARTS + 1):
        machine = subprocess.Popen(qemu(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        console = Console(machine)
        try:
            console.until(b"autoboot", START_LIMIT)
            machine.stdin.write(b" ")
            machine.stdin.flush()
            console.until(PROMPT, START_LIMIT)
            return console
        except BaseException as error:
            machine.kill()
            machine.wait()
            if number == STARTS or not isinstance(error, Failure):
                raise
            print(f"     U-Boot has not come to its prompt: start {number + 1}", flush=True)


def loads(console, content):
    """Loads the file in each way, and one that is not there."""
    console.type(f"setenv ipaddr {MACHINE}; setenv serverip {HOST}; setenv autoload no")
    for before, _ in LOADS:
        said = console.type(f"{before}tftpboot 0x1000000 image")
        check(f"Bytes transferred = {SIZE}".encode() in said, show(said, 1500))
        said = console.type(f"crc32 0x1000000 {SIZE:#x}")
        found = re.search(rb"==> ([0-9a-f]{8})", said)
        same(found and int(found[1], 16), zlib.crc32(content), "sum of what was loaded")
    said = console.type("tftpboot 0x1000000 none")
    check(b"TFTP error: 'No such file or directory' (1)" in said, show(said, 1500))


def boot(one, programs):
    """Runs the machine once, with tftpd started as `one` has it."""
    for words in ("tuntap add tap0 mode tap", f"addr add {HOST}/24 dev tap0", "link set tap0 up"):
        run(["ip", *words.split()]).good()
    with Folder("uboot") as place:
        root = Path(place.dir) / "root"
        root.mkdir(mode=0o755)
        content = os.urandom(SIZE)
        (root / one.stored).write_bytes(content)
        tftpd = Daemon([programs / "tftpd", "-v", "-l", f"{HOST}:69", "--root", root, *one.options],
                       place.dir / "tftpd.log")
        machine = None
        try:
            console = started()
            machine = console.process
            loads(console, content)
            tftpd.signal(signal.SIGTERM)
            same(tftpd.ends(), 0, "exit code of tftpd")
            for words in (logged for _, logged in LOADS):
                check(words in tftpd.log(), f"tftpd's log lacks '{words}':\n{tftpd.log()}")
        finally:
            if machine:
                machine.kill()
                machine.wait()
            tftpd.kill()
