"""The daemons under systemd: sockets that are passed, messages, watchdog, and the unit files.

No systemd runs here: systemd-socket-activate passes the sockets, and the tests are the service
manager that listens at NOTIFY_SOCKET. The commands are those of the unit files in docs/deploy.
"""

import os
import re
import signal
import socket
import time

from lib import LOOPBACK, Failure, add, at_once, check, need, same, show, test, wait_until
from lib.processes import fields, socket_inodes, state
from lib.sockets import bound_inodes, free_port
from superserver import (DEPLOY, Caller, Superserver, callers, exec_start, fetches, real_work, rewritten,
                         transcript, unit)
from superservers import named, serves_descriptor_0, serves_the_listener

STREAMS = ["echod", "pop3d", "smtpd"]
UNITS = sorted(path.name for path in (DEPLOY / "systemd").iterdir())


class Manager:
    """The service manager's end of NOTIFY_SOCKET."""

    def __init__(self, fixture):
        folder = fixture.folder("manager")
        folder.chmod(0o755)
        self.path = folder / "notify"
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(self.path))
        self.path.chmod(0o777)  # as systemd's own is

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def hears(self, limit=5.0):
        """The next message; none in time is None."""
        self.sock.settimeout(limit)
        try:
            return self.sock.recv(500).decode()
        except socket.timeout:
            return None

    def awaits(self, word):
        """The next message that begins so."""
        end = time.monotonic() + 8
        while time.monotonic() < end:
            message = self.hears()
            if message is not None and message.startswith(word):
                return message
        raise Failure(f"the service manager does not hear {word}")


def activate(fixture, *words, port, kind="tcp", env=()):
    """systemd-socket-activate at a port."""
    argv = [need("systemd-socket-activate"), "-l", f"{LOOPBACK}:{port}"]
    for variable in env:
        argv += ["-E", variable]
    return Superserver(fixture, [*argv, *words], port, kind=kind)


def accept_no(fixture, daemon):
    port, log = free_port(), transcript(fixture)
    with Manager(fixture) as manager, activate(
            fixture, *exec_start(fixture, f"{daemon}.service"), "--transcript", log, port=port,
            env=[f"NOTIFY_SOCKET={manager.path}"]) as server:
        real_work(fixture, daemon, port)
        same(manager.hears(), "READY=1", "the first message")
        with callers(daemon, port) as clients:
            serves_the_listener(server, daemon, 3)
        server.calms_down(daemon, left=1)
        named(log, clients)
        os.kill(server.pid, signal.SIGTERM)
        manager.awaits("STOPPING=1")
        same(server.ends(), 0, "exit code")
        same(bound_inodes("tcp", port), [], "listening sockets afterwards")


def accept_yes(fixture, daemon, unit_name, *how):
    port, log = free_port(), transcript(fixture)
    words = [*how, *exec_start(fixture, unit_name), "--transcript", log]
    with activate(fixture, "-a", *words, port=port) as server:
        real_work(fixture, daemon, port)
        server.calms_down(daemon)
        with callers(daemon, port) as clients:
            serves_descriptor_0(fixture, server, daemon, server.daemons(daemon))
        server.calms_down(daemon)
        named(log, clients)


for name in STREAMS:
    add(f"case 27: systemd Accept=no: {name} serves the passed listener, from READY=1 to STOPPING=1",
        accept_no, name)
    add(f"case 27: systemd Accept=yes: {name} serves descriptor 0 and never listens",
        accept_yes, name, f"{name}-each@.service", "--inetd")
add("case 27: systemd Accept=yes without StandardInput=socket: echod serves descriptor 3",
    accept_yes, "echod", "echod.service")


@test("case 27: systemd: tftpd serves the passed UDP socket")
def udp(fixture):
    port = free_port(socket.SOCK_DGRAM)
    with activate(fixture, "-d", *exec_start(fixture, "tftpd.service"), port=port, kind="udp") as server:
        for _ in range(2):
            fetches(fixture, port)
        at_once([lambda: fetches(fixture, port)] * 3)
        check(set(socket_inodes(server.pid)) & set(bound_inodes("udp", port)), "it is the passed socket")
        server.calms_down("tftpd", left=1)
        os.kill(server.pid, signal.SIGTERM)
        same(server.ends(), 0, "exit code")


