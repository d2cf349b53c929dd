"""Every POP3 client, with every kind of letter, out of a Maildir.

A client here is a function of the fixture and a mailbox; it logs in, leaves all mail where it is, and
gives back the letters, the first one first, their lines ending in CRLF.
"""

import poplib

from lib import LOOPBACK, add, check, same
from lib.fixture import PASSWORD
from letters import KINDS, NO_FINAL_NEWLINE, SLIDES, big, crlf



def url(daemon, path=""):
    return f"pop3://{LOOPBACK}:{daemon.port}/{path}"


def read_files(folder):
    return [crlf(path.read_bytes()) for path in sorted(folder.iterdir())]


def curl(fixture, box, daemon=None, *words):
    """curl LIST, then curl RETR for each, all of them in one connection."""
    daemon = daemon or fixture.pop3d
    login = ["-sS", "-u", f"{box.name}:{PASSWORD}", *words]
    # Of an empty listing curl makes an empty line.
    count = len(fixture.run("curl", *login, url(daemon)).good().stdout.strip().splitlines())
    if count == 0:
        return []
    folder = fixture.folder("curl")
    fixture.run("curl", *login, url(daemon, f"[1-{count}]"), "-o", f"{folder}/#1").good()
    return [(folder / str(number)).read_bytes() for number in range(1, count + 1)]


def curl_apop(fixture, box):
    """curl by APOP, which it would take by itself only where there is no AUTH."""
    return curl(fixture, box, fixture.apop_pop3d, "--login-options", "AUTH=+APOP")


def python(fixture, box, daemon=None, how="pass"):
    session = poplib.POP3(LOOPBACK, (daemon or fixture.pop3d).port, timeout=10)
    if how == "apop":
        session.apop(box.name, PASSWORD)
    else:
        session.user(box.name)
        session.pass_(PASSWORD)
    count, _ = session.stat()
    letters = [b"".join(line + b"\r\n" for line in session.retr(number)[1])
               for number in range(1, count + 1)]
    session.quit()
    return letters


def python_apop(fixture, box):
    return python(fixture, box, fixture.apop_pop3d, "apop")


def net_pop3(fixture, box, how, *words, daemon=None, password=PASSWORD):
    return fixture.run("perl", fixture.script("net_pop3.pl"), LOOPBACK,
                       (daemon or fixture.pop3d).port, box.name, how, *words,
                       env={"NET_POP3_PASSWORD": password})


def perl(fixture, box):
    folder = fixture.folder("perl")
    net_pop3(fixture, box, "login", "fetch", folder).good()
    return read_files(folder)


def perl_apop(fixture, box):
    folder = fixture.folder("perl")
    net_pop3(fixture, box, "apop", "fetch", folder, daemon=fixture.apop_pop3d).good()
    return read_files(folder)


def run_fetchmail(fixture, box, options, *words, daemon=None, protocol="pop3", home=None):
    """fetchmail with a home of its own; exit status 0: mail fetched, 1: there was none."""
    home = home or fixture.folder("fetchmail")
    config = (f"set invisible\nset no bouncemail\nset postmaster root\n"
              f"poll {LOOPBACK} service {(daemon or fixture.pop3d).port} protocol {protocol} "
              f"timeout 10 no dns uidl\n"
              f"user \"{box.name}\" password \"{PASSWORD}\" sslproto \"\" no rewrite {options}\n")
    file = fixture.file("fetchmailrc", config, 0o700)
    return fixture.run("fetchmail", "--fetchmailrc", file, "--idfile", home / "ids",
                       "--pidfile", home / "pid", "--nodetach", "--nosyslog", *words,
                       env={"HOME": str(home), "FETCHMAILHOME": str(home), "USER": "me"})


def fetchmail(fixture, box, daemon=None, protocol="pop3"):
    folder = fixture.folder("mda")
    mda = f"mda \"{fixture.script('mda')} {folder}\" fetchall keep"
    out = run_fetchmail(fixture, box, mda, daemon=daemon, protocol=protocol)
    check(out.code in (0, 1), f"fetchmail ended with {out.code}: {out.text}")
    return read_files(folder)


def fetchmail_apop(fixture, box):
    return fetchmail(fixture, box, fixture.apop_pop3d, "apop")


def run_mpop(fixture, box, delivery, *words, daemon=None, auth="user", ids=None):
    config = (f"account default\nhost {LOOPBACK}\nport {(daemon or fixture.pop3d).port}\ntls off\n"
              f"auth {auth}\nuser {box.name}\npassword {PASSWORD}\ndelivery {delivery}\n"
              f"uidls_file {ids or fixture.folder('mpop') / 'ids'}\nreceived_header off\ntimeout 10\n")
    file = fixture.file("mpoprc", config)
    return fixture.run("mpop", "-C", file, *words)


def mpop(fixture, box, daemon=None, auth="user"):
    folder = fixture.folder("mda")
    mda = f"mda {fixture.script('mda')} {folder}"
    run_mpop(fixture, box, mda, "--keep=on", daemon=daemon, auth=auth).good()
    return read_files(folder)


def mpop_apop(fixture, box):
    return mpop(fixture, box, fixture.apop_pop3d, "apop")


def run_pop3c(fixture, box, *words, daemon=None):
    return fixture.run("pop3c", "-u", box.name, "--password-file", fixture.file("password", PASSWORD),
                       f"{LOOPBACK}:{(daemon or fixture.pop3d).port}", *words)


def pop3c(fixture, box, daemon=None):
    listed = run_pop3c(fixture, box, "list", daemon=daemon).good().stdout.decode().splitlines()
    return [crlf(run_pop3c(fixture, box, "get", line.split()[0], daemon=daemon).good().stdout)
            for line in listed]


def pop3c_apop(fixture, box):
    return pop3c(fixture, box, fixture.apop_pop3d)


# The one that logs in with USER and PASS, and the one that does so with APOP.
CLIENTS = {
    "curl": (curl, curl_apop),
    "poplib": (python, python_apop),
    "Net::POP3": (perl, perl_apop),
    "fetchmail": (fetchmail, fetchmail_apop),
    "mpop": (mpop, mpop_apop),
    "pop3c": (pop3c, pop3c_apop),
}

STORED = {
    **KINDS,
    "a letter without a final newline": NO_FINAL_NEWLINE,
    "a letter that lies there with CRLF": SLIDES.replace(b"\n", b"\r\n"),
    "a letter of 5 MB": big(5_000_000),
}


def comes_out(fixture, client, letter):
    box = fixture.mailbox().lay(letter)
    got = client(fixture, box)
    same(len(got), 1, "letters")
    same(crlf(got[0]), crlf(letter), "the letter")
    same(len(box.letters()), 1, "letters still in the Maildir")


def all_in_order(fixture, client):
    letters = [SLIDES + b"number %d\n" % number + b".\n" * number for number in range(1, 21)]
    box = fixture.mailbox().lay(*letters)
    got = client(fixture, box)
    same(len(got), 20, "letters")
    for letter, text in zip(letters, got):
        same(crlf(text), crlf(letter), "a letter")


def none(fixture, client):
    same(client(fixture, fixture.mailbox().lay()), [], "letters of an empty Maildir")


for client, (plain, apop) in CLIENTS.items():
    for kind, letter in STORED.items():
        add(f"{client}: {kind} comes out octet for octet", comes_out, plain, letter)
    add(f"{client}: 20 letters come out in their order", all_in_order, plain)
    add(f"{client}: an empty maildrop has no letter", none, plain)
    add(f"{client}: the same by APOP: 20 letters come out", all_in_order, apop)
