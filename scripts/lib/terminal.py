"""A program at a terminal of its own, for programs that draw a screen; nothing is typed."""

import os
import pty
import select
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lib.checks import Failure, show
from lib.program import RUN_LIMIT, Output, end, start


def run_at_terminal(argv: Sequence[Any], env: dict[str, str], cwd: Path | str | None = None,
                    limit: float = RUN_LIMIT) -> Output:
    """Runs a program to its end on a pseudo terminal; kills it, and fails, after `limit` seconds. What it drew is
    in `stdout`, with the terminal's control sequences."""
    name, began = os.path.basename(str(argv[0])), time.monotonic()
    master, slave = pty.openpty()
    try:
        process = start(argv, env={"TERM": "xterm", **env}, cwd=cwd, stdin=slave, stdout=slave, stderr=slave)
    finally:
        os.close(slave)
    drawn = b""
    try:
        while time.monotonic() - began < limit:
            if not select.select([master], [], [], 0.1)[0]:
                continue
            try:
                drawn += os.read(master, 65536)
            except OSError:  # the program has closed its end
                return Output(name, process.wait(limit), drawn, b"", time.monotonic() - began)
        raise Failure(f"{name} took longer than {limit} s: {show(drawn[-600:])}")
    finally:
        end(process)
        os.close(master)
