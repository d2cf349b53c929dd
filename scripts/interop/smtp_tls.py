"""smtpd under TLS, by STARTTLS and from the first byte on, and with AUTH: curl, msmtp, smtplib, Net::SMTP, swaks,
Nodemailer, smtpc."""

import re
import smtplib
import ssl

from lib import LOOPBACK, add, check, need, same, test
from lib.fixture import PASSWORD
from letters import SENDER, SLIDES, below_trace, crlf, one
from pop3_libraries import NODE_MODULES
from pop3_tls import WAYS, certificate
from smtp_clients import HELO


def ports(fixture):
    """The ports of an smtpd for those who ask for TLS, and for those who begin with it; passwords are taken there alone."""
    cert, key, _ = certificate(fixture)
    if "smtpd-tls" not in fixture.daemons:
        fixture.mailbox()  # what a user could log in by is looked at when the daemon starts
    daemon = fixture.daemon("smtpd-tls", "smtpd", *fixture.options("smtpd", "secrets"), "--plaintext", "never",
                            "--tls-cert", cert, "--tls-key", key, "--tls-listen", f"{LOOPBACK}:0")
    found = re.search(r"listening on \S+:(\d+) \(tls\)", daemon.log())
    check(found, f"no line of the second listener: {daemon.log()}")
    return {"starttls": daemon.port, "tls": int(found[1])}


# Each sends the slides' letter; as a user who logs in by a mechanism, where one is named.

def curl(fixture, way, port, to, user="", mechanism=""):
    scheme = "smtps" if way == "tls" else "smtp"
    login = ["-u", f"{user}:{PASSWORD}", "--login-options", f"AUTH={mechanism}"] if mechanism else []
    fixture.run("curl", "-sS", "-4", "--ssl-reqd", "--cacert", certificate(fixture)[2], "--url",
                f"{scheme}://localhost:{port}/{HELO}", "--mail-from", SENDER, "--mail-rcpt", to, *login,
                "-T", fixture.file("letter", crlf(SLIDES))).good()


def msmtp(fixture, way, port, to, user="", mechanism=""):
    auth = [f"--auth={mechanism.lower()}", f"--user={user}", f"--passwordeval=echo {PASSWORD}"] if mechanism else ["--auth=off"]
    fixture.run("msmtp", "--host=localhost", f"--port={port}", f"--domain={HELO}", *auth, "--tls=on",
                f"--tls-starttls={'off' if way == 'tls' else 'on'}", f"--tls-trust-file={certificate(fixture)[2]}",
                f"--from={SENDER}", "--timeout=10", "--set-from-header=off", "--set-date-header=off",
                "--remove-bcc-headers=off", "--", to, stdin=SLIDES).good()


def python(fixture, way, port, to, user="", mechanism=""):
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
        if mechanism:
            session.user, session.password = user, PASSWORD
            way_in = getattr(session, f"auth_{mechanism.lower().replace('-', '_')}")
            same(session.auth(mechanism, way_in)[0], 235, f"AUTH {mechanism}")
        same(session.sendmail(SENDER, [to], crlf(SLIDES)), {}, "refused recipients")


def perl(fixture, way, port, to, user="", mechanism=""):
    env = {"SMTP_TLS": way, "SMTP_AUTHORITY": str(certificate(fixture)[2]), "SMTP_USER": user, "SMTP_PASSWORD": PASSWORD,
           "SMTP_MECHANISM": mechanism}
    fixture.run("perl", fixture.script("net_smtp.pl"), "localhost", port, "send", SENDER, to, stdin=SLIDES, env=env).good()


def swaks(fixture, way, port, to, user="", mechanism=""):
    """It needs Net::SSLeay, and for some mechanisms Authen::SASL's modules."""
    login = ["--auth", mechanism, "--auth-user", user, "--auth-password", PASSWORD] if mechanism else []
    out = fixture.run("swaks", "--server", "localhost", "--port", port, "--helo", HELO, "--from", SENDER, "--to", to,
                      "--timeout", 10, "--tls-on-connect" if way == "tls" else "--tls", "--tls-verify",
                      "--tls-ca-path", certificate(fixture)[2], *login, "--pipeline",
                      "--data", f"@{fixture.file('letter', SLIDES + b'.' + bytes([10]))}", "--suppress-data").good()
    out.says("TLS started")


def nodemailer(fixture, way, port, to, user="", mechanism=""):
    env = {"NODE_PATH": NODE_MODULES, "NODE_EXTRA_CA_CERTS": str(certificate(fixture)[2]),
           **({"NODE_SMTP_PASSWORD": PASSWORD, "NODE_SMTP_METHOD": mechanism} if mechanism else {})}
    fixture.run(need("node"), fixture.script("node_smtp.cjs"), way, "localhost", port, 1, user, SENDER, to, stdin=crlf(SLIDES),
                env=env).good().says(f"accepted: {to} rejected:")


def smtpc(fixture, way, port, to):
    fixture.run("smtpc", f"--{way}", "--ca-file", certificate(fixture)[2], "-s", f"localhost:{port}", "--helo", HELO,
                "-f", SENDER, to, stdin=SLIDES).good()


CLIENTS = {"curl": curl, "msmtp": msmtp, "smtplib": python, "Net::SMTP": perl, "swaks": swaks, "Nodemailer": nodemailer,
           "smtpc": smtpc}
# What each client can log in by.
MECHANISMS = {"curl": ("PLAIN", "LOGIN", "CRAM-MD5"), "msmtp": ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"),
              "smtplib": ("PLAIN", "LOGIN", "CRAM-MD5"), "Net::SMTP": ("PLAIN", "LOGIN"),
              "swaks": ("PLAIN", "LOGIN", "CRAM-MD5"), "Nodemailer": ("PLAIN", "LOGIN", "CRAM-MD5")}


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


def logs_in(fixture, name, way, mechanism):
    box = fixture.mailbox()
    CLIENTS[name](fixture, way, ports(fixture)[way], box.address, box.name, mechanism)
    letter = one(box.letters())
    below_trace(letter, SLIDES)
    check(b" with ESMTPSA " in letter, f"the trace does not tell of AUTH: {letter[:400]}")


for client, mechanisms in MECHANISMS.items():
    for number, word in enumerate(mechanisms):
        way_in = ("starttls", "tls")[number % 2]
        add(f"{client} by {way_in} with AUTH {word}: the letter arrives, and its trace says ESMTPSA", logs_in, client, way_in, word)


@test("Nodemailer's pool: 20 letters over three connections, all arrive")
def pool(fixture):
    box, other = fixture.mailbox(), fixture.mailbox()
    fixture.run(need("node"), fixture.script("node_smtp.cjs"), "clear", LOOPBACK, fixture.smtpd.port, 20, "", SENDER, box.address,
                other.address, stdin=crlf(SLIDES), env={"NODE_PATH": NODE_MODULES}).good()
    same([len(box.letters()), len(other.letters())], [20, 20], "letters")


@test("Nodemailer: an unknown recipient beside a known one is named, and the known one has the letter")
def node_unknown(fixture):
    box = fixture.mailbox()
    out = fixture.run(need("node"), fixture.script("node_smtp.cjs"), "clear", LOOPBACK, fixture.smtpd.port, 1, "", SENDER, box.address,
                      "nobody-here@red.test", stdin=crlf(SLIDES), env={"NODE_PATH": NODE_MODULES}).good()
    out.says(f"accepted: {box.address} rejected: nobody-here@red.test")
    below_trace(one(box.letters()), SLIDES)
