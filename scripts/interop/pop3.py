"""pop3d by Python's poplib and Net::POP3: every command, what is refused, what outlives a session."""

import poplib
import re
import socket

from lib import LOOPBACK, Failure, check, same, show, test, wait_until
from lib.fixture import PASSWORD
from letters import HEAD, KINDS, SLIDES, crlf
from pop3_clients import net_pop3

THREE = [SLIDES, KINDS["lines of dots"], HEAD + b"\none\ntwo\nthree\nfour\n"]


def login(fixture, box, daemon=None, password=PASSWORD, apop=False):
    session = poplib.POP3(LOOPBACK, (daemon or fixture.pop3d).port, timeout=10)
    if apop:
        session.apop(box.name, password)
    else:
        session.user(box.name)
        session.pass_(password)
    return session


def refused(call, *args):
    """The text of the -ERR that the call meets."""
    try:
        answer = call(*args)
    except poplib.error_proto as error:
        check(error.args[0].startswith(b"-ERR"), f"not -ERR: {error}")
        return error.args[0]
    raise Failure(f"expected -ERR, not {show(repr(answer))}")


@test("poplib: STAT, LIST, UIDL, RETR agree: the octets of RETR are those that LIST told")
def sizes(fixture):
    letters = [*KINDS.values(), SLIDES[:-1], crlf(SLIDES), b"", b"\n", b"no header"]
    session = login(fixture, fixture.mailbox().lay(*letters))
    count, octets = session.stat()
    same(count, len(letters), "messages of STAT")
    listing = [tuple(map(int, line.split())) for line in session.list()[1]]
    same([number for number, _ in listing], list(range(1, count + 1)), "numbers of LIST")
    same(sum(size for _, size in listing), octets, "octets of STAT")
    for number, size in listing:
        same(session.list(number).split()[:3], [b"+OK", b"%d" % number, b"%d" % size], "LIST N")
        text = b"".join(line + b"\r\n" for line in session.retr(number)[1])
        same((text, len(text)), (crlf(letters[number - 1]), size), f"message {number}")
    ids = dict(line.split() for line in session.uidl()[1])
    same(len(set(ids.values())), count, "different ids")
    for number, name in ids.items():
        check(re.fullmatch(rb"[\x21-\x7e]{1,70}", name), f"not an id: {name}")
        same(session.uidl(int(number)).split()[1:], [number, name], "UIDL N")
    session.quit()


@test("poplib: TOP gives the header, the blank line and so many lines of the body")
def top(fixture):
    session = login(fixture, fixture.mailbox().lay(*THREE))
    header = HEAD.splitlines() + [b""]
    same(session.top(3, 0)[1], header, "TOP 3 0")
    same(session.top(3, 2)[1], header + [b"one", b"two"], "TOP 3 2")
    same(session.top(3, 999)[1], header + [b"one", b"two", b"three", b"four"], "TOP 3 999")
    same(session.top(2, 3)[1], header + [b".", b"..", b"..."], "TOP 2 3, dots unstuffed")
    for wrong in ("TOP 1", "TOP 1 -1", "TOP 1 x", "TOP 9 1", "TOP"):
        refused(session._shortcmd, wrong)
    session.quit()


@test("poplib: DELE hides without renumbering, RSET brings all back, QUIT deletes")
def dele(fixture):
    box = fixture.mailbox().lay(*THREE)
    session = login(fixture, box)
    session.dele(2)
    same(session.stat()[0], 2, "messages")
    same([line.split()[0] for line in session.list()[1]], [b"1", b"3"], "LIST")
    for command in (session.retr, session.dele, session.list, session.uidl):
        refused(command, 2)
    session.rset()
    same(session.stat()[0], 3, "messages after RSET")
    session.dele(1)
    session.dele(3)
    same(len(box.letters()), 3, "letters before QUIT")
    session.quit()
    same(box.letters(), [crlf(THREE[1])], "letters after QUIT")


@test("poplib: a connection that ends without QUIT deletes nothing")
def dropped(fixture):
    box = fixture.mailbox().lay(*THREE)
    session = login(fixture, box)
    session.dele(1)
    session.dele(2)
    session.close()
    wait_until("the child ends", lambda: not fixture.pop3d.alive())
    same(len(box.letters()), 3, "letters")
    session = login(fixture, box)
    same(session.stat()[0], 3, "messages")
    session.quit()


