"""What is measured: a function for each part, which does one round of it on every sender in turn."""

import os
import time
from dataclasses import dataclass

from common import in_turn
from lib import check, run
from results import Row
from senders import Names, Sink, Smtpq, our_queue

DESTINATIONS = (1, 20)
MIB = 1024


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    rounds: int = 3
    letters: int = 4000
    octets: int = 4096
    queued: tuple = (25_000, 100_000)
    kinds: tuple = ()


QUICK = Plan(rounds=1, letters=40, queued=(200, 400))

RATE = {number: Row("rate", f"letters/s to {number} destination{'s' * (number > 1)}") for number in DESTINATIONS}
FIRST = Row("large", "s from the start until a letter that is due has arrived", False)
MEMORY = Row("large", "MiB of the parent that are in memory then", False)
CPU = Row("large", "s of CPU of the parent until then", False)
SCAN = Row("large", "s of CPU of `smtpq --list`, which reads every letter", False)
ORDER = [*RATE.values(), FIRST, MEMORY, CPU, SCAN]


def rate(site, plan, results, number):
    """Letters from the queue to smtp-sink, from the moment when the sender is let go until the last has arrived."""
    for destinations in DESTINATIONS:
        with Sink(site) as sink, Names(site, destinations) as names:
            for kind in in_turn(list(plan.kinds), number, 1):
                count = max(int(plan.letters * kind.part) // destinations, 2) * destinations
                seen = kind.rate(site, plan, sink, names, count, destinations)
                results.add(RATE[destinations], kind.name, seen)


def large(site, plan, results, number):
    """Many letters that wait for later, and one that is due."""
    if number:
        return  # it does not change from round to round
    for count in plan.queued:
        name = f"{count:,} letters"
        with Sink(site) as sink, Names(site, 20) as names:
            later = int(time.time()) + 86_400
            queue = our_queue(site, count, 20, plan.octets, later)
            due = max(path.name for path in (queue / "state").iterdir())
            (queue / "state" / due).unlink()
            began = time.monotonic()
            with Smtpq(site, queue, names, sink) as sender:
                results.add(FIRST, name, sink.has(1, began))
                results.add(CPU, name, sender.cpu())
                results.add(MEMORY, name, sender.resident() / MIB)
                before = os.times()
                out = run([site.programs / "smtpq", "--list", "--queue", queue, "-u", queue.stat().st_uid], limit=120).good()
                after = os.times()
                check(len(out.stdout) > count, "the list is short")
                used = after.children_user + after.children_system - before.children_user - before.children_system
                results.add(SCAN, name, used)


PARTS = {"rate": rate, "large": large}
