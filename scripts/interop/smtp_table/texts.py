"""Probes of what becomes of a text: its end, its dots, its trace, and what comes beside it."""

import re
import socket
import time

from servers import MEMBERS
from side_by_side import probe
from wire import HELO, LETTER, SENDER, Session, Unlike, arrived, body, shown, want

# What never ends a letter (section 4.1.1.4): CRLF.CRLF alone does.
NO_END = {"LF.LF": b"\n.\n", "LF.CRLF": b"\n.\r\n", "CRLF.LF": b"\r\n.\n", "CR.CR": b"\r.\r", "CR.CRLF": b"\r.\r\n",
          "CRLF.CR": b"\r\n.\r", "LF.CR": b"\n.\r", "CR.LF": b"\r.\n"}
LINES = b".\n..\n...\n.x\n x\n\nend\n"


def stuffed(text):
    return b"".join(b"." * line.startswith(b".") + line + b"\r\n" for line in text.split(b"\n")[:-1])


def sent(server, text, head=b"Subject: meeting\r\n\r\n"):
    """The letter as it lies in the mailbox."""
    user = server.user()
    with Session(server) as session:
        session.letter(user, head + stuffed(text))
        session.is_alive()
    return arrived(server, user)[0]


@probe("the letter arrives, and the 250 to its end came after that of DATA")
def arrives(server):
    want(body(sent(server, b"text\n")) == b"text\n", "another text")


@probe("`..` is `.`, `.x` is `x`: dots are taken away once")
def dots(server):
    got = body(sent(server, LINES))
    want(got == LINES, shown(got))


@probe("lines of 998 octets and more arrive whole", )
def long_lines(server):
    text = b"x" * 998 + b"\n" + b"y" * 2000 + b"\nend\n"
    got = body(sent(server, text))
    want(got == text, f"{len(got)} octets, not {len(text)}")


@probe("every octet but CR, LF and NUL arrives as it is")
def octets(server):
    text = bytes(one for one in range(1, 256) if one not in b"\r\n") + b"\n"
    got = body(sent(server, text))
    want(got == text, shown(got))


@probe("a letter without a header has a blank line above its text")
def no_header(server):
    letter = sent(server, b"only text, no header\nmore\n", head=b"")
    want(body(letter) == b"only text, no header\nmore\n", shown(letter[-90:]))


@probe("a letter whose first line is blank keeps it")
def blank_first(server):
    want(body(sent(server, b"\ntext\n", head=b"")).endswith(b"text\n"), "another text")


@probe("an empty letter, `.` at once, is a letter")
def empty(server):
    user = server.user()
    with Session(server) as session:
        session.begin(user)
        session.ask("DATA", "354")
        session.ask(b".\r\n", "250")
    want(body(arrived(server, user)[0]).strip() == b"", "a text")


@probe("the end of data cut at every octet is the end")
def cut(server):
    user, end = server.user(), b"x\r\n.\r\n"
    for at in range(1, len(end)):
        with Session(server) as session:
            session.begin(user)
            session.ask("DATA", "354")
            session.send(b"Subject: x\r\n\r\n" + end[:at])
            time.sleep(0.02)
            session.ask(end[at:], "250")
    arrived(server, user, len(end) - 1)


def smuggles(server, sequence):
    """Sends a sequence that is no end, commands behind it, and the true end; the commands must not have been carried out.
    Cut in two at every octet of it."""
    for at in range(len(sequence) + 1):
        user = server.user() if at == 0 else user
        with Session(server) as session:
            session.begin(user)
            session.ask("DATA", "354")
            forged = f"MAIL FROM:<forged@b.test>\r\nRCPT TO:<{server.address(user)}>\r\nDATA\r\nSubject: forged\r\n\r\nx".encode()
            session.send(b"Subject: x\r\n\r\ntext" + sequence[:at])
            time.sleep(0.01)
            session.send(sequence[at:] + forged + b"\r\n.\r\n")
            session.reply()
            session.silent()
            session.is_alive()
    for letter in server.letters(user):
        want(b"Return-Path: <forged" not in letter, "a second letter")


for name, octets_of_it in NO_END.items():
    probe(f"{name} is no end of data: nothing behind it is a command")(lambda server, it=octets_of_it: smuggles(server, it))


@probe("a bare LF in a text is refused, or stored as a line end")
def bare_lf(server):
    user = server.user()
    with Session(server) as session:
        reply = session.letter(user, b"Subject: x\r\n\r\none\ntwo\r\n", "250|550|554")
        session.is_alive()
    if reply.startswith(b"250"):
        want(body(arrived(server, user)[0]) == b"one\ntwo\n", "another text")


@probe("a bare CR in a text is refused, or stored without being a line end")
def bare_cr(server):
    user = server.user()
    with Session(server) as session:
        reply = session.letter(user, b"Subject: x\r\n\r\none\rtwo\r\n", "250|550|554")
        session.is_alive()
    if reply.startswith(b"250"):
        want(arrived(server, user)[0].endswith(b"one\rtwo\n"), "another text")


