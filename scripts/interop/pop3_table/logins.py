"""Probes of AUTHORIZATION: passwords, APOP, CAPA, SASL, TLS, UTF8 (RFC 2449, 2595, 5034, 6856)."""

import base64
import hashlib
import hmac
import os
import re

from wire import PASSWORD, Session, Unlike, b64, logged_in, probe, shown, want

LETTER = b"Subject: one\n\nbody\n"


@probe("PASS before USER: -ERR")
def pass_first(server):
    user = server.user(LETTER)
    with Session(server) as session:
        session.err(f"PASS {PASSWORD}")
        session.login(user)


@probe("a password with blanks, also at both its ends, works")
def blanks(server):
    with Session(server) as session:
        session.login(server.special, server.special_password)


@probe("a wrong password and an unknown user get the same reply")
def same_reply(server):
    user, replies = server.user(LETTER), []
    for name in (user, "nobody-knows"):
        with Session(server) as session:
            session.ok(f"USER {name}")
            replies.append(session.err("PASS wrong"))
    want(replies[0] == replies[1], shown(b" / ".join(replies)))


@probe("the reply to a wrong password has [AUTH] (RFC 3206)")
def auth_code(server):
    user = server.user(LETTER)
    with Session(server) as session:
        session.ok(f"USER {user}")
        line = session.err("PASS wrong")
        want(line.startswith(b"-ERR [AUTH]"), shown(line))


@probe("after a wrong password the right one works in the same session")
def retry(server):
    user = server.user(LETTER)
    with Session(server) as session:
        session.ok(f"USER {user}")
        session.err("PASS wrong")
        session.login(user)


@probe("names in other case are the same user's, as telephones write them")
def capital(server):
    user = server.user(LETTER)
    with Session(server) as session:
        session.login(user.capitalize())


def stamp(session):
    found = re.search(rb"<[^ >]+@[^ >]+>", session.greeting)
    want(found, "no timestamp in the greeting")
    return found.group()


@probe("APOP logs in (RFC 1939 section 7)")
def apop(server):
    user = server.user(LETTER)
    with Session(server) as session:
        digest = hashlib.md5(stamp(session) + PASSWORD.encode()).hexdigest()
        session.ok(f"APOP {user} {digest}")
        session.ok("STAT")


@probe("APOP with a wrong digest: -ERR")
def apop_wrong(server):
    user = server.user(LETTER)
    with Session(server) as session:
        stamp(session)
        session.err(f"APOP {user} {'0' * 32}")


@probe("the timestamp is another in each session")
def stamps(server):
    found = set()
    for _ in range(5):
        with Session(server) as session:
            found.add(stamp(session))
    want(len(found) == 5, "it comes again")


# CAPA

@probe("CAPA before and after the login")
def capa(server):
    user = server.user(LETTER)
    with Session(server) as session:
        session.capabilities()
        session.login(user)
        session.capabilities()


for WORD in ("TOP", "UIDL", "USER", "SASL", "PIPELINING", "RESP-CODES", "AUTH-RESP-CODE", "STLS", "UTF8"):
    @probe(f"CAPA lists {WORD} before the login")
    def listed(server, word=WORD):
        with Session(server) as session:
            found = session.capabilities()
            want(word in found, "it does not")


@probe("CAPA tells EXPIRE, and IMPLEMENTATION after the login at the latest")
def announced(server):
    user = server.user(LETTER)
    with Session(server) as session:
        before = session.capabilities()
        session.login(user)
        found = {**before, **session.capabilities()}
        want("EXPIRE" in found and "IMPLEMENTATION" in found, f"no {'EXPIRE' if 'EXPIRE' not in found else 'IMPLEMENTATION'}")


@probe("STLS is not listed after the login, or under TLS")
def not_listed(server):
    user = server.user(LETTER)
    with Session(server) as session:
        want("STLS" in session.capabilities(), "it is never listed")
        session.login(user)
        want("STLS" not in session.capabilities(), "it is, after the login")
    with Session(server, tls=True) as session:
        want("STLS" not in session.capabilities(), "it is, under TLS")


