"""Every POP3 client, with every kind of letter, out of a Maildir.

A client here is a function of the lab and a mailbox; it logs in, leaves all mail where it is, and
gives back the letters, the first one first, their lines ending in CRLF.
"""

import poplib

from harness import add, check, same
from lab import PASSWORD
from letters import KINDS, NO_FINAL_NEWLINE, SLIDES, big, crlf

HERE = "127.0.0.1"


def url(daemon, path=""):
    return f"pop3://{HERE}:{daemon.port}/{path}"


def read_files(folder):
    return [crlf(path.read_bytes()) for path in sorted(folder.iterdir())]


def curl(lab, box, daemon=None, *words):
    """curl LIST, then curl RETR for each, all of them in one connection."""
    daemon = daemon or lab.pop3d
    login = ["-sS", "-u", f"{box.name}:{PASSWORD}", *words]
    # Of an empty listing curl makes an empty line.
    count = len(lab.run("curl", *login, url(daemon)).good().stdout.strip().splitlines())
    if count == 0:
        return []
    folder = lab.folder("curl")
    lab.run("curl", *login, url(daemon, f"[1-{count}]"), "-o", f"{folder}/#1").good()
    return [(folder / str(number)).read_bytes() for number in range(1, count + 1)]


def curl_apop(lab, box):
    """curl by APOP, which it would take by itself only where there is no AUTH."""
    return curl(lab, box, lab.apop_pop3d, "--login-options", "AUTH=+APOP")


def python(lab, box, daemon=None, how="pass"):
    session = poplib.POP3(HERE, (daemon or lab.pop3d).port, timeout=10)
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


def python_apop(lab, box):
    return python(lab, box, lab.apop_pop3d, "apop")


def net_pop3(lab, box, how, *words, daemon=None, password=PASSWORD):
    return lab.run("perl", lab.script("net_pop3.pl"), HERE, (daemon or lab.pop3d).port, box.name,
                   how, *words, env={"NET_POP3_PASSWORD": password})


def perl(lab, box):
    folder = lab.folder("perl")
    net_pop3(lab, box, "login", "fetch", folder).good()
    return read_files(folder)


def perl_apop(lab, box):
    folder = lab.folder("perl")
    net_pop3(lab, box, "apop", "fetch", folder, daemon=lab.apop_pop3d).good()
    return read_files(folder)


def run_fetchmail(lab, box, options, *words, daemon=None, protocol="pop3", home=None):
    """fetchmail with a home of its own; exit status 0: mail fetched, 1: there was none."""
    home = home or lab.folder("fetchmail")
    config = (f"set invisible\nset no bouncemail\nset postmaster root\n"
              f"poll {HERE} service {(daemon or lab.pop3d).port} protocol {protocol} "
              f"timeout 10 no dns uidl\n"
              f"user \"{box.name}\" password \"{PASSWORD}\" sslproto \"\" no rewrite {options}\n")
    file = lab.file("fetchmailrc", config, 0o700)
    return lab.run("fetchmail", "--fetchmailrc", file, "--idfile", home / "ids",
                   "--pidfile", home / "pid", "--nodetach", "--nosyslog", *words,
                   env={"HOME": str(home), "FETCHMAILHOME": str(home), "USER": "me"})


def fetchmail(lab, box, daemon=None, protocol="pop3"):
    folder = lab.folder("mda")
    mda = f"mda \"{lab.script('mda')} {folder}\" fetchall keep"
    out = run_fetchmail(lab, box, mda, daemon=daemon, protocol=protocol)
    check(out.code in (0, 1), f"fetchmail ended with {out.code}: {out.text}")
    return read_files(folder)


def fetchmail_apop(lab, box):
    return fetchmail(lab, box, lab.apop_pop3d, "apop")


def run_mpop(lab, box, delivery, *words, daemon=None, auth="user", ids=None):
    config = (f"account default\nhost {HERE}\nport {(daemon or lab.pop3d).port}\ntls off\n"
              f"auth {auth}\nuser {box.name}\npassword {PASSWORD}\ndelivery {delivery}\n"
              f"uidls_file {ids or lab.folder('mpop') / 'ids'}\nreceived_header off\ntimeout 10\n")
    file = lab.file("mpoprc", config)
    return lab.run("mpop", "-C", file, *words)


def mpop(lab, box, daemon=None, auth="user"):
    folder = lab.folder("mda")
    mda = f"mda {lab.script('mda')} {folder}"
    run_mpop(lab, box, mda, "--keep=on", daemon=daemon, auth=auth).good()
    return read_files(folder)


def mpop_apop(lab, box):
    return mpop(lab, box, lab.apop_pop3d, "apop")


def run_pop3c(lab, box, *words, daemon=None):
    return lab.run("pop3c", "-u", box.name, "--password-file", lab.file("password", PASSWORD),
                   f"{HERE}:{(daemon or lab.pop3d).port}", *words)


def pop3c(lab, box, daemon=None):
    listed = run_pop3c(lab, box, "list", daemon=daemon).good().stdout.decode().splitlines()
    return [crlf(run_pop3c(lab, box, "get", line.split()[0], daemon=daemon).good().stdout)
            for line in listed]


def pop3c_apop(lab, box):
    return pop3c(lab, box, lab.apop_pop3d)


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


def comes_out(lab, client, letter):
    box = lab.mailbox().lay(letter)
    got = client(lab, box)
    same(len(got), 1, "letters")
    same(crlf(got[0]), crlf(letter), "the letter")
    same(len(box.letters()), 1, "letters still in the Maildir")


def all_in_order(lab, client):
    letters = [SLIDES + b"number %d\n" % number + b".\n" * number for number in range(1, 21)]
    box = lab.mailbox().lay(*letters)
    got = client(lab, box)
    same(len(got), 20, "letters")
    for letter, text in zip(letters, got):
        same(crlf(text), crlf(letter), "a letter")


def none(lab, client):
    same(client(lab, lab.mailbox().lay()), [], "letters of an empty Maildir")


for client, (plain, apop) in CLIENTS.items():
    for kind, letter in STORED.items():
        add(f"{client}: {kind} comes out octet for octet", comes_out, plain, letter)
    add(f"{client}: 20 letters come out in their order", all_in_order, plain)
    add(f"{client}: an empty maildrop has no letter", none, plain)
    add(f"{client}: the same by APOP: 20 letters come out", all_in_order, apop)
