"""SMTP as it is on the wire: what is sent is written by hand, so that a probe may break every rule."""

import re

from side_by_side import ANSWER, Connection, Unlike, shown, want

HELO = "topaz.test"
SENDER = "hedrick@topaz.test"
LETTER = b"From: hedrick@topaz.test\r\nSubject: meeting\r\n\r\nMonday at 1pm\r\n"


class Session(Connection):
    """A connection. A reply may have several lines, each `NNN-`, the last `NNN `, all of one code."""

    def reply(self):
        lines = [self.line()]
        while lines[-1][3:4] == b"-":
            lines.append(self.line())
        for line in lines:
            want(re.fullmatch(rb"[2-5]\d\d([ -].*)?", line), f"no reply: {shown(line)}")
            want(line[:3] == lines[0][:3], f"two codes in a reply: {shown(line)}")
        self.lines = [line[4:] for line in lines]
        return b"\n".join(lines)

    def expect(self, pattern, what=""):
        """The next reply, which must begin so (a regular expression)."""
        reply = self.reply()
        want(re.match(pattern.encode(), reply), f"{what}{': ' if what else ''}{shown(reply)}")
        return reply

    def ask(self, command, *patterns):
        """Sends a line, or bytes as they are, and reads a reply for each pattern."""
        self.send(command if isinstance(command, bytes) else command.encode("utf-8") + b"\r\n")
        name = shown(command if isinstance(command, bytes) else command.encode())
        found = b""
        for pattern in patterns or ("2",):
            found = self.expect(pattern, name[:40])
        return found

    def hello(self):
        """EHLO; the extensions that are listed, by name."""
        self.ask(f"EHLO {HELO}", "250")
        words = [line.decode("ascii", "replace").split() for line in self.lines[1:]]
        return {word[0].upper(): word[1:] for word in words if word}

    def begin(self, *users, sender=SENDER):
        """EHLO, MAIL and RCPT."""
        self.hello()
        self.ask(f"MAIL FROM:<{sender}>", "250")
        for user in users:
            self.ask(f"RCPT TO:<{self.server.address(user)}>", "250")

    def letter(self, user, text=LETTER, pattern="250"):
        """One letter; its text is given as it travels, without the dot that ends it."""
        self.begin(user)
        self.ask("DATA", "354")
        return self.ask(text + b".\r\n", pattern)

    def is_alive(self):
        """The session has not ended, and replies belong to their commands."""
        self.ask("NOOP", "250")


def arrived(server, user, count=1):
    """The letters of a user, once there are so many; Postfix and OpenSMTPD deliver after they have said 250."""
    return server.letters(user, count)


def body(letter):
    """What stands below a letter's header, lines ending in LF."""
    return letter.replace(b"\r\n", b"\n").partition(b"\n\n")[2]


__all__ = ["ANSWER", "HELO", "LETTER", "SENDER", "Session", "Unlike", "arrived", "body", "shown", "want"]