def counted(server, user):
    """How many letters a user has but for a marker, which is sent now: what came before lies there when it does."""
    with Session(server) as session:
        session.letter(user, b"Subject: marker\r\n\r\nthe marker\r\n")
    letters = []
    while not any(b"\nthe marker\n" in letter for letter in letters):
        letters = arrived(server, user, len(letters) + 1)
    return len(letters) - 1


@probe("a connection that ends inside a text leaves nothing")
def lost(server):
    user = server.user()
    with Session(server) as session:
        session.begin(user)
        session.ask("DATA", "354")
        session.send(LETTER + b".\r")
        session.socket.shutdown(socket.SHUT_WR)
        while session.more():  # until the server has seen the end, and has ended too
            pass
    count = counted(server, user)
    want(count == 0, f"{count} letters")


# The trace: section 4.4.

def fields(letter):
    """The header's fields, unfolded."""
    head = letter.replace(b"\r\n", b"\n").partition(b"\n\n")[0].decode("ascii", "replace")
    return re.sub(r"\n[ \t]+", " ", head).split("\n")


@probe("Return-Path stands once, with the sender of MAIL")
def return_path(server):
    found = [line for line in fields(sent(server, b"x\n")) if line.lower().startswith("return-path:")]
    want(found == [f"Return-Path: <{SENDER}>"], str(found))


@probe("Received names HELO, the client's address, `with ESMTP`, an id; FOR at most once")
def received(server):
    lines = [line for line in fields(sent(server, b"x\n")) if line.startswith("Received:")]
    want(len(lines) == 1, f"{len(lines)} of them")
    for part in (HELO, r"\[127\.0\.0\.1\]", r"\bwith ESMTP\b", r"\bid \S+", r";.*\d\d:\d\d:\d\d"):
        want(re.search(part, lines[0]), f"no {part}: {lines[0]}")
    want(len(re.findall(r" for <", lines[0])) <= 1, "several FOR")


@probe("with two recipients neither stands in the other's letter")
def two(server):
    users = server.user(), server.user()
    with Session(server) as session:
        session.begin(*users)
        session.ask("DATA", "354")
        session.ask(LETTER + b".\r\n", "250")
    for user, other in (users, users[::-1]):
        want(other.encode() not in arrived(server, user)[0], "it does")


@probe("a second letter to the same user in a session is whole, and nothing of the first is in it")
def twice(server):
    user = server.user()
    with Session(server) as session:
        session.letter(user, b"Subject: one\r\n\r\nfirst\r\n")
        session.letter(user, b"Subject: two\r\n\r\nsecond\r\n")
    texts = sorted(body(letter) for letter in arrived(server, user, 2))
    want(texts == [b"first\n", b"second\n"], str(texts))


@probe("one recipient twice in a transaction gets one letter")
def same_twice(server):
    user = server.user()
    with Session(server) as session:
        session.begin(user, user)
        session.ask("DATA", "354")
        session.ask(LETTER + b".\r\n", "250")
    count = counted(server, user)
    want(count == 1, f"{count} letters")


@probe("a letter to a group of groups: each member has it once")
def group(server):
    before = {name: len(server.letters(name)) for name in MEMBERS}
    with Session(server) as session:
        session.begin("all", "staff")
        session.ask("DATA", "354")
        session.ask(LETTER + b".\r\n", "250")
    got = [counted(server, name) - before[name] for name in MEMBERS]
    want(got == [1, 1, 1], str(got))


@probe("a letter to user+tag lies in the user's mailbox")
def tagged(server):
    user = server.user()
    with Session(server) as session:
        session.letter(f"{user}+tag@red.test")
    arrived(server, user)


@probe("100 Received: end a loop with 554 5.4.6")
def loop(server):
    user = server.user()
    with Session(server) as session:
        session.letter(user, b"Received: from a.test by b.test; Mon, 30 Nov 2026 09:00:00 +0000\r\n" * 101 + LETTER, "5.. 5.4.6")


@probe("100 recipients of a letter are taken (§4.5.3.1.8)")
def hundred(server):
    user = server.user()
    with Session(server) as session:
        session.begin()
        for number in range(100):
            session.ask(f"RCPT TO:<{server.address(f'u{number:03}')}>", "250")
        session.ask("RSET", "250")
        session.letter(user)


@probe("the greeting begins with 220 and our name")
def greeting(server):
    with Session(server) as session:
        want(session.greeting.startswith(b"220 red.test "), shown(session.greeting))


@probe("a client that says nothing hears nothing but the greeting")
def unasked(server):
    with Session(server) as session:
        session.silent()


# Extensions.

EXTENSIONS = ("SIZE", "PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES", "CHUNKING", "STARTTLS", "HELP")


def lists(server, name):
    with Session(server) as session:
        want(name in session.hello(), "it does not")


for extension in EXTENSIONS:
    probe(f"EHLO lists {extension}")(lambda server, it=extension: lists(server, it))


def needs(session, extension):
    """Ends the probe where an extension is not listed."""
    want(extension in session.hello(), f"no {extension}")


