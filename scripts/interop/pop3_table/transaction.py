"""Probes of TRANSACTION and UPDATE (RFC 1939 sections 5 to 7)."""

import re
import socket
import struct
import time

from framing import LINES, crlf
from wire import Session, Unlike, logged_in, probe, shown, want

ONE, TWO, THREE = (b"Subject: %d\n\nbody %d\n" % (number, number) for number in (1, 2, 3))


@probe("LIST of an empty maildrop: +OK and a dot")
def list_nothing(server):
    user, session = logged_in(server, [])
    with session:
        want(session.multi("LIST") == [], "a listing")


@probe("UIDL of an empty maildrop: +OK and a dot")
def uidl_nothing(server):
    user, session = logged_in(server, [])
    with session:
        want(session.multi("UIDL") == [], "a listing")


@probe("STAT of an empty maildrop: `+OK 0 0`")
def stat_nothing(server):
    user, session = logged_in(server, [])
    with session:
        line = session.ok("STAT")
        want(line.split()[:3] == [b"+OK", b"0", b"0"], shown(line))


@probe("LIST 2: `+OK 2 size`")
def list_one(server):
    user, session = logged_in(server, [ONE, TWO])
    with session:
        line = session.ok("LIST 2")
        want(line.split()[:3] == [b"+OK", b"2", b"%d" % len(crlf(TWO))], shown(line))


@probe("UIDL 2: `+OK 2 id`, that of the listing")
def uidl_one(server):
    user, session = logged_in(server, [ONE, TWO])
    with session:
        listed = session.multi("UIDL")[1]
        want(session.ok("UIDL 2") == b"+OK " + listed, "another id")


@probe("DELE: LIST, UIDL and STAT leave it out, nothing is renumbered")
def dele(server):
    user, session = logged_in(server, [ONE, TWO, THREE])
    with session:
        session.ok("DELE 2")
        for command in ("LIST", "UIDL"):
            numbers = [line.split()[0] for line in session.multi(command)]
            want(numbers == [b"1", b"3"], f"{command}: {numbers}")
        want(session.ok("STAT").split()[1] == b"2", "STAT counts it")
        session.octets("RETR 3")


for COMMAND in ("RETR 2", "TOP 2 0", "LIST 2", "UIDL 2", "DELE 2"):
    @probe(f"{COMMAND} of a deleted message: -ERR")
    def deleted(server, command=COMMAND):
        user, session = logged_in(server, [ONE, TWO, THREE])
        with session:
            session.ok("DELE 2")
            session.err(command)
            session.is_alive()

for NUMBER in ("0", "4", "-1", "1x", "4294967297", "18446744073709551617", ""):
    @probe(f"RETR, DELE, LIST, TOP of `{NUMBER}`, with three messages: -ERR"
           if NUMBER else "RETR, DELE without a number: -ERR")
    def no_number(server, number=NUMBER):
        user, session = logged_in(server, [ONE, TWO, THREE])
        with session:
            for command in ("RETR", "DELE", *(("LIST", "UIDL") if number else ())):
                session.err(f"{command} {number}".strip())
            session.err(f"TOP {number} 1" if number else "TOP")
            want(session.ok("STAT").split()[1] == b"3", "one is marked")


@probe("RETR 1 2: -ERR")
def two_numbers(server):
    user, session = logged_in(server, [ONE, TWO, THREE])
    with session:
        session.err("RETR 1 2")
        session.err("DELE 1 2")


@probe("RSET brings all back")
def rset(server):
    user, session = logged_in(server, [ONE, TWO, THREE])
    with session:
        session.ok("DELE 1")
        session.ok("DELE 3")
        session.ok("RSET")
        want(len(session.multi("LIST")) == 3, "not all")
        session.quit()
    want(len(server.letters(user)) == 3, "letters are gone")


@probe("ids: 1 to 70 characters of 0x21 to 0x7E (RFC 1939 section 7)")
def ids(server):
    user, session = logged_in(server, [ONE, TWO, THREE])
    with session:
        for name in session.ids():
            want(re.fullmatch(rb"[\x21-\x7e]{1,70}", name), shown(name))


@probe("ids differ, also of equal letters")
def equal_letters(server):
    user, session = logged_in(server, [ONE, ONE, ONE])
    with session:
        want(len(set(session.ids())) == 3, "two are the same")


def ids_of(server, user):
    with Session(server) as session:
        session.login(user)
        found = session.ids()
        session.quit()
    return found


@probe("ids are the same in the next session")
def next_session(server):
    user = server.user(ONE, TWO, THREE)
    want(ids_of(server, user) == ids_of(server, user), "others")


@probe("ids are the same after a session that broke off with DELE")
def aborted_session(server):
    user = server.user(ONE, TWO, THREE)
    before = ids_of(server, user)
    with Session(server) as session:
        session.login(user)
        session.octets("RETR 1")
        session.ok("DELE 1")
    free(server, user)
    want(ids_of(server, user) == before, "others")


@probe("ids are the same after another letter was deleted")
def after_deletion(server):
    user = server.user(ONE, TWO, THREE)
    before = ids_of(server, user)
    with Session(server) as session:
        session.login(user)
        session.ok("DELE 2")
        session.quit()
    want(ids_of(server, user) == [before[0], before[2]], "others")


