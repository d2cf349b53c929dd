"""A client of POP3 that is in no hurry to judge: it tells what it has read, also of a session that is cut off."""

import socket
import ssl

from lib.checks import check, show
from lib.paths import LOOPBACK

# Seconds that one wait for a reply may take: a watchdog.
REPLY_LIMIT = 60


class Pop3:
    """A context manager. At the end of the connection, or when it is reset, every further line is empty; `greeting`
    is the first line."""

    def __init__(self, port: int, host: str = LOOPBACK, tls: ssl.SSLContext | None = None) -> None:
        self.sock = socket.create_connection((host, port), timeout=REPLY_LIMIT)
        self.name = "%s:%d" % self.sock.getsockname()[:2]
        if tls:
            self.sock = tls.wrap_socket(self.sock)
        self.file = self.sock.makefile("rb", 1 << 16)
        self.greeting = self.line()

    def __enter__(self) -> "Pop3":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hangs up."""
        self.file.close()
        self.sock.close()

    def send(self, *commands: str) -> None:
        """Sends lines, all in one piece; one that nobody reads any more is lost."""
        try:
            self.sock.sendall("".join(f"{command}\r\n" for command in commands).encode())
        except (ConnectionError, ssl.SSLError):
            pass

    def line(self) -> bytes:
        """The next line with its end; empty, or without an end, where the connection is over."""
        try:
            return self.file.readline()
        except (ConnectionError, ssl.SSLError):
            return b""

    def ask(self, command: str) -> bytes:
        """A command and its reply, without the end of the line; empty where it is cut off."""
        self.send(command)
        line = self.line()
        return line[:-2] if line.endswith(b"\r\n") else b""

    def lines(self) -> list[bytes] | None:
        """The lines up to the final dot, unstuffed, without their ends; None where they are cut off."""
        found = []
        while (line := self.line()) != b".\r\n":
            if not line.endswith(b"\r\n"):
                return None
            found.append(line[1:-2] if line.startswith(b".") else line[:-2])
        return found

    def listing(self, command: str) -> list[bytes] | None:
        """A command with a reply of many lines; None where it is refused or cut off."""
        return self.lines() if self.ask(command).startswith(b"+OK") else None

    def log_in(self, user: str, password: str) -> bytes:
        """Logs in; the last reply."""
        reply = self.ask(f"USER {user}")
        return self.ask(f"PASS {password}") if reply.startswith(b"+OK") else reply

    def good(self, command: str) -> bytes:
        """A command that must succeed, and its reply."""
        reply = self.ask(command)
        check(reply.startswith(b"+OK"), f"{command}: {show(reply)}")
        return reply
