"""Probes of framing: what a message is on the wire (RFC 1939 section 3 and 11)."""

from wire import Session, logged_in, probe, shown, want

HEAD = b"From: Charles <hedrick@topaz.test>\nTo: levy@red.test\nSubject: meeting\n"
LINES = HEAD + b"\none\ntwo\nthree\n"


def crlf(letter):
    text = letter.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return text if text.endswith(b"\r\n") else text + b"\r\n"


def comes(server, letter, expected=None):
    """RETR gives exactly this, and LIST its size."""
    user, session = logged_in(server, [letter])
    with session:
        size = int(session.ok("LIST 1").split()[2])
        got = session.octets("RETR 1")
        expected = crlf(letter) if expected is None else expected
        want(got == expected, differs(got, expected))
        want(size == len(got), f"LIST says {size}, RETR gives {len(got)}")
        session.is_alive()


def differs(got, expected):
    at = next((i for i, (a, b) in enumerate(zip(got, expected)) if a != b), min(len(got), len(expected)))
    return f"{len(got)} octets, not {len(expected)}; they part at {at}: {shown(got[at:at + 30])}"


@probe("RETR: a line `.` and lines that begin with a dot are stuffed")
def dots(server):
    comes(server, HEAD + b"\n.\n..\n...\n.x\n. \nend\n.\n")


@probe("TOP: the same")
def top_dots(server):
    user, session = logged_in(server, [HEAD + b"\n.\n..\n.x\nend\n"])
    with session:
        got = session.octets("TOP 1 3")
        want(got == crlf(HEAD + b"\n.\n..\n.x\n"), shown(got))
        session.is_alive()


@probe("a message whose first octet is a dot is stuffed")
def first_dot(server):
    comes(server, b".odd: header\nSubject: x\n\nbody\n")


@probe("a dot behind the edge of a buffer (4, 8, 16, 32, 64 KiB and a byte beside) is stuffed")
def edges(server):
    for edge in (1024, 4096, 8192, 16384, 32768, 65536):
        for beside in (-1, 0, 1):
            text = HEAD + b"\n"
            lines = (edge + beside - len(text)) // 50
            text += (b"x" * 49 + b"\n") * lines
            text += b"y" * (edge + beside - len(text) - 1) + b"\n"
            comes(server, text + b".\n.dot\nend\n")


@probe("the same, where the wire's octets are at the edge and not the file's")
def wire_edges(server):
    for edge in (4096, 8192, 16384, 65536):
        for beside in (-2, -1, 0, 1):
            text, target = crlf(HEAD) + b"\r\n", edge + beside
            while len(text) + 51 + 60 < target:
                text += b"x" * 49 + b"\r\n"
            text += b"y" * (target - len(text) - 2) + b"\r\n"
            comes(server, text.replace(b"\r\n", b"\n") + b".\n.dot\nend\n")


@probe("LF on disk is CRLF on the wire")
def lf(server):
    comes(server, LINES)


@probe("CRLF on disk is not CRCRLF on the wire")
def crlf_on_disk(server):
    comes(server, LINES.replace(b"\n", b"\r\n"))


@probe("a missing final newline is added")
def no_newline(server):
    comes(server, LINES[:-1])


@probe("a message without a body")
def no_body(server):
    comes(server, HEAD + b"\n")


@probe("a message without even the blank line")
def no_blank_line(server):
    user, session = logged_in(server, [HEAD])
    with session:
        got = session.octets("RETR 1")
        want(got in (crlf(HEAD), crlf(HEAD) + b"\r\n"), shown(got))
        session.octets("TOP 1 5")
        session.is_alive()


@probe("an empty message: RETR ends, and LIST agrees", maildir_only=True)
def empty(server):
    user, session = logged_in(server, [b""])
    with session:
        size = int(session.ok("LIST 1").split()[2])
        got = session.octets("RETR 1")
        want(len(got) == size and got in (b"", b"\r\n"), f"LIST says {size}, RETR gives {shown(got)}")
        session.octets("TOP 1 0")
        session.is_alive()


@probe("a line of 1 MB is whole")
def long_line(server):
    comes(server, HEAD + b"\n" + b"." + b"x" * 1_000_000 + b"\nend\n")


@probe("a message of 5 MB of short lines is whole")
def large(server):
    comes(server, HEAD + b"\n" + b".short\nlines\n\n" * 360_000)


@probe("8-bit octets and NUL are as they are")
def eight_bit(server):
    comes(server, HEAD + b"\n" + bytes(octet for octet in range(256) if octet not in b"\r\n") + b"\nend\n")


@probe("a bare CR within a line is as it is")
def bare_cr(server):
    letter = HEAD + b"\nbefore\rafter\nend\n"
    comes(server, letter, letter.replace(b"\n", b"\r\n"))


@probe("a line that begins with `From ` comes as it was delivered", maildir_only=True)
def from_line(server):
    comes(server, HEAD + b"\nFrom here\n>From there\n")


@probe("LIST tells the octets of RETR, of twenty kinds of letters")
def sizes(server):
    letters = [HEAD + b"\n" + b"." * number + b"x\n" * number for number in range(1, 21)]
    user, session = logged_in(server, letters)
    with session:
        listed = [tuple(map(int, line.split())) for line in session.multi("LIST")]
        want([number for number, _ in listed] == list(range(1, 21)), "other numbers")
        for number, size in listed:
            got = len(session.octets(f"RETR {number}"))
            want(got == size, f"message {number}: LIST says {size}, RETR gives {got}")


@probe("STAT is the number of messages and the sum of LIST")
def stat(server):
    user, session = logged_in(server, [LINES, LINES + b"more\n", HEAD + b"\n"])
    with session:
        total = sum(int(line.split()[1]) for line in session.multi("LIST"))
        want(session.ok("STAT").split()[1:3] == [b"3", b"%d" % total], "another sum")


@probe("TOP n 0 is the header and the blank line")
def top_nothing(server):
    user, session = logged_in(server, [LINES])
    with session:
        got = session.octets("TOP 1 0")
        want(got == crlf(HEAD) + b"\r\n", shown(got))


@probe("TOP n 2 is the header, the blank line and two lines")
def top_two(server):
    user, session = logged_in(server, [LINES])
    with session:
        got = session.octets("TOP 1 2")
        want(got == crlf(HEAD + b"\none\ntwo\n"), shown(got))


@probe("TOP past the end is all of it")
def top_all(server):
    user, session = logged_in(server, [LINES])
    with session:
        got = session.octets("TOP 1 1000")
        want(got == crlf(LINES), shown(got))


@probe("`TOP 1`, `TOP 1 -1`, `TOP 1 x`, `TOP 2 1`: -ERR")
def top_wrong(server):
    user, session = logged_in(server, [LINES])
    with session:
        for command in ("TOP 1", "TOP 1 -1", "TOP 1 x", "TOP 2 1", "TOP"):
            session.err(command)
        session.is_alive()


@probe("a message is the same whether it is read once or again, by TOP or by RETR")
def again(server):
    user, session = logged_in(server, [LINES])
    with session:
        want(session.octets("RETR 1") == session.octets("RETR 1") == session.octets("TOP 1 99"), "it changes")


@probe("the implicit and the explicit reading agree: a session by TLS gives the same octets")
def by_tls(server):
    user = server.user(HEAD + b"\n.\n.x\nend\n")
    with Session(server, tls=True) as session:
        session.login(user)
        got = session.octets("RETR 1")
        want(got == crlf(HEAD + b"\n.\n.x\nend\n"), shown(got))