@test("case 27: systemd: a wrong LISTEN_PID is ignored, -l is served")
def wrong_pid(fixture):
    port, own = free_port(), free_port()
    # The shell is the process that the socket was passed to; echod is its child.
    words = ["/bin/sh", "-c", '"$0" "$@"; exit $?', *exec_start(fixture, "echod.service"), "-l"]
    with activate(fixture, *words, f"{LOOPBACK}:{own}", port=port) as server:
        with socket.create_connection((LOOPBACK, port)):
            wait_until("echod listens by itself", lambda: bound_inodes("tcp", own))
            check("is not this process" in server.log(), f"no word of it: {show(server.log())}")
            with callers("echod", own):
                pass
        server.calms_down("echod", left=1)


def service(fixture, manager, daemon, port, **env):
    """The daemon as a plain service."""
    argv = [*exec_start(fixture, f"{daemon}.service"), "-l", f"{LOOPBACK}:{port}"]
    kind = "udp" if daemon == "tftpd" else "tcp"
    env = {"NOTIFY_SOCKET": str(manager.path), **env}
    return Superserver(fixture, argv, port, env=env, kind=kind)


def ready(fixture, daemon):
    """Type=notify: whoever connects when READY=1 comes finds somebody who listens."""
    port = free_port()
    with Manager(fixture) as manager:
        server = service(fixture, manager, daemon, port)
        try:
            same(manager.hears(), "READY=1", "the first message")
            Caller(daemon, port).says_goodbye()
            os.kill(server.pid, signal.SIGHUP)
            check(re.match(r"RELOADING=1\nMONOTONIC_USEC=\d+$", manager.awaits("RELOADING=1")),
                  "the time of the reload")
            same(manager.hears(), "READY=1", "the message after it")
            os.kill(server.pid, signal.SIGTERM)
            manager.awaits("STOPPING=1")
            same(server.ends(), 0, "exit code")
        finally:
            server.kill()


for name in STREAMS:
    add(f"case 27: systemd Type=notify: {name} says READY=1 only after listen, STOPPING=1 on "
        "SIGTERM", ready, name)


def watchdog(fixture, daemon):
    """WATCHDOG=1 comes at half the interval, and not from a parent that is stopped."""
    port = free_port(socket.SOCK_DGRAM) if daemon == "tftpd" else free_port()
    with Manager(fixture) as manager, service(fixture, manager, daemon, port, WATCHDOG_USEC="600000"):
        while manager.hears(0.01):
            pass  # what has waited in the queue
        manager.awaits("WATCHDOG=1")
        since = time.monotonic()
        for _ in range(4):
            manager.awaits("WATCHDOG=1")
        beat = (time.monotonic() - since) / 4
        check(0.2 < beat < 0.5, f"a beat every {beat:.2f} s, expected 0.3")


for name in [*STREAMS, "tftpd"]:
    add(f"systemd: WATCHDOG=1 comes from {name} at half the interval", watchdog, name)


@test("systemd: WATCHDOG=1 stops when the parent is stopped, and comes while sessions still end")
def watchdog_stops(fixture):
    port = free_port()
    with Manager(fixture) as manager, service(fixture, manager, "echod", port,
                                              WATCHDOG_USEC="200000") as server:
        caller = Caller("echod", port)
        os.kill(server.pid, signal.SIGSTOP)
        wait_until("it is stopped", lambda: state(server.pid) == "T")
        while manager.hears(0.01):
            pass
        caller.says(b"hello\n", b"hello\n")  # the child goes on, and is not taken for the parent
        same(manager.hears(0.6), None, "heard from a stopped parent")
        os.kill(server.pid, signal.SIGCONT)
        manager.awaits("WATCHDOG=1")
        os.kill(server.pid, signal.SIGTERM)
        manager.awaits("STOPPING=1")
        for _ in range(3):
            manager.awaits("WATCHDOG=1")
        caller.says_goodbye()
        same(server.ends(), 0, "exit code")


# The unit files themselves.

