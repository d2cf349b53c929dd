"""vote_server as strace sees it: what is on disk before a voter is told, and a disk that fails."""

import socket
from contextlib import contextmanager

from lib import LOOPBACK, Daemon, check, need, same, test, wait_until
from lib.paths import target

# The examples are no programs to install: they are built for debugging only.
EXAMPLES = target() / "debug"
VOTERS = 8


@contextmanager
def election(fixture, *strace):
    """A server below strace: its folder, and a way to connect. SIGTERM must end it with 0."""
    folder = fixture.folder("vote")
    (folder / "candidates").write_text("Blanc\nNoir\n")
    (folder / "voters").write_text("".join(f"v{i}:s{i}\n" for i in range(VOTERS)))
    below = [need("strace"), "-D", "-f", "-y", "-qq", "-o", folder / "trace", *strace]
    with Daemon([EXAMPLES / "vote_server", f"{LOOPBACK}:0", folder], folder / "log", fixture.env,
                before=below) as server:
        yield folder, lambda: Voter(server.port)
        server.stop()


class Voter:
    """A connection."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.lines = self.sock.makefile("rb")
        check(self.lines.readline().startswith(b"+OK vote"), "no greeting")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.lines.close()
        self.sock.close()

    def vote(self, i):
        """Voter i's vote: the answer, or nothing at the end of file."""
        self.sock.sendall(b"VOTE v%d s%d Noir\n" % (i, i))
        return self.lines.readline()


def ledger(folder):
    """Who is in there, in order."""
    return [line.split("\t")[0] for line in (folder / "ledger").read_text().splitlines()]


def whole(trace):
    """The trace, once it shows every answer."""
    return trace if trace.count("+OK counted") >= VOTERS else None


@test("vote: a vote is written and fsynced before its voter is told")
def in_order(fixture):
    """Every `+OK counted` has a write to the ledger and an fsync of it behind the last answer."""
    trace = ["-e", "trace=write,pwrite64,writev,fsync,fdatasync,sendto,sendmsg"]
    with election(fixture, *trace) as (folder, connect):
        for i in range(VOTERS):
            with connect() as voter:
                same(voter.vote(i), b"+OK counted\r\n", "answer")
                same(voter.vote(i), b"-ERR voted already\r\n", "answer")
        # strace may still be writing when the server has ended.
        trace = wait_until("the trace is whole", lambda: whole((folder / "trace").read_text()))
    done = {}
    told = 0
    for line in trace.splitlines():
        pid, call = line.split(None, 1)
        if "/ledger>" in call:
            done.setdefault(pid, []).append(call.partition("(")[0])
        elif "+OK counted" in call:
            same(done.pop(pid, []), ["write", "fsync"], "what went before the answer")
            told += 1
    same(told, VOTERS, "votes that the trace shows")


@test("vote: what could not be fsynced is not counted, and may be voted again")
def failing_disk(fixture):
    """The parent has two fsyncs of its own; the third of a child fails."""
    with election(fixture, "-e", "trace=fsync", "-e", "inject=fsync:error=EIO:when=3") as (folder, connect):
        with connect() as voter:
            same(voter.vote(0), b"+OK counted\r\n", "answer")
            same(voter.vote(1), b"+OK counted\r\n", "answer")
            same(voter.vote(2), b"-ERR not counted: Input/output error\r\n", "answer")
            same(ledger(folder), ["v0", "v1"], "ledger")
            same(voter.vote(2), b"+OK counted\r\n", "answer")
        same(ledger(folder), ["v0", "v1", "v2"], "ledger")


@test("vote: a child that is killed between write and fsync told nobody, and the vote is one")
def killed_between(fixture):
    """Its voter votes again, whether it counted or not."""
    kill = ["-e", "trace=fsync", "-e", "inject=fsync:signal=KILL:when=3"]
    with election(fixture, *kill) as (folder, connect):
        with connect() as voter:
            same([voter.vote(i) for i in (0, 1)], 2 * [b"+OK counted\r\n"], "answers")
            same(voter.vote(2), b"", "answer")
        with connect() as voter:
            check(voter.vote(2) in (b"+OK counted\r\n", b"-ERR voted already\r\n"), "no answer")
            same(voter.vote(2), b"-ERR voted already\r\n", "answer")
        same(ledger(folder), ["v0", "v1", "v2"], "ledger")
