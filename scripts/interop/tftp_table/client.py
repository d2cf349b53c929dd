"""Our client against all servers: gets and puts with every set of options."""

import os

from lib import run
from wire import want

SIZES = (0, 1, 511, 512, 513, 1024, 1469, 100_000, 1_048_576)
SETS = ((), ("--blksize", "1468"), ("--blksize", "8192", "--windowsize", "16"),
        ("--blksize", "65464", "--tsize"), ("--mode", "netascii"))
# The ones who take no uploads at all.
READ_ONLY = ("dnsmasq",)


def tftpc(programs, server, *words):
    """Runs it to its end; it must end with 0."""
    done = run([programs / "tftpc", "--timeout", "10", f"{server[0]}:{server[1]}", *words], limit=60)
    want(done.code == 0, f"exit {done.code}: {done.text.strip()[-200:]}")


def text(size):
    """Lines as every netascii keeps them."""
    return (b"a line of text\n" * (size // 15 + 1))[:size]


def content(size, options):
    return text(size) if "netascii" in options else os.urandom(size)


def get(options):
    """A get of each size."""
    def gets(folder, server):
        for size in SIZES:
            name = f"get.{os.urandom(6).hex()}"
            wanted = content(size, options)
            (folder.root / name).write_bytes(wanted)
            local = folder.new("got")
            tftpc(folder.programs, server, *options, "get", name, local)
            want(local.read_bytes() == wanted, f"{size} octets came otherwise")
    return gets


def put(options):
    """A put of each size."""
    def puts(folder, server):
        for size in SIZES:
            name = f"put.{os.urandom(6).hex()}"
            wanted = content(size, options)
            local = folder.new("put")
            local.write_bytes(wanted)
            tftpc(folder.programs, server, *options, "put", local, name)
            want((folder.root / name).read_bytes() == wanted, f"{size} octets came otherwise")
    return puts


TRIALS = [(f"tftpc {verb.__name__} {' '.join(options)}".strip(), verb(options))
          for verb in (get, put) for options in SETS]
