"""A queue, smtpd and smtpc that put letters in, smtpq that sends them to a server which fails, and what must hold after a crash."""

import os
import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from lib.checks import Failure, check, show, wait_until
from lib.daemon import Daemon
from lib.paths import LOOPBACK
from lib.processes import session, state
from lib.program import Program
from letters import letter, number_of
from smtpq.names import NameServer
from smtpq.sink import ADDRESSES, HOSTS, WAYS, Came, Sink
from site_of_crash import CrashSite, title_of
from smtp.client import Smtp
from smtp.mailboxes import TRACE

HOSTNAME = "topaz.test"
# Whose the queue is, and its uid.
OWNER = "nobody"
# Seconds after which a sweep takes what is left in tmp.
SWEPT = 37 * 3600
# What smtpq's own notifications begin with.
NOTIFICATION = b"From: Mail delivery <MAILER-DAEMON@"


class Put(NamedTuple):
    """A letter that was put in, or not."""

    number: int
    to: tuple[str, ...]
    is_safe: bool    # the client was told so
    begun: int = 0   # by the sink's clock
    replied: int = 0
    refusal: str = ""


class Found(NamedTuple):
    """What has become of letters: whose end was answered; and a second time, because the reply was cut, because a process was
    killed; that came back."""

    safe: int
    cut: int
    killed: int
    returned: int
    returned_twice: int

    @classmethod
    def of(cls, total: Counter) -> "Found":
        """The sum of several."""
        return cls(*(total[name] for name in cls._fields))


