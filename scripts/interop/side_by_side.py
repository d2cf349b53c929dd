"""The same questions for several servers, as a table of who does what: what pop3_table and smtp_table share."""

import socket
import ssl
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lib import LOOPBACK, Failure, check

# Seconds that a server may take for an answer: a limit for what hangs, which a busy machine does not meet.
ANSWER = 20.0
# Seconds without an answer that show that none comes.
SILENCE = 0.5
# Probes at the same time: most of each is waiting.
AT_ONCE = 8
# Probes by name, and whether a server of a kind is asked.
PROBES: list[tuple[str, Callable, Callable]] = []


class Unlike(Exception):
    """The server behaves in another way; the text says how."""


def want(held: Any, why: str) -> None:
    """Ends the probe with `why` unless it held."""
    if not held:
        raise Unlike(why)


def shown(octets: bytes) -> str:
    """Octets for a message."""
    text = octets.decode("ascii", "backslashreplace").replace("\r", "\\r").replace("\n", "\\n")
    return text if len(text) <= 90 else f"{text[:60]} […] {text[-20:]}"


def probe(name: str, asks: Callable = lambda kind: True) -> Callable:
    """Registers a probe: a function of the server. Of those whose kind it does not ask it says nothing."""
    def register(function: Callable) -> Callable:
        PROBES.append((name, function, asks))
        return function
    return register


def trusting() -> ssl.SSLContext:
    """A context that looks at no certificate: here the server's behaviour counts."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Connection:
    """A connection to a server. Every line must end in CRLF."""

    def __init__(self, server: Any, tls: bool = False) -> None:
        want(not tls or server.tls, "no TLS")
        self.server, self.held = server, b""
        self.socket = socket.create_connection((LOOPBACK, server.tls if tls else server.port), ANSWER)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.start_tls()
        self.greeting = self.reply()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def reply(self) -> bytes:
        """One reply of the protocol."""
        raise NotImplementedError

    def start_tls(self) -> None:
        """A handshake; what was read before it counts no more."""
        self.held = b""
        self.socket = trusting().wrap_socket(self.socket)

    def send(self, octets: bytes) -> None:
        """Sends it; a server that has closed is noticed when its answer is read."""
        try:
            self.socket.sendall(octets)
        except (ConnectionResetError, BrokenPipeError):
            pass

    def more(self, limit: float = ANSWER) -> bool:
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

    def line(self) -> bytes:
        """The next line, without CRLF."""
        while b"\n" not in self.held:
            want(self.more(), f"closes the connection{': ' + shown(self.held) if self.held else ''}")
        line, _, self.held = self.held.partition(b"\n")
        want(line.endswith(b"\r"), f"a line without CR: {shown(line)}")
        return line[:-1]

    def silent(self) -> None:
        """Nothing comes for a while."""
        try:
            there = self.held or self.more(SILENCE)
        except Unlike:
            return
        raise Unlike(f"comes unasked: {shown(self.held)}" if there else "closes the connection")

    def ends(self) -> None:
        """The server closes; nothing comes before."""
        while self.more():
            pass
        want(not self.held, f"something before the end: {shown(self.held)}")


def judge(function: Callable, asks: Callable, site: Any) -> str | None:
    """Nothing if the server does it, else what it does instead; None where the probe does not ask it."""
    if not asks(site.kind):
        return None
    try:
        function(site)
    except Unlike as unlike:
        return str(unlike) or "no"
    except (OSError, ValueError, IndexError, KeyError, Failure) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def wave(sites: Sequence, probes: Sequence) -> list:
    """All these probes at the same time; what each server does instead."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        jobs = [(name, [pool.submit(judge, function, asks, site) for site in sites]) for name, function, asks in probes]
        return [(name, [job.result() for job in some]) for name, some in jobs]


def again(rows: Sequence, sites: Sequence, probes: Sequence) -> None:
    """What ours failed beside others is asked once more, by itself: silence is told by time."""
    functions = {name: (function, asks) for name, function, asks in probes}
    for name, found in rows:
        for at, site in enumerate(sites):
            if found[at] and site.kind.ours:
                print(f"again: {site.name}: {name}: {found[at]}", file=sys.stderr)
                found[at] = judge(*functions[name], site)


def table(rows: Sequence, sites: Sequence) -> str:
    """Markdown: a row for each probe; a dash where a probe says nothing of a server."""
    word = {None: "–", "": "yes"}
    lines = [["", *(site.name for site in sites)], ["---"] * (len(sites) + 1)]
    lines += [[name, *(word.get(one, "no") for one in found)] for name, found in rows]
    total = [f"{sum(found[at] == '' for _, found in rows)} of {sum(found[at] is not None for _, found in rows)}"
             for at in range(len(sites))]
    lines.append(["**yes**", *total])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def chosen(words: Sequence[str]) -> list:
    """The probes whose names have one of the words in them; all without words."""
    probes = [one for one in PROBES if not words or any(part in one[0] for part in words)]
    check(probes, "no probe has such a word in its name")
    return probes


def tell(rows: Sequence, sites: Sequence, quiet: bool) -> int:
    """Prints what each server did instead, of ours alone where `quiet`, and the numbers; the exit status."""
    wrong = 0
    for at, site in enumerate(sites):
        for name, found in rows:
            failed = bool(found[at]) and site.kind.ours
            wrong += failed
            if found[at] and (failed or not quiet):
                print(f"{'FAIL ' if failed else ''}{site.name}: {name}: {found[at]}")
    print(f"{sum(found[0] == '' for _, found in rows)} passed, {wrong} failed")
    return 1 if wrong else 0
