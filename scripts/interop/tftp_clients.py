"""Every TFTP client, both ways, with files of every awkward size.

`get` gives back what the program said and the file that it made, None if it made none; `put` gives
back what the program said. Mode is "octet" or "netascii".
"""

import os
import random
import sys
from pathlib import Path

from lib import LOOPBACK, add, check, same

# Where scripts/interop/setup puts Python's modules that Debian has no package of.
MODULES = "/usr/local/share/forklore-interop/python"
PROGRAM = Path(__file__).resolve().with_name("tftpy_client.py")
SIZES = (0, 1, 511, 512, 513, 1024, 100_000, 2**20)


class Curl:
    """curl leaves the lines of netascii as they are on the wire."""

    modes = ("octet",)

    @staticmethod
    def url(port, remote, mode):
        return f"tftp://{LOOPBACK}:{port}/{remote};mode={mode}"

    def get(self, fixture, port, remote, local, mode="octet"):
        return fixture.run("curl", "-sS", "-o", local, self.url(port, remote, mode))

    def put(self, fixture, port, local, remote, mode="octet"):
        return fixture.run("curl", "-sS", "-T", local, self.url(port, remote, mode))


class Atftp:
    modes = ("octet", "netascii")

    def get(self, fixture, port, remote, local, mode="octet", *more):
        return fixture.run("atftp", "--option", f"mode {mode}", *more, "-g", "-r", remote,
                           "-l", local, LOOPBACK, port)

    def put(self, fixture, port, local, remote, mode="octet", *more):
        return fixture.run("atftp", "--option", f"mode {mode}", *more, "-p", "-l", local,
                           "-r", remote, LOOPBACK, port)


class TftpHpa:
    modes = ("octet", "netascii")

    def get(self, fixture, port, remote, local, mode="octet"):
        return self.command(fixture, port, mode, "get", remote, local)

    def put(self, fixture, port, local, remote, mode="octet"):
        return self.command(fixture, port, mode, "put", local, remote)

    @staticmethod
    def command(fixture, port, mode, *words):
        return fixture.run("tftp", "-m", mode, LOOPBACK, port, "-c", *words)


class BusyBox:
    modes = ("octet",)

    def get(self, fixture, port, remote, local, mode="octet", *more):
        return fixture.run("busybox", "tftp", *more, "-g", "-r", remote, "-l", local, LOOPBACK, port)

    def put(self, fixture, port, local, remote, mode="octet", *more):
        return fixture.run("busybox", "tftp", *more, "-p", "-l", local, "-r", remote, LOOPBACK, port)


class Tftpy:
    """The Python module, where the setup puts it or where the user has it."""

    modes = ("octet",)

    def get(self, fixture, port, remote, local, mode="octet", *more):
        return self.command(fixture, "get", port, remote, local, *more)

    def put(self, fixture, port, local, remote, mode="octet", *more):
        return self.command(fixture, "put", port, remote, local, *more)

    @staticmethod
    def command(fixture, *words):
        path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), MODULES]))
        return fixture.run(sys.executable, PROGRAM, *words, env={"PYTHONPATH": path})


class Tftpc:
    modes = ("octet", "netascii")

    def get(self, fixture, port, remote, local, mode="octet"):
        return fixture.run("tftpc", "--mode", mode, f"{LOOPBACK}:{port}", "get", remote, local)

    def put(self, fixture, port, local, remote, mode="octet"):
        return fixture.run("tftpc", "--mode", mode, f"{LOOPBACK}:{port}", "put", local, remote)


CLIENTS = {"curl": Curl(), "atftp": Atftp(), "tftp-hpa": TftpHpa(), "busybox tftp": BusyBox(),
           "tftpy": Tftpy(), "tftpc": Tftpc()}


def octets(size):
    """A file of every octet value, the same at each run."""
    return random.Random(size).randbytes(size)


def text(size):
    """A text of lines, so long when its LF is made CR LF that both kinds of size occur."""
    return (b"Let's get together Monday at 1pm.\n" * (size // 34 + 1))[:size]


def fresh(fixture, stem="file"):
    """A name that is not there yet."""
    return f"{stem}-{fixture.number()}"


def serve(fixture, content, name=None):
    """Lays a file below the root; gives back its name."""
    name = name or fresh(fixture)
    path = fixture.tftp_root / name
    path.write_bytes(content)
    path.chmod(0o644)
    return name


def no_error(output):
    """Not every client tells by its exit status that something went wrong."""
    output.good()
    check("rror" not in output.text and "imeout" not in output.text, f"it says: {output.text}")
    return output


def fetched(fixture, client, remote, mode="octet", daemon=None):
    """The file as the client has stored it."""
    local = fixture.folder("get") / "local"
    no_error(client.get(fixture, (daemon or fixture.tftpd).port, remote, local, mode))
    check(local.exists(), "the client has stored no file")
    return local.read_bytes()


def stored(fixture, client, content, mode="octet"):
    """Uploads a file; gives it back as it lies on the server."""
    remote = fresh(fixture, "upload")
    local = fixture.file("local", content)
    no_error(client.put(fixture, fixture.tftpd.port, local, remote, mode))
    path = fixture.tftp_root / remote
    check(path.exists(), "the upload is not there")
    return path.read_bytes()


def gets(fixture, client, content, mode):
    same(fetched(fixture, client, serve(fixture, content), mode), content, "file")


def puts(fixture, client, content, mode):
    same(stored(fixture, client, content, mode), content, "file")


for who, client in CLIENTS.items():
    for mode in client.modes:
        make = octets if mode == "octet" else text
        for size in SIZES:
            add(f"{who}: get of {size} octets, {mode}", gets, client, make(size), mode)
        for size in SIZES:
            add(f"{who}: put of {size} octets, {mode}", puts, client, make(size), mode)
