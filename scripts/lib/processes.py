"""What /proc tells of processes."""

import os
import re
from pathlib import Path


def fields(pid: int) -> list[str]:
    """/proc/PID/stat behind the name: state, parent, ...; `X` for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ["X", "0"]


def state(pid: int) -> str:
    """The letter of ps: S, T, Z ...; X for a process that is gone."""
    return fields(pid)[0]


def comm(pid: int) -> str:
    """The program's name."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def parents() -> dict[int, int]:
    """Every process and its parent."""
    return {int(name): int(fields(int(name))[1]) for name in os.listdir("/proc") if name.isdigit()}


def children(parent: int) -> list[int]:
    """Its children, zombies too."""
    return [pid for pid, above in parents().items() if above == parent]


def living(parent: int) -> list[int]:
    """Its children that have not ended."""
    return [pid for pid in children(parent) if state(pid) not in "ZX"]


def zombies(parent: int) -> list[int]:
    """Its children that have ended and were not waited for."""
    return [pid for pid in children(parent) if state(pid) == "Z"]


def descendants(parent: int) -> list[int]:
    """Its children, their children, and so on."""
    above = parents()
    found: list[int] = []
    row = [parent]
    while row:
        row = [pid for pid, parent in above.items() if parent in row]
        found += row
    return found


def group(leader: int) -> list[int]:
    """Every process of a process group."""
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return [pid for pid in pids if fields(pid)[2:3] == [str(leader)]]


def session(leader: int) -> list[int]:
    """Every process of a session, among them those with process groups of their own and other parents."""
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return [pid for pid in pids if fields(pid)[3:4] == [str(leader)]]


def cpu_seconds(pids: list[int]) -> float:
    """Seconds of CPU that some processes have used."""
    ticks = sum(sum(map(int, fields(pid)[11:13])) for pid in pids)
    return ticks / os.sysconf("SC_CLK_TCK")


def descriptors(pid: int) -> list[str]:
    """What each open descriptor of a process is, as readlink(2) tells; nothing for one that is gone."""
    found = []
    try:
        for entry in os.listdir(f"/proc/{pid}/fd"):
            try:
                found.append(os.readlink(f"/proc/{pid}/fd/{entry}"))
            except FileNotFoundError:
                pass
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


def socket_inodes(pid: int) -> list[str]:
    """The sockets that a process has open."""
    found = (re.fullmatch(r"socket:\[(\d+)\]", name) for name in descriptors(pid))
    return sorted({name[1] for name in found if name})
