"""pop3d under TLS, by STLS and from the first byte on, with SASL: curl, openssl s_client, fetchmail, mpop, poplib."""

import poplib
import re
import signal
import ssl

from lib import LOOPBACK, add, check, need, same, test, wait_until
from lib.fixture import PASSWORD
from letters import KINDS, SLIDES, crlf
from pop3_clients import read_files

THREE = [SLIDES, KINDS["lines of dots"], KINDS["8-bit text"]]
# Mechanisms of the clients; the last two need the password itself, or its SCRAM keys, at the server.
CURL, MPOP = ("PLAIN", "LOGIN", "CRAM-MD5"), ("plain", "login", "cram-md5", "scram-sha-256")
WAYS = ("stls", "tls")


def certificate(fixture):
    """A certificate for this machine, its key, and the authority that has signed it; made once."""
    folder = fixture.dir / "tls"
    names = [folder / name for name in ("cert.pem", "key.pem", "authority.pem")]
    with fixture.lock:
        if folder.is_dir():
            return names
        folder.mkdir()

        def openssl(*words):
            fixture.run(need("openssl"), *words, cwd=folder).good()

        new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        (folder / "names").write_text(f"subjectAltName=DNS:localhost,IP:{LOOPBACK}\nbasicConstraints=CA:FALSE\n")
        openssl("req", "-x509", *new, "-days", "2", "-subj", "/CN=authority", "-keyout", "authority.key",
                "-out", "authority.pem")
        openssl("req", *new, "-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "request.pem")
        openssl("x509", "-req", "-in", "request.pem", "-CA", "authority.pem", "-CAkey", "authority.key",
                "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", "cert.pem")
        names[1].chmod(0o600)
    return names


def pop3d(fixture):
    """A pop3d that takes passwords under TLS alone, and its port for those who begin with TLS."""
    cert, key, _ = certificate(fixture)
    if "pop3d-tls" not in fixture.daemons:
        fixture.mailbox()  # what a user could log in by is looked at when the daemon starts
    daemon = fixture.daemon("pop3d-tls", "pop3d", *fixture.options("pop3d", "secrets"), "--plaintext", "never",
                            "--tls-cert", cert, "--tls-key", key, "--tls-listen", f"{LOOPBACK}:0")
    found = re.search(r"listening on \S+:(\d+) \(tls\)", daemon.log())
    check(found, f"no line of the second listener: {daemon.log()}")
    return daemon, int(found[1])


def box_of(fixture):
    return fixture.mailbox().lay(*THREE)


def by_curl(fixture, way, mechanism):
    daemon, tls = pop3d(fixture)
    box = box_of(fixture)
    at = f"pop3s://localhost:{tls}" if way == "tls" else f"pop3://localhost:{daemon.port}"
    for number, letter in enumerate(THREE, 1):
        out = fixture.run("curl", "-sS", "--ssl-reqd", "--cacert", certificate(fixture)[2], "-4", "-v", "-u",
                          f"{box.name}:{PASSWORD}", "--login-options", f"AUTH={mechanism}", f"{at}/{number}").good()
        same(out.stdout, crlf(letter), f"letter {number}")
        out.says(f"> AUTH {mechanism}")


def by_openssl(fixture, way):
    daemon, tls = pop3d(fixture)
    box = box_of(fixture)
    how = ["-connect", f"{LOOPBACK}:{tls}"] if way == "tls" else \
        ["-connect", f"{LOOPBACK}:{daemon.port}", "-starttls", "pop3"]
    for version in ("-tls1_2", "-tls1_3"):
        out = fixture.run(need("openssl"), "s_client", *how, version, "-CAfile", certificate(fixture)[2],
                          "-verify_return_error", "-verify_ip", LOOPBACK, "-quiet", "-crlf",
                          stdin=f"USER {box.name}\nPASS {PASSWORD}\nSTAT\nQUIT\n".encode()).good()
        out.says(f"+OK {len(THREE)} ")


def run_fetchmail(fixture, box, way, auth, options, folder, home):
    daemon, tls = pop3d(fixture)
    option, port = ("ssl", tls) if way == "tls" else ("", daemon.port)
    config = (f"set invisible\nset no bouncemail\nset postmaster root\n"
              f"poll localhost service {port} protocol pop3 {auth} timeout 10 no dns uidl\n"
              f"user \"{box.name}\" password \"{PASSWORD}\" {option} sslproto \"TLS1.2+\" sslcertck "
              f"sslcertfile \"{certificate(fixture)[2]}\" no rewrite "
              f"mda \"{fixture.script('mda')} {folder}\" {options}\n")
    return fixture.run("fetchmail", "--fetchmailrc", fixture.file("fetchmailrc", config, 0o700), "--idfile", home / "ids",
                       "--pidfile", home / "pid", "--nodetach", "--nosyslog", "-v",
                       env={"HOME": str(home), "FETCHMAILHOME": str(home), "USER": "me"})


def by_fetchmail(fixture, way, auth="auth password", said="POP3> PASS"):
    """All letters; then nothing that is new, then all once more and away."""
    box, home = box_of(fixture), fixture.folder("fetchmail")

    def fetched(more, code):
        folder = fixture.folder("mda")
        out = run_fetchmail(fixture, box, way, auth, more, folder, home)
        same(out.code, code, f"exit status; {out.text}")
        out.says(said)
        return read_files(folder)

    all_of_them = [crlf(letter) for letter in THREE]
    same(fetched("keep", 0), all_of_them, "letters")
    same(fetched("keep", 1), [], "letters the second time")
    same(fetched("fetchall nokeep", 0), all_of_them, "letters")
    same(box.letters(), [], "letters in the Maildir")


def run_mpop(fixture, box, way, mechanism, keep, folder, ids):
    daemon, tls = pop3d(fixture)
    config = (f"account default\nhost localhost\nport {tls if way == 'tls' else daemon.port}\ntls on\n"
              f"tls_starttls {'off' if way == 'tls' else 'on'}\ntls_trust_file {certificate(fixture)[2]}\n"
              f"auth {mechanism}\nuser {box.name}\npassword {PASSWORD}\ndelivery mda {fixture.script('mda')} {folder}\n"
              f"uidls_file {ids}\nreceived_header off\ntimeout 10\n")
    fixture.run("mpop", "-C", fixture.file("mpoprc", config), f"--keep={keep}").good()
    return read_files(folder)


def by_mpop(fixture, way, mechanism):
    """All letters; then nothing that is new; then all once more, by one that remembers nothing, and away."""
    box, ids = box_of(fixture), fixture.folder("mpop") / "ids"
    all_of_them = [crlf(letter) for letter in THREE]
    same(run_mpop(fixture, box, way, mechanism, "on", fixture.folder("mda"), ids), all_of_them, "letters")
    same(run_mpop(fixture, box, way, mechanism, "on", fixture.folder("mda"), ids), [], "letters the second time")
    ids = fixture.folder("mpop") / "ids"
    same(run_mpop(fixture, box, way, mechanism, "off", fixture.folder("mda"), ids), all_of_them, "letters")
    same(box.letters(), [], "letters in the Maildir")


for how in WAYS:
    for name in CURL:
        add(f"curl by {how}, AUTH {name}: all letters come out", by_curl, how, name)
    add(f"openssl s_client by {how}: TLS 1.2 and 1.3, the certificate is checked", by_openssl, how)
    add(f"fetchmail by {how}: all letters come out, once; nokeep: they are gone", by_fetchmail, how)
    add(f"fetchmail by {how}, CRAM-MD5: the same", by_fetchmail, how, "auth cram-md5",
        "POP3> AUTH CRAM-MD5")
    for name in MPOP:
        add(f"mpop by {how}, {name}: all letters come out, once; --keep=off: they are gone", by_mpop, how, name)


@test("poplib: without TLS no password is taken, after STLS it is; SIGHUP does not end the session")
def plaintext(fixture):
    daemon, _ = pop3d(fixture)
    box = box_of(fixture)
    context = ssl.create_default_context(cafile=certificate(fixture)[2])
    session = poplib.POP3("localhost", daemon.port, timeout=10)
    check("USER" not in session.capa(), "USER is offered without TLS")
    session.stls(context)
    check("STLS" not in session.capa(), "STLS is offered within TLS")
    session.user(box.name)
    session.pass_(PASSWORD)
    daemon.signal(signal.SIGHUP)
    same(session.stat()[0], len(THREE), "messages")
    session.quit()
    again = poplib.POP3_SSL("localhost", pop3d(fixture)[1], timeout=10, context=context)
    again.quit()
    wait_until("all have ended", lambda: not daemon.alive())