class Site(CrashSite):
    """A context manager."""

    PROGRAM = "smtpq"

    def __init__(self, programs: Path, system: str, seed: int) -> None:
        super().__init__(programs, system, seed)
        self.sink, self.name_server = Sink(), NameServer(ADDRESSES)
        self.disk = self.root
        self.last = self.dice.randrange(100) * 30
        self.server: Daemon | None = None
        self.putter: Program | None = None
        self.before: list[Program] = []

    def __exit__(self, *error: object) -> None:
        self.sink.__exit__()
        self.name_server.__exit__()
        for program in (*self.before, self.server, self.putter):
            if program:
                program.kill()
        super().__exit__(*error)

    @property
    def queue(self) -> Path:
        """The queue's folder."""
        return self.disk / "queue"

    # The programs.

    def argv(self) -> list[Any]:
        """The runner's command line. The name server knows the sink's hosts alone."""
        return ["-u", OWNER, "--queue", self.queue, "--resolver", self.name_server.address, "--port", self.sink.port,
                "--hostname", HOSTNAME, "--retry", "1", "--max-letters", "5", "-t", "60"]

    def start(self) -> Program:
        """The runner, which has seen the queue."""
        if self.daemon is None:
            self.daemon = Program([self.programs / self.PROGRAM, *self.argv()], self.new("log"), self.env, "/", "smtpq")
            self.daemon.awaits("smtpq has looked", lambda: " letters\n" in self.daemon.log(), 20)
        return self.daemon

    def serve(self) -> Daemon:
        """The server that takes letters for elsewhere."""
        if self.server is None:
            argv = [self.programs / "smtpd", "-l", f"{LOOPBACK}:0", "-u", OWNER, "--max-per-ip", 256, "--hostname", HOSTNAME,
                    "--domain", HOSTNAME, "--users", self.users, "--queue", self.queue]
            self.server = Daemon(argv, self.new("log"), self.env)
        return self.server

    def stop(self) -> None:
        """Ends all of them."""
        for program in (self.daemon, self.server):
            if program:
                program.kill()
        self.daemon = self.server = None

    # Letters.

    def next_letter(self) -> tuple[int, tuple[str, ...]]:
        """A letter that was not sent before, and its recipients, each with a way of its own."""
        self.last += 1
        hosts = list(HOSTS) * 2
        to = tuple(f"{self.dice.choice(WAYS)}-{self.last}-{place}@{hosts[place]}" for place in range(self.dice.choice((1, 2, 3))))
        return self.last, to

    def author(self, number: int) -> str:
        """Whom a notification goes to."""
        return f"author-{number}@{self.dice.choice(list(HOSTS))}"

    def put_by_smtp(self) -> Put:
        """A client of smtpd."""
        number, to = self.next_letter()
        begun = self.sink.clock()
        try:
            with Smtp(self.serve().port) as client:
                replies = [client.ask(line) for line in ("EHLO client.test", f"MAIL FROM:<{self.author(number)}>",
                                                         *(f"RCPT TO:<{one}>" for one in to))]
                if not all(reply.startswith(b"250") for reply in replies) or not client.ask("DATA").startswith(b"354"):
                    return Put(number, to, False, begun, refusal=str(replies))
                text = letter(number).replace(b"\n", b"\r\n")
                client.send(re.sub(rb"^\.", b"..", text, flags=re.MULTILINE) + b".\r\n")
                return Put(number, to, client.reply().startswith(b"250"), begun, self.sink.clock())
        except OSError:
            return Put(number, to, False, begun)

    def put_by_command(self, *before: Any) -> Put:
        """smtpc, which puts a letter in by itself."""
        number, to = self.next_letter()
        begun, path = self.sink.clock(), self.new("letter")
        path.write_bytes(letter(number))
        argv = [*before, self.programs / "smtpc", "--queue", self.queue, "-f", self.author(number), *to]
        with path.open("rb") as text:
            self.putter = Program(argv, self.new("log"), self.env, "/", "smtpc", stdin=text)
        self.putter.ends()
        return Put(number, to, self.putter.code() == 0, begun, self.sink.clock())

    # What must hold.

    def names(self, part: str) -> list[str]:
        """What is in a folder of the queue."""
        folder = self.queue / part
        return os.listdir(folder) if folder.is_dir() else []

    def drain(self) -> None:
        """Waits until nothing waits any more; all is tried again at once."""
        def is_empty() -> bool:
            if self.daemon and self.daemon.code() is not None:
                self.before.append(self.daemon)  # whose children go on, and end by themselves
                self.daemon = None
            self.start()
            if not self.names("letters"):
                return True
            (self.queue / "flush").touch()
            return False

        try:
            wait_until("an empty queue", is_empty, 60)
        except Failure as failure:
            log = self.daemon.log()[-900:] if self.daemon else ""
            raise Failure(f"{failure}: {self.names('letters')}; {show(log, 900)}") from None

    def check_letters(self, puts: list[Put], kills: int, may_be_twice: bool, may_return_twice: bool) -> Found:
        """Each letter that the client was told is safe has arrived, or has come back, whole; a second time only where it was not
        known whether it had. Then everything is forgotten."""
        with self.sink.lock:
            came, last = list(self.sink.came), dict(self.sink.last)
        order: Counter = Counter()
        of: dict[tuple[object, str], list[tuple[Came, bool]]] = {}
        returned: dict[str, set[bytes]] = {}
        for one in came:
            order[one.connection] += 1
            is_last = order[one.connection] == last[one.connection]
            name = id_of(one.text) if is_notification(one.text) else number_in(one.text)
            for to in self.returned_in(one.text) if one.is_taken else ():
                returned.setdefault(to, set()).add(name)
            for to in one.to:
                check(isinstance(name, bytes) or f"-{name}-" in to, f"letter {name} came to {to}")
                of.setdefault((name, to), []).append((one, is_last))
        cut = killed = 0
        for (name, to), copies in of.items():
            for one, is_last in copies[:-1]:
                cut += one.is_cut
                if one.is_taken:
                    check(may_be_twice or is_last and kills, f"letter {name!r} came to {to} twice: {copies}")
                    killed += 1
        for put in puts:
            for to in put.to if put.is_safe else ():
                copies = of.get((put.number, to), [])
                is_there = to in returned if to.startswith("never") else any(one.is_taken for one, _ in copies)
                check(is_there, f"LOST: letter {put.number} to {to}, or its notification: {copies}; {show(self.log(), 1500)}")
        doubled = [to for to, names in returned.items() if len(names) > 1]
        check(not doubled or may_return_twice, f"notified twice: {doubled}; {show(self.log(), 3000)}")
        self.sink.clear()
        return Found(sum(put.is_safe for put in puts), cut, killed, len(returned), len(doubled))

    @staticmethod
    def returned_in(text: bytes) -> set[str]:
        """The recipients that a notification is about; none for another letter."""
        found = re.findall(rb"^Final-Recipient: rfc822;(\S+)$", text, re.MULTILINE) if is_notification(text) else []
        return {to.decode() for to in found}

    def log(self) -> str:
        """What the runner has logged, for messages."""
        return self.daemon.log()[-3000:] if self.daemon else ""

    def check_after(self, puts: list[Put], kills: int, may_be_twice: bool = False, may_return_twice: bool = False) -> Found:
        """What must hold after a crash."""
        self.drain()
        for program in self.before:
            wait_until("the end of a killed runner's processes", lambda: all(state(pid) in "ZX" for pid in session(program.pid)))
            program.kill()
        self.before.clear()
        found = self.check_letters(puts, kills, may_be_twice, may_return_twice)
        for part in ("letters", "state", "hold"):
            wait_until(f"nothing in {part}", lambda: not self.names(part))
        return found

    def check_sweep(self) -> int:
        """What killed processes have left in tmp is gone after a time; returns their number."""
        self.stop()
        left = self.names("tmp")
        for name in left:
            then = (self.queue / "tmp" / name).stat().st_mtime - SWEPT
            os.utime(self.queue / "tmp" / name, (then, then))
        self.start()
        check(not self.names("tmp"), f"left in tmp: {self.names('tmp')}")
        return len(left)

    # Its processes.

    def victims(self, victim: str) -> list[int]:
        """The processes of this kind that are there now."""
        if victim == "putter":
            return [self.putter.pid] if self.putter and self.putter.code() is None else []
        if victim == "server":
            return [pid for pid in session(self.serve().pid) if state(pid) not in "ZX" and pid != self.server.pid
                    and not title_of(pid).startswith((b"smtpd: parent", b"smtpd: keeper"))]
        if victim == "parent":
            return [self.daemon.pid] if self.daemon else []
        found = children(self.daemon.pid) if self.daemon else []
        return [pid for pid in found if title_of(pid).startswith(b"smtpq: author") == (victim == "author")]


def children(pid: int) -> list[int]:
    """The children of a process, which come and go: one file of /proc tells."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def id_of(text: bytes) -> bytes:
    """The Message-ID of a notification."""
    found = re.search(rb"^Message-ID: (\S+)$", text, re.MULTILINE)
    check(found, f"a notification without an id: {show(text[:300])}")
    return found[1]


def is_notification(text: bytes) -> bool:
    """Whether smtpq has written it."""
    return NOTIFICATION in text.partition(b"\n\n")[0]


def number_of_name(text: bytes) -> int | None:
    """Which letter of ours this is; None for a notification."""
    return None if is_notification(text) else number_in(text)


def number_in(text: bytes) -> int:
    """Which letter has arrived, every byte of it, behind its trace lines; smtpc writes none."""
    head, begin, rest = text.partition(b"X-Number: ")
    check(begin and (not head or TRACE.match(head)), f"the sink: not a letter: {show(text[:200])}")
    return number_of(begin + rest, "the sink")


def kill(pid: int) -> bool:
    """Whether it was there."""
    try:
        os.kill(pid, signal.SIGKILL)
        return True
    except ProcessLookupError:
        return False
