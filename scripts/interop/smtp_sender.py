"""The sender: smtpc as sendmail, called as cron, mutt and git send-email call it, into the queue; smtpq from there by the
MX that dnsmasq knows, through real Postfix and OpenSMTPD, to smtpd and out by pop3c; LMTP into Dovecot."""

import os
import socket
import threading
from pathlib import Path

from lib import LOOPBACK, Missing, NotJudged, Program, add, check, need, same, test, wait_until
from lib.mailbox import DOMAIN, OWNER, give
from lib.sockets import bound, free_port
from letters import SENDER, SLIDES, crlf, one
from pop3_clients import pop3c
from smtp_relays import RELAYS, arrived, relay

# Addresses of the loopback: one host that is there, and one where nothing listens.
UP, DOWN = LOOPBACK, "127.0.0.9"
MX = {DOMAIN: [(10, UP)], "down.test": [(10, DOWN)], "second.test": [(5, DOWN), (10, UP)], "none.test": [(0, ".")]}
DOVECOT = """\
protocols = lmtp
base_dir = {dir}/run
state_dir = {dir}/state
log_path = {dir}/log
default_internal_user = {internal}
default_internal_group = {group}
default_login_user = {login}
ssl = no
mail_location = maildir:~/Maildir
first_valid_uid = 1
auth_username_format = %Ln
userdb {{
  driver = passwd-file
  args = {dir}/users
}}
passdb {{
  driver = passwd-file
  args = {dir}/users
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
}}
service anvil {{
  chroot =
}}
"""


