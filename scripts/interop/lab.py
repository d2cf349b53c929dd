"""The lab: a temporary folder with the daemons, the users and the files that tests share."""

import os
import shutil
import tempfile
import threading
from pathlib import Path

import harness
from daemon import Daemon
from harness import Failure, check
from letters import crlf

PASSWORD = "correct-horse-9"
DOMAIN = "red.test"


class Mailbox:
    """A user with a Maildir of his own."""

    def __init__(self, name, home):
        self.name, self.home = name, home
        self.address = f"{name}@{DOMAIN}"
        self.maildir = home / "Maildir"
        self.count = 0

    def lay(self, *letters):
        """Lays letters into `new` as any delivery agent does, lines ending in LF."""
        for folder in ("tmp", "new", "cur"):
            (self.maildir / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        for letter in letters:
            self.count += 1
            name = f"1700000000.M{self.count:06}P1Q{self.count}.interop"
            (self.maildir / "tmp" / name).write_bytes(letter)
            (self.maildir / "tmp" / name).rename(self.maildir / "new" / name)
        return self

    def letters(self):
        """Everything that lies there, the oldest first, with CRLF."""
        files = [path for folder in ("new", "cur") if (self.maildir / folder).is_dir()
                 for path in (self.maildir / folder).iterdir()]
        return [crlf(path.read_bytes()) for path in sorted(files, key=lambda path: path.name)]

    def unfinished(self):
        """Files left in `tmp`."""
        tmp = self.maildir / "tmp"
        return sorted(tmp.iterdir()) if tmp.is_dir() else []


class Lab:
    """Everything that a run needs; a context manager that leaves nothing behind."""

    def __init__(self, programs):
        self.programs = Path(programs)
        self.root = os.geteuid() == 0
        self.daemons = {}
        self.serial = 0
        self.lock = threading.RLock()  # some tests do several things at once

    def __enter__(self):
        self.dir = Path(tempfile.mkdtemp(prefix="forklore-interop."))
        self.dir.chmod(0o755)
        self.env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8",
                    "HOME": str(self.folder("home")), "TMPDIR": str(self.folder("tmp")),
                    "TERM": "dumb"}
        for name in ("users", "secrets"):
            (self.dir / name).touch()
        (self.dir / "mixed").write_text("known:{PLAIN}secret:::::\n")
        self.hash = None
        return self

    def __exit__(self, *_):
        for daemon in self.daemons.values():
            if isinstance(daemon, Daemon):
                daemon.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def number(self):
        """One that nobody has had."""
        with self.lock:
            self.serial += 1
            return self.serial

    # Folders, files, programs.

    def folder(self, stem):
        """A new folder."""
        path = self.dir / f"{stem}.{self.number()}"
        path.mkdir()
        return path

    def file(self, stem, content, mode=0o600):
        """A new file."""
        path = self.folder("file") / stem
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        return path

    def run(self, *argv, stdin=b"", limit=harness.PROGRAM_LIMIT, env=None, cwd=None):
        """Runs a program to its end; ours by their names, other people's must be installed."""
        return harness.run(self.known(argv), {**self.env, **(env or {})}, cwd or self.dir,
                           stdin, limit)

    def dialogue(self, *argv):
        """A program to talk with."""
        return harness.Dialogue(self.known(argv), self.env, self.dir)

    def known(self, argv):
        """The same with the path of a program of ours."""
        if argv[0] in ("echoc", "smtpc", "pop3c", "tftpc", "pop3d"):
            path = self.programs / argv[0]
            check(os.access(path, os.X_OK), f"{path} is not there: cargo build --release")
            return [path, *argv[1:]]
        return list(argv)

    def script(self, name):
        """A file that stands beside this one."""
        return Path(__file__).resolve().parent / name

    # Daemons, each started when a test first asks for it.

    def daemon(self, key, program, *args):
        """The daemon of this key; the reason again, where it did not start."""
        with self.lock:
            if key not in self.daemons:
                try:
                    log = self.dir / f"{key}.log"
                    self.daemons[key] = Daemon(str(self.programs / program), args, log, self.env)
                except (Failure, OSError) as failure:
                    self.daemons[key] = failure
        found = self.daemons[key]
        if not isinstance(found, Daemon):
            raise Failure(f"{key}: {found}")
        return found

    def as_root(self):
        """The mail daemons refuse root unless it insists."""
        return ["-u", "root"] if self.root else []

    @property
    def echod(self):
        return self.daemon("echod", "echod")

    @property
    def smtpd(self):
        return self.mail_daemon("smtpd", "smtpd", "users")

    @property
    def small_smtpd(self):
        """One that takes letters of 10,000 octets at most."""
        return self.mail_daemon("smtpd-small", "smtpd", "users", "--max-size", 10_000)

    @property
    def pop3d(self):
        """One whose users have hashed passwords, so that it offers no APOP."""
        return self.mail_daemon("pop3d", "pop3d", "users")

    @property
    def apop_pop3d(self):
        """One that knows the passwords themselves, so that it offers APOP; the same Maildirs."""
        return self.mail_daemon("pop3d-apop", "pop3d", "secrets")

    @property
    def mixed_pop3d(self):
        """One that knows the password of one user and the hashes of all others."""
        return self.mail_daemon("pop3d-mixed", "pop3d", "mixed")

    @property
    def tftp_root(self):
        """The folder that all tftpd serve; as root they are nobody, who must be able to write."""
        path = self.dir / "tftp"
        if not path.is_dir():
            path.mkdir()
            path.chmod(0o777)
        return path

    @property
    def tftpd(self):
        """One that takes everything."""
        return self.daemon("tftpd", "tftpd", "--root", self.tftp_root, "--create", "--overwrite")

    @property
    def keeping_tftpd(self):
        """One that takes new files and replaces none."""
        return self.daemon("tftpd-keeping", "tftpd", "--root", self.tftp_root, "--create")

    @property
    def closed_tftpd(self):
        """One that takes nothing."""
        return self.daemon("tftpd-closed", "tftpd", "--root", self.tftp_root)

    @property
    def hasty_tftpd(self):
        """One that gives up a silent client after two seconds."""
        return self.daemon("tftpd-hasty", "tftpd", "--root", self.tftp_root, "--create",
                           "--overwrite", "--timeout", 2)

    def mail_daemon(self, key, program, users, *args):
        own = ["--hostname", DOMAIN] if program == "smtpd" else []
        return self.daemon(key, program, "--users", self.dir / users, *own, *args, *self.as_root())

    # Users.

    def mailbox(self, password=PASSWORD):
        """A new user; the daemons read their users file anew for every client."""
        number = self.number()
        name = f"levy{number}"
        box = Mailbox(name, self.folder("home"))
        rest = f":::Levy Number {number}:{box.home}:\n"
        self.append("secrets", f"{name}:{{PLAIN}}{password}{rest}")
        self.append("users", f"{name}:{self.hashed(password)}{rest}")
        self.append("mixed", f"{name}:{self.hashed(password)}{rest}")
        return box

    def append(self, name, line):
        """Adds a line to a users file in one step, as an editor does: by rename."""
        path = self.dir / name
        new = self.dir / f"{name}.new"
        new.write_text(path.read_text() + line)
        new.rename(path)

    def hashed(self, password):
        """The field of a hashed password, made by `pop3d --hash`; the usual one only once."""
        if password != PASSWORD:
            return self.make_hash(password)
        if self.hash is None:
            self.hash = self.make_hash(password)
        return self.hash

    def make_hash(self, password):
        text = self.run("pop3d", "--hash", stdin=password.encode() + b"\n").good().stdout
        field = text.decode().strip()
        check(field.startswith("$"), f"pop3d --hash printed {field!r}")
        return field
