"""The TFTP servers that are measured, and how each is started and ended."""

import os
import signal
import subprocess
from dataclasses import dataclass
from types import SimpleNamespace

from harness import Failure, end, need, show, wait_until

# dnsmasq knows no other port, so everything happens in a network namespace where it is free.
TFTP = 69
PORT = 6969


@dataclass(frozen=True)
class Kind:
    """One of the servers: its name in the tables, its design, and how it is started."""

    name: str
    design: str
    argv: object  # a function of the lab
    port: int = PORT
    windows: bool = True
    takes: object = None  # more options, with which it takes uploads; None: it takes none

    @property
    def ours(self):
        return self.name.startswith("tftpd ") or self.name == "tftpd"


def ours(*more):
    return lambda lab: [lab.programs / "tftpd", "-l", f"127.0.0.1:{PORT}", "--root", lab.root, *more]


def hpa(lab):
    return [need("in.tftpd"), "-L", "-4", "-a", f"127.0.0.1:{PORT}", "-u", "nobody", "-s", lab.root]


def atftpd(lab):
    return [need("atftpd"), "--daemon", "--no-fork", "--bind-address", "127.0.0.1", "--port", PORT,
            "--maxthread", 100, "--user", "nobody.nogroup", "--logfile", "-", lab.root]


def dnsmasq(lab):
    return [need("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null", "--port=0",
            "--listen-address=127.0.0.1", "--bind-interfaces", "--enable-tftp",
            f"--tftp-root={lab.root}", "--tftp-max=200", "--user=nobody",
            "--edns-packet-max=65535", f"--pid-file={lab.pid}"]


KINDS = [
    Kind("tftpd", "a process for each transfer", ours(), takes=("--create",)),
    Kind("tftpd --single-port", "one process", ours("--single-port"), takes=("--create",)),
    Kind("tftpd-hpa", "a process for each transfer", hpa, windows=False, takes=("-c",)),
    Kind("atftpd", "a thread for each transfer", atftpd, takes=()),
    Kind("dnsmasq", "one process", dnsmasq, port=TFTP, windows=False),
]


class Server:
    """A running server; a context manager that ends it and everything it started."""

    def __init__(self, lab, kind, pinned=False, uploads=None):
        """With `uploads`, serves that folder, and takes files there."""
        self.kind, self.port = kind, kind.port
        self.log = lab.fresh("log")
        pin = [need("taskset"), "-c", "0"] if pinned else []
        root = uploads or lab.root
        program, *words = kind.argv(SimpleNamespace(programs=lab.programs, root=root,
                                                    pid=self.log.with_suffix(".pid")))
        argv = [str(word) for word in [*pin, program, *(kind.takes if uploads else ()), *words]]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            cwd=root, start_new_session=True)
        try:
            wait_until(f"{kind.name} listens", self.listens)
        except BaseException:
            end(self.process)
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        end(self.process)

    def listens(self):
        """True when its UDP port is bound."""
        if self.process.poll() is not None:
            text = self.log.read_text(errors="backslashreplace")
            raise Failure(f"{self.kind.name} ended with {self.process.returncode}: {show(text)}")
        with open("/proc/self/net/udp", encoding="ascii") as table:
            return any(line.split()[1].endswith(f":{self.port:04X}") for line in table.readlines()[1:])

    def stop(self):
        """SIGTERM; CPU seconds of it and of the children that it has collected."""
        self.process.send_signal(signal.SIGTERM)
        try:
            wait_until(f"{self.kind.name} ends", self.ended, 20)
        except Failure:
            end(self.process)
            raise
        return self.usage.ru_utime + self.usage.ru_stime

    def ended(self):
        pid, status, self.usage = os.wait4(self.process.pid, os.WNOHANG)
        if pid:
            self.process.returncode = os.waitstatus_to_exitcode(status)
        return pid
