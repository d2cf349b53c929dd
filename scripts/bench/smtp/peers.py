"""The SMTP servers that are measured, what each is started with, and what of it is in memory."""

import os
from dataclasses import dataclass
from pathlib import Path

from common import install
from lib import LOOPBACK, Program, need, paths, run
from lib.folder import Folder
from lib.mailbox import DOMAIN
from lib.mta import OpenSmtpd, Postfix
from lib.sockets import bound, free_port

HERE = Path(__file__).resolve().parent
# The uid of the mailboxes' owner.
OWNER = 61_100
# Users that a server has: as many as recipients of one letter, at most.
USERS = 100
CLIENTS = ("letters", "durable")


@dataclass(frozen=True)
class Kind:
    """A server: its name in the tables, and how it is started."""

    name: str
    start: object
    has_tls: bool = True

    @property
    def ours(self):
        return self.name.startswith("smtpd")


class Smtpd(Program):
    """Ours, as it comes, with a worker for each of eight clients where it has workers, and with limits that the
    measurements do not reach."""

    def __init__(self, site, name, homes, owner, pair, before=(), more=()):
        self.port, self.tls = free_port(), free_port()
        users = site.file("users", "".join(f"{user}::{owner}:{owner}::{home}:\n" for user, home in homes.items()))
        argv = [*before, site.programs / "smtpd", "-l", f"{LOOPBACK}:{self.port}", "--tls-listen", f"{LOOPBACK}:{self.tls}",
                "--tls-cert", pair[0], "--tls-key", pair[1], "--hostname", DOMAIN, "--users", users, "-u", "nobody", "-n", 8,
                "--spool", site.folder("spool"), "--max-per-ip", 1000, "--grace", 1, "--max-size", 60 << 20, *more]
        super().__init__(argv, site.new("log"), name=name)
        try:
            self.awaits(f"{name} listens", lambda: bound("tcp", self.port) and bound("tcp", self.tls))
        except BaseException:
            self.kill()
            raise


def ours(*more):
    return lambda site, name, homes, before: Smtpd(site, name, homes, OWNER, site.pair, before, more)


def postfix(site, name, homes, before):
    return Postfix(site, name, homes, OWNER, pair=site.pair, before=before)


def opensmtpd(site, name, homes, before):
    """Debian 12's fails in every handshake: it does not work with OpenSSL 3."""
    return OpenSmtpd(site, name, homes, OWNER, before=before)


OURS, PREFORK, POSTFIX, OPENSMTPD = "smtpd", "smtpd -m prefork", "Postfix", "OpenSMTPD"
# Not a server: what the file system allows.
FLOOR = "the file system alone"
KINDS = [Kind(OURS, ours()), Kind(PREFORK, ours("-m", "prefork")), Kind(POSTFIX, postfix),
         Kind(OPENSMTPD, opensmtpd, has_tls=False)]


class Site(Folder):
    """The programs, the certificate and the mailboxes of a run, on a disk or in memory (`parent`)."""

    def __init__(self, parent=None):
        super().__init__("bench-smtp", parent)
        self.built = built()
        # Never in memory: there a program lies in pieces of one page.
        self.programs = install([paths.programs("-p", "smtpd") / "smtpd"], paths.target() / "bench" / "ours")
        cert, key = self.dir / "cert.pem", self.dir / "key.pem"
        run([need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-subj", f"/CN={DOMAIN}", "-keyout", key, "-out", cert]).good()
        key.chmod(0o600)
        self.pair = cert, key

    def homes(self):
        """Fresh homes for all users, in a folder of their own: nothing is deleted while it is measured."""
        parent = self.folder("homes")
        found = {f"user{number}": parent / f"user{number}" for number in range(USERS)}
        for home in found.values():
            home.mkdir()
            os.chown(home, OWNER, OWNER)
        return found

    def server(self, kind, before=()):
        """A running server with empty mailboxes; a context manager. `before` are words that start it."""
        homes = self.homes()
        server = kind.start(self, kind.name, homes, before)
        server.homes = homes
        return server


def delivered(server):
    """How many letters are in the mailboxes."""
    return sum(len(os.listdir(home / "Maildir" / "new")) for home in server.homes.values()
               if (home / "Maildir" / "new").is_dir())


def built():
    """The folder of the clients, as gcc makes them."""
    folder = paths.target() / "bench" / "smtp"
    folder.mkdir(parents=True, exist_ok=True)
    for name in CLIENTS:
        libraries = ["-lssl", "-lcrypto"] if name == "letters" else []
        run([need("gcc"), "-O2", "-Wall", "-Wextra", "-o", folder / name, HERE / f"{name}.c", *libraries]).good()
    return folder
