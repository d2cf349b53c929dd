"""atftp's own test (test/test.sh of its sources), in our words, with our server in the place of atftpd.

Where a request asks for a value that is out of range atftpd ends it with ERROR 8; ours leaves the option out, or lowers it, as
RFC 2347 and 2348 have it, and the file comes. The file of 101 MB is one of 33 MiB here, whose block numbers wrap too.
"""

import os
import subprocess

from lib import need
from wire import want

SIZES = {"READ_0.bin": 0, "READ_511.bin": 511, "READ_512.bin": 512, "READ_2K.bin": 2048, "READ_BIG.bin": 51_111,
         "READ_128K.bin": 128 << 10, "READ_1M.bin": 1 << 20}
WRAPS = 33 << 20
# Clients at once; seconds that any of them may take.
MANY, LIMIT = 100, 120
TRIALS = []


def trial(name):
    """Registers a trial: a function of the folder of a server and of its address."""
    def register(function):
        TRIALS.append((f"atftp's test: {name}", function))
        return function
    return register


def atftp(server, *words):
    """Runs the client; its exit status and what it says."""
    argv = [need("atftp"), *map(str, words), server[0], str(server[1])]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=LIMIT, check=False)
    return done.returncode, done.stdout.decode(errors="replace")


def files(folder):
    """The files of the test, made once for each server."""
    for name, size in SIZES.items():
        path = folder.root / name
        if not path.exists():
            path.write_bytes(os.urandom(size))
            path.chmod(0o644)


def get_put(folder, server, name, *more):
    files(folder)
    wanted = (folder.root / name).read_bytes()
    local = folder.new("out")
    code, said = atftp(server, *more, "--get", "--remote-file", name, "--local-file", local)
    want(code == 0 and local.read_bytes() == wanted, f"get {name} {more}: {code} {said}")
    remote = f"write.{os.urandom(6).hex()}"
    code, said = atftp(server, *more, "--put", "--remote-file", remote, "--local-file", folder.root / name)
    want(code == 0 and (folder.root / remote).read_bytes() == wanted, f"put {name} {more}: {code} {said}")


@trial("get and put with standard options")
def standard(folder, server):
    for name in SIZES:
        get_put(folder, server, name)


@trial("get and put with block sizes from 8 to 65464")
def block_sizes(folder, server):
    for name, size in (("READ_BIG.bin", 8), ("READ_BIG.bin", 256), ("READ_1M.bin", 1428), ("READ_1M.bin", 1533),
                       ("READ_1M.bin", 16000), ("READ_1M.bin", 40000), ("READ_1M.bin", 65464)):
        get_put(folder, server, name, "--option", f"blksize {size}")


@trial("a file whose block numbers wrap")
def wraps(folder, server):
    path = folder.root / "READ_33M.bin"
    path.write_bytes(os.urandom(1 << 20) * (WRAPS >> 20) + b"end")
    path.chmod(0o644)
    local = folder.new("out")
    code, said = atftp(server, "--get", "--remote-file", path.name, "--local-file", local)
    want(code == 0 and local.read_bytes() == path.read_bytes(), f"{code} {said}")


@trial("a name that is not there is told")
def missing(folder, server):
    _, said = atftp(server, "--trace", "--get", "-r", "thisfiledoesntexist", "-l", folder.new("out"))
    want("File not found" in said or "No such file" in said, said)


@trial("the number of blocks for each block size")
def count_of_blocks(folder, server):
    files(folder)
    for size in (512, 1428, 16384):
        _, said = atftp(server, "--option", f"blksize {size}", "--trace", "--get", "-r", "READ_128K.bin",
                        "-l", folder.new("out"))
        want(said.count("DATA") == (128 << 10) // size + 1, f"{size}: {said.count('DATA')} DATA")


@trial("tsize is the size of the file")
def tsize(folder, server):
    files(folder)
    _, said = atftp(server, "--option", "tsize", "--trace", "--get", "-r", "READ_2K.bin", "-l", folder.new("out"))
    want("tsize: 2048" in said, said)


@trial("values out of range end no transfer")
def out_of_range(folder, server):
    files(folder)
    for option in ("blksize 7", "blksize 65465", "timeout 0", "timeout 256"):
        local = folder.new("out")
        code, said = atftp(server, "--option", option, "--get", "-r", "READ_2K.bin", "-l", local)
        refused_by_client = code != 0 and not local.exists()
        want(refused_by_client or local.read_bytes() == (folder.root / "READ_2K.bin").read_bytes(),
             f"{option}: {code} {said}")


@trial(f"{MANY} clients at once")
def many(folder, server):
    files(folder)
    wanted = (folder.root / "READ_128K.bin").read_bytes()
    locals_ = [folder.new("many") for _ in range(MANY)]
    running = [subprocess.Popen([need("atftp"), "--get", "-r", "READ_128K.bin", "-l", str(local),
                                 server[0], str(server[1])], stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for local in locals_]
    codes = [process.wait(LIMIT) for process in running]
    whole = sum(local.exists() and local.read_bytes() == wanted for local in locals_)
    want(whole == MANY and not any(codes), f"{whole} of {MANY} whole")