@test("poplib: numbers that are none are refused and the session lives")
def numbers(fixture):
    session = login(fixture, fixture.mailbox().lay(*THREE))
    for number in (0, 4, -1, "1x", 2**32 + 1, "1 2", "", "99999999999999999999"):
        refused(session._shortcmd, f"RETR {number}")
        refused(session._shortcmd, f"DELE {number}")
    for line in ("STAT 1", "NOOP 1", "QUIT 1", "FROB", "", "USER x", "x" * 250):
        refused(session._shortcmd, line)
    same(session.stat()[0], 3, "messages")
    session.quit()


@test("poplib: an over-long command is one -ERR, and its tail is not executed")
def long_command(fixture):
    box = fixture.mailbox().lay(*THREE)
    session = login(fixture, box)
    refused(session._shortcmd, "RETR " + "1" * 10_000 + " DELE 1")
    session.noop()
    same(session.stat()[0], 3, "messages")
    session.quit()


@test("poplib: CAPA in both states: TOP UIDL USER SASL PIPELINING RESP-CODES UTF8, no STLS")
def capa(fixture):
    session = poplib.POP3(LOOPBACK, fixture.pop3d.port, timeout=10)
    box = fixture.mailbox().lay()
    for _ in range(2):
        found = session.capa()
        for name in ("TOP", "UIDL", "USER", "SASL", "PIPELINING", "RESP-CODES", "AUTH-RESP-CODE", "UTF8"):
            check(name in found, f"{name} is missing: {found}")
        same(found["SASL"], ["PLAIN", "LOGIN"], "mechanisms")
        check("STLS" not in found, f"STLS is listed: {found}")
        if "IMPLEMENTATION" in found:
            break
        session.user(box.name)
        session.pass_(PASSWORD)
    session.quit()


@test("poplib: ids of UIDL are the same in the next session, also when others were deleted")
def uidl_stays(fixture):
    box = fixture.mailbox().lay(SLIDES, SLIDES, SLIDES)
    session = login(fixture, box)
    first = [line.split()[1] for line in session.uidl()[1]]
    session.retr(1)
    session.dele(2)
    session.quit()
    box.lay(SLIDES)
    session = login(fixture, box)
    second = [line.split()[1] for line in session.uidl()[1]]
    session.quit()
    same(second[:2], [first[0], first[2]], "ids that stay")
    check(second[2] not in first, f"an id was used again: {second}")


@test("poplib: a second session of the same user is told [IN-USE]; after QUIT it gets in")
def in_use(fixture):
    box = fixture.mailbox().lay(SLIDES)
    session = login(fixture, box)
    check(b"[IN-USE]" in refused(login, fixture, box), "no [IN-USE]")
    session.quit()
    login(fixture, box).quit()


@test("poplib: mail that arrives during the session stays unseen and is kept")
def arrives(fixture):
    box = fixture.mailbox().lay(SLIDES)
    session = login(fixture, box)
    box.lay(SLIDES)
    same(session.stat()[0], 1, "messages")
    session.dele(1)
    session.quit()
    same(len(box.letters()), 1, "letters")


@test("poplib: a wrong password and an unknown user get the same refusal, and may try again")
def wrong(fixture):
    box = fixture.mailbox().lay(SLIDES)
    session = poplib.POP3(LOOPBACK, fixture.pop3d.port, timeout=10)
    answers = []
    for name in (box.name, "nobody-here"):
        session.user(name)
        answers.append(refused(session.pass_, "wrong"))
    same(answers[0], answers[1], "refusals")
    check(b"[AUTH]" in answers[0], f"no [AUTH] (RFC 3206): {answers[0]}")
    refused(session.stat)
    session.user(box.name)
    session.pass_(PASSWORD)
    same(session.stat()[0], 1, "messages")
    session.quit()


@test("poplib: a password with spaces, also at its end, and a colon-free 8-bit one work")
def odd_passwords(fixture):
    for password in (" two  spaces ", "-dash", "пароль", '"quoted" \\'):
        box = fixture.mailbox(password).lay(SLIDES)
        for daemon in (fixture.pop3d, fixture.apop_pop3d):
            session = poplib.POP3(LOOPBACK, daemon.port, timeout=10)
            session.encoding = "UTF-8"
            session.user(box.name)
            session.pass_(password)
            same(session.stat()[0], 1, "messages")
            session.quit()


@test("poplib: APOP: right, wrong, and a timestamp that is new for each session")
def apop(fixture):
    box = fixture.mailbox().lay(SLIDES)
    daemon = fixture.apop_pop3d
    stamps = set()
    for _ in range(5):
        session = login(fixture, box, daemon, apop=True)
        same(session.stat()[0], 1, "messages")
        stamps.add(re.search(rb"<[^ >]+@[^ >]+>", session.getwelcome()).group())
        session.quit()
    same(len(stamps), 5, "timestamps")
    check(b"[AUTH]" in refused(login, fixture, box, daemon, "wrong", True), "no [AUTH]")
    refused(login, fixture, box, daemon, PASSWORD + " ", True)


