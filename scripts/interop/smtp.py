"""smtpd beyond the letter that arrives: dialogues by hand with nc, and smtplib."""

import signal
import smtplib
import socket
import time

from lib import LOOPBACK, Failure, check, same, show, test, wait_until
from letters import KINDS, SENDER, SLIDES, below_trace, big, crlf, one



def talk(session, *turns):
    """Types each command and reads its reply of one line, which must begin so."""
    for command, reply in turns:
        session.type(command + b"\r\n")
        session.line(reply)


def open_letter(session, box, *more):
    """Up to and with DATA."""
    session.line(b"220 ")
    talk(session, (b"HELO topaz.test", b"250 "), (b"MAIL FROM:<hedrick@topaz.test>", b"250 "),
         (b"RCPT TO:<" + box.address.encode() + b">", b"250 "), *more, (b"DATA", b"354 "))


def nc(fixture):
    return fixture.dialogue("nc", LOOPBACK, fixture.smtpd.port)


@test("nc: the dialogue of the slides: HELO, MAIL FROM, RCPT TO, DATA, the dot, QUIT")
def slides(fixture):
    box = fixture.mailbox()
    with nc(fixture) as session:
        check(b"red.test" in session.line(b"220 "), "the greeting does not name the server")
        talk(session, (b"HELO topaz.test", b"250 red.test"),
             (b"MAIL FROM:<hedrick@topaz.test>", b"250 "),
             (b"RCPT TO:<" + box.address.encode() + b">", b"250 "), (b"DATA", b"354 "))
        for line in crlf(SLIDES).splitlines(keepends=True):
            session.type(line)
        talk(session, (b".", b"250 "), (b"QUIT", b"221 "))
        session.end_of_input()
        same(session.rest(), b"", "after 221")
    trace = below_trace(one(box.letters()), SLIDES)
    check(" with SMTP id " in trace, f"not 'with SMTP' after HELO: {trace}")


@test("nc: commands in any case, ended by LF alone, and NOOP HELP RSET VRFY before HELO")
def lenient(fixture):
    box = fixture.mailbox()
    with nc(fixture) as session:
        session.line(b"220 ")
        for line, reply in [("noop", b"250 "), ("Rset", b"250 "), (f"vrfy {box.name}", b"25"),
                            ("hElO topaz.test", b"250 "), ("mail from:<a@b.test>", b"250 "),
                            (f"rcpt to:<{box.address}>", b"250 "), ("quit", b"221 ")]:
            session.type(line.encode() + b"\n")
            session.line(reply)


@test("nc: what is out of order or unknown is refused and the session lives")
def order(fixture):
    box = fixture.mailbox()
    rcpt = b"RCPT TO:<" + box.address.encode() + b">"
    with nc(fixture) as session:
        session.line(b"220 ")
        talk(session, (b"EHLO", b"501 "), (b"FROB", b"500 "), (b"HELO topaz.test", b"250 "),
             (rcpt, b"503 "), (b"DATA", b"503 "), (b"MAIL FROM:<a@b.test>", b"250 "),
             (b"MAIL FROM:<a@b.test>", b"503 "), (b"MAIL", b"50"), (rcpt, b"250 "),
             (b"DATA now", b"501 "), (b"QUIT", b"221 "))
    same(box.letters(), [], "letters")


@test("nc: who is not here: 550 5.1.1; who is elsewhere: 550 5.7.1; postmaster and <> are taken")
def recipients(fixture):
    fixture.mailbox()
    with nc(fixture) as session:
        session.line(b"220 ")
        talk(session, (b"HELO topaz.test", b"250 "), (b"MAIL FROM:<>", b"250 "),
             (b"RCPT TO:<nobody-here@red.test>", b"550 5.1.1 "),
             (b"RCPT TO:<a@elsewhere.test>", b"550 5.7.1 "),
             (b"RCPT TO:<a%elsewhere.test@red.test>", b"550 5."),
             (b"RCPT TO:<PostMaster>", b"250 "), (b"RSET", b"250 "), (b"QUIT", b"221 "))


