"""What strace injects: errors of system calls, signals at every accept; and SIGTERM at any instant.

The daemons run below `strace -D`, so that they are still children of the test. It counts calls for
each process and thread by itself.
"""

import os
import poplib
import random
import signal
import smtplib
import socket
import threading
import time
from contextlib import contextmanager
from functools import partial

from lib import LOOPBACK, Failure, add, at_once, check, need, same, show, wait_until
from lib.fixture import PASSWORD
from lib.processes import cpu_seconds
from letters import SENDER, SLIDES, below_trace, crlf, one

MODELS = ("fork", "prefork", "thread", "iterative")
STREAMS = ("echod", "pop3d", "smtpd")
# How each daemon says that there is no process, thread or descriptor for a client.
UNAVAILABLE = {"echod": b"", "pop3d": b"-ERR [SYS/TEMP] ", "smtpd": b"421 4.3.2 "}
# Calls of the daemons that a signal may interrupt on Linux. (close(2) is none: there the descriptor
# would be gone, and an injected error keeps it. wait4(2) and waitid(2) are called with WNOHANG alone.)
INTERRUPTIBLE = ("read,write,openat,fsync,fdatasync,recvfrom,sendto,recvmsg,sendmsg,poll,ppoll,"
                 "epoll_wait,epoll_pwait,accept4")


@contextmanager
def running(fixture, program, *args, inject=()):
    """A daemon of ours, with errors injected; killed at the end unless the test has stopped it."""
    below = []
    if inject:
        calls = ",".join(what.partition(":")[0] for what in inject)
        below = [need("strace"), "-D", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null",
                 "-e", f"trace={calls}", *(word for what in inject for word in ("-e", f"inject={what}"))]
    with fixture.start(program, *fixture.options(program), *args, before=below) as daemon:
        yield daemon


def connect(port):
    """A client that has said something already, which nobody may need to read."""
    sock = socket.create_connection((LOOPBACK, port), timeout=10)
    sock.sendall(b"NOOP\r\n")
    return sock


def rest(sock):
    """Everything up to the end of file; a reset is an error."""
    got = b""
    while piece := sock.recv(4096):
        got += piece
    return got


def echo(port):
    """One client of echod."""
    with connect(port) as sock:
        same(sock.recv(64), b"NOOP\r\n", "echo")


def family(daemon):
    """The daemon's process and its children."""
    return [daemon.pid, *map(int, daemon.ps("pid"))]


def each(function, fixture, *args, of):
    """A call of the function for each of these last arguments, all at once."""
    at_once([lambda last=last: function(fixture, *args, last) for last in of])


# Accept.

def passing(fixture, model, errno):
    """Every other accept fails for a reason that is the connection's."""
    inject = [f"accept4:error={errno}:when=1+2"]
    with running(fixture, "echod", "-m", model, inject=inject) as echod:
        at_once([lambda: [echo(echod.port) for _ in range(5)] for _ in range(4)])
        echod.stop()
        wrong = [line for line in echod.log().splitlines() if "WARN" in line or "ERROR" in line]
        same(wrong, [], "warnings")


def is_refusal(program, words):
    """The protocol's own words that there is no place; nothing at all for echod."""
    return words.startswith(UNAVAILABLE[program]) if UNAVAILABLE[program] else not words


def told(fixture, program, model, errno):
    """One accept finds no descriptor left: the next, with the reserve, can tell the client. (A
    worker also accepts when there is nobody.)"""
    inject = [f"accept4:error={errno}:when={'2..6' if model == 'prefork' else '1..1'}"]

    def answer(port):
        with socket.create_connection((LOOPBACK, port), timeout=10) as sock:
            if program == "echod":
                try:
                    sock.sendall(b"QUIT\r\n")
                    sock.shutdown(socket.SHUT_WR)
                    return rest(sock)
                except OSError:  # refused before it had said anything
                    return b""
            words = sock.recv(4096)
            if not is_refusal(program, words):
                sock.sendall(b"QUIT\r\n")
            return words + rest(sock)

    with running(fixture, program, "-m", model, "-n", 1, inject=inject) as daemon:
        answers = []

        def works_again():
            answers.append(answer(daemon.port))
            return "accept: works again" in daemon.log()

        wait_until("accept: works again", works_again)
        refusals = [words for words in answers if is_refusal(program, words)]
        check(refusals, f"nobody was told: {answers}")
        daemon.stop()


