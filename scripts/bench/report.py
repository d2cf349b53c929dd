"""The results as a Markdown page and as a bar chart."""

import datetime
import os
import platform
import subprocess

from measure import (AT_ONCE, CONCURRENCY, DESIGNS, FLOORS, HOLDERS, LONG, OCTETS)
from servers import KINDS, WORKERS, by_name

HEAD = """\
# Forking and other servers, measured

Written by `make bench-fork`, which measures anew and replaces this page; what the figures mean, and
where the time goes, is in [fork-findings.md](fork-findings.md).

{machine}

{how}
![Connections a second](fork.svg)
"""


def table(head, rows):
    """A Markdown table; all columns but the first are numbers."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def machine():
    """What it was measured on."""
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        model = next((line.split(":", 1)[1].strip() for line in info
                      if line.startswith("model name")), platform.machine())
    with open("/proc/meminfo", encoding="utf-8") as info:
        gib = int(info.readline().split()[1]) / (1 << 20)
    return [("Machine", f"{os.cpu_count()} CPUs, {model}, {gib:.0f} GiB"),
            ("Kernel", f"Linux {platform.release()}"),
            ("Compilers", f"{version('gcc')} (-O2); {version('rustc')} (release)"),
            ("Date", datetime.date.today().isoformat())]


def version(program):
    out = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return out.stdout.splitlines()[0] if out.stdout else program


def how(plan):
    """How it was measured."""
    held = " and ".join(f"{held:,}" for held in plan.held)
    return f"""\
A connection is: connect, send {OCTETS} octets, read the same {OCTETS} back, close. `load.c` makes as many as
it can in {plan.seconds} s with 1, 8 or 64 clients at a time, from two processes (one for a single client),
compares every octet, and closes with a plain close(2). It shares the CPUs with the server: the
figures are those of both together, and only the ratios tell something of the servers.
{plan.rounds} rounds; in each, every server is started anew for each number of clients, one server after
the other; the figures are medians of the rounds. CPU time is that of the server and all its children
(wait4(2), after SIGTERM), its start included, divided by the connections. All servers have a backlog of
4096, and all programs were copied once, as an installation does. Ours write their log to a file as they
do by default (two lines a client); with `-q` they log warnings only. The C programs are in [scripts/bench](../../scripts/bench), and log nothing.
Prefork: {WORKERS} children on both sides. Idle clients ({held}) have connected and said nothing; then each
sends a line and reads it back.
"""


def rate_table(results):
    """Connections a second and CPU time."""
    head = ["server", *(f"{n} client{'s' * (n > 1)}" for n in CONCURRENCY),
            *(f"ratio, {n}" for n in CONCURRENCY), "to", "CPU, 8 clients"]
    rows = []
    for kind in KINDS:
        if not results.rates[kind.name, 8]:
            continue
        ratios = [f"{results.ratio(kind.name, kind.peer, n):.2f}" if kind.peer else ""
                  for n in CONCURRENCY]
        rows.append([f"`{kind.name}`" if kind.ours else kind.name,
                     *(f"{results.rate(kind.name, n):,.0f}" for n in CONCURRENCY),
                     *ratios, kind.peer, f"{results.microseconds(kind.name, 8):.0f} µs"])
    return table(head, rows)


def targets(results):
    """The ratios that are asked of the servers: what is compared, the least, what it is."""
    wanted = [("fork", "C fork", "1.00"), ("fork", "C fork, -static", ""),
              ("prefork", "C prefork", "0.92"), ("thread", "C thread", "0.85")]
    head = ["ratio", "at least", *(f"{n} client{'s' * (n > 1)}" for n in CONCURRENCY)]
    rows = []
    for model, peer, least in wanted:
        for name in (f"echod -m {model}", f"echod -m {model} -q"):
            if not (results.rates[name, 8] and results.rates[peer, 8]):
                continue
            rows.append([f"`{name}` to {peer}", least,
                         *(f"{results.ratio(name, peer, n):.2f}" for n in CONCURRENCY)])
    return table(head, rows)


def floor_table(results):
    rows = [[name, f"{results.floor(name):,.0f}"] for name in FLOORS]
    return table(["a process that is", "fork + _exit + waitpid a second"], rows)


def memory_table(results, plan):
    head = ["server"]
    for held in plan.held:
        head += [f"PSS, {held:,} held", "page tables"]
    rows = []
    for name in HOLDERS:
        if (name, plan.held[0]) not in results.memory:
            continue
        row = [f"`{name}`" if by_name(name).ours else name]
        for held in plan.held:
            row += [f"{kib:.1f} KiB" for kib in results.memory[name, held]]
        rows.append(row)
    return table(head, rows)


def control(results, name, baseline):
    """A server's CPU seconds, and the same less the baseline's."""
    if not results.control[name]:
        return ["", ""]
    seconds = results.control_seconds(name)
    less = seconds - results.control_seconds(baseline) if results.control[baseline] else seconds
    return [f"{seconds:.2f}", f"{less:.2f}"]


def control_table(results):
    """Stevens' table: CPU seconds less those of the iterative server."""
    columns = ("echod -m {}", "echod -m {} -q", "C {}")
    head = ["design", "`echod`", "less iterative", "`echod -q`", "less iterative",
            "C", "less iterative"]
    rows = []
    for design in DESIGNS:
        row = [design]
        for pattern in columns:
            row += control(results, pattern.format(design), pattern.format("iterative"))
        rows.append(row)
    for name in ("C fork, -static", "C epoll"):
        rows.append([name[2:], "", "", "", "", *control(results, name, "C iterative")])
    return table(head, rows)


