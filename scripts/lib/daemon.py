"""A daemon: a program that says `listening on ADDR:PORT`, is watched and stopped."""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lib.checks import WAIT_LIMIT, Failure, check, same, show, wait_until
from lib.packages import need
from lib.program import START_LIMIT, STOP_LIMIT, Program, run

READY = re.compile(r"listening on (\S+):(\d+)\b.*\n")


class Daemon(Program):
    """Starts it and waits for its line: `argv` names an address with port 0, or one that is free. `before`
    are words that start it in their own process (strace -D, nsenter, unshare)."""

    def __init__(self, argv: Sequence[Any], log: Path | str, env: dict[str, str] | None = None,
                 cwd: Path | str = "/", before: Sequence[Any] = (), limit: float = START_LIMIT,
                 **popen: Any) -> None:
        name = os.path.basename(str(argv[0]))
        check(os.access(argv[0], os.X_OK), f"{argv[0]} is not there: make build, or cargo build")
        super().__init__([*before, *argv], log, env, cwd, name, **popen)
        try:
            found = self.awaits(f"{name} listens", lambda: READY.search(self.log()), limit)
        except BaseException:  # also when this run is told to end just now
            self.kill()
            raise
        self.host, self.port = found[1], int(found[2])
        self.descriptors_at_start = len(self.descriptors())

    def descriptors(self) -> list[str]:
        """The parent's open descriptors."""
        return os.listdir(f"/proc/{self.pid}/fd")

    def ps(self, *fields: str) -> list[str]:
        """The children, as ps sees them."""
        argv = [need("ps"), "-ww", "-o", ",".join(f"{field}=" for field in fields), "--ppid", self.pid]
        return run(argv, self.env).stdout.decode().splitlines()

    def alive(self) -> list[str]:
        """Children that still run."""
        return [line for line in self.ps("stat", "pid") if not line.startswith("Z")]

    def zombies(self) -> list[str]:
        """Children that have ended and were not waited for."""
        return [line for line in self.ps("stat", "pid", "comm") if line.startswith("Z")]

    def close_wait(self) -> list[str]:
        """Sockets on its port that the client has closed and the daemon has not."""
        argv = [need("ss"), "-Htan", "state", "close-wait", f"( sport = :{self.port} )"]
        return run(argv, self.env).good().stdout.decode().splitlines()

    def at_rest(self) -> None:
        """Waits until every client is served and nothing of them is left: no child, no zombie, no socket,
        no descriptor."""
        def gone(what: str, found: Callable[[], list[str]], limit: float = WAIT_LIMIT) -> None:
            try:
                wait_until(what, lambda: not found(), limit)
            except Failure:
                left = found()
                raise Failure(f"{self.name}: {len(left)} {what}: {show(repr(left))}") from None

        gone("children still run", self.alive, STOP_LIMIT)
        gone("zombies", self.zombies)
        gone("sockets in CLOSE-WAIT", self.close_wait)
        gone("descriptors too many", lambda: self.descriptors()[self.descriptors_at_start:])
        try:
            wait_until("as many descriptors of the parent as at the start",
                       lambda: len(self.descriptors()) == self.descriptors_at_start)
        except Failure:
            same(len(self.descriptors()), self.descriptors_at_start, "descriptors of the parent")
