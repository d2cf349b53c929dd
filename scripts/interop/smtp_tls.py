"""smtpd under TLS, by STARTTLS and from the first byte on: curl, msmtp, smtplib, smtpc."""

import re
import smtplib
import ssl

from lib import LOOPBACK, add, check, same
from letters import SENDER, SLIDES, below_trace, crlf, one
from pop3_tls import WAYS, certificate
from smtp_clients import HELO


def ports(fixture):
    """The ports of an smtpd for those who ask for TLS, and for those who begin with it."""
    cert, key, _ = certificate(fixture)
    daemon = fixture.daemon("smtpd-tls", "smtpd", *fixture.options("smtpd"), "--tls-cert", cert, "--tls-key", key,
                            "--tls-listen", f"{LOOPBACK}:0")
    found = re.search(r"listening on \S+:(\d+) \(tls\)", daemon.log())
    check(found, f"no line of the second listener: {daemon.log()}")
    return {"starttls": daemon.port, "tls": int(found[1])}


def curl(fixture, way, port, to):
    scheme = "smtps" if way == "tls" else "smtp"
    fixture.run("curl", "-sS", "-4", "--ssl-reqd", "--cacert", certificate(fixture)[2], "--url",
                f"{scheme}://localhost:{port}/{HELO}", "--mail-from", SENDER, "--mail-rcpt", to,
                "-T", fixture.file("letter", crlf(SLIDES))).good()


def msmtp(fixture, way, port, to):
    fixture.run("msmtp", "--host=localhost", f"--port={port}", f"--domain={HELO}", "--auth=off", "--tls=on",
                f"--tls-starttls={'off' if way == 'tls' else 'on'}", f"--tls-trust-file={certificate(fixture)[2]}",
                f"--from={SENDER}", "--timeout=10", "--set-from-header=off", "--set-date-header=off",
                "--remove-bcc-headers=off", "--", to, stdin=SLIDES).good()


def python(fixture, way, port, to):
    context = ssl.create_default_context(cafile=certificate(fixture)[2])
    begin = {"tls": lambda: smtplib.SMTP_SSL("localhost", port, HELO, timeout=10, context=context),
             "starttls": lambda: smtplib.SMTP("localhost", port, HELO, timeout=10)}[way]
    with begin() as session:
        if way == "starttls":
            session.ehlo()
            check(session.has_extn("starttls"), "STARTTLS is not offered")
            same(session.starttls(context=context)[0], 220, "STARTTLS")
        session.ehlo()
        check(not session.has_extn("starttls"), "STARTTLS is offered within TLS")
        same(session.sendmail(SENDER, [to], crlf(SLIDES)), {}, "refused recipients")


def smtpc(fixture, way, port, to):
    fixture.run("smtpc", f"--{way}", "--ca-file", certificate(fixture)[2], "-s", f"localhost:{port}", "--helo", HELO,
                "-f", SENDER, to, stdin=SLIDES).good()


CLIENTS = {"curl": curl, "msmtp": msmtp, "smtplib": python, "smtpc": smtpc}


def arrives(fixture, name, way):
    box = fixture.mailbox()
    CLIENTS[name](fixture, way, ports(fixture)[way], box.address)
    letter = one(box.letters())
    below_trace(letter, SLIDES)
    check(b"with ESMTPS" in letter,
          f"the trace does not tell of TLS: {letter[:400]}")


for client in CLIENTS:
    for way_in in [way.replace("stls", "starttls") for way in WAYS]:
        add(f"{client} by {way_in}: the letter arrives, and its trace says ESMTPS", arrives, client, way_in)
