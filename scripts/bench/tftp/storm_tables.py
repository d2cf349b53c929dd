"""The tables of the storms and of the floods."""

from daemons import KINDS
from report import table
from storms import BLOCK, FLOOD_CLIENTS, FLOODS, LOSS, RATE, WINDOWS, chosen

PEERS = [kind for kind in KINDS if not kind.ours]

STORM = """\
{counts} clients of `storm.c`, each with a port of its own, ask at the same moment for one file of {size:.1f} MiB, blksize
{block}; {loss} % of all packets are lost each way (iptables on the loopback, behind the cut of segments), and a client repeats
its last packet after a second of silence. Every file is compared. The servers run at their defaults, but for the number of
clients that atftpd and dnsmasq are given. Median and last: seconds until half of all and the last had the file; the others are
broken off after a multiple of the time of `tftpd` at that window: {times}. Memory: `Private_*` of
smaps_rollup of the server and all its processes together while all transfers run, for each of them. The pages of the program
itself are among them where only one process has them: 0.8 MiB for the parent of `tftpd`, 2.5 MiB for `--single-port`. One run, at
a load average of {load:.1f} before it, by other work on the machine.
"""

FLOOD = """\
{rate:,} requests a second with forged addresses, which never answer, for {seconds:.0f} s (`flood.c`): for a file, for one that is
not there, and with a mode that is none. Beside them {clients} clients fetch a file of 100,000 bytes in blocks of 512 again and
again, and give up after five seconds of silence. All servers run at their limits by default but dnsmasq, which is allowed
200 transfers in place of 50. tftpd-hpa is left out: it starts a process for each request, without a limit.
"""


def label(kind):
    return f"`{kind.name}`" if kind.ours else kind.name


def seconds(value):
    return f"{value:.1f} s" if value else "-"


def last(seen):
    """When the last client had its file, or why not."""
    if seen["last"]:
        return seconds(seen["last"])
    return "it crashed" if seen["ended"] else f"not in {seen['limit']:.0f} s"


def ratio(results, kind, clients, window):
    """The last client's time, to that of the best peer with any window: at least this many times as fast."""
    ours = results.storm[kind.name, clients, window][-1]
    of_peers = [seen for peer in PEERS for seen in results.storm.get((peer.name, clients, window), [])
                if not seen["ended"]]
    if not (ours["last"] and of_peers):
        return ""
    best = min(seen["last"] or seen["limit"] for seen in of_peers)
    mark = "" if any(seen["last"] == best for seen in of_peers) else "below "
    return f"{mark}{ours['last'] / best:.2f}"


def storm(results, plan):
    parts = []
    for clients, _ in chosen(plan):
        for window in WINDOWS:
            rows = []
            for kind in KINDS:
                for seen in results.storm.get((kind.name, clients, window), []):
                    rows.append([label(kind), f"{seen['served']:,.0f} of {clients:,}", seconds(seen["median"]),
                                 last(seen),
                                 f"{seen['memory']:.0f} KiB", ratio(results, kind, clients, window) if kind.ours else ""])
            head = ["server", "served", "median", "last", "memory a transfer", "last, to the best peer's"]
            parts.append(f"{clients:,} clients, window {window}:\n\n{table(head, rows)}")
    return "\n".join(parts)


def flood(results, _plan):
    rows = []
    for what in FLOODS:
        for kind in KINDS:
            for seen in results.flood.get((kind.name, what), []):
                whole, all_of_them = seen["whole"], seen["whole"] + seen["failed"]
                rows.append([f"{label(kind)}, {what}", f"{seen['sent']:,.0f}", f"{whole:,.0f} of {all_of_them:,.0f}",
                             f"{whole / max(all_of_them, 1):.1%}", f"{seen['median'] * 1e3:,.0f} ms",
                             f"{seen['lines']:,.0f}"])
    head = ["server, what is asked for", "forged a second", "files that came whole", "", "median", "log lines a second"]
    return table(head, rows)


def sections(results, plan):
    """Both, with their headings."""
    counts = " and ".join(f"{clients:,}" for clients, _ in plan.storm)
    times = " and ".join(f"{times:.1f} times with {clients:,}" for clients, times in plan.storm)
    how = STORM.format(counts=counts, size=plan.boot / (1 << 20), block=BLOCK, loss=LOSS, times=times,
                       load=max(results.load, default=0))
    floods = FLOOD.format(rate=RATE, seconds=plan.flood_seconds, clients=FLOOD_CLIENTS)
    return f"""\
## A room full of machines that boot at once

{how}
{storm(results, plan)}
## A flood of forged requests

{floods}
{flood(results, plan)}"""


PARTS = {"storm": storm, "flood": flood}
