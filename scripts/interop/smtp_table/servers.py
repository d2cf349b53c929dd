"""The servers of the table, each with users of its own and their Maildirs."""

import os
import sys
import threading
from dataclasses import dataclass

from lib import LOOPBACK, Failure, Program, need, run, wait_until
from lib.folder import Folder
from lib.mailbox import DOMAIN, OWNER, give
from lib.mta import OpenSmtpd, Postfix
from lib.sockets import bound, free_port
from side_by_side import Unlike

# Users that are there when a server starts; a probe takes the next one.
USERS = 160
FULL_NAME = "Jacob Levy"
# Groups, one within another and two that lead to each other.
MEMBERS = ("g0", "g1", "g2")
ALIASES = {"staff": ["g0", "g1"], "all": ["staff", "g2"], "round": ["about"], "about": ["round"]}


@dataclass(frozen=True)
class Kind:
    """A server: its name in the table, and how it is started."""

    name: str
    start: object
    ours: bool = False


class Smtpd(Program):
    """Ours: users have VRFY, and recipients of other domains are refused, also from here."""

    def __init__(self, site, *more):
        self.port, self.tls = free_port(), free_port()
        owner = f"{OWNER}:{OWNER}" if site.is_root else ":"
        users = "".join(f"{name}::{owner}:{FULL_NAME}:{home}:\n" for name, home in site.homes.items())
        aliases = "".join(f"{name}: {', '.join(some)}\n" for name, some in ALIASES.items())
        argv = [site.programs / "smtpd", "-l", f"{LOOPBACK}:{self.port}", "--tls-listen", f"{LOOPBACK}:{self.tls}",
                "--tls-cert", site.pair[0], "--tls-key", site.pair[1], "--hostname", DOMAIN, "--users",
                site.file("users", users), "--aliases", site.file("aliases", aliases), *(["-u", "nobody"] if site.is_root else []), "--grace", 1, "--max-per-ip", 200, *more]
        super().__init__(argv, site.new("log"), name="smtpd")
        try:
            self.awaits("smtpd listens", lambda: bound("tcp", self.port) and bound("tcp", self.tls))
        except BaseException:
            self.kill()
            raise


def postfix(site):
    """Postfix, which drops a client that is late with QUIT after errors only when it has had many."""
    return Postfix(site, "Postfix", site.homes, OWNER, pair=site.pair, names=site.full_names, aliases=ALIASES,
                   more="smtpd_error_sleep_time = 0\nsmtpd_hard_error_limit = 1000")


def opensmtpd(site):
    """Debian 12's fails in every TLS handshake, so it has no certificate."""
    return OpenSmtpd(site, "OpenSMTPD", site.homes, OWNER, names=site.full_names, aliases=ALIASES)


KINDS = [Kind("smtpd", Smtpd, ours=True), Kind("Postfix", postfix), Kind("OpenSMTPD", opensmtpd)]


class Site(Folder):
    """A server's users and their mail, and the server itself; a context manager."""

    def __init__(self, kind, programs):
        super().__init__("smtp-table")
        self.kind, self.programs, self.name = kind, programs, kind.name
        self.taking, self.taken = threading.Lock(), 0
        self.homes = {f"u{number:03}": self.dir / f"u{number:03}" for number in range(USERS)}
        self.homes |= {name: self.dir / name for name in MEMBERS}
        self.full_names = {name: FULL_NAME for name in self.homes}
        for home in self.homes.values():
            home.mkdir()
            give(home)
        self.pair = self.dir / "cert.pem", self.dir / "key.pem"
        run([need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
             "2", "-subj", f"/CN={DOMAIN}", "-keyout", self.pair[1], "-out", self.pair[0]]).good()
        self.pair[1].chmod(0o600)
        self.server = None

    def __enter__(self):
        try:
            self.server = self.kind.start(self)
        except BaseException:
            super().__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, *_):
        self.server.kill()
        super().__exit__()

    @property
    def port(self):
        return self.server.port

    @property
    def tls(self):
        return self.server.tls if self.name != "OpenSMTPD" else None

    def user(self):
        """A user that no other probe has."""
        with self.taking:
            name, self.taken = list(self.homes)[self.taken], self.taken + 1
        return name

    def address(self, user):
        """What RCPT says; a word with @ or nothing is taken as it stands."""
        return user if "@" in user or not user else f"{user}@{DOMAIN}"

    def letters(self, user, count=0):
        """A user's letters, once there are `count`, and nothing that was accepted is on its way."""
        folder = self.homes[user] / "Maildir" / "new"

        def names():
            return sorted(os.listdir(folder)) if folder.is_dir() else []
        try:
            wait_until("the letters are there", lambda: len(names()) >= count)
            if not self.kind.ours:
                wait_until("nothing is queued", lambda: not self.server.queued())
        except Failure:
            raise Unlike(f"{len(names())} letters arrive, not {count}") from None
        return [(folder / name).read_bytes() for name in names()]
