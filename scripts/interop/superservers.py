"""The daemons under openbsd-inetd, xinetd and ucspi-tcp's tcpserver, with the files of docs/deploy."""

import os
import signal
import socket

from lib import LOOPBACK, add, at_once, check, need, same, show, test, wait_until
from lib.processes import socket_inodes
from lib.sockets import bound_inodes, connected, free_port, listening
from superserver import (Superserver, callers, fetches, inetd_conf, real_work, run_script, transcript,
                         xinetd_conf)

SERVICES = {"echo": "echod", "pop3": "pop3d", "smtp": "smtpd"}


def inetd(fixture, service, mode, extra="", kind="tcp"):
    """openbsd-inetd with this one service."""
    port = free_port()
    conf = fixture.file("inetd.conf", inetd_conf(fixture, service, mode, port, extra))
    return Superserver(fixture, [need("openbsd-inetd"), "-i", conf], port, kind=kind)


def xinetd(fixture, service, mode, extra="", kind="tcp"):
    """xinetd with this one service."""
    port = free_port()
    conf = fixture.file("xinetd.conf", xinetd_conf(fixture, service, mode, port, extra))
    folder = conf.parent
    argv = [need("xinetd"), "-dontfork", "-f", conf, "-pidfile", folder / "pid",
            "-filelog", folder / "log"]
    return Superserver(fixture, argv, port, kind=kind)


SUPERSERVERS = {"openbsd-inetd": inetd, "xinetd": xinetd}


def named(path, clients):
    """Every client's address stands in the transcript."""
    said = path.read_text(errors="backslashreplace")
    for client in clients:
        check(f"{client.name}[" in said, f"no {client.name} in the transcript: {show(said)}")


def serves_descriptor_0(fixture, superserver, daemon, pids):
    """Each client has a process of its own, with the client's socket, perhaps a line to its keeper, and nothing
    that listens."""
    same(len(pids), 3, f"processes of {daemon} for three clients")
    for pid in pids:
        same(listening(pid), [], f"listening sockets of {daemon} {pid}")
    sockets = {inode for pid in pids for inode in socket_inodes(pid)}
    theirs = bound_inodes("tcp", superserver.port)
    check(not sockets & set(theirs), f"{daemon} has the listener of {superserver.name}")
    same(len(sockets & set(connected(superserver.port))), 3, "connections that the three processes have together")


def nowait(fixture, which, service):
    daemon, log = SERVICES[service], transcript(fixture)
    with SUPERSERVERS[which](fixture, service, "nowait", f" --transcript {log}") as superserver:
        real_work(fixture, daemon, superserver.port)
        superserver.calms_down(daemon)
        with callers(daemon, superserver.port) as clients:
            pids = superserver.daemons(daemon)
            serves_descriptor_0(fixture, superserver, daemon, pids)
        superserver.calms_down(daemon)
        named(log, clients)


def wait_mode(fixture, which, service):
    daemon, log = SERVICES[service], transcript(fixture)
    with SUPERSERVERS[which](fixture, service, "wait", f" --transcript {log}") as superserver:
        real_work(fixture, daemon, superserver.port)
        with callers(daemon, superserver.port) as clients:
            serves_the_listener(superserver, daemon, 3)
        superserver.calms_down(daemon, left=1)
        named(log, clients)


def given_back(fixture, which):
    with SUPERSERVERS[which](fixture, "echo", "wait") as superserver:
        with callers("echod", superserver.port, 1):
            serves_the_listener(superserver, "echod", 1)
        superserver.calms_down("echod")  # its --timeout after the last client
        with callers("echod", superserver.port, 1):
            serves_the_listener(superserver, "echod", 1)


def serves_the_listener(superserver, daemon, clients):
    """One process has the superserver's own listening socket, a child for each client none."""
    pids = superserver.daemons(daemon)
    same(len(pids), clients + 1, f"processes of {daemon} for {clients} clients")
    servers = [pid for pid in pids if listening(pid)]
    same(len(servers), 1, "processes with a listening socket")
    same(listening(servers[0]), bound_inodes("tcp", superserver.port), "the socket that listens")


