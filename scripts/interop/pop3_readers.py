"""pop3d with mutt and neomutt, at a terminal of their own: what a person reads mail with.

`fetch-mail` takes all letters into a spool, as they come; a folder pop://... shows the maildrop itself, and what
was read once lies in the reader's cache.
"""

from lib import LOOPBACK, add, check, need, same
from lib.fixture import PASSWORD
from lib.terminal import run_at_terminal
from letters import KINDS, SLIDES, crlf
from pop3_tls import certificate
from pop3_tls import pop3d as pop3d_under_tls

LETTERS = list(KINDS.values())
# GNU SASL of both knows them; `user` and `apop` are no SASL.
MECHANISMS = ("plain", "login", "cram-md5", "scram-sha-256")
WAYS = {"clear": "set ssl_starttls=no\nset ssl_force_tls=no\n", "stls": "set ssl_starttls=yes\nset ssl_force_tls=yes\n",
        "tls": "set ssl_force_tls=yes\n"}


class Reader:
    """One of the two, with a home where it keeps what it has fetched and read. Without a mechanism it takes what
    it finds best."""

    def __init__(self, fixture, program, box, daemon, way="clear", mechanism="user", password=PASSWORD):
        self.fixture, self.program, self.box = fixture, program, box
        self.home = fixture.folder(program)
        self.spool, self.copies = self.maildir("spool"), self.maildir("copies")
        host = LOOPBACK if way == "clear" else "localhost"
        self.url = f"pop{'s' if way == 'tls' else ''}://{box.name}@{host}:{daemon}"
        own = f"set pop_authenticators={mechanism}\n" if mechanism else ""
        authority = f"set ssl_ca_certificates_file={certificate(fixture)[2]}\n" if way != "clear" else ""
        (self.home / "rc").write_text(
            f"set folder={self.home}\nset spoolfile={self.spool}\nset mbox_type=Maildir\nset pop_host={self.url}\n"
            f"set pop_user={box.name}\nset pop_pass=\"{password}\"\n"
            f"set pop_checkinterval=0\nset message_cachedir={self.home}/bodies\nset header_cache={self.home}/headers\n"
            f"set confirmappend=no\nset delete=yes\nset move=no\nset wait_key=no\nset sleep_time=0\n"
            f"{own}{WAYS[way]}{authority}")

    def maildir(self, name):
        """A Maildir, and a folder for what was read, which neomutt does not make itself."""
        (self.home / "bodies").mkdir(exist_ok=True)
        path = self.home / name
        for part in ("tmp", "new", "cur"):
            (path / part).mkdir(parents=True)
        return path

    def does(self, keys, *words):
        """Starts it with keys in its buffer, the last of which leave it."""
        return run_at_terminal([need(self.program), "-n", "-F", self.home / "rc", "-e", f'push "{keys}"', *words],
                               {**self.fixture.env, "HOME": str(self.home)}, self.home)

    def fetch(self, delete=False):
        """fetch-mail: what the spool has then."""
        with (self.home / "rc").open("a") as rc:
            rc.write(f"set pop_delete={'yes' if delete else 'no'}\n")
        self.does("<fetch-mail><exit>")
        return sorted(crlf(path.read_bytes()) for part in ("new", "cur") for path in (self.spool / part).iterdir())

    def in_folder(self, keys):
        """Opens the maildrop itself."""
        return self.does(keys + "<exit>", "-f", self.url)


def a_pop3d(fixture, way):
    """The port of one that is spoken to this way."""
    if way == "clear":
        return fixture.apop_pop3d.port
    daemon, tls = pop3d_under_tls(fixture)
    return tls if way == "tls" else daemon.port


def fetches(fixture, program, way="clear", mechanism="user"):
    """Every kind of letter, octet for octet, and all of them stay."""
    box = fixture.mailbox().lay(*LETTERS)
    reader = Reader(fixture, program, box, a_pop3d(fixture, way), way, mechanism)
    same(reader.fetch(), sorted(map(crlf, LETTERS)), "letters")
    same(len(box.letters()), len(LETTERS), "letters in the Maildir")


def fetches_and_deletes(fixture, program):
    box = fixture.mailbox().lay(*LETTERS)
    reader = Reader(fixture, program, box, a_pop3d(fixture, "clear"))
    same(reader.fetch(delete=True), sorted(map(crlf, LETTERS)), "letters")
    same(box.letters(), [], "letters in the Maildir")


def reads_once(fixture, program):
    """A second look at the maildrop reads no letter again: bodies are found by their UIDL."""
    box = fixture.mailbox().lay(*LETTERS)
    transcript = fixture.new("transcript")
    with fixture.start("pop3d", *fixture.options("pop3d"), "--transcript", transcript) as daemon:
        reader = Reader(fixture, program, box, daemon.port)

        def look():
            before = transcript.read_text(errors="replace").count(" C: RETR ") if transcript.exists() else 0
            reader.in_folder(f"<tag-pattern>~A<enter><tag-prefix><copy-message>{reader.copies}<enter>")
            return transcript.read_text(errors="replace").count(" C: RETR ") - before

        same(look(), len(LETTERS), "RETR the first time")
        same(len(list(reader.copies.rglob("*interop*")) or list((reader.copies / "new").iterdir())
                 or list((reader.copies / "cur").iterdir())), len(LETTERS), "copies")
        same(look(), 0, "RETR the second time")
        box.lay(SLIDES + b"one more\n")
        same(look(), 1, "RETR after one more has come")
    same(len(box.letters()), len(LETTERS) + 1, "letters in the Maildir")


def deletes_one(fixture, program):
    box = fixture.mailbox().lay(SLIDES, KINDS["lines of dots"], KINDS["no body"])
    reader = Reader(fixture, program, box, a_pop3d(fixture, "clear"))
    reader.in_folder("<jump>2<enter><delete-message><sync-mailbox>")
    same(box.letters(), [crlf(SLIDES), crlf(KINDS["no body"])], "letters in the Maildir")


def is_refused(fixture, program):
    box = fixture.mailbox().lay(SLIDES)
    reader = Reader(fixture, program, box, a_pop3d(fixture, "clear"), password="wrong")
    same(reader.fetch(), [], "letters")
    reader = Reader(fixture, program, box, a_pop3d(fixture, "clear"))
    same(reader.fetch(), [crlf(SLIDES)], "letters with the right one")


for name in ("mutt", "neomutt"):
    add(f"{name} fetch-mail: all letters come out octet for octet, and stay", fetches, name)
    add(f"{name} fetch-mail, pop_delete: all come out, and are gone from the server", fetches_and_deletes, name)
    add(f"{name} pop://: looks twice, and each letter is read once", reads_once, name)
    add(f"{name} pop://: deletes the second letter and no other", deletes_one, name)
    add(f"{name}: a wrong password fetches nothing", is_refused, name)
    add(f"{name} by APOP: all letters come out", fetches, name, "clear", "apop")
    for how in WAYS:
        add(f"{name}, {how}, as it logs in by itself: all letters come out", fetches, name, how, None)
    for how in ("stls", "tls"):
        for one in ("user", *MECHANISMS):
            add(f"{name} by {how}, {one}: all letters come out", fetches, name, how, one)
