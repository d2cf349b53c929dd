"""For the checks of tasks that are servers: starts one, talks to it, looks at its processes."""

import os
import re
import select
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from judge import fault, refuse, until

PATIENCE = 10.0  # seconds that a server may take for anything
OUTPUT_KEPT, OUTPUT_READ = 16384, 1 << 20  # bytes of what a server prints
LONGEST_ANSWER = 65536  # bytes
CONTRACT = "docs/labs/README.md, \"What a program must do\""
ASLEEP = 2.0  # seconds of sleep after which a process is taken to have done all that it does by itself
BUSY = 0.5  # seconds of our own CPU time during which a server that has nothing to do is watched
SHARE = 0.2  # of that, which it may take


class Server:
    """A context manager: a program that takes an address and says `listening on ADDR:PORT`."""

    def __init__(self, program, *arguments):
        self.asked = (arguments or ("127.0.0.1:0",))[0]
        self.command = [program, self.asked]
        self.output = b""  # standard output and error
        self.printed = 0  # bytes of it

    def __enter__(self):
        self.before, ports = pids(), listening_ports()
        self.process = subprocess.Popen(  # pylint: disable=consider-using-with
            self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.pid = self.process.pid
        threading.Thread(target=self._read, daemon=True).start()
        until_settled(lambda: self._at() or self.process.poll() is not None, self.family)
        until(lambda: self._at() or self.process.poll() is None, 0.2)  # its last words
        try:
            self.host, self.port = self._address(listening_ports() - ports)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self._kill([self.pid, *self.family()])
        if self.family():  # it forks faster than it is killed
            self._kill([-1])
        self.process.wait()

    @staticmethod
    def _kill(targets):
        for pid in targets:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def _read(self):
        while self.printed < OUTPUT_READ and (more := os.read(self.process.stdout.fileno(), 4096)):
            self.printed += len(more)
            self.output += more[:OUTPUT_KEPT - len(self.output)] if len(self.output) < OUTPUT_KEPT else b""

    def _at(self):
        found = re.search(rb"listening on ([^ \n]+):(\d+)\r?$", self.output, re.MULTILINE)
        return found and found.groups()

    def said(self):
        """What it has printed, for people."""
        return self.output.decode(errors="replace") or "it printed nothing"

    def ended(self):
        """Whether it has ended, and how."""
        status = self.process.poll()
        if status is None:
            return ""
        return f"killed by {signal.Signals(-status).name}" if status < 0 else f"it ended with exit status {status}"

    def _address(self, open_ports):
        """Where it says that it listens; refuses what breaks the contract."""
        where = f" ({CONTRACT})"
        if not self._at():
            if self.ended():
                refuse("the program ends in place of serving" + where, f"{self.ended()}\n{self.said()}")
            seen = self.said()
            if open_ports:
                seen += (f"\nit listens on port {min(open_ports)}, but the line has not come: is standard output "
                         "flushed? (C: fflush(stdout); Python: print(..., flush=True))")
            refuse("the server does not say 'listening on ADDR:PORT'" + where, seen)
        host, port = self._at()[0].decode(errors="replace"), int(self._at()[1])
        wanted_host, _, wanted_port = self.asked.rpartition(":")
        if host != wanted_host or (wanted_port != "0" and port != int(wanted_port)):
            refuse("the server does not listen where its argument says" + where,
                   f"it was told {self.asked} and says {host}:{port}")
        if not 0 < port < 65536 or not until(lambda: port in listening_ports(), 2):
            seen = f"it says port {port}; " + (
                "ports where somebody listens: " + ", ".join(map(str, sorted(open_ports)))
                if open_ports else "nobody listens anywhere")
            refuse("the server does not listen where it says it does; port 0 means any, and getsockname tells "
                   "which" + where, seen)
        return host, port

    def connect(self):
        """A client, who has a file for lines; refuses the server that cannot be reached."""
        try:
            return Client(socket.create_connection((self.host, self.port), PATIENCE), self)
        except OSError as error:
            return refuse("a client cannot connect", f"{error.strerror or error}\n{self.ended()}".rstrip())

    def family(self):
        """Every process that came with the server, of whatever parent; zombies too."""
        return sorted(pids() - self.before)

    def serving(self):
        """Those of the family that live, but for the server itself."""
        return [pid for pid in self.family() if pid != self.pid and state(pid)[0] not in ("Z", None)]

    def zombies(self):
        """Those of the family that have ended and were not waited for."""
        return [pid for pid in self.family() if pid != self.pid and state(pid)[0] == "Z"]

    def must_be_alive(self, when):
        """Refuses the server that has ended."""
        if state(self.pid)[0] in ("Z", None):
            self.process.wait()
            refuse(f"{when}, the server has ended", f"{self.ended()}\n{self.said()}")

    def must_be_quiet(self, when, last):
        """Notes the fault of a server that forks, or uses the processor, while there is nothing to do.

        `last` is last_pid() from before the last client closed. The measure of time is a loop of our own: on a
        busy machine both get less. A server that waits gets nothing.
        """
        used, start = ticks(self.family()), time.process_time()
        while time.process_time() - start < BUSY:
            pass
        used = max(ticks(self.family()) - used, 0)
        forked = (last_pid() - last) % pid_max()
        ours = BUSY * os.sysconf("SC_CLK_TCK")
        if forked or used > ours * SHARE:
            fault(f"{when}, the server does not wait in accept",
                  f"{forked} processes were forked, and {used} ticks of CPU time used while the check used "
                  f"{ours:.0f}\naccept that is interrupted by a signal returns -1 and EINTR: that is no client")


class Client:
    """A context manager: one connection."""

    def __init__(self, connection, server=None):
        self.connection, self.server = connection, server
        self.lines = connection.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends the connection."""
        self.lines.close()
        self.connection.close()

    def _wait(self, seconds):
        """Seconds that a read may take: few, if nothing has come and the server has gone to sleep."""
        def come():
            return select.select([self.connection], [], [], 0)[0]

        if self.server is None or until_settled(come, self.server.family, seconds):
            return max(0.05, seconds)
        return 0.05  # what came before may lie in the buffer

    def echoes(self, text="hello", seconds=PATIENCE):
        """Whether a line comes back, in time."""
        return self.answer(text, seconds) == (text.encode() + b"\n", "")

    def answer(self, text, seconds=PATIENCE):
        """What comes back for a line, and what is wrong with it."""
        self.connection.settimeout(seconds)
        try:
            self.connection.sendall(text.encode() + b"\n")
            self.connection.settimeout(self._wait(seconds))
            line = self.lines.readline(LONGEST_ANSWER)
        except TimeoutError:
            return b"", "nothing came"
        except OSError as error:
            return b"", error.strerror or str(error)
        return line, "" if line.endswith(b"\n") else "the end of file came"

    def must_echo(self, who, text="hello", seconds=PATIENCE):
        """Refuses the server whose client gets something else than its own line."""
        line, trouble = self.answer(text, seconds)
        if trouble or line != text.encode() + b"\n":
            refuse(f"{who} gets no echo", f"sent {text!r}; {trouble or 'got ' + repr(line)}")

    def everything(self, seconds=PATIENCE):
        """All that comes until the end of file, and why that did not come."""
        came, end = b"", time.monotonic() + seconds
        while len(came) < LONGEST_ANSWER:
            self.connection.settimeout(self._wait(end - time.monotonic()))
            try:
                more = self.lines.read1(4096)
            except TimeoutError:
                return came, "no end of file came: the connection is not closed"
            except OSError as error:
                return came, error.strerror or str(error)
            if not more:
                return came, ""
            came += more
        return came, f"more than {LONGEST_ANSWER} bytes, and no end"

    def sees_the_end(self, seconds=PATIENCE):
        """After our own end of file (FIN): whether the server closes too."""
        try:
            self.connection.shutdown(socket.SHUT_WR)
        except OSError:
            return False
        return self.everything(seconds) == (b"", "")


def until_settled(condition, family, seconds=PATIENCE):
    """Waits for a condition; false once all these processes (a function's) have slept for a while, and ran not once.

    A process that has nothing left to do will not make it true, and one that is only slow will be waited for.
    """
    end, since, before = time.monotonic() + seconds, time.monotonic(), None
    while not condition():
        watched = family()
        now = {pid: switches(pid) for pid in watched}
        if now != before or any(state(pid)[0] in ("R", "D") for pid in watched):
            before, since = now, time.monotonic()
        if time.monotonic() > end or time.monotonic() - since > ASLEEP:
            return condition()
        time.sleep(0.02)
    return True


def switches(pid):
    """How often a process was put to sleep, or made to wait for others; nothing if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return [line for line in status.splitlines() if "ctxt_switches" in line]


def stat(pid):
    """The fields of /proc/PID/stat behind the name, or nothing if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None


def state(pid):
    """`S`, `T`, `Z` ... as ps shows it, and the parent's id; nothing if there is no such process."""
    fields = stat(pid)
    return (fields[0], int(fields[1])) if fields else (None, None)


def ticks(family):
    """CPU time of processes and of the children that they have waited for."""
    return sum(sum(map(int, fields[11:15])) for fields in map(stat, family) if fields)


def pids():
    """All processes of the room."""
    return {int(entry) for entry in os.listdir("/proc") if entry.isdigit()}


def last_pid():
    """The process id that was given last, in this room."""
    return int(Path("/proc/loadavg").read_text(encoding="ascii").split()[4])


def pid_max():
    """Where process ids begin again."""
    return int(Path("/proc/sys/kernel/pid_max").read_text(encoding="ascii"))


def listening_ports():
    """TCP ports where somebody listens."""
    found = set()
    for name in ("tcp", "tcp6"):
        try:
            rows = Path(f"/proc/net/{name}").read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        found |= {int(row.split()[1].rpartition(":")[2], 16) for row in rows if row.split()[3] == "0A"}
    return found


def children(parent):
    """The ids of a process's children, zombies too."""
    return [pid for pid in pids() if state(pid)[1] == parent]


def zombies(parent):
    """Those children that have ended and were not waited for."""
    return [pid for pid in children(parent) if state(pid)[0] == "Z"]


def sockets(pid):
    """The sockets that a process has open, one entry for each descriptor; none if it is gone."""
    found = []
    try:
        entries = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return found
    for entry in entries:
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{entry}"))
        except OSError:
            pass
    return [name for name in found if name.startswith("socket:")]
