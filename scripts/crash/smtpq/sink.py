"""The server that smtpq sends to: it remembers every letter whose end has come, and has ways to fail."""

import re
import socket
import threading
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

# Hosts, and what they offer: by BDAT a letter goes in one write with its envelope, by DATA it does not.
HOSTS = {"red.test": ("PIPELINING", "8BITMIME", "CHUNKING"), "blue.test": ("PIPELINING", "8BITMIME")}
ADDRESSES = {"red.test": "127.0.0.2", "blue.test": "127.0.0.3"}
# Recipients, by how they begin: what happens to a letter to them at the first attempt, and to `never` at each.
WAYS = ("ok", "later", "never", "cut", "dot", "end")


class Came(NamedTuple):
    """A letter that has come to its end."""

    text: bytes           # with LF
    to: tuple[str, ...]   # who was accepted
    connection: int
    is_cut: bool          # the connection was cut in place of a reply
    is_taken: bool        # 250
    instant: int          # when the reply was sent, by the clock of the sink


class Sink:
    """A context manager; `clock` says what time it is."""

    def __init__(self, clock: Callable[[], int] = lambda: 0) -> None:
        self.clock, self.lock = clock, threading.Lock()
        self.came: list[Came] = []
        self.tries: Counter = Counter()   # of a recipient's way with a letter
        self.last: dict[int, int] = {}    # of a connection: how many letters have come over it
        self.accepted: dict[int, list[str]] = {}   # the recipients of a connection's letter
        self.is_kind = False              # it fails no more, but for `never`
        self.connections = 0
        self.listeners: list[socket.socket] = []
        for host in HOSTS:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((ADDRESSES[host], self.port if self.listeners else 0))
            listener.listen(128)
            self.listeners.append(listener)
            threading.Thread(target=self.accept, args=(listener, host), daemon=True).start()

    @property
    def port(self) -> int:
        """The port of all hosts."""
        return self.listeners[0].getsockname()[1]

    def __enter__(self) -> "Sink":
        return self

    def __exit__(self, *_: object) -> None:
        for listener in self.listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def clear(self) -> None:
        """Forgets what has come."""
        with self.lock:
            self.came, self.last = [], {}
            self.tries.clear()

    def accept(self, listener: socket.socket, host: str) -> None:
        """Serves each client in a thread."""
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections += 1
                number = self.connections
            threading.Thread(target=self.serve, args=(client, host, number), daemon=True).start()

    def serve(self, client: socket.socket, host: str, number: int) -> None:
        """One connection; it ends when the client does, or as the letter's recipients say."""
        with client, client.makefile("rb") as file:
            try:
                client.sendall(b"220 sink\r\n")
                while (line := file.readline()) and self.answer(client, file, line, host, number):
                    pass
            except OSError:  # killed
                pass

    def is_first(self, way: str, number: bytes) -> bool:
        """Whether this is the first time that something happens, which happens once."""
        with self.lock:
            self.tries[way, number] += 1
            return self.tries[way, number] == 1 and not self.is_kind

    def answer(self, client, file, line: bytes, host: str, number: int) -> bool:
        """Answers a command; whether the connection goes on."""
        verb = line[:4].upper()
        if verb == b"EHLO":
            client.sendall("".join(f"250-{word}\r\n" for word in ("sink", *HOSTS[host])).encode() + b"250 DSN\r\n")
        elif verb == b"MAIL":
            self.of(number).clear()
            client.sendall(b"250 ok\r\n")
        elif verb == b"RCPT":
            client.sendall(self.recipient(number, re.search(rb"<(.*?)>", line)[1].decode()))
        elif verb in (b"DATA", b"BDAT"):
            return self.letter(client, file, line, number)
        elif verb == b"QUIT":
            client.sendall(b"221 bye\r\n")
            return False
        else:  # RSET, NOOP
            self.of(number).clear()
            client.sendall(b"250 ok\r\n")
        return True

    def of(self, number: int) -> list[str]:
        """The accepted recipients of a connection's letter."""
        with self.lock:
            return self.accepted.setdefault(number, [])

    def recipient(self, number: int, address: str) -> bytes:
        """The reply to RCPT."""
        way, letter = address.split("@")[0].split("-")[:2]
        if way == "never":
            return b"550 5.1.1 no such user\r\n"
        if way == "later" and self.is_first(way, letter.encode()):
            return b"451 4.3.0 later\r\n"
        self.of(number).append(address)
        return b"250 ok\r\n"

    def letter(self, client, file, line: bytes, number: int) -> bool:
        """Takes the text, or not."""
        to = tuple(self.of(number))
        ways = {tuple(address.split("@")[0].split("-")[:2]) for address in to}

        def happens(way: str) -> bool:
            found = [letter for known, letter in ways if known == way]
            return bool(found) and self.is_first(way, found[0].encode())

        size = int(line.split()[1]) if line[:4].upper() == b"BDAT" else None
        if not to:
            if size is not None:
                file.read(size)
            client.sendall(b"503 5.5.1 no recipient\r\n")
            return True
        if size is None:
            client.sendall(b"354 go\r\n")
        if happens("cut"):
            file.read(40 if size is None else min(40, size))
            return False
        text = self.dotted(file) if size is None else self.chunk(file, size)
        if text is None:
            return False
        is_cut, is_put_off = happens("dot"), happens("end")
        with self.lock:
            self.last[number] = self.last.get(number, 0) + 1
            self.came.append(Came(text, to, number, is_cut, not (is_cut or is_put_off), self.clock()))
        self.of(number).clear()
        if is_cut:
            return False
        client.sendall(b"451 4.3.0 later\r\n" if is_put_off else b"250 2.0.0 taken\r\n")
        return True

    @staticmethod
    def chunk(file, size: int) -> bytes | None:
        """A text of this size; None for one that ends before."""
        text = file.read(size)
        return text.replace(b"\r\n", b"\n") if len(text) == size else None

    @staticmethod
    def dotted(file) -> bytes | None:
        """A text up to its dot; None for one that ends before."""
        lines = []
        while (line := file.readline()) != b".\r\n":
            if not line.endswith(b"\r\n"):
                return None
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines).replace(b"\r\n", b"\n")
