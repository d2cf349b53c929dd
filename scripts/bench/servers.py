"""The servers that are measured, and how each is started, watched and ended."""

import os
from dataclasses import dataclass
from pathlib import Path

from lib import Failure, Program, need
from lib.namespace import with_file
from lib.sockets import bound, free_port

# More clients than any measurement has at once; ours would refuse the 65th of an address otherwise.
MANY = 20_000
WORKERS = 8

XINETD = """\
defaults
{{
    instances = UNLIMITED
    per_source = UNLIMITED
    cps = 1000000 1
}}
service echo
{{
    type = INTERNAL UNLISTED
    id = echo-stream
    socket_type = stream
    protocol = tcp
    wait = no
    user = {user}
    bind = 127.0.0.1
    port = {port}
    flags = NOLIBWRAP
}}
"""


@dataclass(frozen=True)
class Kind:
    """One of the servers: its line in the tables, its design, and what it is compared with."""

    name: str
    design: str
    argv: object  # a function of the bench and the port
    peer: str = ""  # the C program of the same design

    @property
    def ours(self):
        return self.name.startswith("echod")


def echod(model, *more):
    """Ours, with limits that the measurements do not reach; else as it comes."""
    def argv(bench, port):
        return [bench.programs / "echod", "-l", f"127.0.0.1:{port}", "-m", model, "-n", WORKERS,
                "-c", MANY, "--max-per-ip", MANY, "--grace", 1, *more]
    return argv


def c(program):
    """One of the C programs in this folder."""
    return lambda bench, port: [bench.built / program, port]


def tcpserver(*program):
    """tcpserver in front of a program; without the questions it asks about each client."""
    def argv(bench, port):
        path = [word if os.sep not in word else bench.built / Path(word).name for word in program]
        return [need("tcpserver"), "-H", "-R", "-l0", "-c", MANY, "-b", 4096,
                "127.0.0.1", port, *path]
    return argv


def private(bench, file, path, argv):
    """The same program with a file of its own in the place of one of the system's."""
    if not bench.is_root:
        raise Failure("xinetd and openbsd-inetd are started as root only; "
                      "ONLY='^(echod|C|tcpserver)' leaves them out")
    return with_file(file, path, argv)


def xinetd(bench, port):
    """It asks for the name of each client; without DNS it learns at once that there is none."""
    conf = bench.file("xinetd.conf", XINETD.format(port=port, user=bench.user))
    argv = [need("xinetd"), "-dontfork", "-f", conf, "-pidfile", f"{conf}.pid"]
    return private(bench, bench.file("nsswitch.conf", "hosts: files\n"), "/etc/nsswitch.conf", argv)


def inetd(bench, port):
    """Its internal services go by name: it sees an /etc/services that gives echo this port."""
    conf = bench.file("inetd.conf", f"127.0.0.1:echo stream tcp nowait {bench.user} internal\n")
    argv = [need("openbsd-inetd"), "-i", "-q", 4096, "-R", 1_000_000, conf]
    return private(bench, bench.file("services", f"echo {port}/tcp\n"), "/etc/services", argv)


def ours(model, peer):
    return [Kind(f"echod -m {model}", model, echod(model), peer),
            Kind(f"echod -m {model} -q", model, echod(model, "-q"), peer)]


KINDS = [
    *ours("fork", "C fork"),
    Kind("C fork", "fork", c("tcpserv_fork")),
    Kind("C fork, -static", "fork", c("tcpserv_fork-static"), "C fork"),
    *ours("prefork", "C prefork"),
    Kind("C prefork", "prefork", c("tcpserv_prefork")),
    *ours("thread", "C thread"),
    Kind("C thread", "thread", c("tcpserv_thread")),
    *ours("iterative", "C iterative"),
    Kind("C iterative", "iterative", c("tcpserv_iter")),
    Kind("C epoll", "epoll", c("tcpserv_epoll")),
    Kind("tcpserver, C echo", "superserver", tcpserver("./echo"), "C fork"),
    Kind("tcpserver, cat", "superserver", tcpserver("cat"), "C fork"),
    Kind("xinetd, internal", "superserver", xinetd, "C fork"),
    Kind("openbsd-inetd, internal", "superserver", inetd, "C fork"),
]


def by_name(name):
    return next(kind for kind in KINDS if kind.name == name)


class Server(Program):
    """A running server; a context manager that ends it and everything it started."""

    def __init__(self, bench, kind):
        self.kind, self.port = kind, free_port()
        super().__init__(kind.argv(bench, self.port), bench.new("log"), cwd=bench.dir, name=kind.name)
        try:
            self.awaits(f"{kind.name} listens", lambda: bound("tcp", self.port))
            if kind.design == "prefork":
                self.awaits(f"{kind.name} has its workers", lambda: len(self.children()) == WORKERS)
        except BaseException:
            self.kill()
            raise

    def children(self):
        with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as children:
            return [int(pid) for pid in children.read().split()]

    def threads(self):
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def clients(self):
        """How many it serves just now, for the designs with a process or a thread for each."""
        return self.threads() - 1 if self.kind.design == "thread" else len(self.children())

    def memory(self):
        """KiB of PSS and of page tables, of all its processes."""
        pss = tables = 0
        for pid in [self.pid, *self.children()]:
            pss += field(f"/proc/{pid}/smaps_rollup", "Pss:")
            tables += field(f"/proc/{pid}/status", "VmPTE:")
        return pss, tables

    def cpu_seconds(self):
        """SIGTERM, once every client is gone."""
        if self.kind.design not in ("prefork", "iterative", "epoll"):
            self.awaits(f"{self.kind.name} has ended its clients", lambda: not self.clients(), 30)
        return super().cpu_seconds()


def field(path, name):
    """A field of a file in /proc, in KiB; 0 for a process that has just ended."""
    try:
        with open(path, encoding="utf-8", errors="replace") as lines:
            return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)
    except (FileNotFoundError, ProcessLookupError):
        return 0
