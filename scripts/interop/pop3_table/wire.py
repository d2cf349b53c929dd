"""POP3 as it is on the wire: what is sent is written by hand, so that a probe may break every rule."""

import base64
import socket
import ssl

# Seconds that a server may take for an answer: a limit for what hangs, which a busy machine does not meet.
ANSWER = 20.0
# Seconds without an answer that show that none comes.
SILENCE = 0.5
PASSWORD = "correct-horse-9"


class Unlike(Exception):
    """The server behaves in another way; the text says how."""


def want(held, why):
    """Ends the probe with `why` unless it held."""
    if not held:
        raise Unlike(why)


def shown(octets):
    """Octets for a message."""
    text = octets.decode("ascii", "backslashreplace").replace("\r", "\\r").replace("\n", "\\n")
    return text if len(text) <= 90 else f"{text[:60]} […] {text[-20:]}"


def b64(octets):
    return base64.b64encode(octets).decode()


def trusting():
    """A context that looks at no certificate: here the server's behaviour counts."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Session:
    """A connection. Every reply must be one line that ends in CRLF."""

    def __init__(self, server, tls=False):
        want(not tls or server.tls, "no TLS")
        self.server, self.held = server, b""
        self.socket = socket.create_connection(("127.0.0.1", server.tls if tls else server.port), ANSWER)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.start_tls()
        self.greeting = self.reply()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def start_tls(self):
        """A handshake; what was read before it counts no more."""
        self.held = b""
        self.socket = trusting().wrap_socket(self.socket)

    def send(self, octets):
        self.socket.sendall(octets)

    def more(self, limit=ANSWER):
        """Reads; false at the end of the connection."""
        self.socket.settimeout(limit)
        try:
            piece = self.socket.recv(65536)
        except TimeoutError:
            raise Unlike("silence") from None
        except (ConnectionResetError, BrokenPipeError):
            piece = b""
        self.held += piece
        return bool(piece)

    def line(self):
        while b"\n" not in self.held:
            want(self.more(), f"closes the connection{': ' + shown(self.held) if self.held else ''}")
        line, _, self.held = self.held.partition(b"\n")
        want(line.endswith(b"\r"), f"a line without CR: {shown(line)}")
        return line[:-1]

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

    def ends(self):
        """The server closes; nothing comes before."""
        while self.more():
            pass
        want(not self.held, f"something before the end: {shown(self.held)}")

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


PROBES = []


def probe(name, maildir_only=False):
    """Registers a probe: a function of the server. Those about files of a Maildir say nothing of an mbox."""
    def register(function):
        PROBES.append((name, function, maildir_only))
        return function
    return register


def logged_in(server, letters, password=PASSWORD):
    """A new user with these letters, and a session of it."""
    user = server.user(*letters)
    session = Session(server)
    session.login(user, password)
    return user, session
