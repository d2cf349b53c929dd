"""Namespaces of a run's own: for this program, for one command, for a second host; and the wire between."""

import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from lib.checks import Failure, wait_until
from lib.packages import need
from lib.program import Output, end, run, start

INSIDE = "FORKLORE_INSIDE"
# tftpd-hpa resolves its own address, which glibc refuses where there is nothing but loopback.
ADDRESS = "192.0.2.1/24"


def unshare(*kinds: str) -> list[str]:
    """The words before a command that is to run in namespaces of these kinds (net, pid, mount ...), as root of
    a user namespace where it is not root already. A namespace of processes ends with all that is in it."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    own = ["--fork", "--kill-child", "--mount-proc"] if "pid" in kinds else []
    return [need("unshare"), *user, *(f"--{kind}" for kind in kinds), *own]


@lru_cache(maxsize=None)
def allowed(*kinds: str, script: str = "true") -> bool:
    """Whether such namespaces can be made here, and this script of sh succeeds in them."""
    try:
        return run([*unshare(*kinds), "sh", "-c", script]).code == 0
    except Failure:
        return False


def enter(*kinds: str) -> None:
    """Runs this program again in namespaces of its own; returns in there, with the loopback up."""
    if INSIDE not in os.environ:
        os.environ[INSIDE] = "1"
        argv = [*unshare(*kinds), sys.executable, *sys.argv]
        os.execv(argv[0], argv)
    del os.environ[INSIDE]
    ip("link set lo up")


def ip(words: str, before: tuple = ()) -> None:
    """ip(8) with these words."""
    run([*before, need("ip"), *words.split()]).good()


def add_address() -> None:
    """An address beside the loopback's, on one end of a veth pair."""
    for words in ("link add veth0 type veth peer name veth1", f"addr add {ADDRESS} dev veth0",
                  "link set veth0 up", "link set veth1 up"):
        ip(words)


def with_file(file: Path, path: str, argv: list) -> list:
    """The command that runs a program with a file, or folder, of its own in place of the system's."""
    script = 'mount --rbind "$0" "$1" && shift && exec "$@"'
    return [*unshare("mount"), "sh", "-c", script, str(file), path, *map(str, argv)]


class Host:
    """A second host: a network namespace, that of a process which does nothing else."""

    def __init__(self) -> None:
        self.process = start([need("unshare"), "--net", "sleep", "infinity"], stdin=subprocess.DEVNULL)
        self.before = (need("nsenter"), "-t", str(self.process.pid), "-n")
        own = os.readlink("/proc/self/ns/net")
        try:
            # Also not unshare any more, which would not find its way back.
            wait_until("a second network namespace", lambda: self.net() not in (own, ""))
            ip("link set lo up", self.before)
        except BaseException:
            self.end()
            raise

    def net(self) -> str:
        """Its namespace, as the kernel names it."""
        try:
            return os.readlink(f"/proc/{self.process.pid}/ns/net")
        except OSError:
            return ""

    def end(self) -> None:
        """Takes the host away; what still runs in it keeps its namespace alive."""
        end(self.process)


class Wire:
    """A veth pair between this host and another, with its ends `near` and `far`; it can lose packets."""

    def __init__(self, near: str, far: str) -> None:
        self.host = Host()
        ip(f"link add near type veth peer name far netns {self.host.process.pid}")
        for name, address in (("near", near), ("far", far)):
            ip(f"address add {address}/24 dev {name}", self.at(name))
            ip(f"link set {name} up", self.at(name))

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self.host.end()

    def at(self, name: str) -> tuple:
        """The words before a command that is to run at this end."""
        return self.host.before if name == "far" else ()

    def both(self, *argv: Any) -> list[Output]:
        """Runs a command at both ends; a word END is the end's name."""
        return [run([*self.at(name), *(name if word == "END" else word for word in argv)]).good()
                for name in ("near", "far")]

    def lose(self, percent: int) -> None:
        """From now on this percentage of UDP packets is lost, each way."""
        self.both("iptables", "-w", "-A", "INPUT", "-p", "udp", "-m", "statistic", "--mode", "random",
                  "--probability", percent / 100, "-j", "DROP")

    def lost(self) -> int:
        """How many packets were lost so far, at both ends."""
        return sum(int(line.split()[0]) for rules in self.both("iptables", "-w", "-nvxL", "INPUT")
                   for line in rules.text.splitlines() if "DROP" in line)

    def slow(self, rate: str, queue: str) -> None:
        """Makes both ways slow; what the queue does not hold is lost."""
        self.both("tc", "qdisc", "replace", "dev", "END", "root", "tbf", "rate", rate, "burst", "16kb",
                  "limit", queue)

    def overflowed(self) -> int:
        """How many packets the queues did not hold."""
        return sum(int(shown.text.split("dropped ")[1].split(",")[0])
                   for shown in self.both("tc", "-s", "qdisc", "show", "dev", "END"))