def resting(fixture, model, errno):
    """Not even the reserve helps for a while: it rests, and the client is served in the end."""
    inject = [f"accept4:error={errno}:when=1..8"]
    with running(fixture, "echod", "-m", model, "-n", 2, inject=inject) as echod:
        wait_until("the workers", lambda: model != "prefork" or len(family(echod)) == 3)
        before, begin = cpu_seconds(family(echod)), time.monotonic()
        with connect(echod.port) as sock:
            same(sock.recv(64), b"NOOP\r\n", "echo")
            seconds = time.monotonic() - begin
            used = cpu_seconds(family(echod)) - before
        check(0.3 < seconds < 5, f"served after {seconds:.1f} s")
        check(used < 0.05 * seconds + 0.02, f"{used} s of CPU in {seconds:.1f} s")
        echod.stop()


# Processes and threads.

def first(program):
    """The first clone of a process that the server can do without: that of the keeper is none, once."""
    return 2 if program in ("pop3d", "smtpd") else 1


def no_process(fixture, program, model, errno):
    """No process or thread can be made: each client is told, by an end of file and no reset."""
    inject = [f"clone,clone3:error={errno}:when={first(program)}+"]
    clients = 5 if model == "prefork" else 100
    with running(fixture, program, "-m", model, inject=inject) as daemon:
        # While it tries to make a worker, which it does again and again, the parent has more of them.
        daemon.descriptors_at_start = min(len(daemon.descriptors()) for _ in range(200))
        for _ in range(clients):
            with socket.create_connection((LOOPBACK, daemon.port), timeout=10) as sock:
                got = rest(sock)
            check(is_refusal(program, got), f"a client was told {show(got)}")
        daemon.at_rest()
        daemon.stop()


def no_transfer(fixture, errno):
    """The same for tftpd: error packets."""
    with running(fixture, "tftpd", inject=[f"clone,clone3:error={errno}"]) as tftpd:
        for _ in range(100):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(10)
                sock.sendto(b"\0\1file\0octet\0", (LOOPBACK, tftpd.port))
                same(sock.recv(600)[:4], b"\0\5\0\0", "ERROR")
        tftpd.at_rest()
        tftpd.stop()


def sometimes_no_process(fixture, program, model):
    """Every other clone fails: whoever is not told so is served."""
    inject = [f"clone,clone3:error=EAGAIN:when={first(program)}+2"]
    with running(fixture, program, "-m", model, "-n", 2, inject=inject) as daemon:
        def served():
            with socket.create_connection((LOOPBACK, daemon.port), timeout=10) as sock:
                if program == "echod":
                    try:
                        sock.sendall(b"QUIT\r\n")
                        return sock.recv(64)
                    except ConnectionError:  # refused before it had said anything
                        return b""
                return not is_refusal(program, sock.recv(64))
        for _ in range(5):
            wait_until("a client that is served", served)
        daemon.stop()


# Signals.

def children_at_every_accept(fixture, model):
    """SIGCHLD at every accept, from nobody."""
    with running(fixture, "echod", "-m", model, inject=["accept4:signal=SIGCHLD"]) as echod:
        at_once([lambda: [echo(echod.port) for _ in range(25)] for _ in range(4)])
        wait_until("no zombies", lambda: not echod.zombies())
        echod.stop()


def storm(fixture, model):
    """SIGCHLD, SIGHUP and SIGUSR1 without a pause, to the parent and its children of no business."""
    with running(fixture, "echod", "-m", model) as echod:
        over = threading.Event()

        def blow():
            while not over.is_set():
                for number in (signal.SIGCHLD, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1):
                    os.kill(echod.pid, number)
                time.sleep(0.0002)

        wind = threading.Thread(target=blow, daemon=True)
        wind.start()
        try:
            at_once([lambda: [echo(echod.port) for _ in range(50)] for _ in range(4)])
        finally:
            over.set()
            wind.join()
        wait_until("no zombies", lambda: not echod.zombies())
        echod.stop()


