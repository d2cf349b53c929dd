"""A file system of this run's own, a daemon for mail, and its processes."""

import os
import random
import re
from pathlib import Path
from typing import Any

from lib.checks import Failure, check, show, wait_until
from lib.daemon import Daemon
from lib.folder import Folder
from lib.packages import need
from lib.processes import session, state
from lib.program import run

MIB = 1 << 20
# Bytes of a block of ext4. It takes for granted that the disk writes a block whole or not at all.
BLOCK = 4096
# What mkfs.ext4 gets for an image: a journal, and nothing that is left to be done after the mount.
EXT4 = ("-q", "-F", "-b", str(BLOCK), "-J", "size=4", "-E", "lazy_itable_init=0,lazy_journal_init=0")


def make_ext4(image: Path, *features: str, size: int = 48 * MIB) -> Path:
    """A file with an empty ext4 in it."""
    with open(image, "wb") as file:
        file.truncate(size)
    run([need("mkfs.ext4"), *EXT4, *features, image]).good()
    return image


class CrashSite(Folder):
    """A context manager, in a mount namespace of its own: nothing of it stays, neither mounts nor processes. A class of
    a daemon's has its name in PROGRAM, and its command line in argv()."""

    PROGRAM = ""

    def __init__(self, programs: Path, system: str, seed: int) -> None:
        super().__init__("crash")
        self.programs, self.system, self.dice = programs, system, random.Random(seed)
        self.root = self.dir / "disk"
        self.root.mkdir()
        self.daemon: Daemon | None = None
        self.is_mounted = False
        self.users = self.dir / "users"
        self.users.touch(mode=0o600)
        self.env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "HOME": "/"}
        self.mount()

    def __exit__(self, *_: object) -> None:
        if self.daemon:
            self.daemon.kill()
        if self.is_mounted:
            run([need("umount"), "-l", self.root])
        super().__exit__()

    def mount(self) -> None:
        """The file system that the mail lies on."""
        if self.system == "tmpfs":
            run([need("mount"), "-t", "tmpfs", "-o", "mode=755", "tmpfs", self.root]).good()
        elif self.system == "ext4":
            run([need("mount"), "-o", "loop", make_ext4(self.dir / "image"), self.root]).good()
        else:
            return  # the caller mounts it
        self.is_mounted = True

    # The daemon and its processes.

    def argv(self) -> list[Any]:
        """The daemon's command line."""
        raise NotImplementedError

    def start(self) -> Daemon:
        """The daemon that is running, or a new one."""
        if self.daemon is None:
            self.daemon = Daemon([self.programs / self.PROGRAM, *self.argv()], self.new("log"), self.env)
        return self.daemon

    def is_titled(self, pid: int, *titles: str) -> bool:
        """Whether ps shows a title of the daemon's that begins like one of these."""
        return title_of(pid).startswith(tuple(f"{self.PROGRAM}: {title}".encode() for title in titles))

    def titled(self, *titles: str) -> list[int]:
        """The processes with such a title."""
        return [pid for pid in session(self.start().pid) if self.is_titled(pid, *titles)]

    def front(self, client: str, since: int) -> int:
        """The process that talks to a client, who came when the log had this length: an earlier client may have had
        its port."""
        line = rf"client {re.escape(client)} start: pid (\d+)"
        found = wait_until("a line of its start", lambda: re.search(line, self.daemon.log()[since:]))
        return int(found[1])

    def keeper(self) -> int:
        """The keeper."""
        found = self.titled("keeper")
        check(len(found) == 1, f"keeper: processes {found}")
        return found[0]

    def at_rest(self) -> None:
        """Waits until nothing is left of any session: parent, keeper and signer alone, or, after the end of one
        of them, nothing at all."""
        parent = self.daemon.pid
        keeps = ("parent", "keeper", "signer") if self.daemon.code() is None else ()

        def left() -> list[int]:
            return [pid for pid in session(parent) if state(pid) not in "ZX" and not (keeps and self.is_titled(pid, *keeps))]

        try:
            wait_until("nothing left", lambda: not left())
        except Failure:
            shown = [(pid, title_of(pid)) for pid in left()]
            raise Failure(f"left over: {shown}; {show(self.daemon.log()[-400:])}") from None

    def bury(self) -> None:
        """Where the parent or the keeper was killed: waits until the rest of them has ended by itself."""
        if not self.titled("keeper"):
            if self.daemon.code() is None:
                self.last_client()
            self.daemon.ends()
        if self.daemon.code() is not None:
            self.at_rest()
            self.daemon.kill()
            self.daemon = None

    def last_client(self) -> None:
        """A client that comes when the keeper has ended: it is not served, and the last."""
        raise NotImplementedError


def title_of(pid: int) -> bytes:
    """Its title, as ps shows it."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0 ")
    except (FileNotFoundError, ProcessLookupError):
        return b""
