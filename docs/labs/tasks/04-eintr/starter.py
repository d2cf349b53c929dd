"""Task of lab 04: counts the octets of its standard input, and on SIGUSR1 says how many it has got so far. It does
so when the next line comes; it shall do so at once. (Python calls read again when a signal has interrupted it.)

The check waits for `counting` on standard error, and reads the answers on standard output. To a pipe, print keeps
its text until the buffer is full: without flush=True the check would wait in vain.
"""

import os
import signal
import sys

asked = []


def main():
    """Reads until the end of file."""
    signal.signal(signal.SIGUSR1, lambda *_: asked.append(True))
    print("counting", file=sys.stderr, flush=True)  # from here on it may be asked
    total = 0
    while True:
        if asked:
            asked.clear()
            print(f"so far: {total}", flush=True)
        octets = os.read(0, 4096)
        if not octets:
            print(f"in all: {total}", flush=True)
            return
        total += len(octets)


main()