def any_instant(fixture, program, model, rounds):
    """SIGTERM at random instants, with clients coming all the time."""
    seed = random.SystemRandom().randrange(2**32)
    dice = random.Random(seed)
    args = (["-m", model] if model else []) + ["--grace", "0.05"]

    def knock(port, over):
        while not over.is_set():
            try:
                if program == "tftpd":
                    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                        sock.sendto(b"\0\1missing\0octet\0", (LOOPBACK, port))
                    time.sleep(0.001)
                else:
                    with socket.create_connection((LOOPBACK, port), timeout=5) as sock:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                        b"\1\0\0\0\0\0\0\0")
            except OSError:
                time.sleep(0.001)

    def share(instants):
        for instant in instants:
            with running(fixture, program, *args) as daemon:
                over = threading.Event()
                client = threading.Thread(target=knock, args=(daemon.port, over), daemon=True)
                client.start()
                time.sleep(instant)
                try:
                    daemon.stop()
                except Failure as failure:
                    raise Failure(f"seed {seed}: {failure}: {show(daemon.log()[-500:])}") from None
                finally:
                    over.set()
                    client.join()

    instants = [dice.uniform(0, 0.02) for _ in range(rounds)]
    at_once([lambda part=part: share(instants[part::4]) for part in range(4)])


# Interrupted system calls; sessions that must be right all the same.

def interrupted(fixture, model):
    """EINTR from every call that may give it: echo, a delivery, and its way out."""
    inject, box = [f"{INTERRUPTIBLE}:error=EINTR:when=3+5"], fixture.mailbox()
    with running(fixture, "echod", "-m", model, inject=inject) as echod:
        data = os.urandom(300_000)
        same(fixture.run("nc", "-N", LOOPBACK, echod.port, stdin=data).good().stdout, data, "echo")
        echod.stop()
    with running(fixture, "smtpd", "-m", model, inject=inject) as smtpd:
        with smtplib.SMTP(LOOPBACK, smtpd.port, timeout=10) as client:
            client.sendmail(SENDER, [box.address], crlf(SLIDES))
        below_trace(one(box.letters()), SLIDES)
        same(box.unfinished(), [], "files in tmp")
        smtpd.stop()
    with running(fixture, "pop3d", "-m", model, inject=inject) as pop3d:
        client = poplib.POP3(LOOPBACK, pop3d.port, timeout=10)
        client.user(box.address.partition("@")[0])
        client.pass_(PASSWORD)
        same(client.stat()[0], 1, "messages")
        below_trace(b"\r\n".join(client.retr(1)[1]) + b"\r\n", SLIDES)
        client.dele(1)
        client.quit()
        same(box.letters(), [], "letters after DELE and QUIT")
        pop3d.stop()


def interrupted_transfers(fixture):
    """EINTR for tftpd: a file comes, and goes, octet for octet."""
    data = os.urandom(50_000)
    (fixture.tftp_root / "interrupted").write_bytes(data)
    (fixture.tftp_root / "interrupted").chmod(0o644)
    inject = [f"{INTERRUPTIBLE}:error=EINTR:when=3+5"]
    with running(fixture, "tftpd", inject=inject) as tftpd:
        folder, at = fixture.folder("tftp"), f"{LOOPBACK}:{tftpd.port}"
        fixture.run("tftpc", at, "get", "interrupted", folder / "got").good()
        same((folder / "got").read_bytes(), data, "the file")
        fixture.run("tftpc", at, "put", folder / "got", "back").good()
        same((fixture.tftp_root / "back").read_bytes(), data, "the file that was sent")
        tftpd.stop()


def full_buffers(fixture, model):
    """EAGAIN from sendto: nothing is lost, and nobody spins."""
    inject = ["sendto:error=EAGAIN:when=1+2"]
    with running(fixture, "echod", "-m", model, inject=inject) as echod:
        data = os.urandom(300_000)
        same(fixture.run("nc", "-N", LOOPBACK, echod.port, stdin=data).good().stdout, data, "echo")
        echod.stop()


# Disks.

