"""pop3d with what curl, fetchmail, mpop and pop3c can do beyond fetching letters and leaving them."""

import poplib
import re

from lib import LOOPBACK, check, same, test
from lib.fixture import PASSWORD
from letters import HEAD, KINDS, SLIDES, big, crlf, one
from pop3_clients import (mpop, pop3c, read_files, run_fetchmail, run_mpop, run_pop3c, url)

THREE = [SLIDES, KINDS["lines of dots"], HEAD + b"\nlast\n"]
LONG_LINE = HEAD + b"\n" + b"." + b"x" * 1_000_000 + b"\nend\n"


# curl

def curl(fixture, box, path, *words, daemon=None, password=PASSWORD):
    return fixture.run("curl", "-sS", "-u", f"{box.name}:{password}",
                       url(daemon or fixture.pop3d, path), *words)


@test("curl: LIST, LIST 1, UIDL, STAT and NOOP")
def curl_asks(fixture):
    box = fixture.mailbox().lay(*THREE)
    sizes = [len(crlf(letter)) for letter in THREE]
    lines = [b"%d %d" % pair for pair in enumerate(sizes, 1)]
    same(curl(fixture, box, "").good().stdout.splitlines(), lines, "LIST")
    curl(fixture, box, "1", "-l", "-v").good().says("> LIST 1", f"< +OK 1 {sizes[0]}")
    ids = curl(fixture, box, "", "-X", "UIDL").good().stdout.splitlines()
    same([line.split()[0] for line in ids], [b"1", b"2", b"3"], "numbers of UIDL")
    curl(fixture, box, "", "-X", "STAT", "-I", "-v").good().says(f"< +OK 3 {sum(sizes)}")
    curl(fixture, box, "", "-X", "NOOP", "-I", "-v").good().says("> NOOP", "< +OK")


@test("curl: TOP 3 0 is the header of the third letter")
def curl_top(fixture):
    box = fixture.mailbox().lay(*THREE)
    same(curl(fixture, box, "", "-X", "TOP 3 0").good().stdout, crlf(HEAD) + b"\r\n", "TOP 3 0")


@test("curl: DELE 2 deletes the second letter and no other; DELE 3 is then refused")
def curl_dele(fixture):
    box = fixture.mailbox().lay(*THREE)
    curl(fixture, box, "", "-X", "DELE 2", "-I").good()
    same(box.letters(), [crlf(THREE[0]), crlf(THREE[2])], "letters")
    curl(fixture, box, "", "-X", "DELE 3", "-I").bad()
    same(len(box.letters()), 2, "letters")


@test("curl: a letter that is not there is an error, and so is a wrong password (exit 67)")
def curl_wrong(fixture):
    box = fixture.mailbox().lay(SLIDES)
    curl(fixture, box, "2").bad()
    same(curl(fixture, box, "1", password="wrong").code, 67, "exit status of curl")
    same(curl(fixture, box, "1", password="wrong", daemon=fixture.apop_pop3d).code, 67, "by AUTH")


@test("curl: AUTH PLAIN, with and without an initial response")
def curl_auth_plain(fixture):
    box = fixture.mailbox().lay(SLIDES)
    for words in ([], ["--sasl-ir"]):
        out = curl(fixture, box, "1", "-v", "--login-options", "AUTH=PLAIN", *words).good()
        same(out.stdout, crlf(SLIDES), "the letter")
        out.says("> AUTH PLAIN")


@test("curl: a user with a hashed password gets in where another's is known and APOP is offered")
def curl_mixed(fixture):
    box = fixture.mailbox().lay(SLIDES)
    # By itself curl takes the strongest that is offered, here one that this user has no secret for.
    out = curl(fixture, box, "1", "-v", "--login-options", "AUTH=PLAIN", daemon=fixture.mixed_pop3d).good()
    same(out.stdout, crlf(SLIDES), "the letter")
    check(re.search(r"< \+OK .* <[^ ]+@[^ ]+>", out.text), f"no timestamp: {out.text}")


@test("curl --login-options AUTH=+APOP: the digest goes, and no password")
def curl_apop(fixture):
    box = fixture.mailbox().lay(SLIDES)
    out = curl(fixture, box, "1", "-v", "--login-options", "AUTH=+APOP", daemon=fixture.apop_pop3d).good()
    same(out.stdout, crlf(SLIDES), "the letter")
    out.says(f"> APOP {box.name} ")
    check("PASS" not in out.text and PASSWORD not in out.text, f"a password went: {out.text}")


