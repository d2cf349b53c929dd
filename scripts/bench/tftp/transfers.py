"""The measurements. The servers take turns, each started again; the figures are medians."""

import statistics
import subprocess
from collections import defaultdict
from dataclasses import dataclass, field

from common import in_turn, say
from daemons import Server
from lib import Failure, need, run
from lib.program import end, start

BLOCKS = (512, 1468, 8192, 65464)
WINDOWS = (1, 16, 64)
CLIENTS = (1, 8)
SMALL_BLOCKS = (512, 1468)
# Microseconds each way, and the block size that is measured so.
DELAYS = (1_000, 10_000)
DELAYED_BLOCK = 1468


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    rounds: int = 5
    large: int = 64 << 20
    seconds: float = 1.0  # a large file that takes longer is broken off
    small_seconds: float = 0.7
    upload_rounds: int = 3
    upload_seconds: float = 0.4  # a file that takes longer ends there
    # Clients at once; and how many times our time the others have.
    storm: tuple = ((200, 3.2), (1000, 1.2))
    boot: int = 2 << 20  # the file that they fetch
    storm_seconds: float = 240.0  # who has not got it by then gets it never
    flood_seconds: float = 8.0
    kinds: tuple = ()


QUICK = Plan(rounds=1, large=4 << 20, seconds=0.2, small_seconds=0.1, upload_rounds=1,
             upload_seconds=0.02, storm=((20, 4.0),), boot=16 << 10, storm_seconds=20.0, flood_seconds=0.5)


@dataclass
class Results:
    """What was measured; every list has one value a round."""

    large: dict = field(default_factory=lambda: defaultdict(list))  # (name, block, window): octets/s
    pinned: dict = field(default_factory=lambda: defaultdict(list))  # the same
    small: dict = field(default_factory=lambda: defaultdict(list))  # (name, block, clients): files/s
    cpu: dict = field(default_factory=lambda: defaultdict(list))  # the same: server's s per file
    delay: dict = field(default_factory=lambda: defaultdict(list))  # (name, delay, window): octets/s
    ceiling: dict = field(default_factory=lambda: defaultdict(list))  # (block, segments): octets/s
    upload: dict = field(default_factory=lambda: defaultdict(list))  # (name, folder, block, window): octets/s
    last: dict = field(default_factory=lambda: defaultdict(list))  # the same: seconds to the last ACK
    granted: dict = field(default_factory=lambda: defaultdict(list))  # (name, block, window): window
    write: dict = field(default_factory=lambda: defaultdict(list))  # (folder,): octets/s
    storm: dict = field(default_factory=lambda: defaultdict(list))  # (name, clients, window): see storms.once
    load: list = field(default_factory=list)  # of the machine, when the storms began
    flood: dict = field(default_factory=lambda: defaultdict(list))  # (name, what is asked for): see storms.flood


def middle(values):
    """The median; not a number where nothing was measured."""
    return statistics.median(values) if values else float("nan")


def client(bench, program, *words, pinned=False):
    """Runs a client to its end; gives the numbers that it printed."""
    pin = [need("taskset"), "-c", "0"] if pinned else []
    done = run([*pin, bench.built / program, *words], limit=60).good()
    return [float(word) for word in done.stdout.split()]


def fetch(bench, plan, server, port, block, window, pinned=False):
    """The large file once; octets a second. What was asked must be granted."""
    octets, seconds, granted, granted_window, _ = client(
        bench, "get", port, "large", bench.root / "large", block, window, plan.seconds, pinned=pinned)
    # One process for all grants no window that would take more of its memory than this.
    least = min(window, (256 << 10) // block) if "--single-port" in server.kind.name else window
    if granted != block or not least <= granted_window <= window:
        raise Failure(f"{server.kind.name} granted blksize {granted:.0f}, windowsize "
                      f"{granted_window:.0f} for {block}, {window}")
    return octets / seconds


def large(bench, plan, results):
    """64 MiB with each size of blocks and windows; beside it, what UDP can do."""
    for number in range(plan.rounds):
        say(f"round {number + 1} of {plan.rounds}: a large file")
        for block in BLOCKS:
            for window in WINDOWS:
                for kind in in_turn(plan.kinds, number, 2):
                    if window > 1 and not kind.windows:
                        continue
                    with Server(bench, kind) as server:
                        rate = fetch(bench, plan, server, server.port, block, window)
                    results.large[kind.name, block, window].append(rate)
            for segments in (1, max(1, min(64, 65507 // (block + 4)))):
                rate, = client(bench, "ceiling", block + 4, segments, plan.seconds / 2)
                results.ceiling[block, segments > 1].append(rate)


def pinned(bench, plan, results):
    """Lock step with both ends on one CPU: without wake-ups from one CPU to another."""
    for number in range(plan.rounds):
        say(f"round {number + 1} of {plan.rounds}: a large file, on one CPU")
        for block in BLOCKS:
            for kind in in_turn(plan.kinds, number, 2):
                with Server(bench, kind, pinned=True) as server:
                    rate = fetch(bench, plan, server, server.port, block, 1, pinned=True)
                results.pinned[kind.name, block].append(rate)


def small(bench, plan, results):
    """Files of 4 KiB, one after the other and several at once."""
    for number in range(plan.rounds):
        say(f"round {number + 1} of {plan.rounds}: small files")
        for block in SMALL_BLOCKS:
            for clients in CLIENTS:
                for kind in in_turn(plan.kinds, number, 2):
                    with Server(bench, kind) as server:
                        files, seconds, _ = client(bench, "small", server.port, "small",
                                                   bench.root / "small", block, clients,
                                                   plan.small_seconds)
                        cpu = server.cpu_seconds()
                    results.small[kind.name, block, clients].append(files / seconds)
                    results.cpu[kind.name, block, clients].append(cpu / max(files, 1))


def delay(bench, plan, results):
    """The large file over a path that takes its time."""
    for number in range(min(plan.rounds, 3)):
        say(f"round {number + 1} of {min(plan.rounds, 3)}: a path with delay")
        for microseconds in DELAYS:
            for window in WINDOWS:
                for kind in in_turn(plan.kinds, number, 2):
                    if window > 1 and not kind.windows:
                        continue
                    with Server(bench, kind) as server, Path(bench, server, microseconds) as path:
                        rate = fetch(bench, plan, server, path.port, DELAYED_BLOCK, window)
                    results.delay[kind.name, microseconds, window].append(rate)


class Path:
    """delay.c between a client and a server."""

    def __init__(self, bench, server, microseconds):
        self.process = start([bench.built / "delay", server.port, microseconds], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)
        self.port = int(self.process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            end(self.process)


PARTS = {"large": large, "pinned": pinned, "small": small, "delay": delay}
