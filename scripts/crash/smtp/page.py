"""The figures as a page of docs/bench."""

import datetime
import os
import platform
from collections import Counter

from pop3.page import table
from smtp import faults, kills
from smtp.plan import CUTS, LOST

HEAD = """\
# Crashes of smtpd

Written by `make crash-smtp` ([scripts/crash](../../scripts/crash)), which tries all of it again and replaces this page.
One case of anything that must not be, and it writes nothing and fails.

- Kernel: Linux {kernel}, {cpus} CPUs
- Date: {date}
- SEED={seed}{step}

After every crash the mailboxes of three users, each with a uid of its own, must hold:

- every letter whose end the server has answered by 250: at each of its recipients, once, whole to the last byte;
- of a letter without that answer no part: it is there whole and once, or it is not there;
- after an error that was answered by 4xx, and no kill: that letter once at each recipient, when the client has sent it again;
- the next client can send a letter to all of them, and of the sessions before no process is left.

Sessions are real ones, of one to three recipients a letter; in half of them the mailboxes do not exist yet. *front* is the
process that has the client, *answer* the one that answers its questions and takes its letter, *box* one with a user's
rights, of which there is one for each recipient's user.
"""

RANDOM = """
## kill -9 at random instants

{kills:,} kills at instants drawn over the time of a session of {letters} letters, and a fifth more. *safe*: letters that were
acknowledged, all of which are there; *none*, *some*, *all*: how many of the recipients have a letter whose reply the
client has not read.

"""

CALLS = """
## kill -9 before each system call

By strace's `inject=CALL:signal=KILL:when=N`, with which a process ends when it enters its Nth such call, and the call is not
made: each call of a session of two letters, one after the other, {kills:,} sessions. *delivery*: all that the keeper forks, each
at its Nth such call.

"""

FAULTS = """
## Errors

Each system call of the processes that answer and deliver fails in turn, once, or (with the first error) it and all later
ones: {count:,} sessions of three letters. On ext4 with
{errors}; on tmpfs with the first. No refusal is for good
(5xx); 250 means that all accepted recipients have the letter; the log names peer, what and why.

"""

POWER = """
## Power cuts

As for [pop3d](pop3-crash.md#power-cuts): the disk under ext4 remembers each write and each flush, and is made again as it may be
after a cut at each write: with all that was written until then, with only what a flush had made safe, and {lost} times with a
random part of what was not yet flushed. The first letter of each session makes the mailboxes. In every other session others
sync the file system all the time, so that a delivery comes to the disk in many pieces. Then the journal is replayed by a
mount, the letters are read, a client sends one more, and `e2fsck -fn` finds nothing. Where there are more than {cuts} writes
and flushes, {cuts} of them are drawn.

From the moment when the client has read 250 no state may lack the letter. *there*, *not*: letters in states after a cut before
their reply was read, where both are right.

"""

LIMITS = """
The same harness is shown what it must find: where fsync(2) and fdatasync(2) do nothing, acknowledged letters are lost.

What this does not show: a disk that loses what it says it has flushed, or tears a block of 4 KiB (ext4 cannot stand
that); other file systems, as xfs and btrfs; a network file system's server that loses power.
"""

REPLIES = ("250", "250 for some", "421", "451", "452", "cut off")
OUTCOMES = ["safe", "none", "some", "all"]


def sums(outcomes: Counter[kills.Outcome]) -> list[int]:
    """Letters by outcome."""
    return [sum(outcome[at] * count for outcome, count in outcomes.items()) for at in range(len(OUTCOMES))]


def random_part(plan) -> str:
    """The kills at random instants."""
    rows = [[place, victim, outcomes.total(), *sums(outcomes)] for place, victim, outcomes in plan.random]
    total = sum(outcomes.total() for *_, outcomes in plan.random)
    return RANDOM.format(kills=total, letters=kills.LETTERS) + table(["mailboxes", "killed", "kills", *OUTCOMES], rows, 2)


def calls_part(plan) -> str:
    """The kills before each call."""
    rows = [[place, victim, len(calls), outcomes.total(), *sums(outcomes)] for place, victim, calls, outcomes in plan.calls]
    total = sum(outcomes.total() for *_, outcomes in plan.calls)
    return CALLS.format(kills=total) + table(["mailboxes", "killed", "different calls", "kills", *OUTCOMES], rows, 2)


def faults_part(plan) -> str:
    """The errors."""
    rows = [[place, f"`{call}`", count, *(kinds[reply] for reply in REPLIES)] for place, call, count, kinds in plan.faults]
    total = sum(count for *_, count, _ in plan.faults)
    errors = "; ".join(f"`{call}` {', '.join(faults.FAULTS[call])}" for call in sorted({row[1] for row in plan.faults}))
    return FAULTS.format(count=total, errors=errors) + table(["mailboxes", "call", "sessions", *REPLIES], rows, 2)


def power_part(plan) -> str:
    """The power cuts."""
    rows = [[kind, system, count, *figures] for kind, system, count, figures in plan.power]
    head = ["mailboxes", "on", "sessions", "letters", "writes", "flushes", "states", "there", "not"]
    return POWER.format(lost=LOST, cuts=CUTS) + table(head, rows, 2) + LIMITS


def text(plan) -> str:
    """The page."""
    step = f"\n- STEP={plan.step}: of the system calls of a session, one in {plan.step} was drawn" if plan.step > 1 else ""
    head = HEAD.format(kernel=platform.release(), cpus=os.cpu_count(), seed=plan.seed, step=step,
                       date=datetime.date.today().isoformat())
    return head + random_part(plan) + calls_part(plan) + faults_part(plan) + power_part(plan)
