"""kill -9 of each process of a session: at random instants, and before each of its system calls in turn."""

import os
import re
import signal
import statistics
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from lib.checks import Failure, check, wait_until
from lib.processes import state
from smtp.client import Sent, Smtp
from smtp.site import ANSWER, BOX, EVERYBODY, Site
from tracing import calls_in, strace

VICTIMS = ("box", "answer", "front", "keeper", "parent")
# Letters of a session, sessions whose median is taken as its time, and how far behind it an instant may be.
LETTERS, SAMPLES, BEYOND = 3, 5, 1.2


class Outcome(NamedTuple):
    """What a kill has led to: letters of the session that were acknowledged; that were not, and none, some or all of
    their recipients have them."""

    safe: int
    none: int
    some: int
    all: int


def converse(site: Site, client: Smtp, letters: int) -> list[Sent]:
    """Sends letters until the session ends: the first to all users, the others to some."""
    sent = []
    for number in range(letters):
        sent.append(client.deliver(site.next_letter(), EVERYBODY if number == 0 else site.recipients()))
        if not sent[-1].reply:
            break
    return sent


def outcome(sent: list[Sent], others: dict[int, int]) -> Outcome:
    """Counts the letters."""
    counts = Counter("none" if not count else "all" if count == len(letter.to) else "some"
                     for letter, count in ((letter, others[letter.number]) for letter in sent if not letter.is_safe))
    return Outcome(sum(letter.is_safe for letter in sent), counts["none"], counts["some"], counts["all"])


# At random instants.

class Killer(threading.Thread):
    """Kills one process of a session at an instant; of those that come and go, the first that is there from then on.
    `killed` is its pid."""

    def __init__(self, site: Site, victim: str, client: Smtp, since: int, instant: float) -> None:
        super().__init__(daemon=True)
        self.site, self.instant, self.over, self.killed = site, instant, threading.Event(), 0
        self.titles = {"box": BOX, "answer": ANSWER}.get(victim)
        self.pid = {"parent": lambda: site.start().pid, "keeper": site.keeper,
                    "front": lambda: site.front(client.name, since)}.get(victim, lambda: 0)()

    def run(self) -> None:
        """Waits, looks, kills."""
        end = time.perf_counter() + self.instant
        while (rest := end - time.perf_counter()) > 0:
            time.sleep(rest if rest > 0.002 else 0)
        while not self.killed and not self.over.is_set():
            found = self.site.titled(*self.titles) if self.titles else [self.pid]
            if found:
                self.kill(self.site.dice.choice(found))

    def kill(self, pid: int) -> None:
        """Kills it, if it is there still."""
        try:
            os.kill(pid, signal.SIGKILL)
            self.killed = pid
        except ProcessLookupError:
            self.killed = 0 if self.titles else -1


def one(site: Site, victim: str, instant: float | None) -> tuple[list[Sent], float]:
    """A session one of whose processes is killed at an instant, or (None) is not: its letters, and its time."""
    logged = len(site.start().log())
    with site.connect() as client:
        killer = Killer(site, victim, client, logged, instant) if instant is not None else None
        began = time.perf_counter()
        if killer:
            killer.start()
        sent = converse(site, client, LETTERS)
        took = time.perf_counter() - began
        if killer:
            if not killer.titles:  # also where the session was faster
                killer.join()
            killer.over.set()
            killer.join()
            if killer.killed > 0:
                wait_until("the victim's end", lambda: state(killer.killed) in "ZX")
    return sent, took


def at_random(site: Site, victim: str, times: int) -> Counter[Outcome]:
    """Kills at random instants of a session."""
    taken = []
    for _ in range(SAMPLES):
        sent, took = one(site, victim, None)
        check(all(letter.is_safe for letter in sent), f"without a crash: {sent}")
        site.check_after(sent)
        site.clear()
        taken.append(took)
    longest, outcomes = statistics.median(taken) * BEYOND, Counter()
    for _ in range(times):
        instant = site.dice.uniform(0, longest)
        try:
            sent, _ = one(site, victim, instant)
            outcomes[outcome(sent, site.check_after(sent))] += 1
        except Failure as failure:
            raise Failure(f"{victim}, {1e3 * instant:.1f} ms after EHLO: {failure}") from None
        site.clear()
    return outcomes


# Before each system call.

def traced_session(site: Site, victim: str, *words: str) -> tuple[Path, list[Sent]]:
    """A session with strace at the victim, for `delivery` at all that the keeper forks, and the keeper: strace's output,
    and the letters, one to everybody and one to one user."""
    sent: list[Sent] = []
    with ExitStack() as stack:
        def attach(pid: int, *more: str) -> tuple[int, Path]:
            return pid, stack.enter_context(strace(site, pid, *words, *more))

        logged = len(site.start().log())
        if victim == "parent":
            pid, out = attach(site.start().pid)
        elif victim != "front":
            pid, out = attach(site.keeper(), *(["-f"] if victim == "delivery" else []))
        client = reached(site)
        if client:
            with client:
                if victim == "front":
                    pid, out = attach(site.front(client.name, logged))
                for to in (EVERYBODY, EVERYBODY[:1]):
                    sent.append(client.deliver(site.next_letter(), to))
        site.at_rest()
        if victim != "delivery" and state(pid) in "ZX":
            wait_until("strace tells of the end", lambda: "+++" in out.read_text(errors="replace"))
    return out, sent


def reached(site: Site) -> Smtp | None:
    """A client, where the parent is still there."""
    try:
        return site.connect()
    except ConnectionError:
        return None


def calls_of(out: Path) -> Counter[str]:
    """How often each system call stands in strace's output; of several processes, how often in the one with most."""
    found = Counter(re.match(r"(\d*) (\w+)\(", line).groups() for line in calls_in(out))
    most: Counter[str] = Counter()
    for (_, call), count in found.items():
        most[call] = max(most[call], count)
    return most


def before_each_call(site: Site, victim: str, step: int = 1) -> tuple[Counter[str], Counter[Outcome]]:
    """Kills the victim before each system call that it makes in a session, or before every `step`th: the calls,
    and the outcomes."""
    out, sent = traced_session(site, victim)
    check(all(letter.is_safe for letter in sent), f"a session below strace: {sent}")
    site.check_after(sent)
    site.clear()
    todo = [(call, number) for call, count in sorted(calls_of(out).items()) for number in range(1, count + 1)]
    calls, outcomes = Counter(), Counter()
    drawn = todo[site.dice.randrange(min(step, len(todo)))::step]
    # A session may make fewer calls than the one before; if none of those that were drawn came, others are tried.
    for place, (call, number) in enumerate(drawn + [one for one in todo if one not in drawn]):
        if place >= len(drawn) and calls:
            break
        try:
            out, sent = traced_session(site, victim, "-e", f"inject={call}:signal=KILL:when={number}")
            found = outcome(sent, site.check_after(sent))
        except Failure as failure:
            raise Failure(f"{victim}, killed before {call} number {number}: {failure}") from None
        site.clear()
        if "killed by SIGKILL" in out.read_text(errors="replace"):
            calls[call] += 1
            outcomes[found] += 1
    return calls, outcomes
