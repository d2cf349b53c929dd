"""The figures as a page of docs/bench."""

import datetime
import os
import platform

from pop3.page import table
from smtpq import kills, power

HEAD = """\
# Crashes of the queue

Written by `make crash-queue` ([scripts/crash](../../scripts/crash)), which tries all of it again and replaces this page.
One case of anything that must not be, and it writes nothing and fails.

- Kernel: Linux {kernel}, {cpus} CPUs
- Date: {date}
- SEED={seed}{step}

A client of smtpd and `smtpc --queue` put letters in, of one to three recipients at two hosts, while smtpq sends them to a server
that remembers every letter whose end has come. By DATA or BDAT, and by the recipient, it takes the letter; or at the first attempt says
451 to RCPT, 451 to the end of the text, cuts the connection in the text, cuts it between the end and its reply; or says 550 always.
After every crash, when all that waits has been tried again:

- a letter whose client was told that it is safe (250, or exit status 0) has been taken whole for each of its recipients, or its
  author was notified of that recipient;
- a letter was taken a second time for a recipient only where it was the last one of its connection, which was cut between its end and the
  reply, or whose process was killed before it could write the reply down (RFC 5321 §4.5.4.1): each is counted;
- an author was notified once of each recipient;
- nothing is left in `letters`, `state` and `hold`; what killed processes have left in `tmp` is gone after the time of a sweep;
- the next runner begins at once, though processes of a killed one still send.
"""

FOUND = ("told to be safe", "again, reply cut", "again, process killed", "notified", "notified twice")


def rows(found: list[tuple]) -> list[list]:
    """Rows with what became of the letters."""
    return [[*head, count, *figures] for *head, count, figures in found]


def text(plan) -> str:
    """The page."""
    step = "" if plan.step == 1 else f"\n- STEP={plan.step}: of the system calls of a round, one in {plan.step} was drawn"
    head = HEAD.format(kernel=platform.release(), cpus=os.cpu_count(), date=datetime.date.today(), seed=plan.seed, step=step)
    return head + f"""
## kill -9 at random instants

Instants are drawn over the time of a round of {2 * kills.LETTERS} letters, for *parent*, *child* (a process with a destination), *author* (one that
notifies), *putter* (smtpc) and *server* (the processes of smtpd but keeper and parent).

{table(["queue on", "killed", "kills", *FOUND], rows(plan.random), 2)}
## kill -9 before each system call

By strace's `inject=CALL:signal=KILL:when=N` at smtpq's parent and all that it forks.

{table(["queue on", "program", "kills", *FOUND], rows(plan.calls), 2)}
## Errors

Each system call fails in turn, with errors of the disk, of a full one, and of limits, once, or it and all later ones. A letter comes
again only where the reply could not be written down although a line could before it was sent; an author is notified again only
where the file system has failed after the notification was put in.

{table(["queue on", "program", "errors", *FOUND], rows(plan.faults), 2)}
## Power cuts

As for [pop3d](pop3-crash.md#power-cuts): a disk that remembers each write and each flush is made again as it may be after a cut, at {plan.cuts[1]}
of the writes and flushes, while {2 * power.LETTERS} letters come in and are sent and others have everything written all the time. In each
state a letter that was told to be safe is in the queue, or was taken, or its author was notified; and from {plan.cuts[2]} of the states
all is sent: what the server had taken before the cut may come again, *again*, because states are not made safe one by one
([mail.md](../mail.md#letters-that-go-elsewhere)). *waiting*: states in which a letter is in the queue that some server has taken.

{table(["on", *(name for name in power.Figures._fields)], [[system, *figures] for system, figures in plan.power], 1)}
What this does not show: a disk that loses what it says it has flushed; other file systems; a network file system's server.
"""
