"""A file system on a disk that remembers every write, and that disk again as it may be after a power cut at any
instant, with and without what no flush had yet made safe."""

import os
import random
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.checks import Failure, check
from lib.packages import need
from lib.program import run
from recorded_disk import Entry, RecordedDisk, entries, libc
from site_of_crash import BLOCK, MIB, CrashSite, make_ext4

# How ext4 is made and mounted.
SYSTEMS = {
    "ext4": ((), "data=ordered"),
    "ext4, data=journal": ((), "data=journal"),
    "ext4, data=writeback": ((), "data=writeback"),
    "ext4, fast_commit": (("-O", "fast_commit"), "data=ordered"),
}
# Seconds after which ext4 commits by itself: the usual time, so that nothing becomes safe by chance.
COMMIT = 5
# How often a control is tried, which needs a moment in which the kernel writes nothing.
UNSAFE_TRIES = 20


class RecordedSite:
    """A context manager: a site on an ext4 on a recorded disk of `size` bytes."""

    def __init__(self, site: CrashSite, system: str, seed: int, size: int) -> None:
        self.site, self.system, self.size = site, system, size
        self.dice = random.Random(seed)

    def __enter__(self) -> "RecordedSite":
        self.site.__enter__()
        features, self.options = SYSTEMS[self.system]
        # Not on the disk that /tmp lies on: a thousand images are made there and thrown away.
        self.work = self.site.folder("work")
        run([need("mount"), "-t", "tmpfs", "tmpfs", self.work]).good()
        self.first = make_ext4(self.work / "first", *features, size=self.size)
        live = self.work / "live"
        shutil.copyfile(self.first, live)
        self.disk = RecordedDisk(live, self.work / "disk", self.work / "log")
        run([need("mount"), "-o", f"loop,{self.options},commit={COMMIT}", self.disk.disk, self.site.root]).good()
        self.site.is_mounted = True
        return self

    def __exit__(self, *_: object) -> None:
        if self.site.daemon:
            self.site.daemon.kill()
        if run([need("umount"), self.site.root]).code != 0:  # something of a failed test is still in there
            run([need("umount"), "-l", self.site.root])
        self.disk.__exit__()
        self.site.is_mounted = False
        run([need("umount"), "-l", self.work])
        self.site.__exit__()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Meanwhile another thread syncs all the time."""
        over = threading.Event()

        def sync() -> None:
            while not over.is_set():
                self.sync()

        thread = threading.Thread(target=sync, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def sync(self) -> None:
        """Waits until all of the file system is safe."""
        root = os.open(self.site.root, os.O_RDONLY)
        try:
            check(libc.syncfs(root) == 0, "syncfs")
        finally:
            os.close(root)

    def log(self) -> list[Entry]:
        """All that has been written, once nothing is left to be written."""
        self.sync()
        return list(entries(self.disk.log.read_bytes()))


def instants(log: list[Entry], since: int, dice: random.Random, most: int) -> set[int]:
    """The instants of all writes from `since` on, and of flushes with something to flush; `most` of them, by chance,
    where there are more, and always the last one."""
    found, has_news = [], False
    for entry in log:
        if entry.end >= since and (entry.data or has_news):
            found.append(entry.end)
        has_news = bool(entry.data)
    return {log[-1].end, *dice.sample(found, min(most, len(found)))}


def states(log: list[Entry], first: Path, at: set[int], dice: random.Random, lost: int) -> Iterator[tuple[int, str, bytes]]:
    """The disk as it may be after a cut at each of these instants, with that instant: with all that was written, with
    only what was flushed, and `lost` times with some of the blocks written after the last flush."""
    flushed = bytearray(first.read_bytes())
    waiting: list[Entry] = []

    def some() -> bytes:
        image = bytearray(flushed)
        share = dice.choice((0.1, 0.5, 0.9))
        for entry in waiting:
            for at in range(0, len(entry.data), BLOCK):  # a block is written whole or not at all
                if dice.random() < share:
                    piece = entry.data[at:at + BLOCK]
                    image[entry.offset + at:entry.offset + at + len(piece)] = piece
        return bytes(image)

    def everything(target: bytearray) -> bytearray:
        for entry in waiting:
            target[entry.offset:entry.offset + len(entry.data)] = entry.data
        return target

    for entry in log:
        if entry.data:
            waiting.append(entry)
        else:
            everything(flushed)
            waiting.clear()
        if entry.end not in at:
            continue
        yield entry.end, "all", bytes(everything(bytearray(flushed)))
        if waiting:
            yield entry.end, "flushed", bytes(flushed)
            for _ in range(lost):
                yield entry.end, "some", some()


@contextmanager
def mounted(image: Path, where: Path, options: str) -> Iterator[None]:
    """The file system of an image after its journal was replayed."""
    run([need("mount"), "-o", f"loop,{options}", image, where]).good()
    try:
        yield
    finally:
        run([need("umount"), where]).good()