for name in SUPERSERVERS:
    for offered in SERVICES:
        add(f"case 27: {name} nowait: {SERVICES[offered]} serves descriptor 0 and never listens",
            nowait, name, offered)
        add(f"case 27: {name} wait: {SERVICES[offered]} serves the passed listener, its "
            "children do not", wait_mode, name, offered)
    add(f"case 27: {name} wait: echod ends when nobody comes, and is started again", given_back,
        name)


def tftp(fixture, which):
    log = transcript(fixture)
    with SUPERSERVERS[which](fixture, "tftp", "dgram", f" --transcript {log}", kind="udp") as superserver:
        port = superserver.port
        for _ in range(2):
            fetches(fixture, port)
        at_once([lambda: fetches(fixture, port)] * 3)
        servers = [pid for pid in superserver.daemons("tftpd")
                   if set(socket_inodes(pid)) & set(bound_inodes("udp", port))]
        same(len(servers), 1, "processes with the passed socket")
        check(f"{LOOPBACK}:" in log.read_text(), "the transcript names the client")
        superserver.calms_down("tftpd")
        fetches(fixture, port)  # inetd watches the socket again


for name in SUPERSERVERS:
    add(f"case 27: {name} wait: tftpd serves the UDP socket, ends when nobody asks, and is started "
        "again", tftp, name)


def echo_udp(fixture, which):
    with SUPERSERVERS[which](fixture, "echo", "dgram", kind="udp") as superserver:
        for words in (b"one", b"", b"three"):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(8)
                sock.connect((LOOPBACK, superserver.port))
                sock.send(words)
                same(sock.recv(100), words, "the datagram")
        check(superserver.daemons("echod"), "echod serves on")
        superserver.calms_down("echod")  # the socket is given back


for name in SUPERSERVERS:
    add(f"case 27: {name} wait: echod --udp serves the UDP socket and ends when nobody asks",
        echo_udp, name)


def tcpserver(fixture, daemon, between):
    port, log = free_port(), transcript(fixture)
    need("tcpserver")
    script = run_script(fixture, daemon, port, f" --transcript {log}", between)
    with Superserver(fixture, ["/bin/sh", script], port) as superserver:
        real_work(fixture, daemon, port)
        superserver.calms_down(daemon)
        with callers(daemon, port) as clients:
            pids = superserver.daemons(daemon)
            same(len(pids), 3, f"processes of {daemon}")
            same([listening(pid) for pid in pids], [[]] * 3, "their listening sockets")
            if not between:
                serves_descriptor_0(fixture, superserver, daemon, pids)
        superserver.calms_down(daemon)
        named(log, clients)
        for client in clients:
            wait_until(f"the log names {client.name}",
                       lambda client=client: f"client {client.name} end" in superserver.log())


for name in SERVICES.values():
    add(f"case 27: tcpserver: {name} serves descriptors 0 and 1, never listens, and TCPREMOTEIP "
        "names the client", tcpserver, name, "")
add("case 27: tcpserver, recordio: behind pipes TCPREMOTEIP still names the client of pop3d",
    tcpserver, "pop3d", "recordio ")


@test("case 27: tcpserver: another address of ours is named as what it is")
def other_address(fixture):
    port, log = free_port(), transcript(fixture)
    script = run_script(fixture, "echod", port, f" --transcript {log}")
    with Superserver(fixture, ["/bin/sh", script], port):
        fixture.run("nc", "-N", "-s", "127.0.0.9", LOOPBACK, port, stdin=b"hello\n").good()
        wait_until("the transcript names it", lambda: log.exists() and "127.0.0.9:" in log.read_text())


@test("docs/deploy/ucspi/tftpd/run: tftpd itself, in the foreground, ended by SIGTERM")
def tftpd_run(fixture):
    port = free_port()
    script = run_script(fixture, "tftpd", port, f" -l {LOOPBACK}:{port}")
    with Superserver(fixture, ["/bin/sh", script], port, kind="udp") as tftpd:
        fetches(fixture, port)
        tftpd.calms_down("tftpd", left=1)
        os.kill(tftpd.pid, signal.SIGTERM)
        same(tftpd.ends(), 0, "exit code")
