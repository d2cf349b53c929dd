"""A name server that knows the addresses of a few hosts, and no MX: each is the host of its own mail."""

import socket
import struct
import threading

from lib.paths import LOOPBACK

A = 1
HEADER = struct.Struct(">6H")


class NameServer:
    """A context manager: answers by UDP, in a thread."""

    def __init__(self, hosts: dict[str, str]) -> None:
        self.hosts = hosts
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((LOOPBACK, 0))
        threading.Thread(target=self.serve, daemon=True).start()

    @property
    def address(self) -> str:
        """As --resolver has it."""
        return "%s:%d" % self.socket.getsockname()

    def __enter__(self) -> "NameServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.sendto(b"", self.socket.getsockname())  # wakes the thread up, which closes it

    def serve(self) -> None:
        """Answers until an empty datagram comes."""
        while True:
            query, client = self.socket.recvfrom(4096)
            if not query:
                self.socket.close()
                return
            self.socket.sendto(self.answer(query), client)

    def answer(self, query: bytes) -> bytes:
        """An answer with the address, or without any record."""
        number, end, labels = struct.unpack_from(">H", query)[0], HEADER.size, []
        while length := query[end]:
            labels.append(query[end + 1:end + 1 + length].decode().lower())
            end += 1 + length
        question = query[HEADER.size:end + 5]
        address = self.hosts.get(".".join(labels))
        kind = struct.unpack_from(">H", query, end + 1)[0]
        records = [b"\xc0\x0c" + struct.pack(">HHIH", A, 1, 60, 4) + socket.inet_aton(address)] if address and kind == A else []
        return HEADER.pack(number, 0x8180, 1, len(records), 0, 0) + question + b"".join(records)
