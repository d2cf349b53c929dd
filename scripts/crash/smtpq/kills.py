"""kill -9 of each process that has to do with the queue, at random instants."""

import statistics
import threading
import time
from collections import Counter

from lib.checks import Failure, check
from smtpq.site import Found, Put, Site, kill

VICTIMS = ("parent", "child", "author", "putter", "server")
# Letters of a round, by each way in; rounds whose median is taken as its time.
LETTERS, SAMPLES, BEYOND = 2, 3, 1.2


class Killer(threading.Thread):
    """Kills a process of a kind at an instant, or the first that is there from then on; `killed` is how many."""

    def __init__(self, site: Site, victim: str, instant: float) -> None:
        super().__init__(daemon=True)
        self.site, self.victim, self.instant = site, victim, instant
        self.over, self.killed = threading.Event(), 0

    def run(self) -> None:
        """Waits, looks, kills."""
        end = time.perf_counter() + self.instant
        while (rest := end - time.perf_counter()) > 0:
            time.sleep(rest if rest > 0.002 else 0)
        while not self.killed and not self.over.is_set():
            found = self.site.victims(self.victim)
            if found:
                self.killed += kill(self.site.dice.choice(found))
            time.sleep(0)


def one(site: Site, victim: str, instant: float | None) -> tuple[list[Put], int, float]:
    """Puts letters in while the runner sends them, and kills: the letters, the kills, the time in which there are victims."""
    site.start()
    site.serve()
    killer = Killer(site, victim, instant) if instant is not None else None
    began = time.perf_counter()
    if killer:
        killer.start()
    puts = [put() for _ in range(LETTERS) for put in (site.put_by_smtp, site.put_by_command)]
    if not killer:
        took = time.perf_counter() - began
        site.drain()
        return puts, 0, took if victim in ("putter", "server") else time.perf_counter() - began
    # A process that comes later is killed while the queue is emptied.
    killer.join(0.3)
    if site.names("letters"):
        site.drain()
    killer.over.set()
    killer.join()
    return puts, killer.killed, 0.0


def at_random(site: Site, victim: str, times: int) -> tuple[int, Found]:
    """Kills at random instants: how many, and what became of the letters."""
    taken, kills, total = [], 0, Counter()
    for _ in range(SAMPLES):
        puts, _, took = one(site, victim, None)
        check(all(put.is_safe for put in puts), f"without a crash: {puts}")
        total.update(site.check_after(puts, 0)._asdict())
        check(not total["killed"], "a letter came twice without a crash")
        taken.append(took)
    total.clear()
    longest = statistics.median(taken) * BEYOND
    for _ in range(times):
        instant = site.dice.uniform(0, longest)
        try:
            puts, killed, _ = one(site, victim, instant)
            kills += killed
            total.update(site.check_after(puts, killed)._asdict())
        except Failure as failure:
            raise Failure(f"{victim}, {1e3 * instant:.1f} ms after the first letter: {failure}") from None
    left = site.check_sweep()
    check(left <= kills, f"{left} drafts of {kills} kills")
    check(kills, "nothing was killed")
    return kills, Found.of(total)
