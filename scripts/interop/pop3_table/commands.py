"""Probes of commands: how a line is read, what is valid where (RFC 1939 section 3, RFC 2449 section 4)."""

import socket
import time

from wire import PASSWORD, SILENCE, Session, Unlike, logged_in, probe, shown, want

LETTER = b"From: a@red.test\nSubject: one\n\nfirst line\nsecond line\n"


@probe("the greeting is one line that begins with +OK")
def greeting(server):
    with Session(server) as session:
        want(session.greeting.startswith(b"+OK"), shown(session.greeting))
        try:
            session.more(SILENCE)
        except Unlike:
            return
        raise Unlike(f"more than a line: {shown(session.held)}")


@probe("`qUiT` and `uSeR` work: case does not matter")
def case(server):
    user = server.user(LETTER)
    with Session(server) as session:
        session.ok(f"uSeR {user}")
        session.ok(f"pAsS {PASSWORD}")
        session.ok("sTaT")
        session.ok("qUiT")
        session.ends()


@probe("an unknown command: -ERR, the session lives")
def unknown(server):
    user, session = logged_in(server, [LETTER])
    with session:
        session.err("FROB 1")
        session.err("RETRIEVE 1")
        session.is_alive()


@probe("an unknown command before the login: -ERR, the session lives")
def unknown_before(server):
    user = server.user(LETTER)
    with Session(server) as session:
        session.err("FROB")
        session.login(user)


@probe("an empty line: -ERR, the session lives")
def empty(server):
    user, session = logged_in(server, [LETTER])
    with session:
        session.err("")
        session.is_alive()


@probe("STAT, RETR, DELE before the login: -ERR, the session lives")
def too_early(server):
    user = server.user(LETTER)
    with Session(server) as session:
        for command in ("STAT", "RETR 1", "DELE 1"):
            session.err(command)
        session.login(user)


@probe("USER after the login: -ERR, the session lives")
def too_late(server):
    user, session = logged_in(server, [LETTER])
    with session:
        session.err(f"USER {user}")
        session.is_alive()


@probe("`STAT x` and `NOOP x`: -ERR")
def superfluous(server):
    user, session = logged_in(server, [LETTER])
    with session:
        session.err("STAT x")
        session.err("NOOP x")
        session.is_alive()


@probe("`QUIT 1`: -ERR, and nothing is deleted")
def quit_with_argument(server):
    user, session = logged_in(server, [LETTER])
    with session:
        session.ok("DELE 1")
        session.err("QUIT 1")
        session.ok("RSET")
        session.quit()
    want(len(server.letters(user)) == 1, "the letter is gone")


@probe("a line that LF alone ends is taken")
def bare_lf(server):
    user, session = logged_in(server, [LETTER])
    with session:
        session.send(b"STAT\n")
        want(session.reply().startswith(b"+OK 1 "), "another reply")


@probe("NUL in a command: -ERR, the session lives")
def nul(server):
    user, session = logged_in(server, [LETTER])
    with session:
        session.err(b"NOOP\0")
        session.err(b"RETR 1\0")
        session.is_alive()


@probe("a line of 255 octets is read as a command (RFC 2449 section 4)")
def long_enough(server):
    with Session(server) as session:
        session.ok("USER " + "x" * 248)
        session.quit()


@probe("a line of 10 kB: exactly one -ERR, its tail is not executed, the session lives")
def too_long(server):
    user, session = logged_in(server, [LETTER])
    with session:
        session.err("NOOP " + "x" * 10_000 + " DELE 1")
        session.is_alive()
        want(session.ok("STAT").startswith(b"+OK 1 "), "the letter is marked")


@probe("a line of 1 MB before the login: one -ERR, the session lives")
def far_too_long(server):
    user = server.user(LETTER)
    with Session(server) as session:
        session.err("USER " + "y" * 1_000_000)
        session.login(user)


@probe("a byte at a time is the same as a packet")
def byte_wise(server):
    user = server.user(LETTER)
    with Session(server) as session:
        for command, start in ((f"USER {user}", b"+OK"), (f"PASS {PASSWORD}", b"+OK"), ("LIST 1", b"+OK 1 ")):
            for octet in (command + "\r\n").encode():
                session.send(bytes([octet]))
                time.sleep(0.001)
            line = session.reply()
            want(line.startswith(start), f"{command}: {shown(line)}")


@probe("USER, PASS and STAT in one packet: three replies, in order")
def together(server):
    user = server.user(LETTER)
    with Session(server) as session:
        session.send(f"USER {user}\r\nPASS {PASSWORD}\r\nSTAT\r\n".encode())
        replies = [session.reply() for _ in range(3)]
        want(all(line.startswith(b"+OK") for line in replies), shown(b" / ".join(replies)))
        want(replies[2].startswith(b"+OK 1 "), shown(replies[2]))


@probe("a whole session in one packet, then the client's end: everything is answered and done")
def all_at_once(server):
    user = server.user(LETTER)
    with Session(server) as session:
        session.send(f"USER {user}\r\nPASS {PASSWORD}\r\nRETR 1\r\nDELE 1\r\nQUIT\r\n".encode())
        session.socket.shutdown(socket.SHUT_WR)
        for _ in range(2):
            want(session.reply().startswith(b"+OK"), "no login")
        want(session.reply().startswith(b"+OK"), "no RETR")
        while session.line() != b".":
            pass
        for _ in range(2):
            want(session.reply().startswith(b"+OK"), "no DELE and QUIT")
        session.ends()
    want(not server.letters(user), "the letter is still there")


@probe("50 commands in flight: 50 replies, in order")
def pipelined(server):
    user, session = logged_in(server, [LETTER] * 50)
    with session:
        session.send(b"".join(b"LIST %d\r\n" % number for number in range(1, 51)))
        for number in range(1, 51):
            line = session.reply()
            want(line.startswith(b"+OK %d " % number), f"{number}: {shown(line)}")


@probe("more than one blank before an argument is taken")
def blanks(server):
    user = server.user(LETTER)
    with Session(server) as session:
        session.ok(f"USER  {user}")
        session.ok(f"PASS {PASSWORD}")
        session.ok("LIST   1")
        session.octets("TOP  1  0")


@probe("a blank behind a command is taken")
def trailing_blank(server):
    user, session = logged_in(server, [LETTER])
    with session:
        session.ok("STAT ")
        session.ok("LIST 1 ")


@probe("a hundred wrong commands in one packet: a hundred -ERR, or the connection is ended; no other reply")
def many_wrong(server):
    user, session = logged_in(server, [LETTER])
    with session:
        session.send(b"FROB\r\n" * 100 + b"NOOP\r\n")
        for expected in (*[b"-ERR"] * 100, b"+OK"):
            try:
                line = session.reply()
            except Unlike as unlike:
                want(str(unlike).startswith("closes"), str(unlike))
                return
            want(line.startswith(expected), shown(line))
