"""A disk that remembers every write: a file of a FUSE file system made here, under a loop device.

What a file system above it writes arrives as WRITE, what it flushes as FSYNC, in the order of a log from which the
disk can be made again as it was at any instant (see power.py). FUSE's messages are those of <linux/fuse.h>; of
all files there is one, the root of the mount itself, so that nothing is ever looked up.
"""

import ctypes
import errno
import os
import signal
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lib.checks import Failure, check

# Opcodes of <linux/fuse.h>.
FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS, RELEASE = 2, 3, 4, 14, 15, 16, 17, 18
FSYNC, FLUSH, INIT, INTERRUPT, DESTROY, BATCH_FORGET = 20, 25, 26, 36, 38, 42
HEADER = struct.Struct("<IIQQIIII")  # len, opcode, unique, nodeid, uid, gid, pid, extensions
REPLY = struct.Struct("<IiQ")        # len, -errno, unique
TRANSFER = struct.Struct("<QQII")    # fh, offset, size, flags: how READ and WRITE begin
TRANSFER_SIZE = 40
MINOR = 31
DIRECT_IO = 1
MAX_WRITE = 1 << 17
SECTOR = 512
# An entry of the log: offset and length of a write, whose bytes follow; a flush has no length.
ENTRY = struct.Struct("<QI")
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None, use_errno=True)


class Entry(NamedTuple):
    """A write, or (no bytes) a flush; `end` is the log's length with it."""

    offset: int
    data: bytes
    end: int


class RecordedDisk:
    """A context manager: `disk` is a file with the bytes of `image`, for a loop device. `image` and `log` must not
    lie on a file system of that disk."""

    def __init__(self, image: Path, disk: Path, log: Path) -> None:
        self.image, self.disk, self.log = image, disk, log
        self.size = image.stat().st_size
        disk.touch()
        log.write_bytes(b"")
        fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={fuse},rootmode=100600,user_id=0,group_id=0,allow_other"
        if libc.mount(b"recorded", bytes(disk), b"fuse", 0, options.encode()) != 0:
            code = ctypes.get_errno()
            os.close(fuse)
            raise Failure(f"mount of a FUSE file system: {os.strerror(code)}")
        self.pid = os.fork()
        if self.pid == 0:
            try:
                libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                signal.alarm(0)
                Server(fuse, image, log, self.size).serve()
            finally:
                os._exit(1)
        os.close(fuse)

    def __enter__(self) -> "RecordedDisk":
        return self

    def __exit__(self, *_: object) -> None:
        libc.umount2(bytes(self.disk), 2)  # MNT_DETACH
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def now(self) -> int:
        """This instant, as a length of the log: a write that has been acknowledged is before it."""
        check(os.waitpid(self.pid, os.WNOHANG) == (0, 0), "the recorded disk's process has ended")
        return self.log.stat().st_size


class Server:
    """The other end of /dev/fuse. It does one thing after the other, so that the log has one order."""

    def __init__(self, fuse: int, image: Path, log: Path, size: int) -> None:
        self.fuse, self.size = fuse, size
        self.image = os.open(image, os.O_RDWR)
        self.log = os.open(log, os.O_WRONLY | os.O_APPEND)

    def serve(self) -> None:
        """Answers until the file system is unmounted."""
        while True:
            try:
                request = os.read(self.fuse, MAX_WRITE + 4096)
            except InterruptedError:
                continue
            except OSError as error:
                if error.errno == errno.ENOENT:  # a request that was interrupted
                    continue
                return
            _, opcode, unique, *_ = HEADER.unpack_from(request)
            if opcode in (FORGET, BATCH_FORGET, INTERRUPT):
                continue
            try:
                code, answer = 0, self.answer(opcode, request[HEADER.size:])
            except OSError as error:
                code, answer = -(error.errno or errno.EIO), b""
            os.write(self.fuse, REPLY.pack(REPLY.size + len(answer), code, unique) + answer)

    def answer(self, opcode: int, body: bytes) -> bytes:
        """What is sent back; an OSError is an error."""
        if opcode == INIT:
            major, _, ahead, _ = struct.unpack_from("<IIII", body)
            return struct.pack("<IIIIHHIIHH8I", major, MINOR, ahead, 0, 12, 9, MAX_WRITE, 1, 0, 0, *[0] * 8)
        if opcode in (GETATTR, SETATTR):
            return struct.pack("<QII", 1, 0, 0) + self.attributes()
        if opcode == OPEN:
            return struct.pack("<QII", 0, DIRECT_IO, 0)
        if opcode == READ:
            _, offset, size, _ = TRANSFER.unpack_from(body)
            return os.pread(self.image, size, offset)
        if opcode == WRITE:
            _, offset, size, _ = TRANSFER.unpack_from(body)
            self.write(offset, body[TRANSFER_SIZE:TRANSFER_SIZE + size])
            return struct.pack("<II", size, 0)
        if opcode == STATFS:
            return struct.pack("<QQQQQIIII6I", 0, 0, 0, 0, 0, 4096, 255, 4096, 0, *[0] * 6)
        if opcode == FSYNC:
            os.write(self.log, ENTRY.pack(0, 0))
            return b""
        if opcode in (RELEASE, FLUSH, DESTROY):
            return b""
        raise OSError(errno.ENOSYS, "not served")

    def write(self, offset: int, data: bytes) -> None:
        """Into the log first: an acknowledged write is always there."""
        os.write(self.log, ENTRY.pack(offset, len(data)) + data)
        os.pwrite(self.image, data, offset)

    def attributes(self) -> bytes:
        """struct fuse_attr."""
        return struct.pack("<6Q10I", 1, self.size, self.size // SECTOR, 0, 0, 0, 0, 0, 0, 0o100600, 1, 0, 0, 0, 4096, 0)


def entries(log: bytes) -> Iterator[Entry]:
    """The entries of a log."""
    at = 0
    while at < len(log):
        offset, length = ENTRY.unpack_from(log, at)
        at += ENTRY.size
        data = log[at:at + length]
        at += length
        yield Entry(offset, data, at)
