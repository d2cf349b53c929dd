"""Files sent to the servers, into a folder in memory and into one on the disk.

Ours answer the last block when the file is safe on the disk, the others when it is in memory. So what
is compared is the time until the last block was sent; the wait for its ACK is a figure of its own.
"""

import os
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from common import in_turn, say
from daemons import Server
from lib import Failure, check, wait_until
from transfers import BLOCKS, WINDOWS, client

MEMORY, DISK = "memory", "disk"
# What is sent to the folder on the disk: one size of blocks, the least and the largest window.
DISK_BLOCK = 1468
DISK_WINDOWS = (WINDOWS[0], WINDOWS[-1])
# Octets that are written at a time where there is no network in the way.
PIECE = 64 << 10
# Room that the folders need, in large files: on the disk nothing is removed before the end.
ROOM = {MEMORY: 4, DISK: 64}


@contextmanager
def folder(where, bench):
    """A folder where every user may make files."""
    base = "/dev/shm" if where == MEMORY else bench.dir
    check(shutil.disk_usage(base).free > ROOM[where] * len(bench.large), f"{base} has too little room")
    path = Path(tempfile.mkdtemp(prefix="forklore-uploads.", dir=base))
    try:
        path.chmod(0o777)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def forget(file, where):
    """Frees a file's memory, so that the next one finds some. Nothing on the disk is removed: for a while
    after that it takes new files more slowly."""
    if where == MEMORY:
        file.unlink()
        return
    with open(file, "rb") as fd:
        os.fsync(fd)
        os.posix_fadvise(fd.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def compare(file, original, size, name):
    """What came must be what was sent, and no more."""
    wait_until(f"{name} has the whole file", lambda: file.stat().st_size == size)
    check(file.read_bytes() == original[:size], f"{name} has another file than was sent")


def write(bench, results, where, root):
    """The same without a network; and so the next file finds memory that was in use just now, as all others
    do: a virtual machine may have given away what was not."""
    file = root / bench.new("write").name
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    began = time.monotonic()
    for at in range(0, len(bench.large), PIECE):
        os.write(fd, bench.large[at:at + PIECE])
    results.write[where,].append(len(bench.large) / (time.monotonic() - began))
    os.close(fd)
    forget(file, where)


def send(bench, plan, results, kind, where, root, block, window):
    """The large file once."""
    write(bench, results, where, root)
    file = root / bench.new("upload").name
    with Server(bench, kind, uploads=root) as server:
        size, seconds, wait, granted, granted_window, _ = client(
            bench, "put", server.port, file.name, bench.root / "large", block, window,
            plan.upload_seconds)
        compare(file, bench.large, int(size), kind.name)
    forget(file, where)
    if granted != block or granted_window > window:
        raise Failure(f"{kind.name} granted blksize {granted:.0f}, windowsize "
                      f"{granted_window:.0f} for {block}, {window}")
    results.upload[kind.name, where, block, window].append(size / seconds)
    results.last[kind.name, where, block, window].append(wait)
    results.granted[kind.name, block, window].append(granted_window)


def upload(bench, plan, results):
    """The large file, to each of the servers that take one."""
    kinds = [kind for kind in plan.kinds if kind.takes is not None]
    cells = {MEMORY: [(block, window) for block in BLOCKS for window in WINDOWS],
             DISK: [(DISK_BLOCK, window) for window in DISK_WINDOWS]}
    bench.large = memoryview((bench.root / "large").read_bytes())
    for where in (MEMORY, DISK):
        with folder(where, bench) as root:
            for number in range(plan.upload_rounds):
                say(f"round {number + 1} of {plan.upload_rounds}: uploads, {where}")
                for block, window in cells[where]:
                    for kind in in_turn(kinds, number, 2):
                        if window == 1 or kind.windows:
                            send(bench, plan, results, kind, where, root, block, window)
