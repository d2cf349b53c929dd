"""Compares the output that a lab shows with the output that came.

Line by line. How many blanks stand between two words is not compared, nor blanks at the ends. A `…`
inside a line stands for anything, a line of only `…` for any lines. What differs from run to run by
nature is compared by its form:
  - times and dates as logs, letters, ls and ps write them: any of the same form;
  - durations (a decimal fraction before s, ms or seconds; ss's timers, as 59sec): any, same unit;
  - a number of four or more digits that the lab does not declare fixed: any such number at first,
    then, wherever the lab shows it again, the same; and two numbers that differ here differ there.
The shell's notices of background jobs that have ended (as `[1]+  Done`) are left out on both sides:
it prints them when it likes. Everything else is compared as it stands.
"""

import re

ELLIPSIS = "…"
MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
# What the text may hold, and what it then stands for; the first that fits is taken.
FORMS = [(re.compile(rf"(?<![\w.:]){form}(?!\w|:\d)"), rf"(?<![\w.:]){any_of}(?!\w|:\d)") for form, any_of in [
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?",
     r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?"),
    (r"\d{4}-\d\d-\d\d", r"\d{4}-\d\d-\d\d"),
    (rf"{DAY}, \d{{1,2}} {MONTH} \d{{4}} \d\d:\d\d:\d\d [+-]\d{{4}}",
     rf"{DAY}, \d{{1,2}} {MONTH} \d{{4}} \d\d:\d\d:\d\d [+-]\d{{4}}"),
    (rf"(?:{DAY} )?{MONTH} \d{{1,2}} \d\d:\d\d(?::\d\d)?(?: \d{{4}})?",
     rf"(?:{DAY} )?{MONTH} \d{{1,2}} \d\d:\d\d(?::\d\d)?(?: \d{{4}})?"),
    (r"\d{1,2}:\d\d:\d\d\.\d+", r"\d{1,2}:\d\d:\d\d\.\d+"),
    (r"\d{1,2}:\d\d:\d\d", r"\d{1,2}:\d\d:\d\d"),
    (r"\d{1,2}:\d\d", r"\d{1,2}:\d\d"),
    (r"(?:[\d.]+(?:min|sec|ms))+", r"(?:[\d.]+(?:min|sec|ms))+"),
    (r"\d+m\d+\.\d+s", r"\d+m\d+\.\d+s"),
    (r"\d+\.\d+ s", r"\d+(?:\.\d+)? s"),
    (r"\d+\.\d+s", r"\d+(?:\.\d+)?s"),
    (r"\d+\.\d+ seconds?", r"\d+(?:\.\d+)? seconds?"),
    (r"\d+\.\d+ (?:ms|milliseconds)", r"\d+(?:\.\d+)? (?:ms|milliseconds)"),
]]
NUMBER = re.compile(r"\d{4,}")
NOTICE = re.compile(r"\[\d+\][-+ ]? +(?!Running|Stopped)[A-Z][a-z]+")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|[\x07\x00]")


def plain(line, for_comparison=True):
    """A line without colours and blanks at its end; to be compared, without any that do not count."""
    line = CONTROL.sub("", line).rstrip()
    return " ".join(line.split()) if for_comparison else line


def without_notices(lines):
    """Lines without the shell's notices of ended jobs."""
    return [line for line in lines if not NOTICE.match(line)]


class Numbers:
    """Which number of the text is which real one, in this run."""

    def __init__(self, fixed=()):
        self.fixed = set(fixed)
        self.real = {}  # the text's -> the real one

    def copy(self):
        """The same, to try something with."""
        other = Numbers(self.fixed)
        other.real = dict(self.real)
        return other

    def bind(self, shown, real):
        """Notes a pair; False if it does not fit what was seen before."""
        if shown in self.real:
            return self.real[shown] == real
        if real in self.real.values() or real in self.fixed:
            return False
        self.real[shown] = real
        return True

    def to_real(self, text):
        """A command of the text as it must be typed today."""
        return NUMBER.sub(lambda found: self.real.get(found.group(), found.group()), text)

    def to_text(self, seen):
        """What was seen as the text would tell it."""
        shown = {real: shown for shown, real in self.real.items()}
        return NUMBER.sub(lambda found: shown.get(found.group(), found.group()), seen)


