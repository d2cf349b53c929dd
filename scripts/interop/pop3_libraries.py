"""pop3d with getmail6, Node's POP3 libraries, Net::POP3 and poplib: in the clear, by STLS and TLS, with SASL."""

import os
import poplib
import re
import ssl

from lib import LOOPBACK, Missing, add, check, need, same, test, wait_until
from lib.fixture import PASSWORD
from lib.packages import package_of
from letters import KINDS, SLIDES, crlf
from pop3_clients import net_pop3, read_files
from pop3_tls import certificate
from pop3_tls import pop3d as pop3d_under_tls

LETTERS = list(KINDS.values())
# Of a user that is no mailbox's owner: getmail delivers nothing as root.
NOBODY = 65534
NODE_MODULES = "/usr/local/share/forklore-interop/node/node_modules"
# The end of getmail's own delivery process may come before it waits for it (a race in its _wait_for_child):
# then it waits for its timeout, and says so.
MISSED_CHILD, TRIES = "waiting child pid", 8


def port_of(fixture, way):
    """Of one that is spoken to this way; what is not clear goes to the name in the certificate."""
    if way == "clear":
        return LOOPBACK, fixture.pop3d.port
    daemon, tls = pop3d_under_tls(fixture)
    return "localhost", tls if way == "tls" else daemon.port


# getmail6

class Getmail:
    """getmail, which remembers in its home what it has seen."""

    def __init__(self, fixture, box, way="clear"):
        self.fixture, self.box, self.way = fixture, box, way
        self.renew()

    def renew(self):
        self.home = self.fixture.folder("getmail")
        self.maildir = self.home / "Maildir"
        for part in ("tmp", "new", "cur"):
            (self.maildir / part).mkdir(parents=True)

    def run(self, password=PASSWORD, **options):
        """One run; a first one that misses the end of its child is done again, with a home that is new."""
        host, port = port_of(self.fixture, self.way)
        secure = "SSL" if self.way == "tls" else ""
        authority = f"ca_certs = {certificate(self.fixture)[2]}\n" if self.way == "tls" else ""
        lines = "".join(f"{name} = {value}\n" for name, value in
                        {"read_all": "false", "delivered_to": "false", "received": "false", **options}.items())
        for _ in range(TRIES):
            (self.home / "getmailrc").write_text(
                f"[retriever]\ntype = SimplePOP3{secure}Retriever\nserver = {host}\nport = {port}\ntimeout = 5\n"
                f"username = {self.box.name}\npassword = {password}\n{authority}"
                f"[destination]\ntype = Maildir\npath = {self.maildir}/\n[options]\n{lines}")
            argv = [need("getmail"), "--getmaildir", self.home, "--rcfile", self.home / "getmailrc"]
            if self.fixture.is_root:
                for path in (self.home, *self.home.rglob("*")):
                    os.chown(path, NOBODY, NOBODY)
                argv = [need("setpriv"), f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *argv]
            out = self.fixture.run(*argv)
            if MISSED_CHILD not in out.text or "read_all" in options:
                break
            if not any(self.home.glob("oldmail*")):
                self.renew()
        return out

    def letters(self):
        """What it has delivered, below the Return-Path that it writes itself."""
        texts = [crlf(path.read_bytes()) for part in ("new", "cur") for path in (self.maildir / part).iterdir()]
        return sorted(re.sub(rb"\AReturn-Path: <unknown>\r\n", b"", text) for text in texts)


# Headers that the e-mail package of Python, and so getmail, writes as they are.
PLAIN = [letter for name, letter in KINDS.items() if "blank lines" not in name]


def getmail_keeps(fixture, way):
    box = fixture.mailbox().lay(*PLAIN)
    getmail = Getmail(fixture, box, way)
    getmail.run().good()
    same(getmail.letters(), sorted(map(crlf, PLAIN)), "letters")
    getmail.run().good().says("0 messages (0 bytes) retrieved")
    same(len(box.letters()), len(PLAIN), "letters in the Maildir")


def getmail_deletes(fixture, way):
    box = fixture.mailbox().lay(*PLAIN)
    getmail = Getmail(fixture, box, way)
    out = getmail.run(delete="true")
    if MISSED_CHILD in out.text:  # those that it had delivered are gone
        out = getmail.run(delete="true")
    out.good()
    same(box.letters(), [], "letters in the Maildir")


for how in ("clear", "tls"):
    add(f"getmail, {how}: all letters come out; the second run fetches nothing", getmail_keeps, how)
    add(f"getmail, {how}, delete: they are gone from the server", getmail_deletes, how)


@test("getmail: a wrong password is an error, and says why")
def getmail_wrong(fixture):
    box = fixture.mailbox().lay(SLIDES)
    getmail = Getmail(fixture, box)
    out = getmail.run(password="wrong", read_all="true")
    check("[AUTH]" in out.text, f"no reason: {out.text}")
    same(getmail.letters(), [], "letters")


# Node's libraries

