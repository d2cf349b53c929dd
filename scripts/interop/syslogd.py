"""--syslog with a real syslogd, and beside the C library's syslog(3).

The machine's /dev stays as it is: every program here runs in a mount namespace of its own, where
/dev is a folder of the test with `null` and, once a syslogd has made it, `log` in it.
"""

import re
import signal
import socket
from contextlib import contextmanager

from lib import LOOPBACK, Program, check, need, run, same, show, test, wait_until
from lib.namespace import unshare
from lib.program import start
from lib.sockets import free_port

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

    def __init__(self, fixture):
        self.fixture = fixture
        self.dev = fixture.folder("dev")
        (self.dev / "null").touch()
        self.log = self.dev / "log"

    def command(self, *argv):
        """The command that runs a program there, under its own process id."""
        script = f'mount --bind /dev/null "{self.dev}/null" && ' \
                 f'mount --rbind "{self.dev}" /dev && exec "$@"'
        return [*unshare("mount"), "sh", "-c", script, "sh", *argv]

    def run(self, *argv):
        return run(self.command(*argv), self.fixture.env, "/")

    def start(self, *argv):
        """A program that runs there; what it says on standard error all the same is its log."""
        return Program(self.command(*argv), self.fixture.new("stderr"), self.fixture.env)

    def daemon(self, name, *args):
        """One of ours with --syslog, at a port chosen here, because it tells its own to syslogd alone."""
        port = free_port()
        before, user = [], ["-u", "root"]
        if name == "pop3d":  # which takes no root; in an ordinary user's jail there is no other user but by nesting
            user = self.fixture.as_root()
            before = [] if user else [need("unshare"), "--map-user=1000", "--map-group=1000"]
        daemon = self.start(*before, self.fixture.programs / name, "--syslog", *user, *args,
                            "-l", f"{LOOPBACK}:{port}")
        daemon.port = port
        return daemon

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
        with self.start(need("busybox"), "syslogd", "-n", "-O", file) as syslogd:
            syslogd.awaits("syslogd listens", self.log.is_socket)
            try:
                yield syslogd
            finally:
                self.log.unlink(missing_ok=True)


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
        return socket.create_connection((LOOPBACK, port), 5)
    except ConnectionRefusedError:
        return None


def holds(path, *words):
    """Waits until one line of a file holds all these words, and gives it."""
    def found():
        lines = path.read_text().splitlines() if path.exists() else []
        return next((line for line in lines if all(word in line for word in words)), None)

    return wait_until(f"a line with {words} in {path.name}", found)


@test("syslog: a line of echod is one of the C library's syslog(3), octet for octet but the text")
def as_the_c_library(fixture):
    jail = Jail(fixture)
    with jail.heard() as listener:
        jail.run(need("python3"), "-c", GLIBC).good()
        raw = listener.recv(1000)
        theirs = HEAD.fullmatch(raw.decode())
        check(theirs, f"this C library writes other lines: {show(raw)}")
        with jail.daemon("echod") as echod:
            priority, when, name, pid, text = line(listener)
            same((priority, name), (theirs[1], theirs[3]), "priority and name")
            same(pid, str(echod.pid), "process id")
            same(text, f"listening on {LOOPBACK}:{echod.port}", "text")
            same(when[:9], theirs[2][:9], "month, day and hour, by the local clock")
            same(echod.log(), "", "standard error")


@test("syslog: busybox syslogd files the parent's and a child's lines under daemon and mail")
def filed(fixture):
    jail, file = Jail(fixture), fixture.folder("log") / "messages"
    with jail.syslogd(file):
        with jail.daemon("echod", "-t", "0.3") as echod:
            holds(file, "daemon.info", f"echod[{echod.pid}]: listening on {LOOPBACK}:{echod.port}")
            with echo(echod.port):
                told = holds(file, f"echod[{echod.pid}]: client {LOOPBACK}:", " start: pid ")
                child = told.rpartition(" ")[2]
                holds(file, "daemon.warn", f"echod[{child}]: client {LOOPBACK}:")
            same(echod.log(), "", "standard error")
        with jail.daemon("pop3d", "--users", fixture.dir / "users") as pop3d:
            holds(file, "mail.info", f"pop3d[{pop3d.pid}]: listening on {LOOPBACK}:{pop3d.port}")


@test("syslog: a syslogd that is started late, or anew, gets the lines from then on")
def late_and_anew(fixture):
    jail, file = Jail(fixture), fixture.folder("log") / "messages"
    with jail.daemon("echod") as echod:
        echo(echod.port).close()
        missing = "echod: syslog /dev/log: No such file or directory"
        same(echod.log().count(missing), 1, "complaints on standard error")
        same(len(echod.log().splitlines()), 1, "lines on standard error")
        for turn in range(2):
            file = file.with_name(f"messages{turn}")
            with jail.syslogd(file):
                echo(echod.port).close()
                holds(file, f"echod[{echod.pid}]: client {LOOPBACK}:", " start: pid ")


@test("syslog: a syslogd that stands still does not hold the server up")
def stands_still(fixture):
    jail, file = Jail(fixture), fixture.folder("log") / "messages"
    with jail.syslogd(file) as syslogd, jail.daemon("echod") as echod:
        holds(file, "listening on")
        syslogd.signal(signal.SIGSTOP)
        for _ in range(200):
            echo(echod.port).close()
        syslogd.signal(signal.SIGCONT)

        def again():
            echod.signal(signal.SIGUSR1)
            return " of 256 clients" in file.read_text()

        wait_until("lines are filed again", again)


@test("syslog: in an empty --chroot the log goes on, and tells of a start that fails")
def in_a_jail(fixture):
    jail, empty = Jail(fixture), fixture.folder("empty")
    with jail.heard() as listener:
        with jail.daemon("echod", "--chroot", empty, "-q") as echod:
            wait_until("echod listens", lambda: connected(echod.port)).close()
            same(line(listener)[4].split(":")[0], "--chroot is no jail for root, who can leave it",
                 "warning")
            echod.signal(signal.SIGTERM)
            same(echod.ends(), 0, "exit code")
        with socket.create_server((LOOPBACK, 0)) as occupied:
            at = f"{LOOPBACK}:{occupied.getsockname()[1]}"
            failed = jail.run(fixture.programs / "echod", "--syslog", "-u", "root", "-l", at)
            failed.bad(f"echod: bind {at}: Address already in use")
            same(line(listener)[4], f"bind {at}: Address already in use", "text")


@test("syslog: under inetd, with standard error at the client, the log is complete and the client "
      "gets none of it")
def under_inetd(fixture):
    jail = Jail(fixture)
    with jail.heard() as listener:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            argv = [fixture.programs / "echod", "-i", "--syslog", "-u", "root"]
            process = start(jail.command(*argv), env=fixture.env, cwd="/", stdin=theirs, stdout=theirs,
                            stderr=theirs)
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
