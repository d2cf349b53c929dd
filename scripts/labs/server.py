"""For the checks of tasks that are servers: starts one, talks to it, looks at its processes."""

import os
import re
import socket
import subprocess
import threading
from pathlib import Path

from judge import refuse, until

PATIENCE = 10.0  # seconds that a server may take for anything


class Server:
    """A context manager: a program that takes an address and says `listening on ADDR:PORT`."""

    def __init__(self, program, *arguments):
        self.command = [program, *(arguments or ("127.0.0.1:0",))]
        self.output = []  # its lines, standard output and error

    def __enter__(self):
        self.process = subprocess.Popen(  # pylint: disable=consider-using-with
            self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            encoding="utf-8", errors="replace")
        self.pid = self.process.pid
        threading.Thread(target=self._read, daemon=True).start()
        until(lambda: self._at() or self.process.poll() is not None, PATIENCE)
        if not self._at():
            refuse(f"the server does not say 'listening on ADDR:PORT': {''.join(self.output) or 'nothing'}")
        self.host, self.port = self._at()[0], int(self._at()[1])
        return self

    def __exit__(self, *_):
        for pid in [self.pid, *children(self.pid)]:
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                pass
        self.process.wait()

    def _read(self):
        for line in self.process.stdout:
            self.output.append(line)

    def _at(self):
        found = re.search(r"listening on ([^ ]+):(\d+)$", "".join(self.output), re.MULTILINE)
        return found and found.groups()

    def connect(self):
        """A client, who has a file for lines; refuses the server that cannot be reached."""
        try:
            return Client(socket.create_connection((self.host, self.port), PATIENCE))
        except OSError as error:
            return refuse(f"a client cannot connect: {error}")


class Client:
    """A context manager: one connection."""

    def __init__(self, connection):
        self.connection = connection
        self.lines = connection.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends the connection."""
        self.lines.close()
        self.connection.close()

    def echoes(self, text="hello", seconds=PATIENCE):
        """Whether a line comes back, in time."""
        self.connection.settimeout(seconds)
        try:
            self.connection.sendall(text.encode() + b"\n")
            return self.lines.readline() == text.encode() + b"\n"
        except OSError:
            return False

    def sees_the_end(self, seconds=PATIENCE):
        """After our own end of file (FIN): whether the server closes too."""
        self.connection.settimeout(seconds)
        try:
            self.connection.shutdown(socket.SHUT_WR)
            return self.lines.read() == b""
        except OSError:
            return False


def state(pid):
    """`S`, `T`, `Z` ... as ps shows it, and the parent's id; nothing if there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None, None
    return fields[0], int(fields[1])


def children(parent):
    """The ids of a process's children, zombies too."""
    pids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    return [pid for pid in pids if state(pid)[1] == parent]


def zombies(parent):
    """Those children that have ended and were not waited for."""
    return [pid for pid in children(parent) if state(pid)[0] == "Z"]


def sockets(pid):
    """The sockets that a process has open, one entry for each descriptor."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(os.readlink(entry))
        except OSError:
            pass
    return [name for name in found if name.startswith("socket:")]