@probe("ids are the same when a reader has marked a letter (Maildir: cur and :2,S; mbox: Status: RO)")
def marked(server):
    user = server.user(ONE, TWO, THREE)
    before = ids_of(server, user)
    server.mark_as_read(user)
    want(sorted(ids_of(server, user)) == sorted(before), "others")


@probe("ids are the same after a restart of the server")
def restarted(server):
    user = server.user(ONE, TWO, THREE)
    before = ids_of(server, user)
    server.restart()
    want(ids_of(server, user) == before, "others")


@probe("a new letter's id is none that was used before")
def new_ids(server):
    user = server.user(ONE, TWO)
    before = ids_of(server, user)
    with Session(server) as session:
        session.login(user)
        session.ok("DELE 2")
        session.quit()
    server.deliver(user, THREE)
    want(ids_of(server, user)[1] not in before, "it is used again")


@probe("RETR of a letter whose file another program has removed: -ERR, the session lives", maildir_only=True)
def vanished(server):
    user, session = logged_in(server, [ONE, TWO, THREE])
    with session:
        session.multi("LIST")
        server.remove(user, b"body 2")
        session.err("RETR 2")
        want(session.octets("RETR 3") == crlf(THREE), "another letter")


@probe("DELE of such a letter, then QUIT: the others that were marked are gone", maildir_only=True)
def vanished_update(server):
    user, session = logged_in(server, [ONE, TWO, THREE])
    with session:
        session.multi("LIST")
        server.remove(user, b"body 2")
        for number in (1, 2, 3):
            session.ask(f"DELE {number}")
        session.ask("QUIT")
        session.ends()
    want(server.letters(user) == [], "letters are left")


@probe("a letter whose name changes meanwhile (another program marks it) is still read", maildir_only=True)
def renamed(server):
    user, session = logged_in(server, [ONE, TWO, THREE])
    with session:
        session.multi("LIST")
        server.mark_as_read(user)
        want(session.octets("RETR 2") == crlf(TWO), "another letter")
        session.ok("DELE 2")
        session.quit()
    want(len(server.letters(user)) == 2, f"{len(server.letters(user))} letters are left")


@probe("mail that arrives during the session is not seen, and is kept")
def arrives(server):
    user, session = logged_in(server, [ONE, TWO])
    with session:
        server.deliver(user, THREE)
        want(session.ok("STAT").split()[1] == b"2", "it is counted")
        session.ok("DELE 1")
        session.ok("DELE 2")
        session.quit()
    want([b"body 3" in letter for letter in server.letters(user)] == [True], "it is not kept")


@probe("QUIT deletes what is marked and nothing else, before its +OK")
def update(server):
    user, session = logged_in(server, [ONE, TWO, THREE])
    with session:
        session.ok("DELE 1")
        session.ok("DELE 3")
        session.ok("QUIT")
        left = server.letters(user)
        want(len(left) == 1 and b"body 2" in left[0], f"{len(left)} letters at the +OK")


@probe("what is not marked is afterwards octet for octet what it was")
def untouched(server):
    user, session = logged_in(server, [LINES, TWO, LINES + b".\n.x\n"])
    with session:
        session.ok("DELE 2")
        session.quit()
    with Session(server) as session:
        session.login(user)
        want(session.octets("RETR 1") == crlf(LINES), "the first has changed")
        want(session.octets("RETR 2") == crlf(LINES + b".\n.x\n"), "the last has changed")


@probe("a connection that drops deletes nothing")
def dropped(server):
    user, session = logged_in(server, [ONE, TWO])
    with session:
        session.ok("DELE 1")
        session.ok("DELE 2")
    free(server, user)
    want(len(server.letters(user)) == 2, "letters are gone")


@probe("a connection that is reset within RETR loses nothing")
def reset(server):
    user, session = logged_in(server, [ONE + b"x" * 79 + b"\n" + b"more\n" * 400_000])
    session.send(b"DELE 1\r\nRSET\r\nRETR 1\r\n")
    session.reply()
    session.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    session.socket.close()
    free(server, user)
    want(len(server.letters(user)) == 1, "the letter is gone")


@probe("DELE in 200 letters at once, QUIT in the same packet: all are gone at its +OK")
def many(server):
    user, session = logged_in(server, [ONE] * 200)
    with session:
        session.send(b"".join(b"DELE %d\r\n" % number for number in range(1, 201)) + b"QUIT\r\n")
        for _ in range(201):
            want(session.reply().startswith(b"+OK"), "one is refused")
        want(server.letters(user) == [], "letters are left")


def free(server, user):
    """Waits until no session has the maildrop any more."""
    for _ in range(200):
        try:
            with Session(server) as session:
                session.login(user)
                session.quit()
            return
        except Unlike:
            time.sleep(0.05)
    raise Unlike("the maildrop stays locked")


@probe("a second session of the same user: -ERR [IN-USE] (RFC 2449 section 8.1.2)")
def in_use(server):
    user, session = logged_in(server, [ONE])
    with session, Session(server) as second:
        second.ok(f"USER {user}")
        line = second.ask("PASS correct-horse-9")
        want(line.startswith(b"-ERR [IN-USE]"), shown(line))


@probe("the maildrop is free after QUIT")
def free_after_quit(server):
    user = server.user(ONE)
    for _ in range(5):
        with Session(server) as session:
            session.login(user)
            session.quit()


@probe("the maildrop is free after the connection has dropped")
def free_after_drop(server):
    user, session = logged_in(server, [ONE])
    session.socket.close()
    free(server, user)
