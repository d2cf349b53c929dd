"""Letters that have met a bug somewhere, and how to compare what came back."""

import re

from lib import Failure, check, same, show
from lib.mailbox import crlf

SENDER = "hedrick@topaz.test"

HEAD = (b"From: Charles Hedrick <hedrick@topaz.test>\n"
        b"To: Levy <levy@red.test>\n"
        b"Date: Thu, 02 Nov 1995 09:05:07 -0500\n"
        b"Message-ID: <19951102.interop@topaz.test>\n"
        b"Subject: meeting\n")

SLIDES = HEAD + b"\nLet's get together Monday at 1pm.\n"

# Every client in both directions has to carry each of these unchanged.
KINDS = {
    "the slides' letter": SLIDES,
    "lines of dots": HEAD + b"\n.\n..\n...\n.x\n. \n\n.\nthe last line is a dot\n.\n",
    "an end of data in its middle":
        HEAD + b"\nquoted:\n.\nQUIT\nMAIL FROM:<x@y.test>\n.\nstill this letter\n",
    "8-bit text": HEAD + b"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n"
                         b"Content-Transfer-Encoding: 8bit\n\n"
                         + "Привет, γειά σου, à bientôt, ¡hasta luego!\n".encode()
                         + bytes(range(0x80, 0x100)) + b" latin-1\n",
    "lines of 998 octets": HEAD + b"\n" + (b"x" * 998 + b"\n") * 3 + b"." + b"y" * 996 + b"\n",
    "blank lines, spaces and tabs at the ends":
        HEAD + b"Comments: folded\n\tonce and\n twice\n\n\n\n  indented \n\ttab\t\nend  \n",
    "a line that begins with From": HEAD + b"\nFrom here on\n>From there\nFrom: nobody\n",
    "no body": HEAD + b"\n",
}

# What a letter of everything has; for the round through pairs of clients.
ROUND = (HEAD + b"MIME-Version: 1.0\nContent-Transfer-Encoding: 8bit\n\n"
         + b".\n..\n.x\nFrom here\n" + "Понедельник, Δευτέρα, lunedì\n".encode()
         + b"z" * 998 + b"\n\n \n.\nthe end\n")

NO_FINAL_NEWLINE = SLIDES[:-1]


def big(octets):
    """A letter of about so many octets, with a dot at the start of every seventh line."""
    lines = [b"%s%07d %s" % (b"." * (n % 7 == 0), n, b"0123456789abcdef" * 4) for n in range(1000)]
    block = b"\n".join(lines) + b"\n"
    return HEAD + b"\n" + block * (octets // len(block) + 1)


TRACE = re.compile(rb"(?P<path>Return-Path: <[^\r\n]*>\r\n)?"
                   rb"(?P<received>Received: [^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*)?\Z")


def below_trace(got, letter, path=True):
    """Checks that `got` is the trace headers of one delivery (RFC 5321, 4.4), then `letter`.

    Line ends of both may be LF or CRLF. With `path` false Return-Path may be missing, for clients
    that keep it to themselves. Gives back the trace, unfolded.
    """
    got, want = crlf(got), crlf(letter)
    if not got.endswith(want):
        at = got.find(want[:20])
        same(got[at:] if at >= 0 else got, want, "the letter")
    trace = got[:len(got) - len(want)]
    found = TRACE.match(trace)
    check(found, f"not just one Return-Path and one Received above the letter: {show(trace, 600)}")
    check(found["path"] or not path, f"no Return-Path: {show(trace)}")
    check(found["received"], f"no Received: {show(trace)}")
    return re.sub(rb"\r\n[ \t]+", b" ", trace).decode("ascii")


def one(letters):
    """The only letter of a list."""
    if len(letters) != 1:
        raise Failure(f"{len(letters)} letters, expected one")
    return letters[0]
