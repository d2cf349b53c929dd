"""One user with a maildrop, pop3d, and what must hold after a crash."""

import re
import ssl
from pathlib import Path
from typing import Any, NamedTuple

from lib.checks import check, same, show, wait_until
from lib.mailbox import OWNER
from lib.packages import need
from lib.paths import LOOPBACK
from lib.pop3 import Pop3
from lib.program import run
from site_of_crash import CrashSite

USER, PASSWORD = "levy", "correct-horse-9"
# Letters of a maildrop, of which about two in three are marked.
LETTERS = 12


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


class Site(CrashSite):
    """A context manager."""

    PROGRAM = "pop3d"

    def __init__(self, programs: Path, system: str, kind, seed: int, *options: str) -> None:
        super().__init__(programs, system, seed)
        self.kind, self.home = kind, self.root / "home"
        self.place = f"--mail={'mbox:' if kind.name == 'mbox' else ''}~/{kind.PLACE}"
        self.options = [*kind.options, *options]
        self.since: dict[str, int] = {}
        self.tls: ssl.SSLContext | None = None
        self.write_users()

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

    def argv(self) -> list[Any]:
        """The daemon's command line."""
        return ["-l", f"{LOOPBACK}:0", "-u", "nobody", "--auth-delay", "0", "--max-per-ip", 256, "--users", self.users,
                self.place, *self.options]

    def port(self) -> int:
        """Where its clients come to."""
        daemon = self.start()
        if not self.tls:
            return daemon.port
        return int(re.search(r"listening on \S+:(\d+) \(tls\)", daemon.log())[1])

    def connect(self) -> Pop3:
        """A client that has said nothing yet."""
        port, logged = self.port(), len(self.daemon.log())
        client = Pop3(port, tls=self.tls)
        self.since[client.name] = logged
        return client

    def process(self, name: str, client: Pop3) -> int:
        """The process of this name that has to do with a client who is logged in."""
        if name == "parent":
            return self.start().pid
        if name == "front":
            return self.front(client.name, self.since[client.name])
        found = self.titled({"keeper": "keeper", "box": "mailbox of"}[name])
        check(len(found) == 1, f"{name}: processes {found}")
        return found[0]

    def last_client(self) -> None:
        """Comes, and gets no mailbox."""
        with self.connect() as client:
            check(not client.log_in(USER, PASSWORD).startswith(b"+OK"), "served without a keeper")

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
        """The next client gets in, with no wait but for the lock; returns how often it had to wait."""
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
