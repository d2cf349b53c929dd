"""The figures as a page of docs/bench."""

import datetime
import os
import platform
from collections import Counter

from pop3 import faults, kills
from pop3.plan import CUTS, LOST

HEAD = """\
# Crashes of pop3d

Written by `make crash-pop3` ([scripts/crash](../../scripts/crash)), which tries all of it again and replaces this page.
One case of anything that must not be, and it writes nothing and fails.

- Kernel: Linux {kernel}, {cpus} CPUs
- Date: {date}
- SEED={seed}

After every crash the maildrop must hold:

- every letter that was not marked is there, whole, once, and under its old id and size;
- a marked one is there, whole, or it is gone; where the client has read `+OK` to `QUIT`, all of them are gone;
- the next client gets in, and of the sessions before nothing is left: no process, no lock;
- a letter that ends with its final dot came whole.

Sessions are real ones: login, `STAT`, `LIST`, `RETR` of a letter of 300 kB, `DELE` of about eight of twelve letters (forty of
sixty where an instant of UPDATE is drawn), `QUIT`. *box* is the process of the mailbox, *front* the one that has the
client, here as the end of TLS.
"""

RANDOM = """
## kill -9 at random instants

{kills:,} kills at instants drawn over the time that the phase takes, and a third more. *+OK*: the client has read `+OK`
to `QUIT` before; *none*, *some*, *all*: how many of the marked letters are gone; *in use*: the kernel had not yet freed the
lock when the next client came, who was told so and came again.

"""

CALLS = """
## kill -9 before each system call

By strace's `inject=CALL:signal=KILL:when=N`, with which a process ends when it enters its Nth such call, and the call is not
made: each call of a session from login to `QUIT`, one after the other, {kills:,} kills. Of box that is from its fork on,
as root, through the password, to its end.

"""

FAULTS = """
## Errors

Each system call of box in turn fails, once, or (with the first error) it and all later ones: {count:,} sessions. On ext4 with
{errors}; on tmpfs with the first. What the client is told must be
true: `+OK` to `QUIT` only if every marked letter is gone and the folder's, or file's, fsync was good; else `-ERR [SYS/…]`,
and all other marked letters are gone. The log must name peer, user, what and why. Where a letter cannot be read to its
end, or a reply not be made, the connection is cut off.

"""

POWER = """
## Power cuts

The kernel here has no device mapper, hence no dm-log-writes. The disk under ext4 is instead a file of a small FUSE file
system (`recorded_disk.py`) behind a loop device: it remembers each write and each flush in their order. From that log the
disk is made again as it may be after a cut at each write: with all that was written until then, with only what a flush had
made safe, and {lost} times with a random part of what was not yet flushed, which is how a disk with a cache may leave it. Then
the journal is replayed by a mount, the letters are read, a client logs in, and `e2fsck -fn` finds nothing. In every other
session others sync the file system all the time, so that UPDATE (of 80 letters) comes to the disk in many pieces.
Where there are more than {cuts} writes and flushes, {cuts} of them are drawn.

From the moment when the client has read `+OK` to `QUIT` no state may have a removed letter. *there*, *gone*: marked letters in
states after a cut between `QUIT` and its reply, where both are right.

"""

LIMITS = """
The same harness is shown what it must find: letters removed without fsync, which come back.

What this does not show: a disk that loses what it says it has flushed, or tears a block of 4 KiB (ext4 cannot stand
that); other file systems, as xfs and btrfs; a network file system's server that loses power.
"""

REPLIES = ("PASS: -ERR", "PASS: cut off", "RETR: -ERR", "RETR: cut off", "QUIT: +OK", "QUIT: -ERR", "QUIT: cut off")


def table(head: list[str], rows: list[list], texts: int) -> str:
    """A Markdown table; all columns but the first `texts` are numbers."""
    lines = [head, ["---"] * texts + ["---:"] * (len(head) - texts)]
    lines += [[f"{cell:,}" if isinstance(cell, int) else cell for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def gone(outcomes: Counter[kills.Outcome]) -> list[int]:
    """How many kills, how many after +OK, how many of the marked letters were gone, and who found the lock taken."""
    def sum_of(condition) -> int:
        return sum(count for outcome, count in outcomes.items() if condition(outcome))
    return [outcomes.total(), sum_of(lambda it: it.replied),
            *(sum_of(lambda it, word=word: it.gone == word) for word in ("none", "some", "all")),
            sum_of(lambda it: it.refused)]


GONE = ["kills", "+OK", "none", "some", "all", "in use"]


def random_part(plan) -> str:
    """The kills at random instants."""
    rows = [[place, victim, phase, *gone(outcomes)] for place, victim, phase, outcomes in plan.random]
    total = sum(outcomes.total() for *_, outcomes in plan.random)
    return RANDOM.format(kills=total) + table(["maildrop", "killed", "in", *GONE], rows, 3)


def calls_part(plan) -> str:
    """The kills before each call."""
    rows = [[place, "box" if victim == "login" else victim, len(calls), *gone(outcomes)]
            for place, victim, calls, outcomes in plan.calls]
    total = sum(outcomes.total() for *_, outcomes in plan.calls)
    return CALLS.format(kills=total) + table(["maildrop", "killed", "different calls", *GONE], rows, 2)


def faults_part(plan) -> str:
    """The errors."""
    rows = [[place, f"`{call}`", count, *(kinds[reply] for reply in REPLIES)]
            for place, call, count, kinds in plan.faults]
    total = sum(count for *_, count, _ in plan.faults)
    errors = "; ".join(f"`{call}` {', '.join(faults.FAULTS[call])}" for call in sorted({row[1] for row in plan.faults}))
    head = ["maildrop", "call", "sessions", *(f"`{reply.replace(': ', '` ', 1)}" for reply in REPLIES)]
    return FAULTS.format(count=total, errors=errors) + table(head, rows, 2)


def power_part(plan) -> str:
    """The power cuts."""
    rows = [[kind, system, count, *figures] for kind, system, count, figures in plan.power]
    head = ["maildrop", "on", "sessions", "writes", "flushes", "states", "there", "gone"]
    return POWER.format(lost=LOST, cuts=CUTS) + table(head, rows, 2) + LIMITS


def text(plan) -> str:
    """The page."""
    head = HEAD.format(kernel=platform.release(), cpus=os.cpu_count(), seed=plan.seed,
                       date=datetime.date.today().isoformat())
    return head + random_part(plan) + calls_part(plan) + faults_part(plan) + power_part(plan)
