"""For the checks of tasks that are written in Python: `from judge import accept, refuse, until`."""

import os
import sys
import time
import traceback


def _broken(*error):
    """A check that breaks down has not judged: that is neither 0 nor 1."""
    traceback.print_exception(*error)
    sys.stdout.flush()
    os._exit(2)


sys.excepthook = _broken


def accept(why):
    """The verdict of a solution that does what the task asks."""
    print(f"accepted: {why}")
    sys.exit(0)


def refuse(why):
    """The verdict of one that does not."""
    print(f"not yet: {why}")
    sys.exit(1)


def until(condition, seconds=10.0):
    """Waits for a condition; whether it came true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
