"""--syslog with a real syslogd, and beside the C library's syslog(3).

The machine's /dev stays as it is: every program here runs in a mount namespace of its own, where
/dev is a folder of the test with `null` and, once a syslogd has made it, `log` in it.
"""

import os
import re
import signal
import socket
import subprocess
from contextlib import contextmanager

from harness import check, end, need, run, same, show, start, test, wait_until

HERE = "127.0.0.1"
# What stands before the text of a line: priority, time, who.
HEAD = re.compile(r"<(\d+)>((?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ 123]\d "
                  r"\d\d:\d\d:\d\d) ([\w-]+)\[(\d+)\]: (.*)", re.DOTALL)
GLIBC = """
import syslog
syslog.openlog("echod", syslog.LOG_PID, syslog.LOG_DAEMON)
syslog.syslog(syslog.LOG_INFO, "one line")
"""


class Jail:
    """A /dev of the test's own."""

    def __init__(self, lab):
        self.lab = lab
        self.dev = lab.folder("dev")
        (self.dev / "null").touch()
        self.log = self.dev / "log"

    def command(self, *argv):
        """The command that runs a program there, under its own process id."""
        rights = [] if self.lab.root else ["--map-root-user"]
        script = f'mount --bind /dev/null "{self.dev}/null" && ' \
                 f'mount --rbind "{self.dev}" /dev && exec "$@"'
        return [need("unshare"), "--mount", *rights, "sh", "-c", script, "sh", *map(str, argv)]

    def start(self, *argv, **files):
        return start(self.command(*argv), self.lab.env, "/", **files)

    def run(self, *argv):
        return run(self.command(*argv), self.lab.env, "/")

    @contextmanager
    def daemon(self, name, *args):
        """One of ours with --syslog, and the file with what it says on standard error all the same."""
        said = self.lab.folder("stderr") / name
        path = self.lab.programs / name
        argv = [path, "--syslog", "-u", "root", *args]
        if "-i" not in args and "-l" not in args:
            argv += ["-l", f"{HERE}:{free_port()}"]
        with open(said, "wb") as stderr:
            process = self.start(*argv, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr)
        process.said = said.read_text
        process.port = int(str(argv[-1]).rpartition(":")[2])
        try:
            yield process
        finally:
            end(process)

    @contextmanager
    def heard(self):
        """The socket of a syslogd that only listens."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(str(self.log))
            self.log.chmod(0o666)
            listener.settimeout(5)
            try:
                yield listener
            finally:
                self.log.unlink()

    @contextmanager
    def syslogd(self, file):
        """busybox's, which writes into a file."""
        null = subprocess.DEVNULL
        process = self.start("busybox", "syslogd", "-n", "-O", file, stdin=null, stdout=null,
                             stderr=null)
        try:
            wait_until("syslogd listens", self.log.is_socket)
            yield process
        finally:
            end(process)
            self.log.unlink(missing_ok=True)


def free_port():
    """A port that nobody has just now."""
    with socket.socket() as sock:
        sock.bind((HERE, 0))
        return sock.getsockname()[1]


def line(listener):
    """The next line that came, in its parts."""
    octets = listener.recv(65536)
    found = HEAD.fullmatch(octets.decode())
    check(found, f"no line of syslog(3): {show(octets)}")
    return found.groups()


def echo(port):
    """A client that has heard its echo."""
    client = wait_until("echod listens", lambda: connected(port))
    client.sendall(b"hello\n")
    same(client.recv(100), b"hello\n", "echo")
    return client


def connected(port):
    try:
        return socket.create_connection((HERE, port), 5)
    except ConnectionRefusedError:
        return None


def holds(path, *words):
    """Waits until one line of a file holds all these words, and gives it."""
    def found():
        lines = path.read_text().splitlines() if path.exists() else []
        return next((line for line in lines if all(word in line for word in words)), None)

    return wait_until(f"a line with {words} in {path.name}", found)