@probe("CAPA with an argument: -ERR")
def capa_argument(server):
    with Session(server) as session:
        session.capabilities()
        session.err("CAPA x")


@probe("every mechanism that CAPA lists begins an exchange")
def truthful(server):
    with Session(server) as session:
        mechanisms = session.capabilities().get("SASL", [])
        want(mechanisms, "none is listed")
        for mechanism in mechanisms:
            line = session.ask(f"AUTH {mechanism}")
            want(line.startswith(b"+ "), f"{mechanism}: {shown(line)}")
            session.err("*")


# SASL

def plain(user, password=PASSWORD):
    return b64(f"\0{user}\0{password}".encode())


@probe("AUTH alone lists the mechanisms")
def auth_alone(server):
    with Session(server) as session:
        lines = [line.upper() for line in session.multi("AUTH")]
        want(b"PLAIN" in lines, f"{lines}")


@probe("AUTH PLAIN, with an initial response")
def auth_plain(server):
    user = server.user(LETTER)
    with Session(server) as session:
        session.ok(f"AUTH PLAIN {plain(user)}")
        session.ok("STAT")


@probe("AUTH PLAIN without one: `+ `, then the response")
def auth_plain_later(server):
    user = server.user(LETTER)
    with Session(server) as session:
        line = session.ask("AUTH PLAIN")
        want(line == b"+ ", shown(line))
        session.ok(plain(user))
        session.ok("STAT")


@probe("AUTH LOGIN")
def auth_login(server):
    user = server.user(LETTER)
    with Session(server) as session:
        for text in ("AUTH LOGIN", b64(user.encode())):
            line = session.ask(text)
            want(line.startswith(b"+ "), shown(line))
        session.ok(b64(PASSWORD.encode()))
        session.ok("STAT")


@probe("AUTH CRAM-MD5 (RFC 2195)")
def auth_cram(server):
    user = server.user(LETTER)
    with Session(server) as session:
        line = session.ask("AUTH CRAM-MD5")
        want(line.startswith(b"+ "), shown(line))
        digest = hmac.new(PASSWORD.encode(), base64.b64decode(line[2:]), "md5").hexdigest()
        session.ok(b64(f"{user} {digest}".encode()))
        session.ok("STAT")


@probe("AUTH SCRAM-SHA-256 (RFC 7677), and the server proves that it knows the password")
def auth_scram(server):
    user, nonce = server.user(LETTER), b64(os.urandom(12))
    with Session(server) as session:
        bare = f"n={user},r={nonce}"
        line = session.ask(f"AUTH SCRAM-SHA-256 {b64(('n,,' + bare).encode())}")
        want(line.startswith(b"+ "), shown(line))
        first = base64.b64decode(line[2:]).decode()
        fields = dict(part.split("=", 1) for part in first.split(","))
        want(fields["r"].startswith(nonce), "another nonce")
        salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        without_proof = f"c={b64(b'n,,')},r={fields['r']}"
        message = f"{bare},{first},{without_proof}".encode()
        signature = hmac.digest(hashlib.sha256(client_key).digest(), message, "sha256")
        proof = b64(bytes(a ^ b for a, b in zip(client_key, signature)))
        line = session.ask(b64(f"{without_proof},p={proof}".encode()))
        want(line.startswith(b"+ "), shown(line))
        proven = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
        want(base64.b64decode(line[2:]).decode() == f"v={b64(proven)}", "another signature")
        line = session.ask("")
        want(line.startswith(b"+OK"), shown(line))
        session.ok("STAT")


@probe("`*` ends an exchange with -ERR, and the next one works")
def cancelled(server):
    user = server.user(LETTER)
    with Session(server) as session:
        want(session.ask("AUTH PLAIN").startswith(b"+ "), "no exchange")
        session.err("*")
        session.ok(f"AUTH PLAIN {plain(user)}")


@probe("a response that is no base64: -ERR, and the next one works")
def not_base64(server):
    user = server.user(LETTER)
    with Session(server) as session:
        session.err("AUTH PLAIN !!!!")
        session.ok(f"AUTH PLAIN {plain(user)}")


