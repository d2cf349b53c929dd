"""A power cut at every write: the file system lies on a disk that remembers them all, and is made again as it was at
any instant, with and without what no flush had yet made safe."""

import os
import random
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

from lib.checks import Failure, check, show
from lib.packages import need
from lib.program import run
from faults import converse
from recorded_disk import Entry, RecordedDisk, entries, libc
from site_of_crash import BLOCK, LETTERS, MIB, Before, Site, make_ext4

# How ext4 is made and mounted.
SYSTEMS = {
    "ext4": ((), "data=ordered"),
    "ext4, data=journal": ((), "data=journal"),
    "ext4, data=writeback": ((), "data=writeback"),
    "ext4, fast_commit": (("-O", "fast_commit"), "data=ordered"),
}
SIZE = 12 * MIB
# Letters of a maildrop where UPDATE is to be cut into pieces.
MANY = 80
# Seconds after which ext4 commits by itself: the usual time, so that nothing becomes safe by chance.
COMMIT = 5
# How often the control is tried, which needs a moment in which the kernel writes nothing.
UNSAFE_TRIES = 20


class Session(NamedTuple):
    """A session whose maildrop lies on the recorded disk; instants are lengths of the log."""

    home: str
    before: Before
    laid: int        # when its maildrop was safe
    quit: int        # just before QUIT was sent
    replied: int     # when its reply had been read
    is_ok: bool


class Figures(NamedTuple):
    """What was tried: writes and flushes between the first QUIT and the end, states of the disk, and how often a
    marked letter was back, or gone, after a cut between QUIT and its reply."""

    writes: int
    flushes: int
    states: int
    there: int
    gone: int