def bad_disk(fixture, what, codes):
    """A letter that cannot be made safe is refused for now, at RCPT where the mailbox cannot be, and not to be seen."""
    box = fixture.mailbox()
    with running(fixture, "smtpd", inject=[what]) as smtpd:
        with smtplib.SMTP(LOOPBACK, smtpd.port, timeout=10) as client:
            try:
                client.sendmail(SENDER, [box.address], crlf(SLIDES))
            except smtplib.SMTPRecipientsRefused as refusal:
                check({code for code, _ in refusal.recipients.values()} <= set(codes), f"{refusal.recipients}")
            except smtplib.SMTPDataError as refusal:
                check(refusal.smtp_code in codes, f"{refusal.smtp_code} {refusal.smtp_error}")
            else:
                raise Failure("the letter was taken")
        same(box.letters(), [], "letters")
        same(box.unfinished(), [], "files in tmp")
        smtpd.stop()


def bad_disk_of_tftpd(fixture, what):
    """An upload that cannot be made safe has no last ACK, and is not to be seen."""
    name = f"never.{fixture.number()}"
    with running(fixture, "tftpd", inject=[what]) as tftpd:
        put = fixture.run("tftpc", f"{LOOPBACK}:{tftpd.port}", "put", fixture.file("x", b"y" * 700), name)
        put.bad()
        check(not (fixture.tftp_root / name).exists(), "the file is there")
        tftpd.stop()


OF_THE_CONNECTION = ("ECONNABORTED", "EPROTO", "ENETDOWN", "EHOSTUNREACH", "EINTR")
EXHAUSTED = ("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM")
NO_PROCESS = ("EAGAIN", "ENOMEM")

for model in MODELS:
    add(f"case 11: strace: {', '.join(OF_THE_CONNECTION)} from every other accept: echod -m {model} "
        "serves all", partial(each, passing, of=OF_THE_CONNECTION), model)
    add(f"case 12: strace: {', '.join(EXHAUSTED)} from accept: echod -m {model} rests and comes back",
        partial(each, resting, of=EXHAUSTED), model)
    for program in STREAMS:
        add(f"case 12: strace: {', '.join(EXHAUSTED)} from accept: {program} -m {model} tells the "
            "client", partial(each, told, of=EXHAUSTED), program, model)
for model in MODELS[:3]:
    for program in STREAMS:
        add(f"case 13: strace: EAGAIN, ENOMEM from clone: {program} -m {model} tells the clients",
            partial(each, no_process, of=NO_PROCESS), program, model)
        add(f"case 13: strace: EAGAIN from every other clone: {program} -m {model} serves the rest",
            sometimes_no_process, program, model)
add("case 13: strace: EAGAIN, ENOMEM from clone: tftpd tells the clients",
    partial(each, no_transfer, of=NO_PROCESS))
for model in MODELS:
    add(f"case 14: strace: SIGCHLD at every accept: echod -m {model} loses no client",
        children_at_every_accept, model)
    add(f"case 14: a storm of SIGCHLD, SIGHUP and SIGUSR1: echod -m {model} loses no client", storm,
        model)
    for program in STREAMS:
        add(f"case 16: SIGTERM at 77 random instants under load: {program} -m {model} ends with 0",
            any_instant, program, model, 77)
add("case 16: SIGTERM at 77 random instants under load: tftpd ends with 0", any_instant, "tftpd",
    None, 77)
for model in MODELS:
    add(f"strace: EINTR everywhere: echod, smtpd and pop3d -m {model} do all they should",
        interrupted, model)
    add(f"strace: EAGAIN from every other sendto: echod -m {model} loses nothing", full_buffers,
        model)
add("strace: EINTR everywhere: tftpd does all it should", interrupted_transfers)
for what, codes in (("fsync:error=EIO", (451,)), ("fsync:error=ENOSPC", (452,)),
                    ("fsync:error=EIO:when=2", (451,))):
    add(f"strace: {what} of smtpd: 4xx, and no letter is to be seen", bad_disk, what, codes)
for what in ("fsync:error=EIO", "fsync:error=ENOSPC"):
    add(f"strace: {what} of tftpd: no last ACK, and no file is to be seen", bad_disk_of_tftpd, what)
