"""A client of SMTP that shows its dialogue line by line, as the slides do: C: and S:."""

import socket
from collections.abc import Callable

from lib.checks import check
from lib.paths import LOOPBACK

# Seconds that an answer may take: a limit for what hangs.
ANSWER_LIMIT = 30.0


class Client:
    """A context manager; `show` gets each line of the dialogue."""

    def __init__(self, port: int, show: Callable[[str], None]) -> None:
        self.show = show
        self.socket = socket.create_connection((LOOPBACK, port), ANSWER_LIMIT)
        self.file = self.socket.makefile("rb")
        self.reply("220")

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()

    def reply(self, code: str) -> str:
        """The next reply, which must have this code; all its lines."""
        lines = []
        while True:
            line = self.file.readline().decode("utf-8", "replace").rstrip("\r\n")
            self.show(f"S: {line}")
            check(line.startswith(code), f"{line or 'the end of the connection'}, expected {code}")
            lines.append(line)
            if line[3:4] != "-":
                return "\n".join(lines)

    def say(self, line: str, code: str) -> str:
        """Sends a line; its reply must have this code."""
        self.show(f"C: {line}")
        self.socket.sendall(line.encode() + b"\r\n")
        return self.reply(code)

    def text(self, *lines: str) -> str:
        """Sends a letter's lines and the dot; it must be accepted."""
        for line in lines:
            self.show(f"C: {line}")
            self.socket.sendall(b"." * line.startswith(".") + line.encode() + b"\r\n")
        return self.say(".", "250")