@test("systemd-analyze verify: nothing to say against the unit files of docs/deploy")
def verify(fixture):
    folder = fixture.folder("units")
    for name in UNITS:
        text = (DEPLOY / "systemd" / name).read_text()
        (folder / name).write_text(rewritten(fixture, text))
    paths = [folder / name for name in UNITS]
    seen = fixture.run(need("systemd-analyze"), "verify", "--man=no", *paths).good()
    theirs = [line for line in seen.text.splitlines() if re.match(r"(echod|pop3d|smtpd|smtpq|tftpd)", line)]
    same(theirs, [], "complaints")


@test("docs/deploy/systemd/tftpd.service: openat2 is left, which RestrictSUIDSGID= would take")
def openat2(fixture):
    for setting in ("RestrictSUIDSGID", "DynamicUser"):  # the second brings the first along
        same(unit("tftpd.service").get(setting), None, f"{setting}=")


def allowed_calls(fixture, *groups):
    """The system calls of a filter, the groups within groups taken apart."""
    seen = fixture.run(need("systemd-analyze"), "syscall-filter", *groups).good().text
    words = {line.strip() for line in seen.splitlines()
             if re.match(r" +[@\w]", line) and not line.strip().startswith("#")}
    inner = {word for word in words if word.startswith("@")}
    return words - inner | (allowed_calls(fixture, *sorted(inner)) if inner else set())


def filtered(fixture, daemon, *args):
    """Every system call of a life with clients is within SystemCallFilter."""
    port = free_port(socket.SOCK_DGRAM) if daemon == "tftpd" else free_port()
    trace = transcript(fixture)
    argv = [need("strace"), "-f", "-qq", "-o", trace,
            *exec_start(fixture, f"{daemon}.service"), "-l", f"{LOOPBACK}:{port}", *args]
    with Manager(fixture) as manager, Superserver(
            fixture, argv, port, env={"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "200000"},
            kind="udp" if daemon == "tftpd" else "tcp") as server:
        fetches(fixture, port) if daemon == "tftpd" else real_work(fixture, daemon, port)
        [parent] = [pid for pid in server.daemons(daemon) if int(fields(pid)[1]) == server.pid]
        os.kill(parent, signal.SIGHUP)
        manager.awaits("RELOADING=1")
        manager.awaits("WATCHDOG=1")
        os.kill(parent, signal.SIGTERM)
        same(server.ends(), 0, "exit code")
    used = set(re.findall(r"^\d+ +(\w+)\(", trace.read_text(errors="replace"), re.MULTILINE))
    check({"accept4", "accept", "recvmsg"} & used, f"a strange trace: {used}")
    words = unit(f"{daemon}.service")["SystemCallFilter"].split()
    allowed = allowed_calls(fixture, *(word for word in words if word.startswith("@"))) | set(words)
    same(sorted(used - allowed), [], "calls that the unit file forbids")


for name in [*STREAMS, "tftpd"]:
    add(f"strace: the system calls of {name} are those that its unit file allows", filtered, name)
for name in ["prefork", "thread", "iterative"]:
    add(f"strace: the system calls of echod -m {name} are those that its unit file allows", filtered,
        "echod", "-m", name)


def bounded(fixture, daemon):
    """The daemon's work with no more of root's power than the unit file leaves."""
    port = free_port(socket.SOCK_DGRAM) if daemon == "tftpd" else free_port()
    capabilities = unit(f"{daemon}.service")["CapabilityBoundingSet"].lower().split()
    left = ",".join("+" + word.removeprefix("cap_") for word in capabilities)
    argv = [need("setpriv"), "--bounding-set", f"-all,{left}", "--no-new-privs",
            *exec_start(fixture, f"{daemon}.service"), "-l", f"{LOOPBACK}:{port}"]
    kind = "udp" if daemon == "tftpd" else "tcp"
    with Superserver(fixture, argv, port, kind=kind) as server:
        fetches(fixture, port) if daemon == "tftpd" else real_work(fixture, daemon, port)
        server.calms_down(daemon, left=1)


if os.geteuid() == 0:
    for name in ("pop3d", "smtpd", "tftpd"):
        add(f"setpriv: {name} needs no more capabilities than its unit file leaves", bounded, name)