PARTS = {"rates": lambda results, _: rate_table(results) + "\n" + targets(results)
                  + "\n" + floor_table(results),
         "control": lambda results, _: control_table(results),
         "memory": memory_table}


def body(results, plan):
    """All tables, with their headings."""
    return f"""\
## Connections a second

{rate_table(results)}
Against the C programs of the same design, and fork also against C that is linked statically as it is:

{targets(results)}
## The floor

What a forking server cannot be faster than on one CPU; a child touches nothing here. The more memory a
process has touched, the dearer its fork.

{floor_table(results)}
## Memory of an idle client

All processes of the server with the clients held, less the server without a client, divided by
their number; of `fork` at most 24 KiB are asked for. PSS counts a shared page in parts; page tables (VmPTE) come on top. Every client was
echoed its line in the end.

{memory_table(results, plan)}
## Process control

Stevens' table in chapter 30: CPU seconds of the server for {plan.connections:,} connections of {LONG:,} octets, {AT_ONCE}
at a time; in every second column, less what the iterative server of the same kind took: what the
design itself costs.

{control_table(results)}"""


def page(results, plan):
    facts = "\n".join(f"- {name}: {what}" for name, what in machine())
    return HEAD.format(machine=facts, how=how(plan)) + "\n" + body(results, plan)


# The chart: one bar a server, by design; colours that stand on white and on black.

STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.ours { fill: #b7410e } .quiet { fill: #d98a5f } .c { fill: #3b6ea5 } .others { fill: #7d8590 }
.line { stroke: #7d8590; stroke-width: 1; opacity: .35 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .ours { fill: #f0743a } .quiet { fill: #a9603c } .c { fill: #6ea8e0 } .others { fill: #8b949e }
}"""
LEFT, WIDTH, BAR, GAP, TOP = 190, 480, 18, 24, 64


def css_class(kind):
    if kind.ours:
        return "quiet" if kind.name.endswith("-q") else "ours"
    return "c" if kind.name.startswith("C ") else "others"


def chart(results, clients=64):
    """Connections a second by the number of clients, as SVG."""
    kinds = [kind for kind in KINDS if results.rates[kind.name, clients]]
    most = max(results.rate(kind.name, clients) for kind in kinds)
    parts, y, before = [], TOP, None
    for kind in kinds:
        y += 10 if before not in (None, kind.design) else 0
        before = kind.design
        rate = results.rate(kind.name, clients)
        width = rate / most * WIDTH
        parts.append(f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end">{kind.name}</text>'
                     f'<rect class="{css_class(kind)}" x="{LEFT}" y="{y}" width="{width:.1f}" '
                     f'height="{BAR}" rx="2"/>'
                     f'<text x="{LEFT + width + 6:.1f}" y="{y + 14}">{rate:,.0f}</text>')
        y += GAP
    for step in range(0, int(most) + 1, 5_000):
        x = LEFT + step / most * WIDTH
        parts.insert(0, f'<line class="line" x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{y}"/>'
                        f'<text x="{x:.1f}" y="{TOP - 12}" text-anchor="middle">{step:,}</text>')
    title = f"Connections a second: connect, {OCTETS} octets there and back, close; {clients} clients"
    width, height = LEFT + WIDTH + 70, y + 12
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" aria-label="{title}">\n'
            f"<style>{STYLE}</style>\n"
            f'<text x="10" y="24" font-weight="bold">{title}</text>\n'
            + "\n".join(parts) + "\n</svg>\n")
