"""POP3 as it is on the wire: what is sent is written by hand, so that a probe may break every rule."""

import base64

import side_by_side
from side_by_side import ANSWER, SILENCE, Connection, Unlike, shown, trusting, want

__all__ = ["ANSWER", "PASSWORD", "SILENCE", "Session", "Unlike", "b64", "head", "logged_in", "probe", "shown", "trusting",
           "want"]
PASSWORD = "correct-horse-9"


def b64(octets):
    return base64.b64encode(octets).decode()


class Session(Connection):
    """A connection. Every reply must be one line that ends in CRLF."""

    def reply(self):
        line = self.line()
        want(line.startswith((b"+", b"-ERR")), f"no reply: {shown(line)}")
        return line

    def ask(self, command):
        """A command, and the line that comes."""
        self.send((command.encode("utf-8") if isinstance(command, str) else command) + b"\r\n")
        return self.reply()

    def ok(self, command):
        line = self.ask(command)
        want(line.startswith(b"+OK"), f"{head(command)}: {shown(line)}")
        return line

    def err(self, command):
        line = self.ask(command)
        want(line.startswith(b"-ERR"), f"{head(command)}: {shown(line)}")
        return line

    def raw_body(self):
        """The octets of a reply's other lines, as they are on the wire, without the last dot."""
        text = self.held
        while not (text.endswith(b"\r\n.\r\n") or text == b".\r\n"):
            want(self.more(), "closes the connection within a reply")
            text = self.held
        self.held = b""
        return text[:-3]

    def multi(self, command):
        """The lines of a reply, dots unstuffed."""
        self.ok(command)
        lines = self.raw_body().split(b"\r\n")[:-1]
        for line in lines:
            want(not line.startswith(b".") or line.startswith(b".."), f"a dot is not stuffed: {shown(line)}")
        return [line[1:] if line.startswith(b".") else line for line in lines]

    def octets(self, command):
        """The message of RETR or TOP."""
        return b"".join(line + b"\r\n" for line in self.multi(command))

    def login(self, user, password=PASSWORD):
        self.ok(f"USER {user}")
        return self.ok(f"PASS {password}")

    def is_alive(self, command="NOOP"):
        """The session has not ended, and replies belong to their commands."""
        self.ok(command)

    def quit(self):
        self.ok("QUIT")
        self.ends()

    def capabilities(self):
        """CAPA: words by name."""
        words = [line.decode("ascii", "replace").split() for line in self.multi("CAPA")]
        return {word[0].upper(): word[1:] for word in words if word}

    def ids(self):
        return [line.split(b" ", 1)[1] for line in self.multi("UIDL")]


def head(command):
    text = command if isinstance(command, str) else command.decode("ascii", "backslashreplace")
    return text if len(text) < 40 else text[:30] + "…"


def probe(name, maildir_only=False):
    """Registers a probe: a function of the server. Those about files of a Maildir say nothing of an mbox."""
    return side_by_side.probe(name, lambda kind: not maildir_only or kind.mail != "mbox")


def logged_in(server, letters, password=PASSWORD):
    """A new user with these letters, and a session of it."""
    user = server.user(*letters)
    session = Session(server)
    session.login(user, password)
    return user, session
