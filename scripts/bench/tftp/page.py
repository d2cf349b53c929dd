"""The results as a Markdown page and as a bar chart."""

from math import log

import storm_tables
from daemons import KINDS
from report import STYLE, machine, table
from transfers import (BLOCKS, CLIENTS, DELAYED_BLOCK, DELAYS, SMALL_BLOCKS, WINDOWS, middle)
from uploads import DISK, DISK_BLOCK, DISK_WINDOWS, MEMORY

PEERS = ("tftpd-hpa", "atftpd", "dnsmasq")

HEAD = """\
# TFTP servers, measured

Written by `make bench-tftp`, which measures anew and replaces this page; what the figures mean, and
where the time goes, is in [tftp-findings.md](tftp-findings.md).

{machine}

All servers are asked by one and the same client, `get.c`, which reads with UDP_GRO and so keeps up with whatever
comes, and compares every octet afterwards. {rounds} rounds; in each, every server is started anew for each figure, one server
after the other; the figures are medians. A large file has {large} MiB; one that is not through within {seconds} s is
broken off, and counts as far as it came. Ours write their log to a file as they do by default. tftpd-hpa and dnsmasq have no
windows; `--single-port` grants none of more than 256 KiB, so 32 blocks of 8192 and 4 of 65464. MB are 10^6 octets.

![A large file](tftp.svg)
"""

UPLOADS = """\
The file of {large} MiB, sent by `put.c`: one sendmmsg(2) for a window, straight from the file's pages, with
UDP_SEGMENT where several blocks go into one message. {rounds} rounds. After {seconds} s the file ends where it is, with a short block: so
every server has a whole file in the end, and each is compared. tftpd-hpa is started with `-c`; dnsmasq takes no uploads.
Ours make the file safe before they acknowledge its last block (fsync, name, fsync of the folder); the others only
hand it to the page cache. To be fair the rates count until the last block was sent, which is before that; how
long its ACK then took is told by itself, for the disk, where it matters. `/dev/shm` is the memory. write(2) alone, 64 KiB at
a time and without a network, does {writes}; what UDP can do is above, under "A large file".
"""


def label(kind):
    return f"`{kind.name}`" if kind.ours else kind.name


def mega(rate):
    """MB a second, with three digits."""
    rate /= 1e6
    return f"{rate:,.0f}" if rate >= 99.5 else f"{rate:.1f}"


def number(value, show):
    return "" if value != value else show(value)


def measured(values, *key):
    """The median of a figure."""
    return middle(values.get(key, []))


def ratio(rate, other):
    """Not a number where there is nothing to divide by."""
    return rate / other if other else float("nan")


def best(values, *key):
    """The best of the peers."""
    rates = [measured(values, peer, *key) for peer in PEERS]
    return max((rate for rate in rates if rate == rate), default=float("nan"))


def large(results, _plan):
    """MB a second, a table for each window; then the ratios."""
    parts = []
    for window in WINDOWS:
        rows = [[label(kind), *(number(measured(results.large, kind.name, block, window), mega)
                                for block in BLOCKS)]
                for kind in KINDS if measured(results.large, kind.name, BLOCKS[0], window) > 0]
        for ours in [kind for kind in KINDS if kind.ours]:
            rows.append([f"{label(ours)} to the best peer",
                         *(number(ratio(measured(results.large, ours.name, block, window),
                                        best(results.large, block, window)), "{:.2f}".format)
                           for block in BLOCKS)])
        parts.append(f"Window {window}, MB/s:\n\n"
                     + table(["server", *(f"blksize {block}" for block in BLOCKS)], rows))
    rows = [[how, *(number(measured(results.ceiling, block, many), mega) for block in BLOCKS)]
            for how, many in (("a send(2) for each block", False), ("UDP_SEGMENT", True))]
    parts.append("What UDP can do here, one way and unasked, from one process to one that reads with UDP_GRO:\n\n"
                 + table(["", *(f"{block + 4} octets" for block in BLOCKS)], rows))
    return "\n".join(parts)


def pinned(results, _plan):
    rows = [[label(kind), *(number(measured(results.pinned, kind.name, block), mega)
                            for block in BLOCKS)] for kind in KINDS]
    rows += [[f"{label(ours)} to the best peer",
              *(number(ratio(measured(results.pinned, ours.name, block),
                             best(results.pinned, block)), "{:.2f}".format) for block in BLOCKS)] for ours in KINDS if ours.ours]
    return table(["server", *(f"blksize {block}" for block in BLOCKS)], rows)


def small(results, _plan):
    keys = [(block, clients) for block in SMALL_BLOCKS for clients in CLIENTS]
    head = ["server", *(f"blksize {block}, {clients} at once" for block, clients in keys), "CPU, 8"]
    rows = [[label(kind), *(number(measured(results.small, kind.name, *key), "{:,.0f}".format)
                            for key in keys),
             number(measured(results.cpu, kind.name, 512, 8) * 1e6, "{:.0f} µs".format)]
            for kind in KINDS]
    for ours, peer in (("tftpd", "tftpd-hpa"), ("tftpd --single-port", "dnsmasq")):
        rows.append([f"`{ours}` to {peer}",
                     *(number(ratio(measured(results.small, ours, *key),
                                    measured(results.small, peer, *key)), "{:.2f}".format) for key in keys), ""])
    return table(head, rows)


def delay(results, _plan):
    keys = [(microseconds, window) for microseconds in DELAYS for window in WINDOWS]
    head = ["server", *(f"{us // 1000} ms, window {window}" for us, window in keys)]
    rows = [[label(kind), *(number(measured(results.delay, kind.name, *key), mega) for key in keys)]
            for kind in KINDS]
    return table(head, rows)


