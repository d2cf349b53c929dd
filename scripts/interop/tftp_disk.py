"""tftpd's uploads as strace sees them: what is on disk before the last ACK goes out, and what is left
where the process is killed, or the disk fails, in between."""

import os
import re
from contextlib import contextmanager

from lib import LOOPBACK, add, check, need, same, wait_until

FILE = b"z" * 700  # two blocks
CALLS = "fsync,linkat,renameat,renameat2,sendmsg,sendto,sendmmsg"
# Everything from the file's own fsync on. An ACK is short enough to be seen whole: opcode 4, block 2.
LAST_ACK = r'send\w+\(.*"\\0\\4\\0\\2"'


@contextmanager
def traced(fixture, *args, strace):
    """A daemon that takes uploads, with a root of its own, below strace."""
    root = fixture.folder("root")
    root.chmod(0o777)
    trace = root.parent / f"{root.name}.trace"
    below = [need("strace"), "-D", "-f", "-y", "-qq", "-o", trace, *strace]
    with fixture.start("tftpd", "--root", root, "--create", "--overwrite", *args, before=below) as tftpd:
        yield tftpd, root, trace
        tftpd.stop()


def put(fixture, tftpd, name):
    """An upload: what came of it."""
    local = fixture.file("local", FILE)
    return fixture.run("tftpc", "--retries", 1, f"{LOOPBACK}:{tftpd.port}", "put", local, name)


def old_file(root):
    """A file that an upload may replace."""
    (root / "old").write_bytes(b"old")
    (root / "old").chmod(0o666)


def order(fixture, *args):
    """fsync of the file, its name, fsync of the folder, and then the last ACK: for a new file and for one
    that is replaced."""
    with traced(fixture, *args, strace=["-e", f"trace={CALLS}"]) as (tftpd, root, trace):
        old_file(root)
        for name in ("new", "old"):
            told = len(re.findall(LAST_ACK, trace.read_text()))
            put(fixture, tftpd, name).good()
            same((root / name).read_bytes(), FILE, "the file")
            text = wait_until("the trace shows the last ACK",
                              lambda told=told: shown(trace.read_text(), told + 1))
            calls = [line.split(None, 1)[1] for line in text.splitlines()]
            steps = [at for at, call in enumerate(calls) if step(call, name, root)]
            same([step(calls[at], name, root) for at in steps[-4:]],
                 ["fsync", "name", "fsync", "folder"], "what was done before the last ACK")
            first = calls[steps[-4]]
            check(str(root) in first, f"another file's: {first}")


def shown(text, acks):
    """The trace up to the last ACK of this upload, once it is there."""
    found = list(re.finditer(LAST_ACK, text))
    return text[:found[acks - 1].start()].rpartition("\n")[0] if len(found) >= acks else None


def step(call, name, root):
    """Which step towards a safe file this call is."""
    if not re.search(r"\)\s+= 0$", call):
        return None
    if call.startswith("fsync("):
        return "folder" if f"<{root}>" in call else "fsync"
    is_last = re.match(r"(linkat|renameat2?)\(", call) and f'"{name}"' in call
    return "name" if is_last else None


def killed(fixture, call, left):
    """Killed at a call of its own that a replacement needs: the client hears of no success, and there is
    one whole file of that name."""
    with traced(fixture, strace=["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL"]) as (
            tftpd, root, _):
        old_file(root)
        put(fixture, tftpd, "old").bad()
        check((root / "old").read_bytes() in (b"old", FILE), "neither the old file nor the new one")
        names = [name for name in os.listdir(root) if not name.startswith(".tftp-new.")]
        same(names, ["old"], "names")
        check(len(os.listdir(root)) - 1 <= left, f"left: {os.listdir(root)}")


def failing(fixture, call):
    """A call that a replacement needs fails: an ERROR, the old file stays, nothing else is left."""
    with traced(fixture, strace=["-e", f"trace={call}", "-e", f"inject={call}:error=EIO"]) as (
            tftpd, root, _):
        old_file(root)
        refused = put(fixture, tftpd, "old").bad()
        check("Input/output error" in refused.text, f"tftpc: {refused.text}")
        same((root / "old").read_bytes(), b"old", "the old file")
        same(os.listdir(root), ["old"], "names")


for more in ([], ["--single-port"]):
    add(f"strace: {' '.join(['tftpd', *more])}: the last ACK of an upload comes after fsync, name and the "
        "folder's fsync", order, *more)
for at, count in (("fsync", 0), ("linkat", 0), ("renameat", 1)):
    add(f"strace: tftpd, killed at {at} of an upload: no success is told, and the old file or the new "
        "one is whole", killed, at, count)
for at in ("fsync", "linkat", "renameat"):
    add(f"strace: {at} of tftpd fails: an ERROR, the old file stays, no temporary", failing, at)
