"""Tests by name, what became of them, and the command lines of the scripts that run them."""

import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from lib.checks import Failure, Watchdog

TESTS: list[tuple[str, Callable]] = []


class NotJudged(Exception):
    """The system does not let a tool work; the text says why."""


def test(name: str) -> Callable:
    """Registers a function as the test of this name."""
    def register(function: Callable) -> Callable:
        TESTS.append((name, function))
        return function
    return register


def add(name: str, function: Callable, *args: Any) -> None:
    """Registers a call of a function that has more parameters than the fixture."""
    TESTS.append((name, lambda fixture: function(fixture, *args)))


class Report:
    """A line for each test, and their number in the end. Only a run in which nothing failed is good."""

    def __init__(self, verb: str = "passed") -> None:
        self.verb, self.began = verb, time.monotonic()
        self.passed = self.failed = self.not_judged = 0
        self.packages: set[str] = set()

    def ok(self, name: str) -> None:
        """A test passed."""
        self.passed += 1
        print(f"ok   {name}", flush=True)

    def fail(self, name: str, why: str, package: str | None = None) -> None:
        """A test failed, because this package is missing."""
        self.failed += 1
        self.packages.update([package] if package else [])
        print(f"FAIL {name}\n     " + why.replace("\n", "\n     "), flush=True)

    def run(self, name: str, function: Callable, fixture: Any, limit: int) -> None:
        """Runs a test, for `limit` seconds at most."""
        try:
            with Watchdog(limit):
                function(fixture)
        except KeyboardInterrupt:
            raise
        except NotJudged as why:
            self.not_judged += 1
            print(f"NOT JUDGED {name}\n     {why}", flush=True)
        except Exception as error:  # a test may fail in any way that a library knows
            why = str(error) if isinstance(error, Failure) else f"{type(error).__name__}: {error}"
            self.fail(name, why, missing(why))
        else:
            self.ok(name)

    def add(self, part: "Report") -> None:
        """Counts what another process has reported."""
        self.passed, self.failed = self.passed + part.passed, self.failed + part.failed
        self.not_judged += part.not_judged
        self.packages |= part.packages

    def end(self) -> int:
        """Tells the numbers; returns the exit code."""
        print(f"in {time.monotonic() - self.began:.1f} s")
        if self.packages:
            print(f"missing, and installed by sudo scripts/interop/setup: {' '.join(sorted(self.packages))}")
        judged = f", {self.not_judged} not judged" if self.not_judged else ""
        print(f"{self.passed} {self.verb}, {self.failed} failed{judged}", flush=True)
        return 1 if self.failed else 0


def missing(why: str) -> str | None:
    """The package whose lack a failure tells of (a Missing, also that of a thread or another program)."""
    found = re.search(r"is not here \(Debian: ([\w.+-]+)\)", why)
    return found and found[1]


def chosen(words: Sequence[str], tests: Sequence[tuple[str, Callable]]) -> list[tuple[str, Callable]]:
    """The tests whose names have one of the words in them; all without words."""
    found = [(name, function) for name, function in tests
             if not words or any(word in name for word in words)]
    if not found:
        raise Failure("no test has such a word in its name")
    return found


def listed(args: list[str], names: Callable[[Sequence[str]], list[str]]) -> bool:
    """True where `-l` asks for the names alone, which are printed."""
    if args[:1] == ["-l"]:
        print("\n".join(names(args[1:])))
    return args[:1] == ["-l"]


def run_tests(args: list[str], make_fixture: Callable[[], Any], limit: int) -> int:
    """Runs the registered tests that the command line names, each for `limit` seconds at most."""
    if listed(args, lambda words: [name for name, _ in chosen(words, TESTS)]):
        return 0
    tests = chosen(args, TESTS)
    with make_fixture() as fixture:
        report = Report()
        for name, function in tests:
            report.run(name, function, fixture, limit)
    return report.end()


def command(name: str, usage: str | None, main: Callable[[list[str]], int]) -> None:
    """Runs a script's `main` and ends with its exit code: `--help` prints `usage`, SIGTERM and control-C
    end everything that was started, a failure outside of a test is told in one line."""
    args = sys.argv[1:]
    if args[:1] in (["-h"], ["--help"]):
        print((usage or "").strip())
        sys.exit(0)
    # A SystemExit, so that every context manager ends its programs and removes its folder.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(f"{name}: terminated"))
    try:
        sys.exit(main(args))
    except Failure as failure:
        sys.exit(f"{name}: {failure}")
    except KeyboardInterrupt:
        sys.exit(f"{name}: interrupted")
