"""Programs: run to their end with a time limit, or started beside this one, with a log, and ended."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lib.checks import Failure, check, same, show, wait_until
from lib.packages import need
from lib.processes import descendants, group, session, state

# Seconds that a program which is run to its end may take.
RUN_LIMIT = 60
# Seconds that a server may take to start, and to end after SIGTERM: more than its --grace of 30.
START_LIMIT, STOP_LIMIT = 20.0, 40.0


class Output:
    """What a program left: its exit code, and what it wrote."""

    def __init__(self, name: str, code: int, stdout: bytes, stderr: bytes, seconds: float = 0.0) -> None:
        self.name, self.code, self.seconds = name, code, seconds
        self.stdout, self.stderr = stdout, stderr

    @property
    def text(self) -> str:
        """Everything it wrote, as text."""
        return (self.stdout + self.stderr).decode("utf-8", "backslashreplace")

    def good(self) -> "Output":
        """Itself, if it ended with 0."""
        check(self.code == 0, f"{self.name} ended with {self.code}: {show(self.text, 500)}")
        return self

    def bad(self, *words: str) -> "Output":
        """Itself, if it ended with another code than 0 and said all these words."""
        check(self.code != 0, f"{self.name} ended with 0, expected a failure: {show(self.text)}")
        return self.says(*words)

    def says(self, *words: str) -> "Output":
        """Itself, if it said all these words."""
        for word in words:
            check(word in self.text, f"{self.name} does not say '{word}': {show(self.text, 600)}")
        return self


def start(argv: Sequence[Any], **popen: Any) -> subprocess.Popen:
    """Starts a program in a process group of its own, so that its children can be ended with it; also in a
    session of its own, without a terminal, unless `process_group` is said."""
    popen.setdefault("start_new_session", "process_group" not in popen)
    words = [str(word) for word in argv]
    path = words[0] if os.sep in words[0] else need(words[0])
    return subprocess.Popen([path, *words[1:]], **popen)


def end(process: subprocess.Popen) -> None:
    """Kills a program that `start` started, and its process group; waits for the program. Once it has been
    waited for, nothing is killed, because its id may be another's."""
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run(argv: Sequence[Any], env: dict[str, str] | None = None, cwd: Path | str | None = None,
        stdin: bytes = b"", limit: float = RUN_LIMIT) -> Output:
    """Runs a program to its end; kills it, and fails, after `limit` seconds."""
    name, began, pipe = os.path.basename(str(argv[0])), time.monotonic(), subprocess.PIPE
    process = start(argv, env=env, cwd=cwd, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        stdout, stderr = process.communicate(stdin, timeout=limit)
    except subprocess.TimeoutExpired:
        end(process)
        stdout, stderr = process.communicate()
        raise Failure(f"{name} took longer than {limit} s: {show(stdout + stderr)}") from None
    except BaseException:
        end(process)
        raise
    return Output(name, process.returncode, stdout, stderr, time.monotonic() - began)


class Program:
    """A program that runs beside this one and writes into a log; ended with all that it has started."""

    def __init__(self, argv: Sequence[Any], log: Path | str, env: dict[str, str] | None = None,
                 cwd: Path | str = "/", name: str = "", **popen: Any) -> None:
        self.name = name or os.path.basename(str(argv[0]))
        self.log_path, self.env = Path(log), env
        self.usage = self.ended = None
        self.waiting = threading.Lock()  # a child is waited for once
        with open(log, "wb") as out:
            popen = {"stdin": subprocess.DEVNULL, **popen}
            self.process = start(argv, env=env, cwd=cwd, stdout=out, stderr=out, **popen)
        self.pid = self.process.pid

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def log(self) -> str:
        """Everything it has written."""
        return self.log_path.read_text(encoding="utf-8", errors="backslashreplace")

    def type(self, line: str) -> None:
        """Types a line, where its standard input is a pipe."""
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def end_of_input(self) -> None:
        """Types control-D."""
        self.process.stdin.close()

    def code(self) -> int | None:
        """Its exit code, a signal's negative; None while it runs. Until `kill` it stays a zombie, so that its id,
        and that of its process group, is not given to another."""
        with self.waiting:
            if self.ended is None:
                seen = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if seen:
                    self.ended = seen.si_status if seen.si_code == os.CLD_EXITED else -seen.si_status
            return self.ended

    def awaits(self, what: str, condition: Callable[[], Any], limit: float = START_LIMIT) -> Any:
        """Waits for a condition, and fails at once where the program ends before."""
        def found() -> Any:
            ended = self.code() is not None
            value = condition()
            check(value or not ended, f"{self.name} ended with {self.code()}: {show(self.log(), 900)}")
            return value

        try:
            return wait_until(what, found, limit)
        except Failure as failure:
            if self.code() is None:
                raise Failure(f"{failure}; {self.name} says: {show(self.log())}") from None
            raise

    def ends(self, limit: float = STOP_LIMIT) -> int:
        """Waits for its end, and returns its exit code."""
        wait_until(f"{self.name} ends", lambda: self.code() is not None, limit)
        return self.ended

    def signal(self, number: int) -> None:
        """Sends it a signal; it must be running."""
        check(self.code() is None, f"{self.name} had ended with {self.code()}: {show(self.log())}")
        os.kill(self.pid, number)

    def stop(self, limit: float = STOP_LIMIT) -> None:
        """Sends SIGTERM; it must end with 0."""
        self.signal(signal.SIGTERM)
        try:
            same(self.ends(limit), 0, f"exit code of {self.name} after SIGTERM")
        finally:
            self.kill()

    def cpu_seconds(self) -> float:
        """Sends SIGTERM; returns the CPU seconds of it and of the children that it has waited for."""
        self.signal(signal.SIGTERM)
        self.ends()
        self.kill()
        return self.usage.ru_utime + self.usage.ru_stime

    def kill(self) -> None:
        """Kills it and all that it has started: descendants, and who is left of its process group and of its
        session, as a daemon's keeper and signer, which wait for a tracer that is gone. Afterwards none of them
        holds a port or a file any more; `usage` is what wait4(2) told."""
        with self.waiting:
            if self.process.returncode is not None:
                return
            victims = {*descendants(self.pid), *group(self.pid), *session(self.pid)} - {self.pid}
            for pid in (*victims, self.pid):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            os.killpg(self.pid, signal.SIGKILL)  # who was forked meanwhile
            _, status, self.usage = os.wait4(self.pid, 0)
            self.ended = self.process.returncode = os.waitstatus_to_exitcode(status)
        wait_until(f"the end of all of {self.name}", lambda: all(state(pid) in "ZX" for pid in victims))