def _pattern(line, numbers):
    """The expression that a line stands for, and the numbers that its groups are."""
    parts, groups = [], []
    at = 0
    while at < len(line):
        form = next(((found, any_of) for form, any_of in FORMS if (found := form.match(line, at))), None)
        number = NUMBER.match(line, at)
        if line[at] == ELLIPSIS:
            parts.append(".*?")
            at += 1
        elif form:
            parts.append(form[1])
            at = form[0].end()
        elif number:
            parts.append(_number(number.group(), numbers, groups))
            at = number.end()
        elif line[at] == " ":
            parts.append(" ")
            at += 1
        else:
            parts.append(re.escape(line[at]))
            at += 1
    return re.compile("".join(parts), re.DOTALL), groups


def _number(shown, numbers, groups):
    if shown in numbers.fixed:
        return rf"(?<!\d){shown}(?!\d)"
    if shown in numbers.real:
        return rf"(?<!\d){numbers.real[shown]}(?!\d)"
    if shown in groups:
        return rf"(?P=n{groups.index(shown)})(?!\d)"
    groups.append(shown)
    return rf"(?<!\d)(?P<n{len(groups) - 1}>\d{{4,}})(?!\d)"


def line_fits(expected, seen, numbers):
    """The numbers with what this line tells of them, or None if the lines differ."""
    pattern, groups = _pattern(plain(expected), numbers)
    # `a … b` may stand for `a b`.
    found = pattern.fullmatch(plain(seen)) or (
        ELLIPSIS in expected and pattern.fullmatch(plain(seen).replace(" ", "  ")))
    if not found:
        return None
    known = numbers.copy()
    for index, shown in enumerate(groups):
        if not known.bind(shown, found.group(f"n{index}")):
            return None
    return known


def lines_fit(expected, seen, numbers):
    """The same for many lines: a line of only `…` stands for any lines, or none."""
    # States: how many lines of `seen` are used up, with the numbers known then.
    expected, seen = without_notices(expected), without_notices(seen)
    states = [(0, numbers)]
    for line in expected:
        if line.strip() == ELLIPSIS:
            used, known = min(states, key=lambda state: state[0])
            states = [(more, known) for more in range(used, len(seen) + 1)]
            continue
        states = [(used + 1, fitting) for used, known in states if used < len(seen)
                  and (fitting := line_fits(line, seen[used], known)) is not None]
        if not states:
            return None
    return next((known for used, known in states if used == len(seen)), None)


def lines_fit_in_any_order(expected, seen, numbers):
    """The same where each line has its partner, wherever that stands; `…` is a line like others."""
    expected, seen = without_notices(expected), without_notices(seen)
    if not expected:
        return None if seen else numbers
    for index, line in enumerate(seen):
        known = line_fits(expected[0], line, numbers)
        rest = None if known is None else seen[:index] + seen[index + 1:]
        if rest is not None and (found := lines_fit_in_any_order(expected[1:], rest, known)) is not None:
            return found
    return None


def learn(expected, seen, numbers):
    """What single lines tell of the numbers, where the whole does not fit."""
    at = 0
    for line in expected:
        for index in range(at, len(seen)):
            known = line_fits(line, seen[index], numbers)
            if known is not None:
                numbers, at = known, index + 1
                break
    return numbers


def difference(expected, seen, numbers):
    """Expected and seen, for people: the first line that differs is marked."""
    first = next((index for index, line in enumerate(expected)
                  if line.strip() == ELLIPSIS or index >= len(seen)
                  or line_fits(line, seen[index], numbers) is None), len(expected))
    if first < len(expected) and expected[first].strip() == ELLIPSIS:
        first = -1
    report = []
    for name, lines in (("the lab says", expected), ("seen", seen)):
        report.append(f"  {name}:" if lines else f"  {name}: nothing")
        report += [f"   {'>' if index == first else ' '} {line}" for index, line in enumerate(lines)]
    known = ", ".join(f"{shown} is {real}" for shown, real in numbers.real.items())
    return "\n".join(report + ([f"  in this run: {known}"] if known else []))