@probe("`=` is an empty initial response (RFC 5034 section 4)")
def empty_response(server):
    with Session(server) as session:
        want(session.ask("AUTH PLAIN").startswith(b"+ "), "no exchange")
        session.err("*")
        line = session.ask("AUTH PLAIN =")
        want(line.startswith(b"-ERR"), shown(line))


@probe("AUTH after the login: -ERR")
def auth_twice(server):
    user = server.user(LETTER)
    with Session(server) as session:
        session.ok(f"AUTH PLAIN {plain(user)}")
        session.err(f"AUTH PLAIN {plain(user)}")
        session.is_alive()


@probe("AUTH of an unknown mechanism: -ERR, the session lives")
def unknown_mechanism(server):
    user = server.user(LETTER)
    with Session(server) as session:
        session.err("AUTH FROB-MD6")
        session.login(user)


@probe("AUTH PLAIN with a wrong password: -ERR [AUTH]")
def auth_wrong(server):
    user = server.user(LETTER)
    with Session(server) as session:
        line = session.err(f"AUTH PLAIN {plain(user, 'wrong')}")
        want(line.startswith(b"-ERR [AUTH]"), shown(line))


# TLS

def by_stls(session):
    session.ok("STLS")
    session.start_tls()


@probe("TLS from the first octet on (RFC 8314)")
def implicit(server):
    user = server.user(LETTER)
    with Session(server, tls=True) as session:
        session.login(user)
        session.ok("STAT")
        session.quit()


@probe("STLS (RFC 2595), and CAPA is asked again")
def stls(server):
    user = server.user(LETTER)
    with Session(server) as session:
        by_stls(session)
        session.capabilities()
        session.login(user)
        session.quit()


@probe("STLS and `USER x` in one packet: USER is not executed")
def injected(server):
    user = server.user(LETTER)
    with Session(server) as session:
        session.send(f"STLS\r\nUSER {user}\r\n".encode())
        want(session.reply().startswith(b"+OK"), "no STLS")
        try:
            session.start_tls()
        except OSError:
            return  # it takes the octets for a handshake, or ends: nothing of them is executed
        try:
            session.err(f"PASS {PASSWORD}")
        except Unlike as unlike:
            want("closes" in str(unlike), str(unlike))


@probe("what was said before STLS is forgotten")
def forgotten(server):
    user = server.user(LETTER)
    with Session(server) as session:
        session.ok(f"USER {user}")
        by_stls(session)
        session.err(f"PASS {PASSWORD}")


@probe("STLS after the login: -ERR")
def stls_late(server):
    with Session(server) as session:
        by_stls(session)
    user, session = logged_in(server, [LETTER])
    with session:
        session.err("STLS")
        session.is_alive()


@probe("STLS under TLS: -ERR")
def stls_twice(server):
    user = server.user(LETTER)
    with Session(server, tls=True) as session:
        session.err("STLS")
        session.login(user)


@probe("AUTH PLAIN under TLS")
def plain_under_tls(server):
    user = server.user(LETTER)
    with Session(server, tls=True) as session:
        session.ok(f"AUTH PLAIN {plain(user)}")
        session.ok("STAT")


# UTF8 and LANG (RFC 6856)

@probe("UTF8 before the login: +OK")
def utf8(server):
    user = server.user(LETTER)
    with Session(server) as session:
        session.ok("UTF8")
        session.login(user)


@probe("UTF8 after the login: -ERR, the session lives")
def utf8_late(server):
    with Session(server) as session:
        session.ok("UTF8")
    user, session = logged_in(server, [LETTER])
    with session:
        session.err("UTF8")
        session.is_alive()


@probe("STLS after UTF8: -ERR (RFC 6856 section 2.1)")
def stls_after_utf8(server):
    user = server.user(LETTER)
    with Session(server) as session:
        session.ok("UTF8")
        session.err("STLS")
        session.login(user)


@probe("LANG lists languages, LANG * takes one, LANG xx-unknown is -ERR")
def lang(server):
    with Session(server) as session:
        want(session.multi("LANG"), "no language")
        session.ok("LANG *")
        session.err("LANG xx-unknown")