class Recorded:
    """A context manager: a Site on an ext4 on a recorded disk."""

    def __init__(self, programs: Path, system: str, kind, seed: int) -> None:
        self.site = Site(programs, system, kind, seed)
        self.system, self.dice = system, random.Random(seed)

    def __enter__(self) -> "Recorded":
        self.site.__enter__()
        features, self.options = SYSTEMS[self.system]
        # Not on the disk that /tmp lies on: a thousand images are made there and thrown away.
        self.work = self.site.folder("work")
        run([need("mount"), "-t", "tmpfs", "tmpfs", self.work]).good()
        self.first = make_ext4(self.work / "first", *features, size=SIZE)
        live = self.work / "live"
        shutil.copyfile(self.first, live)
        self.disk = RecordedDisk(live, self.work / "disk", self.work / "log")
        run([need("mount"), "-o", f"loop,{self.options},commit={COMMIT}", self.disk.disk, self.site.root]).good()
        self.site.is_mounted = True
        return self

    def __exit__(self, *_: object) -> None:
        if self.site.daemon:
            self.site.daemon.kill()
        if run([need("umount"), self.site.root]).code != 0:  # something of a failed test is still in there
            run([need("umount"), "-l", self.site.root])
        self.disk.__exit__()
        self.site.is_mounted = False
        run([need("umount"), "-l", self.work])
        self.site.__exit__()

    def session(self, number: int, is_busy: bool = False) -> Session:
        """A session from login to QUIT, in a maildrop of its own that is safe on the disk before. Where the disk is
        busy, others have everything made safe again and again meanwhile, so that UPDATE is cut into pieces."""
        home = self.site.home = self.site.root / f"home{number}"
        self.site.write_users()
        before = self.site.lay(MANY if is_busy else LETTERS)
        self.sync()
        instants = [self.disk.now()]
        with self.busy() if is_busy else nullcontext(), self.site.connect() as client:
            heard = converse(client, before, lambda: instants.append(self.disk.now()))
            instants.append(self.disk.now())
        self.site.at_rest()
        return Session(home.name, before, *instants, heard.quit.startswith(b"+OK"))

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Meanwhile another thread syncs all the time."""
        over = threading.Event()

        def sync() -> None:
            while not over.is_set():
                self.sync()

        thread = threading.Thread(target=sync, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def sync(self) -> None:
        """Waits until all of the file system is safe."""
        root = os.open(self.site.root, os.O_RDONLY)
        try:
            check(libc.syncfs(root) == 0, "syncfs")
        finally:
            os.close(root)

    def log(self) -> list[Entry]:
        """All that has been written, once nothing is left to be written."""
        self.sync()
        return list(entries(self.disk.log.read_bytes()))


def instants(log: list[Entry], since: int, dice: random.Random, most: int) -> set[int]:
    """The instants of all writes from `since` on, and of flushes with something to flush; `most` of them, by chance,
    where there are more, and always the last one."""
    found, has_news = [], False
    for entry in log:
        if entry.end >= since and (entry.data or has_news):
            found.append(entry.end)
        has_news = bool(entry.data)
    return {log[-1].end, *dice.sample(found, min(most, len(found)))}


def states(log: list[Entry], first: Path, at: set[int], dice: random.Random, lost: int) -> Iterator[tuple[int, str, bytes]]:
    """The disk as it may be after a cut at each of these instants, with that instant: with all that was written, with
    only what was flushed, and `lost` times with some of the blocks written after the last flush."""
    flushed = bytearray(first.read_bytes())
    waiting: list[Entry] = []

    def some() -> bytes:
        image = bytearray(flushed)
        share = dice.choice((0.1, 0.5, 0.9))
        for entry in waiting:
            for at in range(0, len(entry.data), BLOCK):  # a block is written whole or not at all
                if dice.random() < share:
                    piece = entry.data[at:at + BLOCK]
                    image[entry.offset + at:entry.offset + at + len(piece)] = piece
        return bytes(image)

    def everything(target: bytearray) -> bytearray:
        for entry in waiting:
            target[entry.offset:entry.offset + len(entry.data)] = entry.data
        return target

    for entry in log:
        if entry.data:
            waiting.append(entry)
        else:
            everything(flushed)
            waiting.clear()
        if entry.end not in at:
            continue
        yield entry.end, "all", bytes(everything(bytearray(flushed)))
        if waiting:
            yield entry.end, "flushed", bytes(flushed)
            for _ in range(lost):
                yield entry.end, "some", some()


@contextmanager
def mounted(image: Path, where: Path, options: str) -> Iterator[None]:
    """The file system of an image after its journal was replayed."""
    run([need("mount"), "-o", f"loop,{options}", image, where]).good()
    try:
        yield
    finally:
        run([need("umount"), where]).good()


def check_state(recorded: Recorded, where: Path, sessions: list[Session], instant: int) -> tuple[int, int]:
    """What must be in the maildrops after a cut at this instant: how many marked letters are there and gone, of a
    session that was in UPDATE."""
    there = gone = 0
    for session in sessions:
        if instant < session.laid:
            continue
        left = recorded.site.kind.letters(where / session.home)
        lost = [number for number in session.before.unmarked if number not in left]
        check(not lost, f"LOST: {lost} of {session.before.letters}, marked {sorted(session.before.marked)}")
        back = session.before.marked.intersection(left)
        check(instant > session.quit or not session.before.marked.difference(left), "removed before QUIT")
        if instant >= session.replied:
            check(not (session.is_ok and back), f"back after +OK to QUIT: {sorted(back)}")
        elif instant >= session.quit:
            there, gone = there + len(back), gone + len(session.before.marked) - len(back)
    return there, gone


def check_login(recorded: Recorded, where: Path, sessions: list[Session], instant: int) -> None:
    """A maildrop opens again after the cut, with the same ids; which one, is chance."""
    there = [session for session in sessions if instant >= session.laid]
    session, site = recorded.dice.choice(there), recorded.site
    site.home = where / session.home
    site.write_users()
    for lock in site.home.glob("**/*.lock"):  # from before the machine was started again, which this one was not
        os.utime(lock, (0, 0))
    site.check_login(session.before, site.kind.letters(site.home))
    site.at_rest()


def cuts(recorded: Recorded, sessions: list[Session], lost: int, most: int = 1 << 30) -> Figures:
    """Cuts the power at every write since the first QUIT, or at `most` of them, and looks at each state that the disk
    may have then."""
    log, since = recorded.log(), sessions[0].quit
    at = instants(log, since, recorded.dice, most)
    image, where = recorded.work / "cut", recorded.site.folder("cut")
    count = there = gone = 0
    for instant, how, data in states(log, recorded.first, at, recorded.dice, lost):
        image.write_bytes(data)
        try:
            with mounted(image, where, recorded.options):
                found = check_state(recorded, where, sessions, instant)
                check_login(recorded, where, sessions, instant)
            code = run([need("e2fsck"), "-fn", image])
            check(code.code == 0, f"fsck: {show(code.text)}")
        except Failure as failure:
            raise Failure(f"cut at byte {instant} of the log, {how} of what was written: {failure}") from None
        count, there, gone = count + 1, there + found[0], gone + found[1]
    late = [entry for entry in log if entry.end > since]
    return Figures(sum(bool(entry.data) for entry in late), sum(not entry.data for entry in late), count, there, gone)


def unsafe_removal(recorded: Recorded) -> Session:
    """What must be found out: letters removed without fsync, and +OK. The kernel may write them away by itself at any
    time; where the disk has heard of something meanwhile, it is done again with another maildrop."""
    for number in range(1, UNSAFE_TRIES + 1):
        session = recorded.session(number)
        home = recorded.site.root / session.home
        left = recorded.site.kind.letters(home)
        recorded.sync()
        instant = recorded.disk.now()
        recorded.site.kind.remove_all(home)
        if recorded.disk.now() == instant:
            before = session.before._replace(letters=left, marked=set(left))
            return session._replace(before=before, quit=instant, replied=instant, is_ok=True)
    raise Failure(f"the kernel has written by itself in each of {UNSAFE_TRIES} times")