@test("nc: LF . LF never ends a letter; a bare LF in it is refused with 550 5.6.11, nothing kept")
def smuggling(fixture):
    box = fixture.mailbox()
    for end in (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r"):
        with nc(fixture) as session:
            open_letter(session, box)
            smuggled = b"MAIL FROM:<evil@b.test>\r\nRCPT TO:<" + box.address.encode() + b">\r\n"
            session.type(b"Subject: x\r\n\r\ntext" + end + smuggled + b"DATA\r\nforged\r\n.\r\n")
            session.line(b"550 5.6.11 ")
            talk(session, (b"NOOP", b"250 "), (b"QUIT", b"221 "))
    same(box.letters() + box.unfinished(), [], "letters")


@test("nc: all of a session in one go is answered in order (RFC 2920)")
def pipelined(fixture):
    box = fixture.mailbox()
    rcpt = f"RCPT TO:<{box.address}>\r\n"
    with nc(fixture) as session:
        session.line(b"220 ")
        session.type(b"EHLO topaz.test\r\n")
        while session.line(b"250")[3:4] == b"-":
            pass
        one_go = f"MAIL FROM:<a@b.test>\r\n{rcpt}RCPT TO:<nobody-here@red.test>\r\n{rcpt}DATA\r\n"
        session.type(one_go.encode())
        for reply in (b"250 ", b"250 ", b"550 ", b"250 ", b"354 "):
            session.line(reply)
        session.type(crlf(SLIDES) + b".\r\nMAIL FROM:<a@b.test>\r\nNOOP\r\nQUIT\r\n")
        for reply in (b"250 ", b"250 ", b"250 ", b"221 "):
            session.line(reply)
    below_trace(one(box.letters()), SLIDES)


@test("nc -N: a connection that ends inside the letter leaves nothing")
def dropped(fixture):
    box = fixture.mailbox()
    with nc(fixture) as session:
        open_letter(session, box)
        session.type(crlf(SLIDES) * 1000)
    out = fixture.run("nc", "-N", LOOPBACK, fixture.smtpd.port,
                      stdin=f"HELO t.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<{box.address}>\r\n"
                        f"DATA\r\nhalf a letter\r\n.".encode())
    check("250 2.0.0" not in out.text, f"accepted: {out.text}")
    wait_until("both children end", lambda: not fixture.smtpd.alive())
    same(box.letters() + box.unfinished(), [], "letters")


@test("nc: SIGTERM to smtpd: an idle client is told 421, and the daemon ends with 0")
def shutdown(fixture):
    smtpd = fixture.daemon("smtpd-421", "smtpd", *fixture.options("smtpd"))
    with fixture.dialogue("nc", LOOPBACK, smtpd.port) as session:
        session.line(b"220 ")
        talk(session, (b"HELO topaz.test", b"250 "))
        smtpd.signal(signal.SIGTERM)
        session.line(b"421 ")
        session.end_of_input()
        session.rest()
    same(smtpd.ends(), 0, "exit code of smtpd")
    del fixture.daemons["smtpd-421"]


def smtplib_session(fixture, daemon=None):
    return smtplib.SMTP(LOOPBACK, (daemon or fixture.smtpd).port, "topaz.test", timeout=10)


def refused(kind, code, call, *args):
    """The exception of this kind, with this code, that the call raises."""
    try:
        answer = call(*args)
    except kind as error:
        if kind is smtplib.SMTPRecipientsRefused:
            same({reply[0] for reply in error.recipients.values()}, {code}, "codes")
        else:
            same(error.smtp_code, code, "code")
        return
    raise Failure(f"no {kind.__name__}, but {answer!r}")


@test("smtplib: EHLO lists SIZE, PIPELINING, 8BITMIME and nothing that is not there")
def features(fixture):
    with smtplib_session(fixture) as session:
        session.ehlo()
        same(session.esmtp_features.get("size"), str(50 * 2**20), "SIZE")
        for name in ("pipelining", "8bitmime", "enhancedstatuscodes"):
            check(session.has_extn(name), f"{name} is missing: {session.esmtp_features}")
        for name, command in (("starttls", "STARTTLS"), ("auth", "AUTH PLAIN AGEAYg=="),
                              ("chunking", "BDAT 0 LAST"), ("expn", "EXPN x")):
            if not session.has_extn(name):
                code = session.docmd(command)[0]
                check(500 <= code < 600, f"{command}, not listed, is answered with {code}")


@test("smtplib: several recipients, one refused: the others get the letter, and that one is named")
def one_refused(fixture):
    boxes = [fixture.mailbox(), fixture.mailbox()]
    with smtplib_session(fixture) as session:
        failed = session.sendmail(SENDER, [boxes[0].address, "nobody-here@red.test",
                                           boxes[1].address], crlf(SLIDES))
    same(list(failed), ["nobody-here@red.test"], "refused")
    same(failed["nobody-here@red.test"][0], 550, "code")
    for box in boxes:
        below_trace(one(box.letters()), SLIDES)


@test("smtplib: all recipients refused: nothing is sent, and the session can be used again")
def all_refused(fixture):
    box = fixture.mailbox()
    with smtplib_session(fixture) as session:
        refused(smtplib.SMTPRecipientsRefused, 550, session.sendmail, SENDER,
                ["nobody-here@red.test", "x@elsewhere.test"], crlf(SLIDES))
        same(session.sendmail(SENDER, [box.address], crlf(SLIDES)), {}, "refused")
    below_trace(one(box.letters()), SLIDES)


@test("smtplib: VRFY, NOOP, RSET, HELP, HELP MAIL, EHLO twice; QUIT is 221")
def small_commands(fixture):
    box = fixture.mailbox()
    session = smtplib_session(fixture)
    code, text = session.verify(box.name)
    check(code == 250 and box.address.encode() in text, f"VRFY: {code} {text}")
    check(b"Levy Number" in text, f"VRFY does not give the full name: {text}")
    same(session.verify("nobody-here")[0], 550, "VRFY of nobody")
    same(session.noop()[0], 250, "NOOP")
    same(session.docmd("NOOP", "with words")[0], 250, "NOOP with words")
    check(b"VRFY" in session.docmd("HELP")[1], "HELP does not know VRFY")
    same(session.docmd("HELP MAIL")[0], 214, "HELP MAIL")
    session.ehlo()
    session.mail(SENDER)
    same(session.rset()[0], 250, "RSET")
    same(session.rcpt(box.address)[0], 503, "RCPT after RSET")
    session.mail(SENDER)
    session.ehlo()
    same(session.rcpt(box.address)[0], 503, "RCPT after a second EHLO")
    same(session.docmd("FROB")[0], 500, "FROB")
    same(session.quit()[0], 221, "QUIT")


@test("smtplib: a letter larger than --max-size is refused at MAIL where its size is told: 552")
def too_large_told(fixture):
    box = fixture.mailbox()
    with smtplib_session(fixture, fixture.small_smtpd) as session:
        session.ehlo()
        same(session.esmtp_features["size"], "10000", "SIZE")
        refused(smtplib.SMTPSenderRefused, 552, session.sendmail, SENDER, [box.address],
                crlf(big(20_000)))
        same(session.sendmail(SENDER, [box.address], crlf(SLIDES)), {}, "refused")
    below_trace(one(box.letters()), SLIDES)


@test("smtplib: where it is not told, the letter is read to its end: 552, nothing kept")
def too_large_untold(fixture):
    box = fixture.mailbox()
    with smtplib_session(fixture, fixture.small_smtpd) as session:
        session.helo()
        refused(smtplib.SMTPDataError, 552, session.sendmail, SENDER, [box.address],
                crlf(big(3_000_000)))
        same(session.noop()[0], 250, "NOOP")
    same(box.letters() + box.unfinished(), [], "letters")


@test("smtplib: 100 recipients of one letter, each gets it")
def hundred(fixture):
    boxes = [fixture.mailbox() for _ in range(100)]
    with smtplib_session(fixture) as session:
        session.sendmail(SENDER, [box.address for box in boxes], crlf(SLIDES))
    for box in boxes:
        below_trace(one(box.letters()), SLIDES)


@test("smtplib: 50 letters in one session, all different, none lost")
def fifty(fixture):
    box = fixture.mailbox()
    letters = [SLIDES + b"number %d\n" % number for number in range(50)]
    with smtplib_session(fixture) as session:
        for letter in letters:
            session.sendmail(SENDER, [box.address], crlf(letter))
    got = box.letters()
    same(len(got), 50, "letters")
    for letter in letters:
        check(sum(text.endswith(crlf(letter)) for text in got) == 1, f"not once: {show(letter)}")


@test("smtplib: a reply is one segment, so that nobody waits for a delayed ACK")
def quick(fixture):
    box = fixture.mailbox()
    with smtplib_session(fixture) as session:
        session.ehlo()
        begin = time.monotonic()
        for _ in range(100):
            session.noop()
            session.verify(box.name)
            session.docmd("HELP")
        seconds = time.monotonic() - begin
    check(seconds < 8, f"300 commands took {seconds:.1f} s")


@test("smtplib: quoted local parts, domains in capitals, MAIL's parameters; what is malformed is not taken")
def addresses(fixture):
    box = fixture.mailbox()
    with smtplib_session(fixture) as session:
        session.ehlo()
        same(session.docmd('MAIL FROM:<"a b"@topaz.test>')[0], 250, "a quoted sender")
        domain = box.address.split("@")[1].upper()
        same(session.docmd(f"RCPT TO:<{box.name}@{domain}>")[0], 250, "the domain in capitals")
        same(session.docmd("RCPT TO:<a..b@red.test>")[0] // 100, 5, "a..b")
        session.rset()
        same(session.docmd("MAIL FROM:<a@b.test> FROB=1")[0], 555, "an unknown parameter")
        same(session.docmd("MAIL FROM:<a@b.test> BODY=8BITMIME SIZE=100")[0], 250, "BODY and SIZE")


@test("Python sockets: the end of the letter cut at every octet is still the end")
def cut(fixture):
    box = fixture.mailbox()
    start = f"HELO t.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<{box.address}>\r\nDATA\r\n".encode()
    text = crlf(KINDS["lines of dots"])
    stuffed = (b"\r\n" + text).replace(b"\r\n.", b"\r\n..")[2:]
    tail = stuffed[-6:] + b".\r\nQUIT\r\n"
    for at in range(1, len(tail)):
        with socket.create_connection((LOOPBACK, fixture.smtpd.port), timeout=5) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            replies = sock.makefile("rb")
            sock.sendall(start)
            while not replies.readline().startswith(b"354"):
                pass
            sock.sendall(stuffed[:-6] + tail[:at])
            sock.sendall(tail[at:])
            check(replies.readline().startswith(b"250 "), f"cut at {at}: no 250")
            check(replies.readline().startswith(b"221 "), f"cut at {at}: no 221")
    same(len(box.letters()), len(tail) - 1, "letters")
    for letter in box.letters():
        below_trace(letter, KINDS["lines of dots"])
