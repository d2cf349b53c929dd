"""strace at a process that is running: what it calls, and what is done to it there."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.checks import wait_until
from lib.packages import need
from lib.program import Program
from site_of_crash import CrashSite


@contextmanager
def strace(site: CrashSite, pid: int, *words: str) -> Iterator[Path]:
    """strace at a process: its output. It lets the process go in the end."""
    out = site.new("strace")
    argv = [need("strace"), "-y", "-q", "-o", out, *words, "-p", pid]
    with Program(argv, site.new("log")) as tracer:
        wait_until(f"strace at {pid}", lambda: is_traced(pid) or tracer.code() is not None)
        yield out
        os.kill(tracer.pid, signal.SIGTERM)  # a zombie, where all that it traced has ended
        tracer.ends()


def calls_in(out: Path) -> list[str]:
    """The system calls in strace's output, a line each, in the order of their ends: a call during which another process
    made one stands there in two parts."""
    begun: dict[str, str] = {}
    found = []
    for line in out.read_text(errors="replace").splitlines():
        pid, _, text = line.partition(" ") if re.match(r"\d+ ", line) else ("", "", line)
        text = text.lstrip()
        if text.endswith("<unfinished ...>"):
            begun[pid] = text.removesuffix("<unfinished ...>").rstrip()
        elif resumed := re.match(r"<\.\.\. \w+ resumed>(.*)", text):
            found.append(f"{pid} {begun.pop(pid, '')}{resumed[1]}")
        elif re.match(r"\w+\(", text):
            found.append(f"{pid} {text}")
    return found + [f"{pid} {text}" for pid, text in begun.items()]


def is_traced(pid: int) -> bool:
    """Whether a tracer has it, or it is gone."""
    try:
        found = re.search(r"^TracerPid:\t(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except (FileNotFoundError, ProcessLookupError):
        return True
    return bool(found and int(found[1]))
