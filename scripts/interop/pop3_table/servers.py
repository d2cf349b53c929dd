"""The servers of the table, each with users of its own and their mail as Maildir or mbox."""

import os
import re
import threading
from pathlib import Path

from lib import need, run
from lib.folder import Folder
from peers import ISOLATED, OWNER, POPA3D, POPA3D_USER, Kind, Server, dovecot, popa3d, pop3d
from wire import PASSWORD

# Users that are there when a server starts; a probe takes the next one.
USERS = 220
SPECIAL, SPECIAL_PASSWORD = "blanks", " two  blanks "
FROM = b"From levy@red.test Mon Nov 30 09:00:00 2026\n"


def table_dovecot(site, port, tls):
    """Dovecot, isolated, with each mechanism that it has for a password that it knows."""
    argv = dovecot(1, 0)(site, port, tls)
    with open(argv[-1], "a", encoding="ascii") as config:
        config.write("auth_mechanisms = plain login cram-md5 scram-sha-256 apop\nauth_failure_delay = 0\n")
    return argv


def ours(*more):
    return pop3d("--auth-delay", "0", *more)


def ours_mbox(site, port, tls):
    return ours("--mail", f"mbox:{site.system}/mail/%u")(site, port, tls)


KINDS = [Kind("pop3d", ours()), Kind("pop3d, mbox", ours_mbox, mail="mbox"), Kind(ISOLATED, table_dovecot), Kind(POPA3D, popa3d, has_tls=False, mail="mbox")]
SHORT = {ISOLATED: "dovecot", POPA3D: "popa3d"}


def give(path):
    """To the mailboxes' owner, where root runs the table."""
    if os.geteuid() == 0:
        os.chown(path, OWNER, OWNER)


class Site(Folder):
    """A server's users and their mail, and the server itself; a context manager."""

    def __init__(self, kind, programs):
        super().__init__("pop3-table")
        self.kind, self.programs, self.name = kind, programs, SHORT.get(kind.name, kind.name)
        self.names, self.taking = [f"u{number:03}" for number in range(USERS)], threading.Lock()
        self.special, self.special_password, self.taken, self.laid = SPECIAL, SPECIAL_PASSWORD, 0, 0
        self.system = self.dir / "system"
        self.users, self.readable_users = self.dir / "users", self.dir / "readable-users"
        self.pair = self.dir / "cert.pem", self.dir / "key.pem"
        run([need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
             "2", "-subj", "/CN=localhost", "-keyout", self.pair[1], "-out", self.pair[0]]).good()
        self.pair[1].chmod(0o600)
        secrets = {**{name: PASSWORD for name in self.names}, SPECIAL: SPECIAL_PASSWORD}
        owner = f"{OWNER}:{OWNER}" if self.is_root else ":"
        text = "".join(f"{name}:{{PLAIN}}{secret}:{owner}::{self.dir / name}:\n" for name, secret in secrets.items())
        for path, mode in ((self.users, 0o600), (self.readable_users, 0o644)):
            path.write_text(text)
            path.chmod(mode)
        self.system_users(secrets)
        self.server = None
        self.lay(SPECIAL)

    def system_users(self, secrets):
        """An /etc with these users, for servers that ask PAM."""
        etc, mail = self.system / "etc", self.system / "mail"
        for folder in (self.system, etc, etc / "pam.d", mail):
            folder.mkdir()
        give(mail)
        (etc / "pam.d" / "popa3d").write_text("auth required pam_unix.so nodelay\naccount required pam_unix.so\n")
        (etc / "nsswitch.conf").write_text("passwd: files\ngroup: files\nshadow: files\n")
        hashes = {secret: run([need("openssl"), "passwd", "-6", "-salt", "saltsalt", "-stdin"],
                              stdin=f"{secret}\n".encode()).good().stdout.decode().strip() for secret in set(secrets.values())}
        passwd, group, shadow = "root:x:0:0::/:/bin/sh\n", "root:x:0:\n", "root:*:19000:0:99999:7:::\n"
        for number, name, field in [(POPA3D_USER, "popa3d", "*"), *((OWNER, name, hashes[it]) for name, it in secrets.items())]:
            passwd += f"{name}:x:{number}:{number}::/:/bin/sh\n"
            group += f"{name}:x:{number}:\n"
            shadow += f"{name}:{field}:19000:0:99999:7:::\n"
        for name, text in (("passwd", passwd), ("group", group), ("shadow", shadow)):
            (etc / name).write_text(text)
        (etc / "shadow").chmod(0o600)

    def __enter__(self):
        self.server = Server(self, self.kind)
        return self

    def __exit__(self, *_):
        self.server.kill()
        super().__exit__()

    def restart(self):
        """Ends the server and starts it anew."""
        self.server.kill()
        self.server = Server(self, self.kind)

    @property
    def port(self):
        return self.server.port

    @property
    def tls(self):
        return self.server.tls if self.kind.has_tls else None

    # Mail.

    def user(self, *letters):
        """A user that no other probe has, with these letters."""
        with self.taking:
            name, self.taken = self.names[self.taken], self.taken + 1
        self.lay(name)
        for letter in letters:
            self.deliver(name, letter)
        return name

    def lay(self, name):
        if self.kind.mail == "mbox":
            self.write_mbox(name, b"")
            return
        for path in (self.dir / name, self.maildir(name), *(self.maildir(name) / part for part in ("tmp", "new", "cur"))):
            path.mkdir()
            give(path)

    def maildir(self, name):
        return self.dir / name / "Maildir"

    def mbox(self, name):
        return self.system / "mail" / name

    def write_mbox(self, name, text):
        path = self.mbox(name)
        path.write_bytes(text)
        give(path)
        path.chmod(0o600)

    def deliver(self, name, letter):
        """As a delivery agent does."""
        with self.taking:
            self.laid += 1
            serial = self.laid
        if self.kind.mail == "mbox":
            with open(self.mbox(name), "ab") as mbox:
                mbox.write(FROM + letter + (b"\n" if letter.endswith(b"\n") else b"\n\n"))
            return
        file = f"{1_700_000_000 + serial}.M{serial:06}P1.table"
        path = self.maildir(name) / "tmp" / file
        path.write_bytes(letter)
        give(path)
        path.rename(self.maildir(name) / "new" / file)

    def files(self, name):
        return sorted(path for part in ("new", "cur") for path in (self.maildir(name) / part).iterdir())

    def letters(self, name):
        """What the user has, as it is on disk."""
        if self.kind.mail == "mbox":
            return [part for part in re.split(rb"(?m)^From [^\n]*\n", self.mbox(name).read_bytes()) if part]
        return [path.read_bytes() for path in self.files(name)]

    def remove(self, name, words):
        """Another program takes away the letter with these words."""
        for path in self.files(name):
            if words in path.read_bytes():
                path.unlink()

    def mark_as_read(self, name):
        """As a reader does."""
        if self.kind.mail == "mbox":
            text = self.mbox(name).read_bytes()
            self.write_mbox(name, text.replace(FROM, FROM + b"Status: RO\n"))
            return
        for path in self.files(name):
            path.rename(self.maildir(name) / "cur" / (Path(path).name.partition(":")[0] + ":2,S"))
