"""Task of lab 04, solved: the signal is made something that select waits for. Python writes a byte into a pipe for each
signal (signal.set_wakeup_fd), so none is lost between the look at it and the wait.
"""

import os
import select
import signal
import sys


def main():
    """Reads until the end of file, and from the pipe."""
    wake, signalled = os.pipe()
    for descriptor in (wake, signalled):
        os.set_blocking(descriptor, False)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.set_wakeup_fd(signalled)
    print("counting", file=sys.stderr, flush=True)
    total = 0
    while True:
        ready, _, _ = select.select([0, wake], [], [])
        if wake in ready:
            os.read(wake, 4096)
            print(f"so far: {total}", flush=True)
        elif octets := os.read(0, 4096):
            total += len(octets)
        else:
            print(f"in all: {total}", flush=True)
            return


main()
