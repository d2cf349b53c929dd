"""Many clients at once over a path that loses packets, and clients beside a flood of forged requests.

Both happen on the loopback of this namespace: iptables loses packets of UDP, and what is sent to the addresses that
the flood forges. Datagrams are cut before they get there, so that one is lost and not a row of them.
"""

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path

from common import say
from daemons import Server
from lib import Failure, check, need, run
from lib.namespace import ip
from lib.processes import descendants
from lib.program import end, start

BLOCK = 1468
WINDOWS = (1, 16)
# Percent of the packets of UDP that are lost, each way.
LOSS = 5
# Seconds until the memory of a server's processes is read, and read again; how often.
LOOK, LOOKS = 1.0, 4
# Nothing has these addresses.
SILENT = "127.64.0.0/10"
# What the flood asks for, and requests a second.
FLOODS = ("file", "missing", "malformed")
RATE = 2300
FLOOD_CLIENTS, FLOOD_BLOCK = 10, 512


def drops(action, *rule):
    run([need("iptables"), "-w", action, "INPUT", "-i", "lo", *rule, "-j", "DROP"]).good()


@contextmanager
def rule(bench, *words):
    """A rule of iptables by which packets are dropped, and the loopback without segmentation by the kernel."""
    os.environ["XTABLES_LOCKFILE"] = str(bench.dir / "xtables.lock")
    ip("link set lo gso_max_segs 1")
    drops("-A", *words)
    try:
        yield
    finally:
        drops("-D", *words)
        ip("link set lo gso_max_segs 65535")


def lossy(bench, percent):
    return rule(bench, "-p", "udp", "-m", "statistic", "--mode", "random", "--probability", str(percent / 100))


def private(pid):
    """KiB of a process's memory that no other has; 0 for one that is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty")))


def watched(argv, server, limit):
    """Runs a client; returns its numbers, and the most KiB that all processes of the server had meanwhile."""
    process = start(argv, stdout=subprocess.PIPE)
    most = 0
    try:
        for wait in (*[LOOK] * LOOKS, limit + 10):
            try:
                out, _ = process.communicate(timeout=wait)
                check(process.returncode == 0, f"{argv[0]} ended with {process.returncode}")
                return [float(word) for word in out.split()], most
            except subprocess.TimeoutExpired:
                most = max(most, sum(map(private, (server.pid, *descendants(server.pid)))))
        raise Failure(f"{argv[0]} takes longer than {limit} s")
    finally:
        end(process)


def once(bench, plan, kind, clients, window, limit):
    """One storm: who got the file, the seconds until half of all and the last had it, KiB for each transfer."""
    with Server(bench, kind, clients=clients) as server:
        argv = [bench.built / "storm", server.port, "boot", bench.root / "boot", BLOCK, window, clients, f"{limit:.1f}"]
        (served, median, last, _), most = watched(argv, server, limit)
        ended = server.code() is not None
    check(not (ended and kind.ours), f"{kind.name} has ended")
    seen = {"served": served, "median": median, "last": last, "limit": limit, "memory": most / clients, "ended": ended}
    say(f"  {seen}")
    return seen


def chosen(plan):
    """The storms that $CLIENTS names, or all."""
    wanted = os.environ.get("CLIENTS", "").split()
    return [(clients, times) for clients, times in plan.storm if not wanted or str(clients) in wanted]


def storm(bench, plan, results):
    """Ours first: the others have as many times their time as would be too long."""
    results.load.append(os.getloadavg()[0])
    with lossy(bench, LOSS):
        for clients, times in chosen(plan):
            for window in WINDOWS:
                limit = plan.storm_seconds
                for kind in sorted(plan.kinds, key=lambda kind: not kind.ours):
                    if window > 1 and not kind.windows:
                        continue
                    say(f"{clients} clients at once, window {window}: {kind.name}")
                    seen = once(bench, plan, kind, clients, window, limit)
                    results.storm[kind.name, clients, window].append(seen)
                    if kind.name == "tftpd" and seen["last"]:
                        limit = min(limit, seen["last"] * times)


def flood(bench, plan, results):
    """Honest clients beside forged requests, at the defaults of each."""
    for what in FLOODS:
        for kind in plan.kinds:
            if not kind.bounded:
                continue
            say(f"{RATE} forged requests a second, {what}: {kind.name}")
            with rule(bench, "-d", SILENT), Server(bench, kind) as server:
                argv = [bench.built / "flood", server.port, "flood", bench.root / "flood", FLOOD_BLOCK, what, RATE,
                        FLOOD_CLIENTS, plan.flood_seconds]
                done = run(argv, limit=plan.flood_seconds + 30).good()
                check(server.code() is None, f"{kind.name} has ended")
                lines = server.log().count("\n") / plan.flood_seconds
            sent, whole, failed, median = map(float, done.stdout.split())
            seen = {"sent": sent / plan.flood_seconds, "whole": whole, "failed": failed, "median": median, "lines": lines}
            results.flood[kind.name, what].append(seen)


PARTS = {"storm": storm, "flood": flood}