def less_granted(results):
    """The windows that were granted smaller than asked for."""
    less = [f"{label(kind)} {middle(results.granted[kind.name, block, window]):.0f} of {window} blocks of {block}"
            for kind in KINDS if kind.takes is not None for block in BLOCKS for window in WINDOWS
            if middle(results.granted.get((kind.name, block, window), [])) < window]
    return f"Windows granted smaller than asked for: {', '.join(less)}.\n" if less else ""


def upload_rows(results, cells, show):
    """A row for each server, with what `show` makes of each (folder, block, window); without those that
    were asked for none of it."""
    rows = [[label(kind), *(text for cell in cells for text in show(kind, cell))]
            for kind in KINDS if kind.takes is not None]
    return [row for row in rows if any(row[1:])]


def upload(results, _plan):
    """MB a second into memory, a table for each window; then the disk, with the wait for the last ACK."""
    def rate(kind, cell):
        return [number(measured(results.upload, kind.name, *cell), mega)]

    def rate_and_wait(kind, cell):
        wait = measured(results.last, kind.name, *cell)
        return rate(kind, cell) + [number(wait * 1e3, "{:.1f} ms".format)]

    parts = []
    for window in WINDOWS:
        cells = [(MEMORY, block, window) for block in BLOCKS]
        rows = upload_rows(results, cells, rate)
        rows += [[f"{label(ours)} to the best peer",
                  *(number(ratio(measured(results.upload, ours.name, *cell), best(results.upload, *cell)),
                           "{:.2f}".format) for cell in cells)] for ours in KINDS if ours.ours]
        parts.append(f"Into memory, window {window}, MB/s:\n\n"
                     + table(["server", *(f"blksize {block}" for block in BLOCKS)], rows))
    cells = [(DISK, DISK_BLOCK, window) for window in DISK_WINDOWS]
    head = ["server"]
    for window in DISK_WINDOWS:
        head += [f"window {window}", "last ACK after"]
    parts.append(f"To the disk, blksize {DISK_BLOCK}, MB/s:\n\n"
                 + table(head, upload_rows(results, cells, rate_and_wait)))
    parts.append(less_granted(results))
    return "\n".join(part for part in parts if part)


def writes(results):
    """What write(2) alone can do."""
    return " and ".join(f"{mega(measured(results.write, where))} MB/s {to}"
                        for where, to in ((MEMORY, "into memory"), (DISK, "to the disk")))


PARTS = {"large": large, "pinned": pinned, "small": small, "delay": delay, "upload": upload, **storm_tables.PARTS}


def page(results, plan):
    facts = "\n".join(f"- {name}: {what}" for name, what in machine())
    head = HEAD.format(machine=facts, rounds=plan.rounds, large=plan.large >> 20, seconds=plan.seconds)
    return f"""{head}
## A large file

{large(results, plan)}
## The same in lock step, on one CPU

Window 1, with server and client pinned on one CPU. Unpinned, a wake-up from one CPU to the other takes longer than
all the work for a block.

{pinned(results, plan)}
## Small files

Files of 4 KiB a second, each asked for from a port of its own by `small.c`. CPU is that of the server for one
file, with 8 at once and blocks of 512.

{small(results, plan)}
## A path that takes its time

The large file through `delay.c`, which holds every datagram for so long, each way; blksize {DELAYED_BLOCK}. MB/s. What can be had
at most is a window for each round trip.

{delay(results, plan)}
## Uploads

{UPLOADS.format(large=plan.large >> 20, rounds=plan.upload_rounds, seconds=plan.upload_seconds, writes=writes(results))}
{upload(results, plan)}
{storm_tables.sections(results, plan)}"""


LEFT, WIDTH, BAR, GAP, TOP = 190, 420, 18, 24, 64


def chart(results, block=1468):
    """The large file with blocks of one size, as SVG; the scale is logarithmic."""
    rows = [(f"{kind.name}, window {window}", measured(results.large, kind.name, block, window),
             "ours" if kind.ours else "others")
            for window in WINDOWS for kind in KINDS
            if measured(results.large, kind.name, block, window) > 0]
    rows += [("UDP, a send for each", measured(results.ceiling, block, False), "c"),
             ("UDP_SEGMENT", measured(results.ceiling, block, True), "c")]
    steps = [10**power for power in range(6, 11)]
    low, high = steps[0] / 1e6, max(rate for _, rate, _ in rows) / 1e6

    def x(rate):
        return LEFT + WIDTH * log_ratio(max(rate / 1e6, low), low, high)

    parts, y = [], TOP
    for name, rate, css in rows:
        parts.append(f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end">{name}</text>'
                     f'<rect class="{css}" x="{LEFT}" y="{y}" width="{x(rate) - LEFT:.1f}" '
                     f'height="{BAR}" rx="2"/><text x="{x(rate) + 6:.1f}" y="{y + 14}">{mega(rate)}</text>')
        y += GAP
    for step in (step for step in steps if step / 1e6 <= high):
        parts.insert(0, f'<line class="line" x1="{x(step):.1f}" y1="{TOP - 6}" x2="{x(step):.1f}" y2="{y}"/>'
                        f'<text x="{x(step):.1f}" y="{TOP - 12}" text-anchor="middle">{step // 10**6:,}</text>')
    title = f"A file of 64 MiB, blksize {block}: MB a second (each line is ten times the one before)"
    width, height = LEFT + WIDTH + 80, y + 12
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" aria-label="{title}">\n'
            f"<style>{STYLE}</style>\n<text x=\"10\" y=\"24\" font-weight=\"bold\">{title}</text>\n"
            + "\n".join(parts) + "\n</svg>\n")


def log_ratio(value, low, high):
    """Where a value lies between two others, 0 to 1, on a logarithmic scale."""
    return log(value / low) / log(high / low)
