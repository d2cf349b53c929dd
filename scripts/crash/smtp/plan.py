"""The tests of a run, and the figures that they leave."""

import os
from collections import Counter
from functools import partial
from pathlib import Path

from lib.checks import Failure, check
from lib.report import NotJudged, add
from disk_states import SYSTEMS as SYSTEMS_OF_POWER
from smtp import faults, kills, power
from smtp.mailboxes import Maildir, Mbox, Queue
from smtp.site import Site

KINDS = (Maildir(), Mbox())
SYSTEMS = ("tmpfs", "ext4")
# Random instants of a session, for each process, kind of mailbox and file system.
TIMES, QUICK_TIMES = 50, 5
# Of the system calls of a session, and of the errors of each, a quick run takes every Nth.
QUICK_STEP = 29
# Sessions whose disk is recorded, every other one cut into pieces; random states for each cut; and cuts of a test, where
# the disk has seen more writes.
SESSIONS, LOST = 4, 2
CUTS, QUICK_CUTS = 40, 15
# And where each state of the disk needs a letter, or a daemon, before it can be looked at.
QUICK_CUTS_OF_OTHERS = 4
# What makes a letter safe, and does nothing in the control.
SAFE = "fsync,fdatasync"


class Plan:
    """How much is tried, and what came of it: rows of tables."""

    def __init__(self, quick: bool, times: str | None, seed: int) -> None:
        self.quick, self.seed = quick, seed
        self.times = int(times or (QUICK_TIMES if quick else TIMES))
        self.step = QUICK_STEP if quick else int(os.environ.get("STEP") or 1)
        self.random: list[tuple[str, str, Counter]] = []
        self.calls: list[tuple[str, str, Counter, Counter]] = []
        self.faults: list[tuple[str, str, int, Counter]] = []
        self.power: list[tuple[str, str, int, power.Figures]] = []

    def figures(self) -> list[list]:
        """The rows of all tables."""
        return [self.random, self.calls, self.faults, self.power]

    def add(self, figures: list[list]) -> None:
        """Adds rows that another process has noted."""
        for rows, more in zip(self.figures(), figures):
            rows += more


def at_random(programs: Path, plan: Plan, kind, system: str, victim: str) -> None:
    """Kills at random instants."""
    with Site(programs, system, kind, plan.seed) as site:
        plan.random.append((f"{kind.name} on {system}", victim, kills.at_random(site, victim, plan.times)))


def before_each_call(programs: Path, plan: Plan, kind, system: str, victim: str) -> None:
    """Kills before each system call."""
    with Site(programs, system, kind, plan.seed) as site:
        calls, outcomes = kills.before_each_call(site, victim, plan.step)
        check(calls, "nothing was killed")
        plan.calls.append((f"{kind.name} on {system}", victim, calls, outcomes))


def errors(programs: Path, plan: Plan, kind, system: str) -> None:
    """Errors of each call that a delivery makes, once, and from then on."""
    with Site(programs, system, kind, plan.seed) as site:
        made = faults.calls_made(site)
        for call, names in faults.FAULTS.items():
            if not made[call]:
                continue
            kinds, count = Counter(), 0
            for error in names[:1] if plan.quick or system == "tmpfs" else names:
                for is_once in (True, False):
                    if not is_once and error != names[0]:
                        continue
                    step = min(plan.step, made[call])
                    number, found = faults.each(site, call, error, is_once, step)
                    count, kinds = count + number, kinds + found
            plan.faults.append((f"{kind.name} on {system}", call, count, kinds))


def power_cut(programs: Path, plan: Plan, kind, system: str) -> None:
    """A power cut at each write."""
    if not Path("/dev/fuse").exists():
        raise NotJudged("needs /dev/fuse, for a disk that remembers what is written to it")
    with power.RecordedMail(programs, system, kind, plan.seed) as recorded:
        # All sessions have one queue, so there is one session.
        count = 1 if plan.quick or kind.has_queue else SESSIONS
        sessions = [recorded.session(number, number % 2 == 1 or kind.has_queue) for number in range(count)]
        check(all(letter.sent.is_safe for session in sessions for letter in session.letters), "a letter without a cut")
        quick = QUICK_CUTS if kind.name == Maildir.name else QUICK_CUTS_OF_OTHERS
        figures = power.cuts(recorded, sessions, *((1, quick) if plan.quick else (LOST, CUTS)))
        plan.power.append((kind.name, system, count, figures))


def control(programs: Path, plan: Plan) -> None:
    """What the power cuts must find out: letters acknowledged without fsync, which are lost."""
    if not Path("/dev/fuse").exists():
        raise NotJudged("needs /dev/fuse")
    with power.RecordedMail(programs, "ext4", Maildir(), plan.seed) as recorded:
        session = power.unsafe_delivery(recorded, SAFE)
        try:
            power.cuts(recorded, [session], 0)
        except Failure as failure:
            check("LOST" in str(failure), str(failure))
        else:
            raise Failure("a letter acknowledged without fsync was not lost")


def register(plan: Plan) -> None:
    """All tests."""
    for number, kind in enumerate(KINDS):
        for system in SYSTEMS if not plan.quick else SYSTEMS[1 - number % 2:][:1]:
            where = f"{kind.name} on {system}"
            for victim in kills.VICTIMS:
                add(f"kill -9 of {victim} at {plan.times} random instants: {where}",
                    partial(at_random, plan=plan, kind=kind, system=system, victim=victim))
            for victim in ("delivery", "front", "keeper", "parent"):
                add(f"kill -9 of {victim}, before each system call: {where}",
                    partial(before_each_call, plan=plan, kind=kind, system=system, victim=victim))
            add(f"errors from each system call of a delivery: {where}", partial(errors, plan=plan, kind=kind, system=system))
    for kind in (*KINDS, Queue()):
        for system in list(SYSTEMS_OF_POWER)[:1 if plan.quick else None]:
            add(f"a power cut at each write: {kind.name} on {system}",
                partial(power_cut, plan=plan, kind=kind, system=system))
    add("a power cut finds out about letters acknowledged without fsync", partial(control, plan=plan))
