"""Figures of several rounds, and the tables that show them beside what is asked."""

import os
from collections import defaultdict
from dataclasses import dataclass, field
from statistics import median

from report import table


@dataclass(frozen=True)
class Row:
    """A line of a table: what a figure is, and whether more of it is better."""

    part: str
    title: str
    more_is_better: bool = True


@dataclass
class Results:
    """Figures by row and server, one a round; None where a server cannot do it. `order` is that of all rows."""

    order: list
    values: dict = field(default_factory=lambda: defaultdict(list))

    def add(self, row, name, value):
        self.values[row, name].append(value)

    def names(self, part):
        """The servers, or clients, that have figures in a part, in the order of their first figures."""
        return list(dict.fromkeys(name for row, name in self.values if row.part == part))

    def rows(self, part):
        return sorted({row for row, _ in self.values if row.part == part}, key=self.order.index)

    def figure(self, row, name):
        """The median of the rounds, or None."""
        found = self.values.get((row, name))
        return median(found) if found else None

    def ratio(self, row, ours, other):
        """How many times as good ours is: the median of the ratios within each round."""
        pairs = list(zip(self.values.get((row, ours), []), self.values.get((row, other), [])))
        if not pairs:
            return None
        return median(mine / its if row.more_is_better else its / mine for mine, its in pairs)

    def spread(self, row, name):
        """The slowest and the fastest round, of what has more than one."""
        values = self.values[row, name]
        return f"{shown(min(values))}–{shown(max(values))}" if len(values) > 1 else ""


def shown(value):
    """A figure with about three digits."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 99.5 else f"{value:.1f}"


def part(results, name, short, is_ours):
    """A part's table: a line for each row, a column for each server; `short` are names for the heads of tables."""
    names = sorted(results.names(name), key=lambda one: not is_ours(one))
    lines = [[row.title, *(shown(results.figure(row, one)) for one in names)] for row in results.rows(name)]
    return table(["", *(short.get(one, one) for one in names)], lines)


def goals(results, asked, short):
    """What is asked (a row, ours, what it is measured against, how many times as good it is to be), what was seen, and
    whether it is reached."""
    lines, of_ours = [], defaultdict(set)
    for row, ours, *_ in asked:
        of_ours[row].add(ours)
    for row, ours, peer, least in asked:
        seen = results.ratio(row, ours, peer)
        if seen is not None:
            title = row.title if len(of_ours[row]) == 1 else f"{row.title}: {ours}"
            lines.append([title, short.get(peer, peer), f"{least:g}", f"{seen:.2f}", "yes" if seen >= least else "**no**",
                          results.spread(row, ours), results.spread(row, peer)])
    head = ["row", "beside", "times as good: asked", "seen", "reached", "ours, worst and best round", "the peer's"]
    return "## What is asked\n\n" + table(head, lines) if lines else ""


def load(at_start):
    """What else the machine had to do, as far as it is known."""
    first = "real-time priority" if os.sched_getscheduler(0) in (os.SCHED_RR, os.SCHED_FIFO) else f"nice {os.nice(0)}"
    return f"load average {at_start:.1f} before the first round; servers and clients ran with {first}"
