"""The tests of a run, and the figures that they leave."""

import os
from functools import partial
from pathlib import Path

from lib.checks import check
from lib.report import NotJudged, add
from disk_states import SYSTEMS as SYSTEMS_OF_POWER
from smtpq import faults, kills, power
from smtpq.site import Found, Site

SYSTEMS = ("tmpfs", "ext4")
# Random instants, for each kind of process and each file system.
TIMES, QUICK_TIMES = 40, 3
# Of the system calls of a round, and of the errors of each, a quick run takes every Nth.
QUICK_STEP = 61
# Random states for each cut; cuts of a test, where the disk has seen more writes; states from which all is sent.
LOST, CUTS, TRIED = 2, 60, 40
QUICK_CUTS = (1, 6, 1)


class Plan:
    """How much is tried, and what came of it: rows of tables."""

    def __init__(self, quick: bool, times: str | None, seed: int) -> None:
        self.quick, self.seed = quick, seed
        self.times = int(times or (QUICK_TIMES if quick else TIMES))
        self.step = QUICK_STEP if quick else int(os.environ.get("STEP") or 1)
        cuts = int(os.environ.get("CUTS") or CUTS)
        self.cuts = QUICK_CUTS if quick else (LOST, cuts, min(cuts, TRIED))
        self.random: list[tuple[str, str, int, Found]] = []
        self.calls: list[tuple[str, str, int, Found]] = []
        self.faults: list[tuple[str, str, int, Found]] = []
        self.power: list[tuple[str, power.Figures]] = []

    def figures(self) -> list[list]:
        """The rows of all tables."""
        return [self.random, self.calls, self.faults, self.power]

    def add(self, figures: list[list]) -> None:
        """Adds rows that another process has noted."""
        for rows, more in zip(self.figures(), figures):
            rows += more


def at_random(programs: Path, plan: Plan, system: str, victim: str) -> None:
    """Kills at random instants."""
    with Site(programs, system, plan.seed) as site:
        plan.random.append((system, victim, *kills.at_random(site, victim, plan.times)))


def before_each_call(programs: Path, plan: Plan, system: str) -> None:
    """Kills before each system call."""
    with Site(programs, system, plan.seed) as site:
        plan.calls.append((system, "smtpq", *faults.before_each_call(site, plan.step)))


def errors(programs: Path, plan: Plan, system: str, program: str) -> None:
    """Errors of each call, once, and from then on."""
    with Site(programs, system, plan.seed) as site:
        of = faults.of_runner if program == "smtpq" else faults.of_putter
        plan.faults.append((system, program, *faults.errors(site, of, plan.step, plan.quick or system == "tmpfs")))


def power_cut(programs: Path, plan: Plan, system: str) -> None:
    """A power cut at each write."""
    if not Path("/dev/fuse").exists():
        raise NotJudged("needs /dev/fuse, for a disk that remembers what is written to it")
    with power.RecordedQueue(programs, system, plan.seed) as recorded:
        puts = recorded.session()
        check(all(put.is_safe for put in puts), f"without a cut: {puts}")
        plan.power.append((system, power.cuts(recorded, puts, *plan.cuts)))


def register(plan: Plan) -> None:
    """All tests."""
    for system in SYSTEMS[1:] if plan.quick else SYSTEMS:
        for victim in kills.VICTIMS:
            add(f"kill -9 of {victim} at {plan.times} random instants: queue on {system}",
                partial(at_random, plan=plan, system=system, victim=victim))
        add(f"kill -9 before each system call of smtpq: queue on {system}", partial(before_each_call, plan=plan, system=system))
        for program in ("smtpq", "smtpc"):
            add(f"errors from each system call of {program}: queue on {system}",
                partial(errors, plan=plan, system=system, program=program))
    for system in list(SYSTEMS_OF_POWER)[:1 if plan.quick else None]:
        add(f"a power cut at each write: queue on {system}", partial(power_cut, plan=plan, system=system))
