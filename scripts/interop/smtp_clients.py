"""Every SMTP client, with every kind of letter, into a Maildir.

A client here is a function of the lab, the recipients' addresses and the letter (lines end in LF);
it sends the letter from SENDER and fails unless the server took it for all of them.
"""

import smtplib

from harness import add, check, same
from letters import KINDS, NO_FINAL_NEWLINE, SENDER, big, below_trace, crlf, one

HERE = "127.0.0.1"
HELO = "topaz.test"


def curl(lab, to, letter):
    """curl sends a file as it is, and doubles the dots: the file has CRLF."""
    rcpt = [word for address in to for word in ("--mail-rcpt", address)]
    url = f"smtp://{HERE}:{lab.smtpd.port}/{HELO}"
    return lab.run("curl", "-sS", "--url", url, "--mail-from", SENDER, *rcpt,
                   "-T", lab.file("letter", letter.replace(b"\n", b"\r\n"))).good()


def python(lab, to, letter):
    """smtplib leaves the lines of bytes as they are."""
    with smtplib.SMTP(HERE, lab.smtpd.port, HELO, timeout=10) as session:
        refused = session.sendmail(SENDER, to, letter.replace(b"\n", b"\r\n"), ["BODY=8BITMIME"])
    same(refused, {}, "refused recipients")


def perl(lab, to, letter):
    return lab.run("perl", lab.script("net_smtp.pl"), HERE, lab.smtpd.port, "send", SENDER, *to,
                   stdin=letter).good()


def msmtp(lab, to, letter):
    """msmtp adds From and Date, and takes Bcc away, unless it is told not to."""
    return lab.run("msmtp", f"--host={HERE}", f"--port={lab.smtpd.port}", f"--domain={HELO}",
                   "--auth=off", "--tls=off", f"--from={SENDER}", "--timeout=10",
                   "--set-from-header=off", "--set-date-header=off", "--remove-bcc-headers=off",
                   "--", *to, stdin=letter).good()


def swaks(lab, to, letter, *more):
    """swaks ends every letter with a line break and a dot of its own, and takes one such pair at
    its end away first: so it is given one, and sends what stands before."""
    text = letter + (b".\n" if letter.endswith(b"\n") else b"\n.\n")
    return lab.run("swaks", "--server", HERE, "--port", lab.smtpd.port, "--helo", HELO,
                   "--from", SENDER, "--to", ",".join(to), "--timeout", 10,
                   "--data", f"@{lab.file('letter', text)}", "--suppress-data", *more).good()


def swaks_pipelining(lab, to, letter):
    return swaks(lab, to, letter, "--pipeline")


def nc(lab, to, letter):
    """As on the slides: somebody types at the port, and reads before he types on."""
    with lab.dialogue("nc", HERE, lab.smtpd.port) as session:
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


def smtpc(lab, to, letter):
    return lab.run("smtpc", "-s", f"{HERE}:{lab.smtpd.port}", "-f", SENDER, "--helo", HELO, *to,
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


def arrives(lab, client, letter):
    box = lab.mailbox()
    client(lab, [box.address], letter)
    trace = below_trace(one(box.letters()), letter)
    check(trace.startswith(f"Return-Path: <{SENDER}>\r\n"), f"Return-Path is wrong: {trace}")
    for word in (f"from {HELO} ", "[127.0.0.1]", " by red.test ", f" for <{box.address}>;"):
        check(word in trace, f"no '{word}' in the trace: {trace}")
    same(box.unfinished(), [], "files in tmp")


def arrives_at_three(lab, client, letter):
    boxes = [lab.mailbox() for _ in range(3)]
    client(lab, [box.address for box in boxes], letter)
    for box in boxes:
        trace = below_trace(one(box.letters()), letter)
        for other in boxes:
            check(other.name not in trace, f"the trace tells of a recipient: {trace}")


def arrives_repeatedly(lab, client, letter):
    box = lab.mailbox()
    for _ in range(3):
        client(lab, [box.address], letter)
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
