"""Checks that tell what was seen, waits with a limit, and the watchdog over both."""

import signal
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

# Seconds. All limits are watchdogs for what hangs, not measures of speed: a busy machine must not meet them.
WAIT_LIMIT, JOBS_LIMIT = 20.0, 60
# Seconds between two looks at a condition.
INTERVAL = 0.01


class Failure(Exception):
    """A check failed; the text says why."""


def check(held: Any, why: str) -> None:
    """Fails with `why` unless it held."""
    if not held:
        raise Failure(why)


def show(value: str | bytes, most: int = 300) -> str:
    """Bytes or text for a message: escaped, and cut in the middle when long."""
    text = value if isinstance(value, str) else repr(bytes(value))[1:]
    return text if len(text) <= most else f"{text[:most // 2]} [...] {text[-most // 2:]}"


def same(got: Any, want: Any, what: str) -> None:
    """Fails unless both are equal, and shows where they part."""
    if got == want:
        return
    if not isinstance(want, (bytes, bytearray)):
        raise Failure(f"{what}: {show(repr(got))}, expected {show(repr(want))}")
    at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
    near = slice(max(0, at - 40), at + 40)
    raise Failure(f"{what}: {len(got)} bytes, expected {len(want)}; they part at {at}: "
                  f"{show(got[near])}, expected {show(want[near])}")


def wait_until(what: str, condition: Callable[[], Any], limit: float = WAIT_LIMIT) -> Any:
    """Waits for a condition, and returns what it found."""
    end = time.monotonic() + limit
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise Failure(f"{what}: not within {limit:g} s")
        time.sleep(INTERVAL)


def at_once(jobs: Iterable[Callable[[], Any]]) -> None:
    """Does all jobs at the same time, each in a thread; fails if one of them does."""
    wrong: list[str] = []

    def work(job: Callable[[], Any]) -> None:
        try:
            job()
        except Exception as error:  # a thread's own exception would be lost
            wrong.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=work, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(JOBS_LIMIT)
        check(not thread.is_alive(), f"not done within {JOBS_LIMIT} s")
    check(not wrong, f"{len(wrong)} of {len(threads)}: " + "\n".join(sorted(set(wrong))))


class Watchdog:
    """Fails the code inside when it takes too long, by SIGALRM in this process."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds

    def __enter__(self) -> None:
        signal.signal(signal.SIGALRM, self.bark)
        signal.alarm(self.seconds)

    def __exit__(self, *_: object) -> None:
        signal.alarm(0)

    def bark(self, *_: object) -> None:
        """Fails whatever runs just now."""
        raise Failure(f"took longer than {self.seconds} s")