@test("curl: user and password in the URL")
def curl_in_url(fixture):
    box = fixture.mailbox().lay(SLIDES)
    out = fixture.run("curl", "-sS", f"pop3://{box.name}:{PASSWORD}@{LOOPBACK}:{fixture.pop3d.port}/1").good()
    same(out.stdout, crlf(SLIDES), "the letter")


@test("curl: a line of 1 MB that begins with a dot comes out whole")
def curl_long_line(fixture):
    same(curl(fixture, fixture.mailbox().lay(LONG_LINE), "1").good().stdout, crlf(LONG_LINE), "letter")


@test("curl --ssl-reqd: no STLS here, so curl does not log in")
def curl_no_tls(fixture):
    box = fixture.mailbox().lay(SLIDES)
    out = curl(fixture, box, "1", "--ssl-reqd", "-v").bad()
    check("> USER" not in out.text, f"it logged in: {out.text}")


# fetchmail

class Fetcher:
    """fetchmail, which remembers in its home what it has seen."""

    def __init__(self, fixture, box):
        self.fixture, self.box = fixture, box
        self.home, self.folder = fixture.folder("home"), fixture.folder("mda")

    def __call__(self, options, *words, daemon=None, **more):
        mda = f"mda \"{self.fixture.script('mda')} {self.folder}\""
        return run_fetchmail(self.fixture, self.box, f"{mda} {options}", *words, home=self.home,
                             daemon=daemon, **more)

    def letters(self):
        return read_files(self.folder)


@test("fetchmail keep: the second time there is nothing new (exit 1), then only what is new")
def fetchmail_keep(fixture):
    box = fixture.mailbox().lay(*THREE)
    fetchmail = Fetcher(fixture, box)
    same(fetchmail("keep").good().code, 0, "exit status")
    same(fetchmail.letters(), [crlf(letter) for letter in THREE], "letters")
    same(fetchmail("keep").code, 1, "exit status the second time")
    box.lay(KINDS["no body"])
    fetchmail("keep").good()
    same(fetchmail.letters()[3:], [crlf(KINDS["no body"])], "new letters")
    same(len(box.letters()), 4, "letters in the Maildir")


@test("fetchmail nokeep: all are fetched and then gone from the server")
def fetchmail_nokeep(fixture):
    box = fixture.mailbox().lay(*THREE)
    fetchmail = Fetcher(fixture, box)
    fetchmail("nokeep").good()
    same(fetchmail.letters(), [crlf(letter) for letter in THREE], "letters")
    same(box.letters(), [], "letters in the Maildir")
    same(fetchmail("nokeep").code, 1, "exit status the second time")


@test("fetchmail: an mda that fails: nothing is deleted")
def fetchmail_failing_mda(fixture):
    box = fixture.mailbox().lay(*THREE)
    # It reads the letter first: else fetchmail may meet its end while writing, and says something else.
    run_fetchmail(fixture, box, 'mda "cat >/dev/null; false" nokeep').says("MDA returned nonzero status 1")
    same(len(box.letters()), 3, "letters in the Maildir")


@test("fetchmail --check: counts the letters and fetches none")
def fetchmail_check(fixture):
    box = fixture.mailbox().lay(*THREE)
    fetchmail = Fetcher(fixture, box)
    octets = sum(len(crlf(letter)) for letter in THREE)
    fetchmail("keep", "--check").good().says(f"3 messages for {box.name}", f"({octets} octets)")
    same(fetchmail.letters(), [], "letters")


@test("fetchmail fetchlimit 2: the first two, then the third")
def fetchmail_limit(fixture):
    box = fixture.mailbox().lay(*THREE)
    fetchmail = Fetcher(fixture, box)
    fetchmail("nokeep fetchlimit 2")
    same(len(box.letters()), 1, "letters in the Maildir")
    fetchmail("nokeep fetchlimit 2").good()
    same(fetchmail.letters(), [crlf(letter) for letter in THREE], "letters")
    same(box.letters(), [], "letters in the Maildir")


