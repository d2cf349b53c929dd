"""For the checks of tasks that are written in Python: `from judge import accept, part, refuse, until`.

A check consists of parts. What is refused in one ends that part, not the check, so that all faults are told.
"""

import contextlib
import os
import sys
import time
import traceback

LONGEST_LINE = 200  # characters of what a submission said
MOST_LINES = 12

_faults = []  # (what was wanted, what was seen, where it stands)
_slide = ""


class Refused(Exception):
    """Something is not as the task wants it."""

    def __init__(self, what, seen=""):
        super().__init__(what)
        self.what, self.seen = what, seen


def _end(*error):
    """A check that breaks down has not judged: that is neither 0 nor 1."""
    if isinstance(error[1], (Refused, OSError)):
        _note(error[1])
        _tell()
        sys.stdout.flush()
        os._exit(1)
    traceback.print_exception(*error)
    sys.stdout.flush()
    os._exit(2)


sys.excepthook = _end


def _note(error):
    """Keeps a fault, each once."""
    if isinstance(error, Refused):
        fault = (error.what, error.seen, _slide)
    else:
        fault = ("the conversation breaks off", f"{error.strerror or error}", _slide)
    if fault[0] not in [known[0] for known in _faults]:
        _faults.append(fault)


def clip(text):
    """What a submission said, as much as somebody will read, without bytes that a terminal takes for commands."""
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    lines = ["".join(char if char.isprintable() or char == "\t" else "\N{REPLACEMENT CHARACTER}" for char in line)
             for line in text.replace("\r\n", "\n").rstrip("\n").split("\n")]
    lines = [line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + "…" for line in lines]
    return lines if len(lines) <= MOST_LINES else lines[:MOST_LINES] + [f"… {len(lines) - MOST_LINES} lines more"]


def _tell():
    """The faults, all of them."""
    print(f"not yet: {len(_faults)} {'fault' if len(_faults) == 1 else 'faults'}")
    for number, (what, seen, slide) in enumerate(_faults, 1):
        first, *rest = clip(what)
        print("\n   ".join([f"{number}. {first}", *rest]))
        if seen:
            print("\n         ".join(["   seen: " + clip(seen)[0], *clip(seen)[1:]]))
        if slide:
            print(f"   read: {slide}")


@contextlib.contextmanager
def part(slide):
    """A part of a check, and where to read about it. It ends with its first fault; the check goes on."""
    global _slide  # pylint: disable=global-statement
    _slide, before = slide, _slide
    try:
        yield
    except (Refused, OSError) as error:
        _note(error)
    finally:
        _slide = before


def fault(what, seen=""):
    """Notes a fault and goes on."""
    _note(Refused(what, seen))


def accept(why):
    """The end of a check: the verdict of a solution that does what the task asks, or all faults."""
    if _faults:
        _tell()
        sys.exit(1)
    print(f"accepted: {why}")
    sys.exit(0)


def refuse(what, seen=""):
    """What the task wants and a submission does not do, and what was seen; the end of the part."""
    raise Refused(what, seen)


def until(condition, seconds=10.0):
    """Waits for a condition; whether it came true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
