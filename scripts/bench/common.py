"""What both benches share: how a run goes, and whose turn it is."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lib import REPOSITORY, Failure, Program, processes


def say(text: str) -> None:
    """Tells how far it is; the page alone goes to standard output."""
    print(text, file=sys.stderr, flush=True)


def install(programs: Sequence[Path], folder: Path) -> Path:
    """Copies programs, as an installation does; gives the folder of the copies.

    How a program's file lies in the page cache decides how dearly its pages are mapped into each child: as the linker
    leaves it, that is in pieces of one page, and a session takes a tenth more CPU. Those of other people were installed too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for program in programs:
        copy = folder / program.name
        copy.unlink(missing_ok=True)
        subprocess.run(["cp", program, copy], check=True)
    return folder


def in_turn(kinds: Sequence, number: int, step: int) -> Sequence:
    """The servers of one round; each round begins with another."""
    start = number * step % max(len(kinds), 1)
    return kinds[start:] + kinds[:start]


def pss(program: Program) -> int:
    """KiB of PSS of all its processes: its descendants, and those that write to the same log."""
    def logs_there(pid: str) -> bool:
        try:
            return os.readlink(f"/proc/{pid}/fd/2") == str(program.log_path)
        except OSError:
            return False
    pids = {int(name) for name in os.listdir("/proc") if name.isdigit() and logs_there(name)}
    total = 0
    for pid in pids.union([program.pid], processes.descendants(program.pid)):
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue  # it has ended
        total += int(re.search(r"^Pss:\s+(\d+)", rollup, re.M)[1])
    return total


def measure(words: list[str], name: str, plans: tuple[Any, Any], kinds: Sequence, results: Any,
            make_bench: Callable, parts: dict[str, Callable], page: Any) -> int:
    """Measures the parts that are asked for by words or $ROWS, all of them without, on the servers that $ONLY names; by the
    first plan, or, with $QUICK, by the second. Prints the page, or tables alone where something was left out;
    a whole run that is not quick writes the page and its picture."""
    words = words or os.environ.get("ROWS", "").split()
    if any(word not in parts for word in words):
        raise Failure("ROW is one of " + ", ".join(parts))
    quick, only = os.environ.get("QUICK", "") not in ("", "0"), os.environ.get("ONLY", "")
    plan = replace(plans[quick], kinds=tuple(kind for kind in kinds if re.search(only, kind.name)))
    began = time.monotonic()
    with make_bench(plan) as bench:
        for word, function in parts.items():
            if not words or word in words:
                function(bench, plan, results)
    if words or only:
        for word in words or parts:
            print(page.PARTS[word](results, plan))
    else:
        text = page.page(results, plan)
        print(text)
        if not quick:
            folder = Path(os.environ.get("OUT", REPOSITORY / "docs" / "bench"))
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.md").write_text(text)
            (folder / f"{name}.svg").write_text(page.chart(results))
            say(f"written: {folder}/{name}.md, {name}.svg")
    say(f"in {time.monotonic() - began:.0f} s")
    return 0
