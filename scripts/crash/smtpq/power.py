"""A power cut at every write while letters come into the queue and are sent."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from lib.checks import Failure, check, show
from lib.packages import need
from lib.program import run
from disk_states import RecordedSite, instants, mounted, states
from site_of_crash import MIB
from smtpq.site import Put, Site, number_of_name

# Bytes of the disk, and letters of a session by each way in.
SIZE, LETTERS = 16 * MIB, 5


class Figures(NamedTuple):
    """Letters, writes and flushes from the first letter on, states of the disk, in how many of them letters that had been sent
    were in the queue still; and how many came again from those states that were tried to the end."""

    letters: int
    writes: int
    flushes: int
    states: int
    waiting: int
    tried: int
    again: int


class RecordedQueue(RecordedSite):
    """A context manager: a Site on an ext4 on a recorded disk."""

    site: Site

    def __init__(self, programs: Path, system: str, seed: int) -> None:
        super().__init__(Site(programs, system, seed), system, seed, SIZE)

    def session(self) -> list[Put]:
        """Letters put in and sent, while others have the disk written all the time, so that all is cut into pieces."""
        site = self.site
        site.start()
        site.serve()
        self.sync()
        site.sink.clock = self.disk.now
        with self.busy():
            puts = [put() for _ in range(LETTERS) for put in (site.put_by_smtp, site.put_by_command)]
            site.drain()
        site.stop()
        return puts


def check_state(site: Site, puts: list[Put], came: list, where: Path, instant: int) -> set[int]:
    """What must hold after a cut at this instant: each letter that was told to be safe is in the queue, or was taken, or has come
    back, or is about to. Returns the numbers of those in the queue that some server has taken."""
    letters = where / "queue" / "letters"
    there: dict[int, str] = {}
    notified: set[str] = set()
    for path in letters.iterdir() if letters.is_dir() else []:
        envelope, end, text = path.read_bytes().partition(b"\n\n")
        check(envelope.startswith(b"forklore letter 1\n") and end, f"{path.name}: no envelope: {show(envelope)}")
        if (number := number_of_name(text)) is not None:
            there[number] = path.name
        else:
            notified |= site.returned_in(text)
    for one in came:
        if one.instant <= instant and one.is_taken:
            notified |= site.returned_in(one.text)
    taken = {to for one in came if one.is_taken and one.instant <= instant for to in one.to}
    for put in puts:
        if not put.is_safe or put.replied > instant or put.number in there:
            continue
        lost = [to for to in put.to if to not in taken and to not in notified]
        check(not lost, f"LOST: letter {put.number} to {lost}")
    return {number for number in there if any(f"-{number}-" in to for to in taken)}


def cuts(recorded: RecordedQueue, puts: list[Put], lost: int, most: int, tried: int) -> Figures:
    """Cuts the power at every write, or at `most` of them, and looks at each state that the disk may have then; sends what
    is left in `tried` of them."""
    site = recorded.site
    came, log, since = list(site.sink.came), recorded.log(), min(put.begun for put in puts)
    at = instants(log, since, recorded.dice, most)
    all_states = list(states(log, recorded.first, at, recorded.dice, lost))
    to_the_end = set(recorded.dice.sample(range(len(all_states)), min(tried, len(all_states))))
    image, where, total = recorded.work / "cut", site.folder("cut"), Counter()
    for place, (instant, how, data) in enumerate(all_states):
        image.write_bytes(data)
        try:
            with mounted(image, where, recorded.options):
                total["waiting"] += bool(check_state(site, puts, came, where, instant))
                if place in to_the_end and (where / "queue").is_dir():
                    total["tried"] += 1
                    total["again"] += to_its_end(site, puts, came, where, instant)
            code = run([need("e2fsck"), "-fn", image])
            check(code.code == 0, f"fsck: {show(code.text)}")
        except Failure as failure:
            raise Failure(f"cut at byte {instant} of the log, {how} of what was written: {failure}") from None
    late = [entry for entry in log if entry.end > since]
    return Figures(len(puts), sum(bool(entry.data) for entry in late), sum(not entry.data for entry in late), len(all_states),
                   total["waiting"], total["tried"], total["again"])


def to_its_end(site: Site, puts: list[Put], came: list, where: Path, instant: int) -> int:
    """Sends what is left on this disk: all that was told to be safe has arrived then. How many letters came again."""
    before = [one for one in came if one.instant <= instant]
    site.sink.clear()
    kept, site.disk = site.disk, where
    try:
        site.drain()
        site.stop()
    finally:
        site.disk = kept
    after = list(site.sink.came)
    taken = [(to, one) for one in (*before, *after) if one.is_taken for to in one.to]
    returned = {to for one in (*before, *after) if one.is_taken for to in site.returned_in(one.text)}
    for put in puts:
        for to in put.to if put.is_safe and put.replied <= instant else ():
            found = to in returned if to.startswith("never") else any(to == one for one, _ in taken)
            check(found, f"LOST: letter {put.number} to {to}")
    once = {to for one in before if one.is_taken for to in one.to}
    return sum(any(to in once and not to.startswith("author") for to in one.to) for one in after if one.is_taken)
