"""A client of SMTP that is in no hurry to judge: it tells what it has read, also of a session that is cut off."""

import re
import socket
from collections.abc import Callable
from typing import NamedTuple

from lib.mailbox import DOMAIN, crlf
from lib.paths import LOOPBACK
from letters import letter

# Seconds that one wait for a reply may take: a watchdog.
REPLY_LIMIT = 120


class Sent(NamedTuple):
    """A letter that a client has sent, or tried to: who was accepted, and the last reply, empty where there was none."""

    number: int
    to: tuple[str, ...]
    reply: bytes
    is_complete: bool = True  # the end of the text was sent

    @property
    def is_safe(self) -> bool:
        """Whether the server has said so."""
        return self.is_complete and self.reply.startswith(b"250")


class Smtp:
    """A context manager. At the end of the connection, or when it is reset, every further reply is empty."""

    def __init__(self, port: int, domain: str = DOMAIN) -> None:
        self.domain = domain
        self.sock = socket.create_connection((LOOPBACK, port), timeout=REPLY_LIMIT)
        self.name = "%s:%d" % self.sock.getsockname()[:2]
        self.file = self.sock.makefile("rb")
        self.greeting = self.reply()

    def __enter__(self) -> "Smtp":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.sock.close()

    def send(self, octets: bytes) -> None:
        """Sends bytes; those that nobody reads any more are lost."""
        try:
            self.sock.sendall(octets)
        except ConnectionError:
            pass

    def reply(self) -> bytes:
        """The last line of the next reply, with its end; empty where the connection is over."""
        while True:
            try:
                line = self.file.readline()
            except ConnectionError:
                return b""
            if not line.endswith(b"\r\n"):
                return b""
            if line[3:4] != b"-":
                return line

    def ask(self, command: str) -> bytes:
        """A command and its reply."""
        self.send(f"{command}\r\n".encode())
        return self.reply()

    def deliver(self, number: int, to: tuple[str, ...], at_end: Callable[[], None] = lambda: None) -> Sent:
        """Sends a letter, after EHLO; `at_end` is called just before its last line is sent."""
        reply = self.ask("MAIL FROM:<sender@client.test>")
        if not reply.startswith(b"250"):
            return Sent(number, (), reply, False)
        accepted, refusal = [], b""
        for name in to:
            reply = self.ask(f"RCPT TO:<{name}@{self.domain}>")
            if reply.startswith(b"250"):
                accepted.append(name)
            elif not reply:
                return Sent(number, tuple(accepted), b"", False)
            else:
                refusal = reply
        if not accepted:
            self.ask("RSET")
            return Sent(number, (), refusal, False)
        if not (reply := self.ask("DATA")).startswith(b"354"):
            return Sent(number, tuple(accepted), reply, False)
        self.send(re.sub(rb"^\.", b"..", crlf(letter(number)), flags=re.MULTILINE))
        at_end()
        self.send(b".\r\n")
        return Sent(number, tuple(accepted), self.reply())
