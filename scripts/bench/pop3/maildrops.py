"""What the servers serve: users, a certificate, and the same letters as Maildir and as mbox."""

import os
from functools import cached_property

from common import install
from lib import need, paths, run
from lib.folder import Folder
from pathlib import Path
from peers import MOST, OWNER, PASSWORD, POPA3D_USER

HERE = Path(__file__).resolve().parent
CLIENTS = ("logins", "list", "retr", "path")
PROGRAMS = ("pop3d", "pop3c")
LINE = b"Let's get together Monday at 1pm, or at another time that is as good for all of us.\n"
# Letters lie in no folder that one of the others begins with.
FOLDERS = ("tmp", "new", "cur")
# Users with many letters: what is measured with them.
RETR, LARGE, SIZED, UNSIZED, FETCHED = "retr", "large", "sized", "unsized", "fetched"
FROM = b"From levy@red.test Mon Nov 30 09:00:00 2026\n"


def letter(number, octets):
    """A letter of about this number of octets on disk, LF at the ends of its lines."""
    head = (b"From: Charles Hedrick <hedrick@topaz.test>\nTo: Levy <levy@red.test>\n"
            b"Date: Thu, 02 Nov 1995 09:05:07 -0500\nMessage-ID: <%d.bench@topaz.test>\nSubject: meeting %d\n\n"
            % (number, number))
    return head + LINE * max(1, (octets - len(head)) // len(LINE))


class Site(Folder):
    """The programs and the maildrops of one run; each maildrop is made when it is needed."""

    def __init__(self, plan):
        super().__init__("bench-pop3")
        self.plan, self.built = plan, built()
        ours = [paths.programs("-p", "pop3d") / name for name in PROGRAMS]
        self.programs = install(ours, paths.target() / "bench" / "ours")
        self.users, self.readable_users, self.system = self.dir / "users", self.dir / "readable-users", self.dir / "system"
        small = [f"user{number}" for number in range(MOST)]
        self.names = [*small, RETR, LARGE, SIZED, UNSIZED, FETCHED]
        fields = "".join(f"{name}:{{PLAIN}}{PASSWORD}:{OWNER}:{OWNER}::{self.dir / name}:\n" for name in self.names)
        # Dovecot reads them as an ordinary user.
        for path, mode in ((self.users, 0o600), (self.readable_users, 0o644)):
            path.write_text(fields)
            path.chmod(mode)
        self.popa3d_places()
        for name in small:
            self.lay(name, [letter(1, 200)])

    def popa3d_places(self):
        """The system's users, and the folder of mailboxes, for popa3d alone; its PAM takes every password."""
        etc, mail = self.system / "etc", self.system / "mail"
        for folder in (self.system, etc, etc / "pam.d", mail):
            folder.mkdir()
        # Ours makes a dotlock and a new file there, as the mailboxes' owner.
        os.chown(mail, OWNER, OWNER)
        (etc / "pam.d" / "popa3d").write_text("auth required pam_permit.so\naccount required pam_permit.so\n")
        (etc / "nsswitch.conf").write_text("passwd: files\ngroup: files\nshadow: files\n")
        passwd, group = "root:x:0:0::/:/bin/sh\n", "root:x:0:\n"
        for number, name in [(POPA3D_USER, "popa3d"), *((OWNER, name) for name in self.names)]:
            passwd += f"{name}:x:{number}:{number}::/:/bin/sh\n"
            group += f"{name}:x:{number}:\n"
        (etc / "passwd").write_text(passwd)
        (etc / "group").write_text(group)

    def lay(self, name, letters, sizes=True, mbox=True):
        """Gives a user these letters, in `cur`; with `sizes` the names have S= and W=, as good delivery gives them."""
        maildir = self.dir / name / "Maildir"
        for folder in (maildir.parent, maildir, *(maildir / folder for folder in FOLDERS)):
            folder.mkdir()
            os.chown(folder, OWNER, OWNER)
        whole = []
        for number, text in enumerate(letters, 1):
            told = f",S={len(text)},W={len(text) + text.count(10)}" if sizes else ""
            path = maildir / "cur" / f"{1_700_000_000 + number}.M{number:06}P1Q{number}.bench{told}:2,"
            path.write_bytes(text)
            os.chown(path, OWNER, OWNER)
            if mbox:
                whole += [FROM, text, b"\n"]
        if mbox:
            path = self.system / "mail" / name
            path.write_bytes(b"".join(whole))
            os.chown(path, OWNER, OWNER)
            path.chmod(0o600)

    def has(self, name, count, octets, sizes=True, mbox=True):
        """The user with this number of letters of this size in octets, made at the first call; its name."""
        if not (self.dir / name).exists():
            self.lay(name, [letter(number, octets) for number in range(1, count + 1)], sizes, mbox)
        return name

    def forgotten(self, name, folder):
        """Nothing is left of what a server has remembered of a Maildir, and its letters lie in `new` or `cur`."""
        maildir = self.dir / name / "Maildir"
        for path in maildir.iterdir():
            if not path.is_dir():
                path.unlink()
        ending = ":2," if folder == "cur" else ""
        for other in ("new", "cur"):
            for entry in os.listdir(maildir / other) if other != folder else ():
                os.rename(maildir / other / entry, maildir / folder / (entry.partition(":")[0] + ending))

    @cached_property
    def pair(self):
        """Certificate and key; nothing but the server's own work depends on who has signed it."""
        cert, key = self.dir / "cert.pem", self.dir / "key.pem"
        run([need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert]).good()
        key.chmod(0o600)
        return cert, key


def built():
    """The folder of the clients, as gcc makes them."""
    folder = paths.target() / "bench" / "pop3"
    folder.mkdir(parents=True, exist_ok=True)
    for name in CLIENTS:
        libraries = ["-lssl", "-lcrypto"] if name == "logins" else []
        run([need("gcc"), "-O2", "-Wall", "-Wextra", "-o", folder / name, HERE / f"{name}.c", *libraries]).good()
    return folder
