"""A file system of this run's own, one user with a maildrop on it, the daemon, and what must hold after a crash."""

import os
import random
import re
import ssl
from pathlib import Path
from typing import NamedTuple

from lib.checks import Failure, check, same, show, wait_until
from lib.daemon import Daemon
from lib.folder import Folder
from lib.mailbox import OWNER
from lib.packages import need
from lib.paths import LOOPBACK
from lib.pop3 import Pop3
from lib.processes import session, state
from lib.program import run

USER, PASSWORD = "levy", "correct-horse-9"
# Letters of a maildrop, of which about two in three are marked.
LETTERS = 12
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


class Before(NamedTuple):
    """A maildrop before the crash: numbers of the letters, those to be marked, ids and sizes by number."""

    letters: list[int]
    marked: set[int]
    ids: dict[int, bytes]
    sizes: dict[int, bytes]

    @property
    def large(self) -> int:
        """A large letter, which is not marked."""
        return self.letters[1]

    @property
    def unmarked(self) -> list[int]:
        """What must be there whatever happens."""
        return [number for number in self.letters if number not in self.marked]


class Site(Folder):
    """A context manager, in a mount namespace of its own: nothing of it stays, neither mounts nor processes."""

    def __init__(self, programs: Path, system: str, kind, seed: int, *options: str) -> None:
        super().__init__("crash")
        self.programs, self.system, self.kind, self.dice = programs, system, kind, random.Random(seed)
        self.root = self.dir / "disk"
        self.root.mkdir()
        self.home = self.root / "home"
        self.place = f"--mail={'mbox:' if kind.name == 'mbox' else ''}~/{kind.PLACE}"
        self.options = [*kind.options, *options]
        self.daemon: Daemon | None = None
        self.is_mounted = False
        self.since: dict[str, int] = {}
        self.tls: ssl.SSLContext | None = None
        self.users = self.dir / "users"
        self.users.touch(mode=0o600)
        self.write_users()
        self.env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "HOME": "/"}
        self.mount()

    def __exit__(self, *_: object) -> None:
        if self.daemon:
            self.daemon.kill()
        if self.is_mounted:
            run([need("umount"), "-l", self.root])
        super().__exit__()

    def mount(self) -> None:
        """The file system that the maildrop lies on."""
        if self.system == "tmpfs":
            run([need("mount"), "-t", "tmpfs", "-o", "mode=755", "tmpfs", self.root]).good()
        elif self.system == "ext4":
            run([need("mount"), "-o", "loop", make_ext4(self.dir / "image"), self.root]).good()
        else:
            return  # the caller mounts it
        self.is_mounted = True

    def write_users(self) -> None:
        """Says where the user's home is; the daemon reads it at every login."""
        self.users.write_text(f"{USER}:{{PLAIN}}{PASSWORD}:{OWNER}:{OWNER}:Levy:{self.home}:\n")

    def with_tls(self) -> "Site":
        """Clients come by implicit TLS, so that front stays between them and the mailbox's process."""
        key, cert = self.dir / "key", self.dir / "cert"
        run([need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-subj", "/CN=red.test", "-addext", "subjectAltName=DNS:red.test", "-days", "9", "-keyout", key, "-out", cert]).good()
        key.chmod(0o600)
        self.options += ["--tls-cert", cert, "--tls-key", key, "--tls-listen", f"{LOOPBACK}:0"]
        self.tls = ssl.create_default_context(cafile=cert)
        self.tls.check_hostname = False
        return self

    # The daemon and its processes.

    def start(self) -> Daemon:
        """The daemon that is running, or a new one."""
        if self.daemon is None:
            argv = [self.programs / "pop3d", "-l", f"{LOOPBACK}:0", "-u", "nobody", "--auth-delay", "0", "--max-per-ip", 256,
                    "--users", self.users, self.place, *self.options]
            self.daemon = Daemon(argv, self.new("log"), self.env)
        return self.daemon

    def port(self) -> int:
        """Where its clients come to."""
        daemon = self.start()
        if not self.tls:
            return daemon.port
        return int(re.search(r"listening on \S+:(\d+) \(tls\)", daemon.log())[1])

    def connect(self) -> Pop3:
        """A client that has said nothing yet."""
        port, logged = self.port(), self.daemon.log_path.stat().st_size
        client = Pop3(port, tls=self.tls)
        self.since[client.name] = logged
        return client

    def process(self, name: str, client: Pop3) -> int:
        """The process of this name that has to do with a client who is logged in."""
        parent = self.start().pid
        if name == "parent":
            return parent
        if name == "front":
            line = rf"client {re.escape(client.name)} start: pid (\d+)"
            since = self.since[client.name]  # an earlier client may have had its port
            found = wait_until("a line of its start", lambda: re.search(line, self.daemon.log()[since:]))
            return int(found[1])
        title = {"keeper": b"pop3d: keeper", "box": b"pop3d: mailbox of"}[name]
        found = [pid for pid in session(parent) if title_of(pid).startswith(title)]
        check(len(found) == 1, f"{name}: processes {found}")
        return found[0]

    def keeper(self) -> int:
        """The keeper, while there is no client."""
        found = [pid for pid in session(self.start().pid) if title_of(pid).startswith(b"pop3d: keeper")]
        check(len(found) == 1, f"keeper: processes {found}")
        return found[0]

    # What must hold.

    def lay(self, count: int = LETTERS) -> Before:
        """A new maildrop, as its owner sees it."""
        first = self.dice.randrange(1, 20) * 30
        letters = list(range(first, first + count))
        self.kind.lay(self.home, range(first, first + count))
        marked = {letters[0], *(number for number in letters if self.dice.random() < 0.66)} - {letters[1]}
        with self.connect() as client:
            check(client.log_in(USER, PASSWORD).startswith(b"+OK"), "the first login")
            ids, sizes = columns(client, letters)
            client.good("QUIT")
        self.at_rest()
        return Before(letters, marked, ids, sizes)

    def at_rest(self) -> None:
        """Waits until nothing is left of any session: parent, keeper and signer alone, or, after the end of one
        of them, nothing at all."""
        parent = self.daemon.pid
        keeps = (b"pop3d: parent", b"pop3d: keeper", b"pop3d: signer")
        if self.daemon.code() is not None:
            keeps = ()
        def left() -> list[int]:
            return [pid for pid in session(parent) if state(pid) not in "ZX" and not title_of(pid).startswith(keeps)]
        try:
            wait_until("nothing left", lambda: not left())
        except Failure:
            shown = [(pid, title_of(pid)) for pid in left()]
            raise Failure(f"left over: {shown}; {show(self.daemon.log()[-400:])}") from None

    def check_after(self, before: Before, reply: bytes) -> tuple[int, int]:
        """What must hold after a crash, `reply` being what the client has read to QUIT: how many of the marked
        letters are gone, and how often a login was refused because of the lock."""
        self.bury()
        refused = self.check_next()
        self.at_rest()
        left = self.check_letters(before, reply.startswith(b"+OK"))
        self.check_login(before, left)
        self.at_rest()
        same(self.check_letters(before, reply.startswith(b"+OK")), left, "letters after other sessions")
        return len(before.letters) - len(left), refused

    def bury(self) -> None:
        """Where the parent or the keeper was killed: waits until the rest of them has ended by itself."""
        if not any(title_of(pid).startswith(b"pop3d: keeper") for pid in session(self.daemon.pid)):
            if self.daemon.code() is None:  # a client that comes now is the last
                with self.connect() as client:
                    check(not client.log_in(USER, PASSWORD).startswith(b"+OK"), "served without a keeper")
            self.daemon.ends()
        if self.daemon.code() is not None:
            self.at_rest()
            self.daemon.kill()
            self.daemon = None

    def check_letters(self, before: Before, is_ok: bool) -> list[int]:
        """The letters that are left: all that were not marked, none that was where the reply was +OK."""
        left = self.kind.letters(self.home)
        lost = [number for number in before.unmarked if number not in left]
        check(not lost, f"LOST: {lost} of {before.letters}, marked {sorted(before.marked)}")
        check(set(left) <= set(before.letters), f"letters from nowhere: {left}")
        back = before.marked.intersection(left)
        check(not (is_ok and back), f"+OK to QUIT, and still there: {sorted(back)}")
        return left

    def check_next(self) -> int:
        """The next client gets in, with no wait but for the lock; returns how often it was told to wait."""
        refused = 0

        def is_in() -> bool:
            nonlocal refused
            with self.connect() as client:
                reply = client.log_in(USER, PASSWORD)
                if reply.startswith(b"-ERR [IN-USE]"):
                    refused += 1
                    return False
                check(reply.startswith(b"+OK"), f"the next login: {show(reply)}; {show(self.daemon.log()[-600:])}")
                client.good("QUIT")
                return True

        wait_until("a login", is_in)
        return refused

    def check_login(self, before: Before, left: list[int]) -> None:
        """The maildrop opens at once, with ids, sizes and order as before."""
        with self.connect() as client:
            reply = client.log_in(USER, PASSWORD)
            check(reply.startswith(b"+OK"), f"a login: {show(reply)}; {show(self.daemon.log()[-600:])}")
            ids, sizes = columns(client, left)
            same(ids, {number: before.ids[number] for number in left}, "ids")
            same(sizes, {number: before.sizes[number] for number in left}, "sizes")
            client.good("QUIT")


def columns(client: Pop3, letters: list[int]) -> tuple[dict[int, bytes], dict[int, bytes]]:
    """Ids and sizes of the letters, by UIDL and LIST, which must have them in this order."""
    found = []
    for command in ("UIDL", "LIST"):
        rows = client.listing(command)
        check(rows is not None, f"{command} is refused or cut off")
        same([row.split()[0] for row in rows], [b"%d" % at for at in range(1, len(letters) + 1)], f"{command}'s numbers")
        found.append({number: row.split()[1] for number, row in zip(letters, rows)})
    return found[0], found[1]


def title_of(pid: int) -> bytes:
    """Its title, as ps shows it."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0 ")
    except (FileNotFoundError, ProcessLookupError):
        return b""
