"""One run of a lab: types its steps, compares what comes, runs its checks."""

import os
import re
import time
from dataclasses import dataclass, field

from compare import ELLIPSIS, Numbers, difference, learn, lines_fit, lines_fit_in_any_order, plain, without_notices
from lab import Block, Check
from terminal import Terminal

QUIET = 1.0  # seconds of silence that end a step whose output is not known (--show alone)
SETTLE = 2.0  # seconds of silence after which a program that does not sleep is taken for done
RETRY = 0.1  # seconds between two tries of a check, or of a command that only looks
LOOKS = re.compile(r"(ps|ss|netstat|pgrep|ls|cat|head|tail|wc|grep|stat)\b[^>&;]*$")


class Failure(Exception):
    """The lab shows something else than happens."""


@dataclass
class Outcome:
    """What a run brought."""

    steps: int = 0
    checks: int = 0
    failures: list = field(default_factory=list)
    transcript: dict = field(default_factory=dict)  # a step's line -> its output, as the text tells it
    differing: set = field(default_factory=set)  # lines of the steps that showed something else


def looks_only(step):
    """Whether a step is a command that only looks, so that it may be repeated."""
    return step.kind == "command" and step.after not in ("text", "key") and bool(LOOKS.match(step.typed))


class Session:
    """Runs a lab in a room. With `look` it goes on where something differs."""

    def __init__(self, lab, room, look=False):
        self.lab, self.room, self.look = lab, room, look
        self.numbers = Numbers(lab.fixed)
        self.terminals = {}
        self.last = {}  # terminal -> its last step
        self.outcome = Outcome()
        self.end = time.monotonic() + lab.watchdog

    def run(self):
        """The outcome of everything."""
        try:
            for item in self.lab.items:
                self._item(item)
            for terminal in self.terminals.values():
                self._settle(terminal)
                self._nothing_else(terminal)
        except Failure as failure:
            self.outcome.failures.append(str(failure))
        finally:
            for terminal in self.terminals.values():
                terminal.close()
        return self.outcome

    def _item(self, item):
        if isinstance(item, Check):
            self._guarded(self._check, item)
        elif isinstance(item, Block):
            terminal = self._terminal(item.terminal)
            for step in item.steps:
                self._guarded(self._step, terminal, step)

    def _guarded(self, action, *arguments):
        try:
            action(*arguments)
        except Failure as failure:
            if not self.look or time.monotonic() > self.end:
                raise
            self.outcome.failures.append(str(failure))

    def _failure(self, line, what):
        return Failure(f"{self.lab.path.name}:{line}: {what}")

    def _end(self, deadline):
        return min(time.monotonic() + deadline, self.end)

    def _terminal(self, name):
        if name not in self.terminals:
            master, ended = self.room.open()
            os.close(ended)
            terminal = Terminal(name, master)
            self.terminals[name] = terminal
            if not terminal.until_ready(time.monotonic() + 20):
                raise Failure(f"{self.lab.path.name}: the shell of terminal '{name}' does not start")
            terminal.consume()
        return self.terminals[name]

    # --- a step ---------------------------------------------------------------------------------
    def _step(self, terminal, step):
        end = self._end(step.deadline)
        carried = self._before(terminal, step, end)
        self._type(terminal, step, end)
        expected = carried + step.expected
        if self.look and not any(map(str.strip, expected)):
            self._looks_over(terminal, step, end)
        moved = time.monotonic()
        while not self._holds(terminal, step, expected, moved):
            over = self.look and self._looks_over(terminal, step, end)
            if over and self._holds(terminal, step, expected, 0):
                break
            if over or terminal.closed or time.monotonic() >= end:
                self._differs(terminal, step, expected)
                break
            if terminal.ready and looks_only(step):
                self._look_again(terminal, step)
            if terminal.wait(min(0.02, end - time.monotonic())):
                moved = time.monotonic()
        self.last[terminal.name] = step
        self.outcome.steps += 1

    def _holds(self, terminal, step, expected, moved):
        """Whether all has been seen, once the program sleeps or is gone, or has long been silent."""
        more = "text" in (step.kind, step.after)  # perhaps to the shell: <<EOF
        calm = terminal.settled(more) or time.monotonic() - moved > SETTLE
        while terminal.wait(0):
            pass
        if (step.ends or looks_only(step)) and not terminal.ready:
            return False
        return calm and self._fits(terminal, step, expected)

    def _settle(self, terminal):
        """At the end: waits until the terminal's program has done what there was to do."""
        end = self._end(SETTLE)
        while not terminal.settled() and time.monotonic() < end:
            terminal.wait(0.01)

    def _look_again(self, terminal, step):
        """Repeats a command that only looks: what it is to see may take a moment."""
        time.sleep(RETRY)
        terminal.wait(0)
        terminal.consume()
        self._type(terminal, step, 0)
        terminal.until_ready(self._end(step.deadline))

    def _before(self, terminal, step, end):
        """What may still come from the step before; complains if there is more."""
        terminal.wait(0)
        if step.kind == "command" and not terminal.until_ready(end):
            raise self._failure(step.line, "the program before this command still runs")
        if terminal.open_end:
            terminal.open_end = False
            if step.kind != "none":
                terminal.consume()
            return [ELLIPSIS]
        if step.kind != "none":
            self._nothing_else(terminal, step.line)
        return []

    def _type(self, terminal, step, end):
        typed = self.numbers.to_real(step.typed)
        if step.kind in ("text", "key") and terminal.ready:
            raise self._failure(step.line, f"no program is there any more to take '{step.typed}'")
        if step.kind == "key":
            while not terminal.program_runs():
                if time.monotonic() >= end or terminal.ready:
                    raise self._failure(step.line, f"no program is there to take {step.typed}")
                terminal.wait(0.01)
            terminal.type(chr(ord(step.typed[1]) - 64))
        elif step.kind != "none":
            terminal.type(typed + "\n")

    def _fits(self, terminal, step, expected):
        seen, partial = self._seen(terminal, step)
        if partial and (not expected or plain(expected[-1]) != plain(seen[-1])):
            return False
        known = (lines_fit_in_any_order if step.any_order else lines_fit)(expected, seen, self.numbers)
        if known is None:
            return False
        self.numbers = known
        self._record(step, seen)
        terminal.consume()
        terminal.open_end = bool(expected) and expected[-1].strip() == ELLIPSIS
        return True

    def _seen(self, terminal, step):
        seen, partial = terminal.lines()
        if step.kind == "key":  # the shell goes to a new line when a key has ended its program
            while seen and not seen[0].strip() and not (step.expected and not step.expected[0].strip()):
                seen = seen[1:]
        return seen, partial and bool(seen)

    def _record(self, step, seen):
        self.outcome.transcript[step.line] = self._told(seen)

    def _told(self, seen):
        return [self.numbers.to_text(plain(line, False)) for line in seen]

    def _looks_over(self, terminal, step, end):
        """Without knowing what must come: whether this was probably all."""
        if step.ends:
            return terminal.until_ready(end)
        before, since = terminal.seen, time.monotonic()
        while time.monotonic() < min(since + QUIET, end):
            terminal.wait(0.05)
            if terminal.seen != before:
                before, since = terminal.seen, time.monotonic()
        return True

    def _differs(self, terminal, step, expected):
        """Fails; who only looks learns from what fits, and goes on."""
        seen, _ = self._seen(terminal, step)
        if self.look:
            self.numbers = learn(expected, seen, self.numbers)
            self._record(step, seen)
            self.outcome.differing.add(step.line)
            terminal.consume()
            return
        what = f"{step.typed!r} in terminal '{terminal.name}'" if step.typed else f"terminal '{terminal.name}'"
        if step.ends and not terminal.ready:
            what += f", not ended after {step.deadline:g} seconds"
        raise self._failure(step.line, f"{what}\n{difference(expected, seen, self.numbers)}")

    def _nothing_else(self, terminal, line=None):
        terminal.wait(0)
        if terminal.open_end or not any(map(str.strip, without_notices(terminal.lines()[0]))):
            terminal.consume()
            return
        lines = terminal.lines()[0]
        terminal.consume()
        if self.look and terminal.name in self.last:
            step = self.last[terminal.name]
            self.outcome.transcript[step.line] += self._told(lines)
            self.outcome.differing.add(step.line)
            return
        rest = "\n".join(f"    {row}" for row in lines)
        where = f"{self.lab.path.name}:{line}" if line else f"{self.lab.path.name}, at the end"
        raise Failure(f"{where}: terminal '{terminal.name}' also showed\n{rest}")

    # --- a check --------------------------------------------------------------------------------
    def _check(self, check):
        """Runs a check until it succeeds, at most until its deadline."""
        end = self._end(check.deadline)
        command = self.numbers.to_real(check.command)
        while True:
            status, output = self.room.run(["bash", "-c", command], max(end - time.monotonic(), 0.5))
            if status == 0:
                self.outcome.checks += 1
                return
            if time.monotonic() >= end:
                how = "does not end" if status is None else f"ends with {status}"
                raise self._failure(check.line, f"the check {how}: {command}\n{output}".rstrip())
            time.sleep(RETRY)
