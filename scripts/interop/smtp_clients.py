"""Every SMTP client, with every kind of letter, into a Maildir.

A client here is a function of the fixture, the recipients' addresses and the letter (lines end in LF);
it sends the letter from SENDER and fails unless the server took it for all of them.
"""

import smtplib

from lib import LOOPBACK, add, check, same
from letters import KINDS, NO_FINAL_NEWLINE, SENDER, big, below_trace, crlf, one

HELO = "topaz.test"


def curl(fixture, to, letter):
    """curl sends a file as it is, and doubles the dots: the file has CRLF."""
    rcpt = [word for address in to for word in ("--mail-rcpt", address)]
    url = f"smtp://{LOOPBACK}:{fixture.smtpd.port}/{HELO}"
    return fixture.run("curl", "-sS", "--url", url, "--mail-from", SENDER, *rcpt,
                       "-T", fixture.file("letter", letter.replace(b"\n", b"\r\n"))).good()


def python(fixture, to, letter):
    """smtplib leaves the lines of bytes as they are."""
    with smtplib.SMTP(LOOPBACK, fixture.smtpd.port, HELO, timeout=10) as session:
        refused = session.sendmail(SENDER, to, letter.replace(b"\n", b"\r\n"), ["BODY=8BITMIME"])
    same(refused, {}, "refused recipients")


def perl(fixture, to, letter):
    return fixture.run("perl", fixture.script("net_smtp.pl"), LOOPBACK, fixture.smtpd.port, "send",
                       SENDER, *to, stdin=letter).good()


def msmtp(fixture, to, letter):
    """msmtp adds From and Date, and takes Bcc away, unless it is told not to."""
    return fixture.run("msmtp", f"--host={LOOPBACK}", f"--port={fixture.smtpd.port}", f"--domain={HELO}",
                       "--auth=off", "--tls=off", f"--from={SENDER}", "--timeout=10",
                       "--set-from-header=off", "--set-date-header=off", "--remove-bcc-headers=off",
                       "--", *to, stdin=letter).good()


def swaks(fixture, to, letter, *more):
    """swaks ends every letter with a line break and a dot of its own, and takes one such pair at
    its end away first: so it is given one, and sends what stands before."""
    text = letter + (b".\n" if letter.endswith(b"\n") else b"\n.\n")
    return fixture.run("swaks", "--server", LOOPBACK, "--port", fixture.smtpd.port, "--helo", HELO,
                       "--from", SENDER, "--to", ",".join(to), "--timeout", 10,
                       "--data", f"@{fixture.file('letter', text)}", "--suppress-data", *more).good()


def swaks_pipelining(fixture, to, letter):
    return swaks(fixture, to, letter, "--pipeline")


def nc(fixture, to, letter):
    """As on the slides: a user types at the port, and reads each reply before the next line."""
    with fixture.dialogue("nc", LOOPBACK, fixture.smtpd.port) as session:
        session.line(b"220 ")
        turns = [(f"HELO {HELO}", b"250 "), (f"MAIL FROM:<{SENDER}>", b"250 ")]
        turns += [(f"RCPT TO:<{address}>", b"250 ") for address in to] + [("DATA", b"354 ")]
        for command, reply in turns:
            session.type(command.encode() + b"\r\n")
            session.line(reply)
        lines = crlf(letter).split(b"\r\n")[:-1]
        for text in lines:
            session.type(b"." * text.startswith(b".") + text + b"\r\n")
        session.type(b".\r\n")
        session.line(b"250 ")
        session.type(b"QUIT\r\n")
        session.line(b"221 ")
        session.end_of_input()
        same(session.rest(), b"", "after 221")


def smtpc(fixture, to, letter):
    return fixture.run("smtpc", "-s", f"{LOOPBACK}:{fixture.smtpd.port}", "-f", SENDER, "--helo", HELO, *to,
                       stdin=letter).good()


CLIENTS = {
    "curl": curl,
    "smtplib": python,
    "Net::SMTP": perl,
    "msmtp": msmtp,
    "swaks": swaks,
    "swaks --pipeline": swaks_pipelining,
    "nc, typed by hand": nc,
    "smtpc": smtpc,
}


def arrives(fixture, client, letter):
    box = fixture.mailbox()
    client(fixture, [box.address], letter)
    trace = below_trace(one(box.letters()), letter)
    check(trace.startswith(f"Return-Path: <{SENDER}>\r\n"), f"Return-Path is wrong: {trace}")
    for word in (f"from {HELO} ", "[127.0.0.1]", " by red.test ", f" for <{box.address}>;"):
        check(word in trace, f"no '{word}' in the trace: {trace}")
    same(box.unfinished(), [], "files in tmp")


def arrives_at_three(fixture, client, letter):
    boxes = [fixture.mailbox() for _ in range(3)]
    client(fixture, [box.address for box in boxes], letter)
    for box in boxes:
        trace = below_trace(one(box.letters()), letter)
        for other in boxes:
            check(other.name not in trace, f"the trace tells of a recipient: {trace}")


def arrives_repeatedly(fixture, client, letter):
    box = fixture.mailbox()
    for _ in range(3):
        client(fixture, [box.address], letter)
    same(len(box.letters()), 3, "letters")
    for got in box.letters():
        below_trace(got, letter)


for client, send in CLIENTS.items():
    for kind, letter in KINDS.items():
        add(f"{client}: {kind} arrives octet for octet", arrives, send, letter)
    add(f"{client}: a letter without a final newline gets one and loses nothing",
        arrives, send, NO_FINAL_NEWLINE)
    add(f"{client}: a letter to three recipients reaches each, and tells none of the others",
        arrives_at_three, send, KINDS["the slides' letter"])
    add(f"{client}: the same letter three times is three letters",
        arrives_repeatedly, send, KINDS["lines of dots"])
    add(f"{client}: a letter of 5 MB arrives octet for octet", arrives, send, big(5_000_000))