def names(fixture):
    """The port of dnsmasq, which knows these domains and has no server to ask."""
    if "names" not in fixture.daemons:
        port = free_port(socket.SOCK_DGRAM)
        records = [f"--mx-host={domain},{'.' if host == '.' else f'mx{preference}.{domain}'},{preference}"
                   for domain, hosts in MX.items() for preference, host in hosts]
        records += [f"--host-record=mx{preference}.{domain},{host}" for domain, hosts in MX.items()
                    for preference, host in hosts if host != "."]
        server = Program([need("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
                          f"--listen-address={LOOPBACK}", "--bind-interfaces", f"--port={port}",
                          *(["--user=nobody"] if fixture.is_root else []), "--pid-file=", *records],
                         fixture.new("names"), fixture.env)
        server.port = port
        fixture.daemons["names"] = server
        server.awaits("dnsmasq answers", lambda: bound("udp", port))
    return fixture.daemons["names"].port


class Queue:
    """A queue of one user's, with a sendmail and a smtpq that know it."""

    def __init__(self, fixture):
        self.fixture, self.folder = fixture, fixture.folder("queue")
        self.folder.chmod(0o700)
        if fixture.is_root:
            os.chown(self.folder, 65534, 65534)
        self.sendmail = fixture.folder("bin") / "sendmail"
        self.sendmail.symlink_to(fixture.programs / "smtpc")
        self.env = {"FORKLORE_QUEUE": str(self.folder)}

    def take(self, letter, *words):
        """sendmail with these words."""
        return self.fixture.run(self.sendmail, *words, stdin=letter, env=self.env)

    def smtpq(self, port, *more):
        user = ["-u", "nobody"] if self.fixture.is_root else []
        return self.fixture.run(self.fixture.programs / "smtpq", "--queue", self.folder, *user, "--hostname", "topaz.test",
                                "--resolver", f"{LOOPBACK}:{names(self.fixture)}", "--port", port, *more)

    def sends(self, port, *more):
        """All that is due goes, once."""
        return self.smtpq(port, "--once", *more).good()

    def letters(self):
        return sorted((self.folder / "letters").iterdir())

    def states(self):
        return "".join(path.read_text() for path in (self.folder / "state").iterdir())


def through(fixture, name):
    """sendmail, the queue, smtpq, a real server, smtpd, and out by POP3."""
    box, queue = fixture.mailbox(), Queue(fixture)
    queue.take(SLIDES, "-i", "-f", SENDER, "--", box.address).good()
    same(len(queue.letters()), 1, "letters in the queue")
    queue.sends(relay(fixture, name, fixture.smtpd.port).port)
    same(queue.letters(), [], "letters in the queue")
    got = one(arrived(box))
    check(crlf(SLIDES).partition(b"\r\n\r\n")[2] in got, f"the text: {got}")
    check(b"Received: from topaz.test" in got and b"Received: by " in got, f"the trace: {got}")
    same(pop3c(fixture, box), [got], "what pop3c fetches")


@test("smtpq: an unknown user (550): the author gets a notification, and nothing is left in the queue")
def unknown(fixture):
    author, queue = fixture.mailbox(), Queue(fixture)
    queue.take(SLIDES, "-i", "-f", author.address, "--", "nobody-here@" + DOMAIN).good()
    queue.sends(fixture.smtpd.port)
    queue.sends(fixture.smtpd.port)  # the notification, where it did not go at once
    same(queue.letters(), [], "letters in the queue")
    got = one(arrived(author))
    for text in (b"multipart/report", b"Action: failed", b"nobody-here@red.test", b"Return-Path: <>"):
        check(text in got, f"no {text} in {got}")


for relay_name in RELAYS:
    add(f"sendmail, queue, smtpq by MX through {relay_name}, smtpd, pop3c: the letter arrives", through, relay_name)


class Played:
    """A server that answers words with what it was given, for some connections."""

    def __init__(self, **replies):
        self.replies, self.heard = replies, []
        self.socket = socket.create_server((LOOPBACK, 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                conn = self.socket.accept()[0]
            except OSError:
                return
            with conn, conn.makefile("rwb") as stream:
                self.talk(stream)

    def talk(self, stream):
        def say(text):
            stream.write(text.encode() + b"\r\n")
            stream.flush()

        say("220 played.test")
        in_text = False
        for line in stream:
            word = line[:4].decode().strip().upper()
            self.heard.append(line)
            if in_text:
                if line != b".\r\n":
                    continue
                word, in_text = "END", False
            answer = self.replies.get(word, "354 go on" if word == "DATA" else "250 ok")
            if not answer:
                return  # hangs up
            in_text = word == "DATA" and answer.startswith("3")
            say(answer)
            if word == "QUIT":
                return

    def close(self):
        self.socket.close()


@test("smtpq: a host that is down: the letter waits, and goes by the second MX where there is one")
def down(fixture):
    box, queue = fixture.mailbox(), Queue(fixture)
    port = fixture.smtpd.port
    queue.take(SLIDES, "-i", "-f", SENDER, "levy@down.test").good()
    queue.sends(port)
    same(len(queue.letters()), 1, "the letter waits")
    check(" deferred " in queue.states(), queue.states())
    played = Played()
    queue.take(SLIDES, "-i", "-f", SENDER, "levy@second.test").good()
    queue.sends(played.port)
    same(len(queue.letters()), 1, "the other letter has gone")
    check(b"RCPT TO:<levy@second.test>\r\n" in played.heard, f"{played.heard}")
    played.close()
    same(box.letters(), [], "letters")


@test("smtpq: a full mailbox (452) is tried again, with --flush at once; a domain that takes no mail is not")
def full(fixture):
    queue, played = Queue(fixture), Played(RCPT="452 4.2.2 mailbox full")
    queue.take(SLIDES, "-i", "-f", SENDER, f"levy@{DOMAIN}").good()
    queue.sends(played.port)
    same(len(queue.letters()), 1, "the letter waits")
    check("452 4.2.2 mailbox full" in queue.states(), queue.states())
    queue.smtpq(played.port, "--list").good().says("452 4.2.2 mailbox full", f"levy@{DOMAIN}", SENDER)
    played.replies = {}
    queue.sends(played.port, "--flush")
    same(queue.letters(), [], "letters in the queue")
    played.close()
    author = fixture.mailbox()
    queue.take(SLIDES, "-i", "-f", author.address, "levy@none.test").good()
    for _ in range(2):
        queue.sends(fixture.smtpd.port)
    same(queue.letters(), [], "letters in the queue")
    check(b"Action: failed" in one(author.letters()), "no notification")


@test("smtpq: a connection cut after the dot: the letter is kept, and sent once more")
def cut(fixture):
    queue, played = Queue(fixture), Played(END="")
    queue.take(SLIDES, "-i", "-f", SENDER, f"levy@{DOMAIN}").good()
    queue.sends(played.port)
    same(len(queue.letters()), 1, "the letter is kept")
    box = fixture.mailbox()
    played.replies = {}
    queue.sends(played.port, "--flush")
    same(queue.letters(), [], "letters in the queue")
    same(played.heard.count(b".\r\n"), 2, "times that it was sent to its end")
    played.close()
    same(box.letters(), [], "letters")


# Programs that call sendmail.

@test("cron's call form: the letter is in the queue, from CronDaemon, and arrives")
def cron(fixture):
    box, queue = fixture.mailbox(), Queue(fixture)
    letter = (f"From: root (Cron Daemon)\nTo: {box.address}\nSubject: Cron <root@topaz> run-parts\n"
              "Content-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit\nAuto-Submitted: auto-generated\n\n"
              "/etc/cron.daily/x:\n.\ngr\u00fcn\n").encode()
    queue.take(letter, "--helo", "topaz.test", "-i", "-FCronDaemon", "-B8BITMIME", "-oem", box.address).good()
    queue.sends(fixture.smtpd.port)
    got = one(box.letters())
    check(b"From: root@topaz.test (Cron Daemon)\r\n" in got, f"{got}")
    check("\r\n.\r\ngr\u00fcn\r\n".encode() in got, f"{got}")


def at_terminal(fixture, queue, program, box):
    home = fixture.folder(program)
    (home / "rc").write_text(f'set sendmail="{queue.sendmail} -oem -oi"\nset from="{SENDER}"\nset use_envelope_from=yes\n'
                             "set copy=no\nset editor=true\nset use_8bitmime=yes\nset dsn_notify=failure,delay\n"
                             "set dsn_return=hdrs\n")
    text = fixture.file("text", "Let's get together Monday at 1pm.\n.\nthe end\n")
    argv = [need(program), "-n", "-F", home / "rc", "-s", "meeting", "-i", text, "-b", f"bob@{DOMAIN}", "--", box.address]
    return fixture.run(*argv, stdin=text.read_bytes(), env={**queue.env, "HOME": str(home)}).good()


def by_mutt(fixture, program):
    box, queue = fixture.mailbox(), Queue(fixture)
    at_terminal(fixture, queue, program, box)
    envelope = one([path.read_text() for path in queue.letters()])
    for line in (f"to <{box.address}>", f"to <bob@{DOMAIN}>", "notify FAILURE,DELAY", "ret HDRS", f"from <{SENDER}>"):
        check(f"\n{line}\n" in envelope, f"no {line}: {envelope}")
    check("\nBcc:" not in envelope, f"Bcc: {envelope}")
    queue.sends(fixture.smtpd.port)
    check(b"\r\n.\r\nthe end\r\n" in one(box.letters()), "the text")


for reader in ("mutt", "neomutt"):
    add(f"{reader}: a letter by sendmail, with Bcc and DSN, is in the queue and arrives", by_mutt, reader)


@test("git send-email: a series of patches by sendmail is in the queue, and arrives in its order")
def git(fixture):
    if not Path("/usr/lib/git-core/git-send-email").exists():
        raise Missing("git-send-email", "git-email")
    box, queue, tree = fixture.mailbox(), Queue(fixture), fixture.folder("tree")
    env = {**queue.env, "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "Levy", "GIT_AUTHOR_EMAIL": SENDER,
           "GIT_COMMITTER_NAME": "Levy", "GIT_COMMITTER_EMAIL": SENDER}

    def run(*words):
        return fixture.run("/usr/bin/git", *words, env=env, cwd=tree).good()

    run("init", "-q")
    for number in range(3):
        (tree / "file").write_text(f"{number}\n.\nFrom here\n")
        run("add", "file")
        run("commit", "-q", "-m", f"change {number}")
    run("format-patch", "-q", "-2", "-o", tree / "patches")
    run("send-email", f"--sendmail-cmd={queue.sendmail}", "--to", box.address, "--bcc", f"bob@{DOMAIN}", "--from", SENDER,
        "--confirm=never", "--suppress-cc=all", *sorted((tree / "patches").iterdir()))
    same(len(queue.letters()), 2, "letters in the queue")
    queue.sends(fixture.smtpd.port)
    got = sorted(box.letters(), key=lambda letter: b"[PATCH 2/2]" in letter)
    same([b"[PATCH %d/2] change %d" % (number + 1, number + 1) in letter for number, letter in enumerate(got)], [True] * 2,
         "patches")
    check(all(b"\r\n+From here\r\n" in letter or b"\r\n From here\r\n" in letter for letter in got), f"{got}")


# Dovecot's LMTP.

def dovecot(fixture):
    """Dovecot with LMTP alone, and the home of its user levy."""
    if not Path("/usr/lib/dovecot/lmtp").exists():
        raise Missing("lmtp", "dovecot-lmtpd")
    if not fixture.is_root:
        raise NotJudged("Dovecot delivers as another user by root alone")
    folder, port = fixture.folder("dovecot-lmtp"), free_port()
    (folder / "state").mkdir()
    home = folder / "levy"
    home.mkdir()
    give(home)
    (folder / "users").write_text(f"levy:{{PLAIN}}x:{OWNER}:{OWNER}::{home}::\n")
    config = folder / "dovecot.conf"
    config.write_text(DOVECOT.format(dir=folder, internal="daemon", group="daemon", login="nobody", port=port))
    server = Program([need("dovecot"), "-F", "-c", config], folder / "stderr", fixture.env)
    server.log_file, server.port, server.box = folder / "log", port, home / "Maildir"
    wait_until("Dovecot listens", lambda: bound("tcp", port))
    return server


def in_dovecot(server):
    new = server.box / "new"
    try:
        wait_until("the letter is in Dovecot's Maildir", lambda: new.is_dir() and list(new.iterdir()))
    except Exception as failure:
        raise type(failure)(f"{failure}; {server.log_file.read_text()[-600:]}") from None
    return crlf(one([path.read_bytes() for path in new.iterdir()]))


@test("smtpd --deliver lmtp: the letter is in Dovecot's Maildir, and one for an unknown user is refused")
def deliver(fixture):
    with dovecot(fixture) as server:
        users = fixture.file("users", f"levy::{OWNER}:{OWNER}::{server.box.parent}:\nghost::{OWNER}:{OWNER}::/nonexistent:\n")
        with fixture.start("smtpd", "--users", users, "--hostname", DOMAIN, *fixture.as_root(),
                           "--deliver", f"lmtp:{LOOPBACK}:{server.port}") as smtpd:
            queue = Queue(fixture)
            queue.take(SLIDES, "-i", "-f", SENDER, f"levy@{DOMAIN}").good()
            queue.sends(smtpd.port)
            same(queue.letters(), [], "letters in the queue")
            got = in_dovecot(server)
            check(got.endswith(crlf(SLIDES).partition(b"\r\n\r\n")[2]), f"{got}")
            same(got.count(b"Received: "), 3, "Received: of sendmail, smtpd and Dovecot")
            fixture.run("smtpc", "-s", f"{LOOPBACK}:{smtpd.port}", "-f", SENDER, f"ghost@{DOMAIN}",
                        stdin=SLIDES).bad("550 5.1.1")