@probe("each reply from 2xx to 5xx but the greeting's and HELO's has an enhanced code (RFC 2034)")
def enhanced(server):
    user = server.user()
    with Session(server) as session:
        needs(session, "ENHANCEDSTATUSCODES")
        for command in (f"MAIL FROM:<{SENDER}>", "RCPT TO:<nobody-here@red.test>", f"RCPT TO:<{server.address(user)}>", "FROB",
                        "RSET", "DATA", "NOOP", "QUIT"):
            reply = session.ask(command, "[25]")
            want(re.match(rb"(2..) 2\.\d+\.\d+ |(5..) 5\.\d+\.\d+ ", reply), f"{command}: {shown(reply)}")


@probe("BDAT in two pieces is a letter (RFC 3030)")
def bdat(server):
    user = server.user()
    with Session(server) as session:
        needs(session, "CHUNKING")
        session.ask(f"MAIL FROM:<{SENDER}>")
        session.ask(f"RCPT TO:<{server.address(user)}>")
        half = len(LETTER) // 2
        session.ask(b"BDAT %d\r\n" % half + LETTER[:half], "250")
        session.ask(b"BDAT %d LAST\r\n" % (len(LETTER) - half) + LETTER[half:], "250")
        session.is_alive()
    want(body(arrived(server, user)[0]) == b"Monday at 1pm\n", "another text")


@probe("BDAT: a dot on a line of its own is text, and is not doubled")
def bdat_dots(server):
    user = server.user()
    text = b"Subject: x\r\n\r\n.\r\n..\r\nend\r\n"
    with Session(server) as session:
        needs(session, "CHUNKING")
        session.ask(f"MAIL FROM:<{SENDER}>")
        session.ask(f"RCPT TO:<{server.address(user)}>")
        session.ask(b"BDAT %d LAST\r\n" % len(text) + text, "250")
    want(body(arrived(server, user)[0]) == b".\n..\nend\n", "another text")


@probe("a refused BDAT's octets are consumed")
def bdat_refused(server):
    with Session(server) as session:
        needs(session, "CHUNKING")
        session.ask(b"BDAT 23 LAST\r\nRCPT TO:<a@red.test>\r\nX", "50[0-9]|554")
        session.is_alive()


@probe("BDAT, then DATA, is 503")
def bdat_data(server):
    user = server.user()
    with Session(server) as session:
        needs(session, "CHUNKING")
        session.ask(f"MAIL FROM:<{SENDER}>")
        session.ask(f"RCPT TO:<{server.address(user)}>")
        session.ask(b"BDAT 3\r\nabc", "250")
        session.ask("DATA", "503")


@probe("NOTIFY, ORCPT, RET and ENVID are taken (RFC 3461)")
def dsn(server):
    user = server.user()
    with Session(server) as session:
        needs(session, "DSN")
        session.ask(f"MAIL FROM:<{SENDER}> RET=HDRS ENVID=QQ314159", "250")
        session.ask(f"RCPT TO:<{server.address(user)}> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;levy@red.test", "250")


@probe("NOTIFY=NEVER,SUCCESS is 501")
def dsn_wrong(server):
    user = server.user()
    with Session(server) as session:
        needs(session, "DSN")
        session.ask(f"MAIL FROM:<{SENDER}>", "250")
        session.ask(f"RCPT TO:<{server.address(user)}> NOTIFY=NEVER,SUCCESS", "501")


@probe("a sender in UTF-8 is taken with SMTPUTF8 (RFC 6531)")
def utf8(server):
    user = server.user()
    with Session(server) as session:
        needs(session, "SMTPUTF8")
        session.ask("MAIL FROM:<лев@пример.test> SMTPUTF8 BODY=8BITMIME", "250")
        session.ask(f"RCPT TO:<{server.address(user)}>", "250")


@probe("and without it refused")
def utf8_without(server):
    with Session(server) as session:
        needs(session, "SMTPUTF8")
        session.ask("MAIL FROM:<лев@пример.test>", "5")


@probe("STARTTLS: what was said before counts no more; EHLO lists no STARTTLS then")
def starttls(server):
    with Session(server) as session:
        needs(session, "STARTTLS")
        session.ask("STARTTLS", "220")
        session.start_tls()
        session.ask(f"MAIL FROM:<{SENDER}>", "503|530")
        want("STARTTLS" not in session.hello(), "it is listed")


@probe("NOOP in the packet of STARTTLS never runs")
def injection(server):
    with Session(server) as session:
        needs(session, "STARTTLS")
        session.send(b"STARTTLS\r\nNOOP\r\n")
        try:
            session.expect("220")
            session.start_tls()
        except (Unlike, OSError):
            return  # refused, or the connection is ended
        session.silent()
        session.ask(f"EHLO {HELO}", "250")


@probe("a letter by TLS is `with ESMTPS`")
def esmtps(server):
    user = server.user()
    with Session(server, tls=True) as session:
        session.letter(user)
    want(any(" with ESMTPS " in line for line in fields(arrived(server, user)[0])), "it is not")
