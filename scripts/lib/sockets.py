"""Ports, and the sockets at them as ss shows them."""

import re
import socket
from collections.abc import Sequence
from typing import NamedTuple

from lib.packages import need
from lib.paths import LOOPBACK
from lib.processes import socket_inodes
from lib.program import run


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port of the loopback that is free just now, for programs that take no port 0."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind((LOOPBACK, 0))
        return sock.getsockname()[1]


def listeners(kind: str, *where: str) -> list[str]:
    """The inodes of listening TCP sockets (`tcp`), or of UDP sockets (`udp`). By ss, which asks the kernel
    for these alone: reading /proc/net/tcp is slow while thousands of connections are in TIME_WAIT."""
    shown = run([need("ss"), "-Hnea", *(["-lt"] if kind == "tcp" else ["-u"]), *where]).good()
    return re.findall(r"\bino:(\d+)", shown.stdout.decode())


def bound_inodes(kind: str, port: int) -> list[str]:
    """Listening TCP sockets, or UDP sockets, at a port."""
    return listeners(kind, "sport", "=", f":{port}")


def connected(port: int) -> list[str]:
    """The inodes of TCP connections to a port, at its side."""
    shown = run([need("ss"), "-Htne", "sport", "=", f":{port}"]).good()
    return re.findall(r"\bino:(\d+)", shown.stdout.decode())


def bound(kind: str, port: int) -> bool:
    """Whether a TCP socket listens at a port, or a UDP socket has it; asked without a program."""
    with open(f"/proc/self/net/{kind}", encoding="ascii") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return any(row[1].endswith(f":{port:04X}") and (kind == "udp" or row[3] == "0A") for row in rows)


def listening(pid: int) -> list[str]:
    """The listening TCP sockets that a process has open, at any port."""
    all_of_them = set(listeners("tcp"))
    return [inode for inode in socket_inodes(pid) if inode in all_of_them]


class Tcp(NamedTuple):
    """A TCP socket, its state as netstat and the slides name it; bytes in its queues."""

    state: str
    received: int
    sent: int
    local: str
    peer: str
    process: str
    pid: str


STATES = {"ESTAB": "ESTABLISHED", "FIN-WAIT-1": "FIN_WAIT1", "FIN-WAIT-2": "FIN_WAIT2"}


def tcp(port: int, before: Sequence[str] = ()) -> list[Tcp]:
    """The TCP sockets that have to do with a port; `before` are words that run ss on another host."""
    argv = [*before, need("ss"), "-HtanpO", f"( sport = :{port} or dport = :{port} )"]
    found = []
    for line in run(argv).good().stdout.decode().splitlines():
        state, received, sent, local, peer, *owner = line.split()
        process = re.search(r'\(\("([^"]*)",pid=(\d+)', " ".join(owner))
        found.append(Tcp(STATES.get(state, state).replace("-", "_"), int(received), int(sent), local, peer,
                         *(process.groups() if process else ("", ""))))
    return found


def resets() -> int:
    """How many RSTs this host has sent since it exists (TcpOutRsts of nstat)."""
    with open("/proc/net/snmp", encoding="ascii") as counters:
        names, values = (line.split() for line in counters if line.startswith("Tcp:"))
    return int(values[names.index("OutRsts")])