@test("poplib: where no password is known in clear, no timestamp is offered and APOP is refused")
def no_apop(fixture):
    box = fixture.mailbox().lay(SLIDES)
    session = poplib.POP3(LOOPBACK, fixture.pop3d.port, timeout=10)
    check(b"<" not in session.getwelcome(), f"greeting: {session.getwelcome()}")
    refused(session._shortcmd, f"APOP {box.name} {'0' * 32}")
    session.quit()


@test("poplib: a maildrop of 3,000 messages: LIST, UIDL, the last one, delete them all")
def many(fixture):
    letters = [b"Subject: %d\n\nbody\n" % number for number in range(3000)]
    box = fixture.mailbox().lay(*letters)
    session = login(fixture, box)
    same(len(session.list()[1]), 3000, "LIST")
    same(len(session.uidl()[1]), 3000, "UIDL")
    same(session.retr(3000)[1][0], b"Subject: 2999", "the last one")
    for number in range(1, 3001):
        session.dele(number)
    same(session.stat(), (0, 0), "STAT")
    session.quit()
    same(box.letters(), [], "letters")


@test("Python sockets: USER, PASS, STAT and QUIT in one packet: four replies in order")
def one_packet(fixture):
    box = fixture.mailbox().lay(SLIDES)
    with socket.create_connection((LOOPBACK, fixture.pop3d.port), timeout=10) as sock:
        sock.sendall(f"USER {box.name}\r\nPASS {PASSWORD}\r\nSTAT\r\nqUiT\r\n".encode())
        replies = sock.makefile("rb").read().splitlines()
    same(len(replies), 5, "replies")
    check(all(reply.startswith(b"+OK") for reply in replies), f"replies: {replies}")
    same(replies[3].split()[1], b"1", "messages")


@test("nc: a dialogue by hand, with LF alone and in any case")
def by_hand(fixture):
    box = fixture.mailbox().lay(SLIDES)
    with fixture.dialogue("nc", LOOPBACK, fixture.pop3d.port) as session:
        session.line(b"+OK ")
        for line, reply in ((f"user {box.name}", b"+OK"), (f"Pass {PASSWORD}", b"+OK"),
                            ("stat", b"+OK 1 "), ("list", b"+OK")):
            session.type(line.encode() + b"\n")
            session.line(reply)
        session.until(b"\r\n.\r\n")
        session.type(b"retr 1\n")
        session.line(b"+OK")
        same(session.until(b"\r\n.\r\n")[:-3], crlf(SLIDES), "the letter")
        session.type(b"quit\n")
        session.line(b"+OK")
        session.end_of_input()
        same(session.rest(), b"", "after QUIT")


# Net::POP3

@test("Net::POP3: popstat, list, uidl, top, capabilities; what is not there is refused")
def perl_asks(fixture):
    box = fixture.mailbox().lay(*THREE)
    out = net_pop3(fixture, box, "login", "ask").good()
    octets = [len(crlf(letter)) for letter in THREE]
    header = len(HEAD.splitlines()) + 1
    out.says(f"messages: 3\npopstat: 3 {sum(octets)}\n",
             "".join(f"list: {number} {size}\n" for number, size in enumerate(octets, 1)),
             f"list 1: {octets[0]}\n", f"top 1 0: {header}\n", f"top 1 2: {header + 1}\n",
             "get 999: no\n", "last: no\n", "ping: no\n", "capability: TOP ", "quit\n")
    ids = dict(re.findall(r"^uidl: (\d) (\S+)$", out.text, re.M))
    same(sorted(ids), ["1", "2", "3"], "numbers of uidl")
    out.says(f"uidl 1: {ids['1']}\n")


@test("Net::POP3: delete, reset, delete: only the last one counts")
def perl_deletes(fixture):
    box = fixture.mailbox().lay(*THREE)
    out = net_pop3(fixture, box, "login", "delete", 2).good()
    total = sum(len(crlf(letter)) for letter in THREE)
    out.says(f"after delete: 2 {total - len(crlf(THREE[1]))}\n", f"after reset: 3 {total}\n",
             "deleted twice: no\n")
    same(box.letters(), [crlf(THREE[0]), crlf(THREE[2])], "letters")


@test("Net::POP3: a wrong password by login and by apop is refused")
def perl_wrong(fixture):
    box = fixture.mailbox().lay(SLIDES)
    net_pop3(fixture, box, "login", "ask", password="wrong").bad("login: ")
    net_pop3(fixture, box, "apop", "ask", password="wrong", daemon=fixture.apop_pop3d).bad("apop: ")