@test("fetchmail limit: a letter that is too large stays, the others go")
def fetchmail_size(fixture):
    box = fixture.mailbox().lay(SLIDES, big(50_000), SLIDES)
    fetchmail = Fetcher(fixture, box)
    fetchmail("nokeep limit 10000")
    same(fetchmail.letters(), [crlf(SLIDES)] * 2, "letters")
    same(box.letters(), [crlf(big(50_000))], "letters in the Maildir")


@test("fetchmail: a wrong password: exit 3, an authorisation failure")
def fetchmail_wrong(fixture):
    box = fixture.mailbox().lay(SLIDES)
    fixture.append("users", "")
    box.name = "nobody-here"
    out = Fetcher(fixture, box)("keep")
    same(out.code, 3, f"exit status; {out.text}")


@test("fetchmail: a maildrop in use by another session: exit 9, lock busy")
def fetchmail_busy(fixture):
    box = fixture.mailbox().lay(SLIDES)
    session = poplib.POP3(LOOPBACK, fixture.pop3d.port, timeout=10)
    session.user(box.name)
    session.pass_(PASSWORD)
    out = Fetcher(fixture, box)("keep")
    session.quit()
    same(out.code, 9, f"exit status; {out.text}")


@test("fetchmail: a line of 8,000 octets comes out whole")
def fetchmail_long_line(fixture):
    # More than its buffer of 8 KiB it cuts itself, and writes a NUL there; curl, mpop and pop3c
    # show that a line of 1 MB is whole on the wire.
    letter = HEAD + b"\n" + b"x" * 8000 + b"\nend\n"
    fetchmail = Fetcher(fixture, fixture.mailbox().lay(letter))
    fetchmail("keep").good()
    same(one(fetchmail.letters()), crlf(letter), "letter")


@test("fetchmail nokeep by APOP, verbose: the dialogue has APOP, DELE and QUIT")
def fetchmail_apop(fixture):
    box = fixture.mailbox().lay(*THREE)
    out = Fetcher(fixture, box)("nokeep", "-v", daemon=fixture.apop_pop3d, protocol="apop").good()
    out.says("POP3> APOP", "POP3> DELE 3", "POP3> QUIT")
    same(box.letters(), [], "letters in the Maildir")


# mpop

@test("mpop: into a Maildir, --keep=off: all are there, and gone from the server")
def mpop_maildir(fixture):
    box, to = fixture.mailbox().lay(*THREE), fixture.mailbox().lay()
    run_mpop(fixture, box, f"maildir {to.maildir}", "--keep=off").good()
    same(sorted(to.letters()), sorted(crlf(letter) for letter in THREE), "letters")
    same(box.letters(), [], "letters in the Maildir")


@test("mpop: into an mbox: From lines are quoted, nothing is lost")
def mpop_mbox(fixture):
    box = fixture.mailbox().lay(SLIDES, KINDS["a line that begins with From"])
    mbox = fixture.folder("mbox") / "mbox"
    run_mpop(fixture, box, f"mbox {mbox}", "--keep=on").good()
    text = mbox.read_bytes()
    same(len(re.findall(rb"^From ", text, re.M)), 2, "letters in the mbox")
    check(b"\n>From here on\n>" in text, f"mbox: {text}")


@test("mpop --keep=on --only-new: the second time only what is new")
def mpop_keep(fixture):
    box, to = fixture.mailbox().lay(*THREE), fixture.mailbox().lay()
    ids = fixture.folder("mpop") / "ids"
    for count in (3, 3):
        run_mpop(fixture, box, f"maildir {to.maildir}", "--keep=on", ids=ids).good()
        same(len(to.letters()), count, "letters")
    box.lay(KINDS["no body"])
    run_mpop(fixture, box, f"maildir {to.maildir}", "--keep=on", ids=ids).good()
    same(len(to.letters()), 4, "letters")
    same(len(box.letters()), 4, "letters in the Maildir")


@test("mpop --pipelining=on and off: 100 letters the same way")
def mpop_pipelining(fixture):
    letters = [SLIDES + b"number %d\n" % number for number in range(100)]
    for switch in ("on", "off"):
        box, folder = fixture.mailbox().lay(*letters), fixture.folder("mda")
        run_mpop(fixture, box, f"mda {fixture.script('mda')} {folder}", "--keep=off",
                 f"--pipelining={switch}").good()
        same(read_files(folder), [crlf(letter) for letter in letters], "letters")
        same(box.letters(), [], "letters in the Maildir")


