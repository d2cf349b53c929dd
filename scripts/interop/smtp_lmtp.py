"""smtpd --lmtp with swaks and smtplib, over TCP and through a UNIX-domain socket; BDAT by hand through smtplib."""

import smtplib

from lib import LOOPBACK, add, same, test
from letters import KINDS, SENDER, SLIDES, below_trace, crlf, one
from smtp_clients import HELO

NOBODY = "nobody-here@red.test"


def lmtpd(fixture):
    return fixture.daemon("smtpd-lmtp", "smtpd", *fixture.options("smtpd"), "--lmtp")


def swaks(fixture, to, letter):
    text = letter + (b".\n" if letter.endswith(b"\n") else b"\n.\n")
    return fixture.run("swaks", "--protocol", "LMTP", "--server", LOOPBACK, "--port", lmtpd(fixture).port,
                       "--helo", HELO, "--from", SENDER, "--to", ",".join(to), "--timeout", 10,
                       "--data", f"@{fixture.file('letter', text)}", "--suppress-data")


def python(fixture, to, letter):
    with smtplib.LMTP(LOOPBACK, lmtpd(fixture).port, HELO) as session:
        same(session.sendmail(SENDER, to, crlf(letter), ["BODY=8BITMIME"]), {}, "refused recipients")


def arrives(fixture, client, letter):
    box = fixture.mailbox()
    client(fixture, [box.address], letter)
    trace = below_trace(one(box.letters()), letter)
    same("with LMTP id" in trace, True, "the trace says LMTP")


for kind, letter in KINDS.items():
    add(f"LMTP, smtplib: {kind}", arrives, python, letter)


@test("LMTP, swaks: the letter arrives")
def swaks_one(fixture):
    box = fixture.mailbox()
    swaks(fixture, [box.address], SLIDES).good().says("LHLO", "250 2.0.0")
    below_trace(one(box.letters()), SLIDES)


@test("LMTP, by hand: a reply for each recipient whom RCPT took, in their order")
def replies(fixture):
    boxes = [fixture.mailbox(), fixture.mailbox()]
    with smtplib.LMTP(LOOPBACK, lmtpd(fixture).port, HELO) as session:
        session.ehlo()
        session.mail(SENDER)
        codes = [session.rcpt(to)[0] for to in (boxes[0].address, NOBODY, boxes[1].address)]
        same(codes, [250, 550, 250], "RCPT")
        same(session.docmd("DATA")[0], 354, "DATA")
        session.send(crlf(SLIDES) + b".\r\n")
        same([session.getreply()[0] for _ in range(2)], [250, 250], "a reply for each")
        same(session.noop()[0], 250, "NOOP")
    for box in boxes:
        below_trace(one(box.letters()), SLIDES)


@test("BDAT, by hand: a letter in pieces of every length arrives as it was sent")
def pieces(fixture):
    box, text = fixture.mailbox(), crlf(SLIDES)
    with smtplib.SMTP(LOOPBACK, fixture.smtpd.port, HELO, timeout=10) as session:
        session.ehlo()
        same(session.has_extn("chunking"), True, "CHUNKING")
        for length in (1, 2, 3, 7, 100, len(text)):
            session.mail(SENDER)
            session.rcpt(box.address)
            cut = [text[at:at + length] for at in range(0, len(text), length)]
            session.send(b"".join(b"BDAT %d\r\n%b" % (len(piece), piece) for piece in cut) + b"BDAT 0 LAST\r\n")
            codes = {session.getreply()[0] for _ in range(len(cut) + 1)}
            same(codes, {250}, "replies")
    letters = box.letters()
    same(len(letters), 6, "letters")
    for letter in letters:
        below_trace(letter, SLIDES)
