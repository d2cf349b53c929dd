"""A terminal of a lab: a shell behind a pty, what came out of it and is not yet compared."""

import os
import select
import termios
import time

from room import PROMPT


class Terminal:
    """Named as in the lab."""

    def __init__(self, name, master):
        self.name, self.master = name, master
        self.seen = ""  # not yet compared
        self.rest = b""  # of a character cut in two
        self.ready = False  # the shell waits for a command
        self.closed = False
        self.open_end = False  # the lab does not care what else the last step printed
        self.shell = None  # process group of the shell
        os.set_blocking(master, False)

    def close(self):
        """Closes the master."""
        os.close(self.master)

    def wait(self, seconds):
        """Waits for output and takes what is there; whether there was any."""
        if self.closed:
            time.sleep(min(seconds, 0.02))
            return False
        if not select.select([self.master], [], [], max(seconds, 0))[0]:
            return False
        try:
            data = os.read(self.master, 65536)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.closed = True
            return False
        self._take(self.rest + data)
        return True

    def _take(self, data):
        try:
            text, self.rest = data.decode(), b""
        except UnicodeDecodeError as error:
            whole = error.start if len(data) - error.start < 4 else len(data)
            text, self.rest = data[:whole].decode(errors="replace"), data[whole:]
        if PROMPT in text:
            self.ready = True
            if self.shell is None:
                self.shell = os.tcgetpgrp(self.master)
            text = text.replace(PROMPT, "")
        self.seen += text

    def until_ready(self, end):
        """Waits for the shell's prompt; False if it did not come in time."""
        while not self.ready and not self.closed and time.monotonic() < end:
            self.wait(end - time.monotonic())
        return self.ready

    def type(self, text):
        """Types a line or a key."""
        self.ready = False
        self._no_echo()
        data = text.encode()
        while data and not self.closed:
            if select.select([], [self.master], [], 5)[1]:
                data = data[os.write(self.master, data):]
            else:
                raise TimeoutError

    def _no_echo(self):
        """Some programs let the terminal echo; what is typed stands in the lab already."""
        try:
            mode = termios.tcgetattr(self.master)
            if mode[3] & termios.ECHO:
                mode[3] &= ~termios.ECHO
                termios.tcsetattr(self.master, termios.TCSANOW, mode)
        except termios.error:
            pass

    def foreground(self):
        """The process that has the terminal, or None if that is the shell."""
        try:
            group = os.tcgetpgrp(self.master)
        except OSError:
            return None
        return None if group in (self.shell, 0) else group

    def _stat(self, group):
        try:
            with open(f"/proc/{group}/stat", encoding="utf-8", errors="replace") as file:
                name, _, rest = file.read().partition("(")[2].rpartition(")")
                return name, rest.split()[0]
        except (OSError, IndexError):
            return None

    def program_runs(self):
        """Whether a program, and no longer the shell that becomes it, has the terminal."""
        group = self.foreground()
        stat = self._stat(group) if group else None
        return bool(stat) and stat[0] != "bash"

    def settled(self, shell_reads=True):
        """Whether the shell is back, or the program in the foreground sleeps; so may the shell itself, where it
        reads more of a command."""
        if self.ready or self.closed:
            return True
        group = self.foreground()
        if group is None:
            return shell_reads and (self._stat(self.shell) or "RR")[1] == "S"
        stat = self._stat(group)
        return stat is None or (stat[1] in "ST" and stat[0] != "bash")

    def lines(self):
        """What is not yet compared, and whether its last line is still without an end."""
        lines = self.seen.split("\n")
        partial = lines.pop()
        if not partial:
            return lines, False
        return lines + [partial], not self.ready

    def consume(self):
        """All that came is compared."""
        self.seen = ""
