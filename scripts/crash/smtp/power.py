"""A power cut at every write while letters are delivered."""

import os
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import NamedTuple

from lib.checks import Failure, check, show
from lib.packages import need
from lib.program import run
from disk_states import UNSAFE_TRIES, RecordedSite, instants, mounted, states
from site_of_crash import MIB
from smtp.client import Sent
from smtp.site import EVERYBODY, Site
from tracing import strace

# Bytes of the disk.
SIZE = 16 * MIB
# Letters of a session, and of one where the disk is busy.
LETTERS, MANY = 4, 12


class Recorded(NamedTuple):
    """A letter of a session; instants are lengths of the disk's log."""

    sent: Sent
    begun: int      # before its first command
    replied: int    # when its reply had been read


class Session(NamedTuple):
    """A session whose mailboxes lie on the recorded disk, in this folder."""

    homes: str
    letters: list[Recorded]

    @property
    def begun(self) -> int:
        """The instant of its first command."""
        return self.letters[0].begun


class Figures(NamedTuple):
    """What was tried: letters, writes and flushes from the first letter on, states of the disk, and in how many of
    them a letter was there, or not, whose reply had not been read."""

    letters: int
    writes: int
    flushes: int
    states: int
    there: int
    absent: int


class RecordedMail(RecordedSite):
    """A context manager: a Site on an ext4 on a recorded disk."""

    site: Site

    def __init__(self, programs: Path, system: str, kind, seed: int) -> None:
        super().__init__(Site(programs, system, kind, seed), system, seed, SIZE)

    def new_homes(self, number: int) -> None:
        """Homes without a mailbox, which are safe on the disk."""
        self.site.homes = self.site.root / f"home{number}"
        self.site.make_homes()
        self.sync()

    def session(self, number: int, is_busy: bool = False) -> Session:
        """A session; its first letter makes the mailboxes. Where the disk is busy, others have everything made safe
        again and again meanwhile, so that a delivery is cut into pieces."""
        self.new_homes(number)
        with self.busy() if is_busy else nullcontext():
            letters = self.letters(MANY if is_busy else LETTERS)
        return Session(self.site.homes.name, letters)

    def letters(self, count: int) -> list[Recorded]:
        """Letters of one client, the first to everybody."""
        found = []
        with self.site.connect() as client:
            for number in range(count):
                begun, to = self.disk.now(), EVERYBODY if number == 0 else self.site.recipients()
                sent = client.deliver(self.site.next_letter(), to)
                found.append(Recorded(sent, begun, self.disk.now()))
        self.site.at_rest()
        return found


def check_state(recorded: RecordedMail, where: Path, sessions: list[Session], instant: int) -> tuple[int, int]:
    """What must be in the mailboxes after a cut at this instant; how many of the letters on their way were there, and
    how many were not. Then a letter can be sent; before that, where what a cut has left in part is taken out by the
    next letter."""
    site, there, absent = recorded.site, 0, 0
    for session in sessions:
        site.homes = where / session.homes
        if not site.homes.is_dir():  # the homes themselves are later
            check(instant < session.begun, "homes are lost")
            continue
        known = [letter for letter in session.letters if letter.begun <= instant]
        safe = [letter for letter in known if letter.replied <= instant]
        on_way = [letter.sent._replace(reply=b"") for letter in known if letter not in safe]
        more = [] if site.kind.is_whole_at_once else [send_next(recorded, where)]
        others = site.check_letters([*(letter.sent for letter in safe), *on_way, *more])
        found = sum(1 for letter in on_way if others[letter.number])
        there, absent = there + found, absent + len(on_way) - found
    if site.kind.is_whole_at_once:
        site.homes = where / recorded.dice.choice(sessions).homes
        if site.homes.is_dir():
            send_next(recorded, where)
    return there, absent


def send_next(recorded: RecordedMail, where: Path) -> Sent:
    """Sends a letter to everybody after the cut: it is there."""
    site = recorded.site
    site.write_users()
    for lock in site.homes.glob("**/*.lock"):  # from before the machine was started again, which this one was not
        os.utime(lock, (0, 0))
    with site.on(where), site.connect() as client:
        sent = client.deliver(site.next_letter(), EVERYBODY)
        check(sent.is_safe and sent.to == EVERYBODY, f"after the cut: {sent}; {show(site.daemon.log()[-600:])}")
        client.ask("QUIT")
        site.at_rest()
    for name in EVERYBODY:
        check(sent.number in site.kind.letters(site.homes / name), f"{name} has no {sent}")
    return sent


def cuts(recorded: RecordedMail, sessions: list[Session], lost: int, most: int = 1 << 30) -> Figures:
    """Cuts the power at every write since the first letter, or at `most` of them, and looks at each state that the disk
    may have then."""
    log, since = recorded.log(), sessions[0].begun
    at = instants(log, since, recorded.dice, most)
    image, where = recorded.work / "cut", recorded.site.folder("cut")
    count = there = absent = 0
    for instant, how, data in states(log, recorded.first, at, recorded.dice, lost):
        image.write_bytes(data)
        try:
            with mounted(image, where, recorded.options):
                found = check_state(recorded, where, sessions, instant)
            code = run([need("e2fsck"), "-fn", image])
            check(code.code == 0, f"fsck: {show(code.text)}")
        except Failure as failure:
            raise Failure(f"cut at byte {instant} of the log, {how} of what was written: {failure}") from None
        count, there, absent = count + 1, there + found[0], absent + found[1]
    late = [entry for entry in log if entry.end > since]
    letters = sum(len(session.letters) for session in sessions)
    return Figures(letters, sum(bool(entry.data) for entry in late), sum(not entry.data for entry in late), count, there, absent)


def unsafe_delivery(recorded: RecordedMail, calls: str) -> Session:
    """What must be found out: letters acknowledged although these calls have done nothing. The kernel may write them
    away by itself at any time; where the disk has heard of something meanwhile, it is done again."""
    for number in range(UNSAFE_TRIES):
        recorded.new_homes(number)
        with ExitStack() as stack:
            words = [word for call in calls.split(",") for word in ("-e", f"inject={call}:retval=0")]
            stack.enter_context(strace(recorded.site, recorded.site.keeper(), "-f", "-e", f"trace={calls}", *words))
            letters = recorded.letters(1)
        check(letters[0].sent.is_safe, f"without fsync: {letters}")
        if letters[0].begun == letters[0].replied == recorded.disk.now():
            return Session(recorded.site.homes.name, letters)
    raise Failure(f"the kernel has written by itself in each of {UNSAFE_TRIES} times")
