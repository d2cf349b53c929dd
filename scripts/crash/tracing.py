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


def is_traced(pid: int) -> bool:
    """Whether a tracer has it, or it is gone."""
    try:
        found = re.search(r"^TracerPid:\t(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except (FileNotFoundError, ProcessLookupError):
        return True
    return bool(found and int(found[1]))