def node(fixture, library, box, way, *words, password=PASSWORD):
    host, port = port_of(fixture, way)
    env = {"NODE_POP3_PASSWORD": password, "NODE_PATH": NODE_MODULES, "NODE_POP3_TLS": "1" if way == "tls" else "",
           "NODE_EXTRA_CA_CERTS": str(certificate(fixture)[2]) if way == "tls" else ""}
    return fixture.run(need("node"), fixture.script("node_pop3.cjs"), library, host, port, box.name, *words, env=env)


def whole(piece):
    """A letter, of what these libraries give: dots unstuffed, and the end of its last line."""
    return re.sub(rb"(?m)^\.", b"", piece) + b"\r\n"


def node_letters(folder):
    return [whole(path.read_bytes()) for path in sorted(folder.glob("[0-9]*"))]


def node_fetches(fixture, library, way):
    box = fixture.mailbox().lay(*LETTERS)
    folder = fixture.folder(library)
    node(fixture, library, box, way, "fetch", folder).good()
    same(node_letters(folder), [crlf(letter) for letter in LETTERS], "letters")
    for path in folder.glob("[0-9]*"):
        path.unlink()
    node(fixture, library, box, way, "fetch", folder).good()
    same(node_letters(folder), [], "letters the second time")
    same(len(box.letters()), len(LETTERS), "letters in the Maildir")
    out = node(fixture, library, box, way, "list").good()
    out.says("sizes: " + " ".join(str(len(crlf(letter))) for letter in LETTERS))


def node_deletes(fixture, library, way):
    box = fixture.mailbox().lay(*LETTERS)
    folder = fixture.folder(library)
    node(fixture, library, box, way, "delete", folder).good()
    same(node_letters(folder), [crlf(letter) for letter in LETTERS], "letters")
    # yapople takes whatever it reads at once for one reply, so it may end before it has that to its QUIT.
    wait_until("the letters are gone", lambda: box.letters() == [])


def node_wrong(fixture, library):
    box = fixture.mailbox().lay(SLIDES)
    node(fixture, library, box, "clear", "list", password="wrong").bad("[AUTH]")


for name in ("node-pop3", "yapople"):
    for how in ("clear", "tls"):
        add(f"{name} (npm), {how}: list, all letters come out; the second run fetches nothing", node_fetches, name, how)
        add(f"{name} (npm), {how}: deletes", node_deletes, name, how)
    add(f"{name} (npm): a wrong password is an error, and says why", node_wrong, name)


# Net::POP3

def need_module(fixture, *modules):
    """Perl must have them."""
    for module in modules:
        if fixture.run(need("perl"), f"-M{module}", "-e", "1").code != 0:
            raise Missing(module, package_of(module))


def perl(fixture, box, way, how, *words):
    host, port = port_of(fixture, way)
    return fixture.run(need("perl"), fixture.script("net_pop3.pl"), host, port, box.name, how, *words,
                       env={"NET_POP3_PASSWORD": PASSWORD, "NET_POP3_TLS": way, "NET_POP3_CA": str(certificate(fixture)[2])})


def perl_under_tls(fixture, way, how):
    need_module(fixture, "IO::Socket::SSL", "Authen::SASL")
    box = fixture.mailbox().lay(*LETTERS)
    folder = fixture.folder("perl")
    perl(fixture, box, way, how, "fetch", folder).good().says(f"messages: {len(LETTERS)}")
    same(read_files(folder), [crlf(letter) for letter in LETTERS], "letters")
    perl(fixture, box, way, how, "delete", 2).good()
    same(len(box.letters()), len(LETTERS) - 1, "letters in the Maildir")


for how in ("stls", "tls"):
    for login in ("login", "auth"):
        add(f"Net::POP3 by {how}, {login}: all letters come out, one is deleted", perl_under_tls, how, login)


@test("Net::POP3 auth, in the clear: SASL of Authen::SASL logs in")
def perl_auth(fixture):
    need_module(fixture, "Authen::SASL")
    box = fixture.mailbox().lay(SLIDES)
    net_pop3(fixture, box, "auth", "delete", 1, daemon=fixture.apop_pop3d).good()
    same(box.letters(), [], "letters in the Maildir")


# poplib

def poplib_under_tls(fixture, way):
    box = fixture.mailbox().lay(*LETTERS)
    host, port = port_of(fixture, way)
    context = ssl.create_default_context(cafile=certificate(fixture)[2])
    if way == "tls":
        session = poplib.POP3_SSL(host, port, timeout=10, context=context)
    else:
        session = poplib.POP3(host, port, timeout=10)
        session.stls(context)
    check(session.utf8().startswith(b"+OK"), "UTF8 is refused")
    session.user(box.name)
    session.pass_(PASSWORD)
    same([int(line.split()[1]) for line in session.list()[1]], [len(crlf(letter)) for letter in LETTERS], "sizes")
    for number, letter in enumerate(LETTERS, 1):
        same(b"".join(line + b"\r\n" for line in session.retr(number)[1]), crlf(letter), f"letter {number}")
    ids = [line.split()[1] for line in session.uidl()[1]]
    same(len(set(ids)), len(LETTERS), "ids")
    session.dele(1)
    session.quit()
    same(len(box.letters()), len(LETTERS) - 1, "letters in the Maildir")


for how in ("stls", "tls"):
    add(f"poplib by {how}, UTF8: list, all letters come out, ids, one is deleted", poplib_under_tls, how)
