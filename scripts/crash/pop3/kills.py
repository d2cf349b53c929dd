"""kill -9 of each process of a session: at random instants, and before each of its system calls in turn."""

import os
import re
import signal
import statistics
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from lib.checks import Failure, check, same, wait_until
from lib.pop3 import Pop3
from lib.processes import state
from letters import letter
from pop3.site import LETTERS, PASSWORD, USER, Before, Site
from tracing import calls_in, strace

VICTIMS = ("box", "front", "keeper", "parent")
PHASES = ("UPDATE", "RETR")
# Letters of a maildrop where UPDATE is to take a while.
MANY = 60
# Sessions whose median is taken as the time that a phase needs, and how far behind it an instant may be.
SAMPLES, BEYOND = 7, 1.3


class Outcome(NamedTuple):
    """What a kill has led to."""

    replied: bool  # the client has read +OK to QUIT
    gone: str      # of the marked letters: none, some, all
    refused: int   # logins that found the lock still taken


def retrieve(client: Pop3, before: Before) -> bool:
    """Fetches the large letter; whether it came. What has a final dot is whole."""
    lines = client.listing(f"RETR {before.letters.index(before.large) + 1}")
    if lines is not None:
        same(b"\n".join(lines) + b"\n", letter(before.large), "a letter with its final dot")
    return lines is not None


def mark(client: Pop3, before: Before) -> bool:
    """Marks letters; whether all of it was acknowledged."""
    client.send(*(f"DELE {before.letters.index(number) + 1}" for number in sorted(before.marked)))
    return all(client.line().startswith(b"+OK") for _ in before.marked)


def outcome(site: Site, before: Before, reply: bytes) -> Outcome:
    """Checks all that must hold afterwards."""
    gone, refused = site.check_after(before, reply)
    return Outcome(reply.startswith(b"+OK"), "none" if not gone else "all" if gone == len(before.marked) else "some",
                   refused)


# At random instants.

def spin(seconds: float) -> None:
    """Waits for an instant, to the microsecond."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def one(site: Site, victim: str, phase: str, instant: float | None) -> tuple[Before, bytes, float]:
    """A session that is killed at an instant of a phase, or (None) is not: the reply to QUIT, and the phase's time."""
    before = site.lay(MANY if phase == "UPDATE" else LETTERS)
    with site.connect() as client:
        check(client.log_in(USER, PASSWORD).startswith(b"+OK"), "the login")
        check(mark(client, before), "DELE")
        pid = site.process(victim, client)
        began = time.perf_counter()
        if phase == "UPDATE":
            client.send("QUIT")
        else:
            client.send(f"RETR {before.letters.index(before.large) + 1}")
        if instant is not None:
            spin(instant)
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:  # it has ended before
                pass
        reply = client.line()
        took = time.perf_counter() - began
        if instant is not None:
            wait_until("the victim's end", lambda: state(pid) in "ZX")
        if phase == "RETR":
            lines = client.lines() if reply.startswith(b"+OK") else None
            took = time.perf_counter() - began
            if lines is not None:
                same(b"\n".join(lines) + b"\n", letter(before.large), "a letter with its final dot")
                client.send("QUIT")
            reply = client.line()
        return before, reply if reply.endswith(b"\r\n") else b"", took


def at_random(site: Site, victim: str, phase: str, times: int) -> Counter[Outcome]:
    """Kills at random instants of a phase."""
    taken = []
    for _ in range(SAMPLES):
        before, reply, took = one(site, victim, phase, None)
        check(reply.startswith(b"+OK"), f"QUIT without a crash: {reply}")
        site.check_after(before, reply)
        taken.append(took)
    longest, outcomes = statistics.median(taken) * BEYOND, Counter()
    for _ in range(times):
        instant = site.dice.uniform(0, longest)
        try:
            before, reply, _ = one(site, victim, phase, instant)
            outcomes[outcome(site, before, reply)] += 1
        except Failure as failure:
            raise Failure(f"{victim}, {1e6 * instant:.0f} µs into {phase}: {failure}") from None
    return outcomes


# Before each system call.

def traced_session(site: Site, victim: str, before: Before, *words: str) -> tuple[Path, bytes]:
    """A session with strace at the victim, for box from the login on, or (`login`) from its fork on: strace's output,
    and the reply to QUIT."""
    with ExitStack() as stack:
        def attach(pid: int, *more: str) -> tuple[int, Path]:
            return pid, stack.enter_context(strace(site, pid, *words, *more))
        if victim == "parent":
            pid, out = attach(site.start().pid)
        elif victim in ("keeper", "login"):
            pid, out = attach(site.keeper(), *(["-f"] if victim == "login" else []))
        reply, client = b"", reached(site)
        if client:
            with client:
                if victim == "front":
                    pid, out = attach(site.process("front", client))
                is_in = client.log_in(USER, PASSWORD).startswith(b"+OK")
                if victim == "box":
                    pid, out = attach(site.process("box", client))
                if is_in and retrieve(client, before) and mark(client, before):
                    reply = client.ask("QUIT")
        site.at_rest()
        if not reply or state(pid) in "ZX":
            wait_until("strace tells of the end", lambda: "+++" in out.read_text(errors="replace"))
    return out, reply


def reached(site: Site) -> Pop3 | None:
    """A client, where the parent is still there."""
    try:
        return site.connect()
    except ConnectionError:
        return None


def calls_of(out: Path, victim: str) -> Counter[str]:
    """How often each system call stands in strace's output; where it followed forks, those of the child."""
    found = [re.match(r"(\d*) (\w+)\(", line).groups() for line in calls_in(out)]
    most = Counter(pid for pid, _ in found).most_common(1)[0][0]
    return Counter(call for pid, call in found if pid == most or victim != "login")


def before_each_call(site: Site, victim: str, step: int = 1) -> tuple[Counter[str], Counter[Outcome]]:
    """Kills the victim before each system call that it makes in a session, or before every `step`th: the calls,
    and the outcomes. `login` is box from its fork on."""
    before = site.lay()
    out, reply = traced_session(site, victim, before)
    check(reply.startswith(b"+OK"), f"a session below strace: {reply!r}")
    outcome(site, before, reply)
    todo = [(call, number) for call, count in sorted(calls_of(out, victim).items()) for number in range(1, count + 1)]
    calls, outcomes = Counter(), Counter()
    drawn = todo[site.dice.randrange(min(step, len(todo)))::step]
    # A session may make fewer calls than the one before; if none of those that were drawn came, others are tried.
    for place, (call, number) in enumerate(drawn + [one for one in todo if one not in drawn]):
        if place >= len(drawn) and calls:
            break
        before = site.lay()
        try:
            out, reply = traced_session(site, victim, before, "-e", f"inject={call}:signal=KILL:when={number}")
            found = outcome(site, before, reply)
        except Failure as failure:
            raise Failure(f"{victim}, killed before {call} number {number}: {failure}") from None
        if "killed by SIGKILL" in out.read_text(errors="replace"):
            calls[call] += 1
            outcomes[found] += 1
    return calls, outcomes