@test("syslog: a line of echod is one of the C library's syslog(3), octet for octet but the text")
def as_the_c_library(lab):
    jail = Jail(lab)
    with jail.heard() as listener:
        jail.run(need("python3"), "-c", GLIBC).good()
        raw = listener.recv(1000)
        theirs = HEAD.fullmatch(raw.decode())
        check(theirs, f"this C library writes other lines: {show(raw)}")
        with jail.daemon("echod") as echod:
            priority, when, name, pid, text = line(listener)
            same((priority, name), (theirs[1], theirs[3]), "priority and name")
            same(pid, str(echod.pid), "process id")
            same(text, f"listening on {HERE}:{echod.port}", "text")
            same(when[:9], theirs[2][:9], "month, day and hour, by the local clock")
            same(echod.said(), "", "standard error")


@test("syslog: busybox syslogd files the parent's and a child's lines under daemon and mail")
def filed(lab):
    jail, file = Jail(lab), lab.folder("log") / "messages"
    with jail.syslogd(file):
        with jail.daemon("echod", "-t", "0.3") as echod:
            holds(file, "daemon.info", f"echod[{echod.pid}]: listening on {HERE}:{echod.port}")
            with echo(echod.port):
                told = holds(file, f"echod[{echod.pid}]: client {HERE}:", " start: pid ")
                child = told.rpartition(" ")[2]
                holds(file, "daemon.warn", f"echod[{child}]: client {HERE}:")
            same(echod.said(), "", "standard error")
        with jail.daemon("pop3d", "--users", lab.dir / "users") as pop3d:
            holds(file, "mail.info", f"pop3d[{pop3d.pid}]: listening on {HERE}:{pop3d.port}")


@test("syslog: a syslogd that is started late, or anew, gets the lines from then on")
def late_and_anew(lab):
    jail, file = Jail(lab), lab.folder("log") / "messages"
    with jail.daemon("echod") as echod:
        echo(echod.port).close()
        missing = "echod: syslog /dev/log: No such file or directory"
        same(echod.said().count(missing), 1, "complaints on standard error")
        same(len(echod.said().splitlines()), 1, "lines on standard error")
        for turn in range(2):
            file = file.with_name(f"messages{turn}")
            with jail.syslogd(file):
                echo(echod.port).close()
                holds(file, f"echod[{echod.pid}]: client {HERE}:", " start: pid ")


@test("syslog: a syslogd that stands still does not hold the server up")
def stands_still(lab):
    jail, file = Jail(lab), lab.folder("log") / "messages"
    with jail.syslogd(file) as syslogd, jail.daemon("echod") as echod:
        holds(file, "listening on")
        syslogd.send_signal(signal.SIGSTOP)
        for _ in range(200):
            echo(echod.port).close()
        syslogd.send_signal(signal.SIGCONT)

        def again():
            echod.send_signal(signal.SIGUSR1)
            return " of 256 clients" in file.read_text()

        wait_until("lines are filed again", again)


@test("syslog: in an empty --chroot the log goes on, and tells of a start that fails")
def in_a_jail(lab):
    jail, empty = Jail(lab), lab.folder("empty")
    with jail.heard() as listener:
        with jail.daemon("echod", "--chroot", empty, "-q") as echod:
            wait_until("echod listens", lambda: connected(echod.port)).close()
            same(line(listener)[4].split(":")[0], "--chroot is no jail for root, who can leave it",
                 "warning")
            echod.send_signal(signal.SIGTERM)
            same(echod.wait(5), 0, "exit status")
        with socket.create_server((HERE, 0)) as occupied:
            at = f"{HERE}:{occupied.getsockname()[1]}"
            failed = jail.run(lab.programs / "echod", "--syslog", "-u", "root", "-l", at)
            failed.bad(f"echod: bind {at}: Address already in use")
            same(line(listener)[4], f"bind {at}: Address already in use", "text")


@test("syslog: under inetd, with standard error at the client, the log is complete and the client "
      "gets none of it")
def under_inetd(lab):
    jail = Jail(lab)
    with jail.heard() as listener:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            process = jail.start(lab.programs / "echod", "-i", "--syslog", "-u", "root",
                                 stdin=theirs, stdout=theirs, stderr=theirs)
            theirs.close()
            ours.sendall(b"hello")
            ours.shutdown(socket.SHUT_WR)
            ours.settimeout(5)
            answer = b""
            while piece := ours.recv(100):
                answer += piece
            same(answer, b"hello", "what the client got")
            same(process.wait(5), 0, "exit status")
        same([line(listener)[4].split()[2] for _ in range(2)], ["start:", "end:"], "the log")