@test("mpop --serverinfo: capabilities, APOP where it is, and no TLS")
def mpop_info(fixture):
    fixture.mailbox()
    for daemon, apop in ((fixture.pop3d, False), (fixture.apop_pop3d, True)):
        out = fixture.run("mpop", f"--host={LOOPBACK}", f"--port={daemon.port}", "--tls=off",
                          "--serverinfo").good().says("TOP", "UIDL", "PIPELINING")
        same("APOP" in out.text, apop, f"APOP is mentioned: {out.text}")
        check("STLS" not in out.text, f"it mentions STLS: {out.text}")


@test("mpop --status-only: counts; --auth-only: logs in; a wrong password: exit 77 and why")
def mpop_status(fixture):
    box = fixture.mailbox().lay(*THREE)
    octets = sum(len(crlf(letter)) for letter in THREE)
    nowhere = f"maildir {box.maildir}"
    out = run_mpop(fixture, box, nowhere, "--status-only").good().says("3")
    check("3 " in out.text, f"status: {out.text} ({octets} octets)")
    run_mpop(fixture, box, nowhere, "--auth-only").good()
    box.name = "nobody-here"
    same(run_mpop(fixture, box, nowhere, "--auth-only").says("-ERR [AUTH]").code, 77, "exit status")


# pop3c

@test("pop3c: stat, list, uidl, top, get; what is not there: exit 69")
def pop3c_asks(fixture):
    box = fixture.mailbox().lay(*THREE)
    sizes = [len(crlf(letter)) for letter in THREE]
    run_pop3c(fixture, box, "stat").good().says("3", str(sum(sizes)))
    listed = run_pop3c(fixture, box, "list").good().stdout.decode().split()
    same(listed, [str(n) for pair in enumerate(sizes, 1) for n in pair], "list")
    ids = run_pop3c(fixture, box, "uidl").good().stdout.decode().split()
    same(ids[::2], ["1", "2", "3"], "uidl")
    same(run_pop3c(fixture, box, "top", 3, 0).good().stdout, HEAD + b"\n", "top 3 0")
    same(run_pop3c(fixture, box, "get", 2).good().stdout, THREE[1], "get 2")
    same(run_pop3c(fixture, box, "get", 4).code, 69, "exit status of get 4")


@test("pop3c: dele 2 deletes the second letter and no other")
def pop3c_dele(fixture):
    box = fixture.mailbox().lay(*THREE)
    run_pop3c(fixture, box, "dele", 2).good()
    same(box.letters(), [crlf(THREE[0]), crlf(THREE[2])], "letters")


@test("pop3c: fetch twice stores each letter once; fetch --delete empties the maildrop")
def pop3c_fetch(fixture):
    box, to = fixture.mailbox().lay(*THREE), fixture.mailbox()
    for _ in range(2):
        run_pop3c(fixture, box, "fetch", to.maildir).good()
        same(sorted(to.letters()), sorted(crlf(letter) for letter in THREE), "letters")
    same(len(box.letters()), 3, "letters in the Maildir")
    box.lay(KINDS["no body"])
    run_pop3c(fixture, box, "--delete", "fetch", to.maildir).good()
    same(len(to.letters()), 4, "letters")
    same(box.letters(), [], "letters in the Maildir")


@test("pop3c: a wrong password: exit 77, and the server's words")
def pop3c_wrong(fixture):
    box = fixture.mailbox().lay(SLIDES)
    out = fixture.run("pop3c", "-u", box.name, "--password-file", fixture.file("password", "wrong\n"),
                      f"{LOOPBACK}:{fixture.pop3d.port}", "stat")
    same(out.says("[AUTH]").code, 77, "exit status")


@test("pop3c: a line of 1 MB that begins with a dot comes out whole")
def pop3c_long_line(fixture):
    same(one(pop3c(fixture, fixture.mailbox().lay(LONG_LINE))), crlf(LONG_LINE), "letter")


@test("mpop: a line of 1 MB that begins with a dot comes out whole")
def mpop_long_line(fixture):
    same(one(mpop(fixture, fixture.mailbox().lay(LONG_LINE))), crlf(LONG_LINE), "letter")
