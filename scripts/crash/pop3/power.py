"""A power cut at every write of sessions."""

import os
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

from lib.checks import Failure, check, show
from lib.packages import need
from lib.program import run
from disk_states import UNSAFE_TRIES, RecordedSite, instants, mounted, states
from pop3.faults import converse
from pop3.site import LETTERS, Before, Site
from site_of_crash import MIB

# Bytes of the disk.
SIZE = 12 * MIB
# Letters of a maildrop where UPDATE is to be cut into pieces.
MANY = 80


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


class Recorded(RecordedSite):
    """A context manager: a Site on an ext4 on a recorded disk."""

    site: Site

    def __init__(self, programs: Path, system: str, kind, seed: int) -> None:
        super().__init__(Site(programs, system, kind, seed), system, seed, SIZE)

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
    time; where something reached the disk meanwhile, it is done again with another maildrop."""
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
