"""The figures as a Markdown page, with what is asked of them beside it."""

from report import machine
from results import goals, load
from results import part as results_part
from rows import PARTS, RATE
from senders import OURS, POSTFIX

TITLES = {"rate": "From the queue to other servers", "large": "Many letters in the queue"}
# What is asked of ours: the row, ours, what it is measured against, and how many times as good it is to be.
GOALS = [(row, OURS, POSTFIX, 2) for row in RATE.values()]

HOW = {
    "rate": """\
{letters:,} letters of {octets:,} octets with one recipient each (a tenth of them in OpenSMTPD's, which takes them slowly) are in the queue, while the sender does not send; then it is let go, and
the figure is letters divided by the time until smtp-sink has counted the last. The domains take turns, and each has an
address of its own; ours asks dnsmasq for the MX and the address of each, the others are told the addresses. Ours starts
then, and reads its queue first; Postfix has the letters on hold (`postsuper -H`, then `postqueue -f`), OpenSMTPD pauses
its sending (`smtpctl pause mta`). All run otherwise as they come.""",
    "large": """\
Each letter but one has failed once, and waits for tomorrow. What is told of is smtpq's parent: its children have
no part in it.""",
}

HEAD = """\
# The queue, measured

Written by `make bench-queue`, which measures anew and replaces this page.

{machine}

{rounds} rounds; in each, every sender is started anew with a fresh queue on a disk, one after the other, and each round begins with
another. Nothing is deleted meanwhile but what they send. Figures are medians of the rounds; a ratio is the median of the ratios
within each round, more than 1 where ours is better. The sink shares the CPUs with the sender.
"""


def part(results, plan, name):
    """A part: how it is measured, and its table."""
    how = HOW[name].format(**vars(plan))
    return f"## {TITLES[name]}\n\n{how}\n\n" + results_part(results, name, {}, lambda one: one == OURS)


def page(results, plan, at_start):
    about = "\n".join(f"- {name}: {value}" for name, value in [*machine(), ("Other work", load(at_start))])
    parts = [part(results, plan, name) for name in PARTS if results.names(name)]
    return "\n".join([HEAD.format(machine=about, **vars(plan)), goals(results, GOALS, {}), *parts])
