"""The TFTP servers that are measured, and how each is started and ended."""

from dataclasses import dataclass
from types import SimpleNamespace

from lib import Program, need
from lib.sockets import bound

# dnsmasq knows no other port, so everything happens in a network namespace where it is free.
TFTP = 69
PORT = 6969


@dataclass(frozen=True)
class Kind:
    """One of the servers: its name in the tables, its design, and how it is started."""

    name: str
    design: str
    argv: object  # a function of the bench
    port: int = PORT
    windows: bool = True
    takes: object = None  # more options, with which it takes uploads; None: it takes none
    bounded: bool = True  # it starts no more processes than its option allows, whichever client asks

    @property
    def ours(self):
        return self.name.startswith("tftpd ") or self.name == "tftpd"


def ours(*more):
    return lambda bench: [bench.programs / "tftpd", "-l", f"127.0.0.1:{PORT}", "--root", bench.root, *more]


def hpa(bench):
    return [need("in.tftpd"), "-L", "-4", "-a", f"127.0.0.1:{PORT}", "-u", "nobody", "-s", bench.root]


def atftpd(bench):
    return [need("atftpd"), "--daemon", "--no-fork", "--bind-address", "127.0.0.1", "--port", PORT,
            "--maxthread", max(100, bench.clients), "--user", "nobody.nogroup", "--logfile", "-", bench.root]


def dnsmasq(bench):
    return [need("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null", "--port=0",
            "--listen-address=127.0.0.1", "--bind-interfaces", "--enable-tftp",
            f"--tftp-root={bench.root}", f"--tftp-max={max(200, bench.clients)}", "--user=nobody",
            "--edns-packet-max=65535", f"--pid-file={bench.pid}"]


KINDS = [
    Kind("tftpd", "a process for each transfer", ours(), takes=("--create",)),
    Kind("tftpd --single-port", "one process", ours("--single-port"), takes=("--create",)),
    Kind("tftpd-hpa", "a process for each transfer", hpa, windows=False, takes=("-c",), bounded=False),
    Kind("atftpd", "a thread for each transfer", atftpd, takes=()),
    Kind("dnsmasq", "one process", dnsmasq, port=TFTP, windows=False),
]


class Server(Program):
    """A running server; a context manager that ends it and everything it started."""

    def __init__(self, bench, kind, pinned=False, uploads=None, clients=0):
        """With `uploads`, serves that folder, and takes files there; has room for this number of clients. Ours have it
        by default."""
        self.kind, self.port = kind, kind.port
        log = bench.new("log")
        pin = [need("taskset"), "-c", "0"] if pinned else []
        root = uploads or bench.root
        program, *words = kind.argv(SimpleNamespace(programs=bench.programs, root=root, clients=clients,
                                                    pid=log.with_suffix(".pid")))
        super().__init__([*pin, program, *(kind.takes if uploads else ()), *words], log, cwd=root,
                         name=kind.name)
        try:
            self.awaits(f"{kind.name} listens", lambda: bound("udp", self.port))
        except BaseException:
            self.kill()
            raise
