"""TLS in both mail daemons: versions, sessions that are resumed, the certificate of a name."""

import re

from lib import LOOPBACK, add, check, need, test
from pop3_tls import certificate
from pop3_tls import pop3d as pop3d_under_tls
from smtp_tls import ports


def s_client(fixture, port, *words, stdin=b"Q\n"):
    return fixture.run(need("openssl"), "s_client", "-connect", f"{LOOPBACK}:{port}", "-CAfile",
                       certificate(fixture)[2], *words, stdin=stdin)


def resumes(fixture, server):
    """A ticket of one process is taken by another: TLS 1.2 and 1.3."""
    port = server(fixture)
    for version in ("-tls1_2", "-tls1_3"):
        file = fixture.new("session")
        # In TLS 1.3 the ticket comes behind the handshake, with the greeting.
        first = s_client(fixture, port, version, "-ign_eof", "-sess_out", file, stdin=b"QUIT\r\n").good()
        check("Reused, " not in first.text, "a first session is none that goes on")
        for _ in range(3):
            s_client(fixture, port, version, "-ign_eof", "-sess_in", file, stdin=b"QUIT\r\n").good().says("Reused, ")


add("openssl s_client: pop3d takes up sessions of its other processes, TLS 1.2 and 1.3", resumes,
    lambda fixture: pop3d_under_tls(fixture)[1])
add("openssl s_client: smtpd takes up sessions of its other processes, TLS 1.2 and 1.3", resumes,
    lambda fixture: ports(fixture)["tls"])


@test("openssl s_client -starttls smtp: TLS 1.2 and 1.3; older versions are refused")
def versions(fixture):
    port = ports(fixture)["starttls"]
    for version, name in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
        out = s_client(fixture, port, "-starttls", "smtp", version, "-verify_return_error",
                       "-verify_ip", LOOPBACK).good()
        check(re.search(rf"New, {re.escape(name)}|Protocol *: {re.escape(name)}", out.text), out.text)
    s_client(fixture, port, "-starttls", "smtp", "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0").bad()


@test("openssl s_client -servername: the name chooses the certificate, and the first is for all others")
def names(fixture):
    folder = fixture.folder("names")
    options = []
    for name in ("one.test", "two.test"):
        cert, key = folder / f"{name}.crt", folder / f"{name}.key"
        fixture.run(need("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                    "-addext", f"subjectAltName=DNS:{name}", "-keyout", key, "-out", cert).good()
        key.chmod(0o600)
        options += ["--tls-cert", cert, "--tls-key", key]
    with fixture.start("pop3d", *fixture.options("pop3d"), *options) as daemon:
        for asked, shown in (("one.test", "one.test"), ("two.test", "two.test"), ("other.test", "one.test")):
            out = fixture.run(need("openssl"), "s_client", "-connect", f"{LOOPBACK}:{daemon.port}", "-starttls", "pop3",
                              "-servername", asked, stdin=b"Q\n")
            out.says(f"subject=CN = {shown}")
