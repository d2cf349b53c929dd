"""A program that is typed to and read from in turns, as a person at a terminal does."""

import os
import selectors
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lib.checks import Failure, check, show
from lib.program import end, start

# Seconds that it may be silent where it has something to say.
ANSWER_LIMIT = 30.0


class Dialogue:
    """A context manager; standard output and error are read as one."""

    def __init__(self, argv: Sequence[Any], env: dict[str, str] | None = None,
                 cwd: Path | str | None = None) -> None:
        self.name, pipe = os.path.basename(str(argv[0])), subprocess.PIPE
        self.process = start(argv, env=env, cwd=cwd, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT)
        self.seen, self.ended = b"", False
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)

    def __enter__(self) -> "Dialogue":
        return self

    def __exit__(self, *_: object) -> None:
        self.selector.close()
        end(self.process)
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                pipe.close()
            except BrokenPipeError:
                pass

    def type(self, text: bytes) -> None:
        """Types it."""
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def end_of_input(self) -> None:
        """Types control-D."""
        self.process.stdin.close()

    def read(self, limit: float) -> bool:
        """Reads more of what it writes; false at its end."""
        if self.ended:
            return False
        if not self.selector.select(limit):
            raise Failure(f"{self.name} is silent; so far {show(self.seen)}")
        piece = os.read(self.process.stdout.fileno(), 65536)
        self.seen += piece
        self.ended = not piece
        return bool(piece)

    def line(self, prefix: bytes = b"", limit: float = ANSWER_LIMIT) -> bytes:
        """Its next line, which must begin so."""
        while b"\n" not in self.seen:
            check(self.read(limit), f"{self.name} ended; left over: {show(self.seen)}")
        line, _, self.seen = self.seen.partition(b"\n")
        check(line.startswith(prefix), f"{self.name}: {show(line)}, expected {show(prefix)}")
        return line

    def until(self, text: bytes, limit: float = ANSWER_LIMIT) -> bytes:
        """Reads up to and with this text."""
        while text not in self.seen:
            check(self.read(limit), f"{self.name} ended without {show(text)}: {show(self.seen)}")
        before, found, self.seen = self.seen.partition(text)
        return before + found

    def rest(self, limit: float = ANSWER_LIMIT) -> bytes:
        """Everything up to its end; it must end by itself."""
        while self.read(limit):
            pass
        try:
            self.code = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} does not end") from None
        return self.seen
