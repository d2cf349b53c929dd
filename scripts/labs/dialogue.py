"""For checks of tasks done by hand: a daemon of ours, and a dialogue that is typed to it."""

import socket
import subprocess
import tempfile
from pathlib import Path

from judge import refuse, until

DEADLINE = 20.0  # seconds that an answer may take
MULTILINE = ("LIST", "UIDL", "RETR", "TOP", "CAPA")  # POP3's, after +OK


def lines_of(file):
    """What a student types: the lines of a file without its remarks."""
    text = Path(file).read_text(encoding="utf-8", errors="replace")
    return [line for line in text.splitlines() if not line.startswith("#")]


class Daemon:
    """A daemon on a free port of the loopback interface; a context manager."""

    def __init__(self, *command):
        self.command = [command[0], "-l", "127.0.0.1:0", *command[1:]]

    def __enter__(self):
        self.log = tempfile.TemporaryFile("w+b")  # pylint: disable=consider-using-with
        self.process = subprocess.Popen(self.command, stderr=self.log)  # pylint: disable=consider-using-with
        if not until(lambda: self._port() or self.process.poll() is not None) or not self._port():
            raise RuntimeError(f"{' '.join(self.command)}: {self._text()}")
        self.port = int(self._port())
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(DEADLINE)
        self.log.close()

    def _text(self):
        self.log.seek(0)
        return self.log.read().decode()

    def _port(self):
        found = [line for line in self._text().splitlines() if "listening on" in line]
        return found[0].rpartition(":")[2] if found else ""


class Dialogue:
    """Types lines, each when the one before is answered; notes both. A context manager."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), DEADLINE)
        self.file = self.socket.makefile("rb")
        self.said = []  # (line, [lines of the answer])

    def __enter__(self):
        self.answer("")
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def answer(self, line):
        """Reads a line of the server's; the session may be over."""
        try:
            octets = self.file.readline()
        except TimeoutError:
            refuse(f"the server waits for more after '{line}'")
        except ConnectionError:
            octets = b""
        return octets.decode(errors="replace").rstrip("\r\n") if octets else None

    def type(self, line):
        """Sends a line as telnet does, ending in CRLF."""
        try:
            self.socket.sendall(line.encode() + b"\r\n")
        except OSError:
            refuse(f"'{line}' is typed when the connection is closed already")

    def pop3(self, lines):
        """A POP3 session of these lines."""
        for line in lines:
            self.type(line)
            seen = [self.answer(line)]
            words = line.upper().split()
            if words and seen[0] and seen[0].startswith("+OK") and words[0] in MULTILINE and (
                    len(words) > 1) == (words[0] in ("RETR", "TOP")):
                while (more := self.answer(line)) not in (".", None):
                    seen.append(more)
            self.said.append((line, [text for text in seen if text is not None]))
        return self.said

    def smtp(self, lines):
        """An SMTP session of these lines; a letter's lines have no answer but the last."""
        letter = False
        for line in lines:
            self.type(line)
            if letter and line != ".":
                self.said.append((line, []))
                continue
            seen = [self.answer(line)]
            while seen[-1] and seen[-1][3:4] == "-":
                seen.append(self.answer(line))
            letter = bool(seen[0]) and seen[0].startswith("354")
            self.said.append((line, [text for text in seen if text is not None]))
        return self.said
