"""What a run shares: a folder, users and their mailboxes, and our daemons, each started when it is needed."""

import os
from pathlib import Path
from typing import Any

from lib.checks import Failure, check
from lib.daemon import Daemon
from lib.dialogue import Dialogue
from lib.folder import Folder
from lib.mailbox import DOMAIN, Mailbox, owner
from lib.paths import LOOPBACK, SCRIPTS
from lib.program import RUN_LIMIT, Output, Program, run

PASSWORD = "correct-horse-9"
CLIENTS = ("echoc", "smtpc", "pop3c", "tftpc", "pop3d", "smtpq")


class Fixture(Folder):
    """A context manager that leaves neither a file nor a process behind."""

    def __init__(self, programs: Path, purpose: str = "interop") -> None:
        super().__init__(purpose)
        self.programs = Path(programs)
        self.daemons: dict[str, Daemon | Exception] = {}
        self.env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8",
                    "HOME": str(self.folder("home")), "TMPDIR": str(self.folder("tmp")),
                    "TERM": "dumb"}
        for name in ("users", "secrets", "mixed"):
            (self.dir / name).touch(mode=0o600)
        self.append("mixed", "known:{PLAIN}secret:::::\n")
        self.hash: str | None = None

    def __exit__(self, *_: object) -> None:
        for daemon in self.daemons.values():
            if isinstance(daemon, Program):  # a server of others too
                daemon.kill()
        super().__exit__()

    # Programs.

    def run(self, *argv: Any, stdin: bytes = b"", limit: float = RUN_LIMIT,
            env: dict[str, str] | None = None, cwd: Path | None = None) -> Output:
        """Runs a program to its end; ours by their names, other people's must be installed."""
        return run(self.known(argv), {**self.env, **(env or {})}, cwd or self.dir, stdin, limit)

    def dialogue(self, *argv: Any) -> Dialogue:
        """A program to talk with."""
        return Dialogue(self.known(argv), self.env, self.dir)

    def known(self, argv: tuple) -> list:
        """The same words with the path of a program of ours."""
        if argv[0] in CLIENTS:
            path = self.programs / argv[0]
            check(os.access(path, os.X_OK), f"{path} is not there: make build")
            return [path, *argv[1:]]
        return list(argv)

    def script(self, name: str) -> Path:
        """A file of scripts/interop."""
        return SCRIPTS / "interop" / name

    # Daemons.

    def start(self, program: str, *args: Any, **how: Any) -> Daemon:
        """A daemon of a test's own on a free port; a context manager, and ended with the fixture."""
        return self.keep(f"{program}.{self.number()}", program, *args, **how)

    def keep(self, key: str, program: str, *args: Any, folder: Path | None = None, **how: Any) -> Daemon:
        """Starts a daemon and keeps it under this key; its log is KEY.log."""
        argv = [(folder or self.programs) / program, "-l", f"{LOOPBACK}:0", *args]
        daemon = Daemon(argv, self.dir / f"{key}.log", self.env, **how)
        self.daemons[key] = daemon
        return daemon

    def daemon(self, key: str, program: str, *args: Any) -> Daemon:
        """The daemon of this key, started once; the reason again, where it did not start."""
        with self.lock:
            if key not in self.daemons:
                try:
                    self.keep(key, program, *args)
                except (Failure, OSError) as failure:
                    self.daemons[key] = failure
        found = self.daemons[key]
        if not isinstance(found, Daemon):
            raise Failure(f"{key}: {found}")
        return found

    def as_root(self) -> list[str]:
        """The user of the mail daemons' processes that talk to clients: root must name one."""
        return ["-u", "nobody"] if self.is_root else []

    def options(self, program: str, users: str = "users") -> list:
        """What a daemon needs on its command line: its users, or a root with permission to write."""
        if program == "tftpd":
            return ["--root", self.tftp_root, "--create", "--overwrite"]
        if program == "echod":
            return []
        own = ["--hostname", DOMAIN] if program == "smtpd" else []
        return ["--users", self.dir / users, *own, *self.as_root()]

    @property
    def echod(self) -> Daemon:
        """The echo server."""
        return self.daemon("echod", "echod")

    @property
    def smtpd(self) -> Daemon:
        """The SMTP server."""
        return self.daemon("smtpd", "smtpd", *self.options("smtpd"))

    @property
    def small_smtpd(self) -> Daemon:
        """One that takes letters of at most 10,000 bytes."""
        return self.daemon("smtpd-small", "smtpd", *self.options("smtpd"), "--max-size", 10_000)

    @property
    def pop3d(self) -> Daemon:
        """One whose users have hashed passwords, so that it offers no APOP."""
        return self.daemon("pop3d", "pop3d", *self.options("pop3d"))

    @property
    def apop_pop3d(self) -> Daemon:
        """One that knows the passwords themselves, so that it offers APOP; the same Maildirs."""
        return self.daemon("pop3d-apop", "pop3d", *self.options("pop3d", "secrets"))

    @property
    def mixed_pop3d(self) -> Daemon:
        """One that knows the password of one user and the hashes of all others."""
        return self.daemon("pop3d-mixed", "pop3d", *self.options("pop3d", "mixed"))

    @property
    def tftp_root(self) -> Path:
        """The folder that all tftpd serve; as root they become `nobody`, which must be able to write."""
        path = self.dir / "tftp"
        with self.lock:
            if not path.is_dir():
                path.mkdir()
                path.chmod(0o777)
        return path

    @property
    def tftpd(self) -> Daemon:
        """One that takes every upload."""
        return self.daemon("tftpd", "tftpd", *self.options("tftpd"))

    @property
    def keeping_tftpd(self) -> Daemon:
        """One that takes new files and replaces none."""
        return self.daemon("tftpd-keeping", "tftpd", "--root", self.tftp_root, "--create")

    @property
    def closed_tftpd(self) -> Daemon:
        """One that takes no upload."""
        return self.daemon("tftpd-closed", "tftpd", "--root", self.tftp_root)

    @property
    def hasty_tftpd(self) -> Daemon:
        """One that gives up a silent client after two seconds."""
        return self.daemon("tftpd-hasty", "tftpd", *self.options("tftpd"), "--timeout", 2)

    # Users.

    def mailbox(self, password: str = PASSWORD) -> Mailbox:
        """A new user; the daemons read their users file for every client."""
        number = self.number()
        box = Mailbox(f"levy{number}", self.folder("home"))
        rest = f":{owner()}:Levy Number {number}:{box.home}:\n"
        hashed = self.hashed(password)
        self.append("secrets", f"{box.name}:{{PLAIN}}{password}{rest}")
        self.append("users", f"{box.name}:{hashed}{rest}")
        self.append("mixed", f"{box.name}:{hashed}{rest}")
        return box

    def append(self, name: str, line: str) -> None:
        """Adds a line to a users file in one step, as an editor does: by rename."""
        path, new = self.dir / name, self.dir / f"{name}.new"
        with self.lock:
            new.touch(mode=0o600)
            new.write_text(path.read_text() + line)
            new.rename(path)

    def hashed(self, password: str) -> str:
        """The field of a hashed password, made by `pop3d --hash`; the usual one only once."""
        if password == PASSWORD and self.hash is not None:
            return self.hash
        text = self.run("pop3d", "--hash", stdin=password.encode() + b"\n").good().stdout
        field = text.decode().strip()
        check(field.startswith("$"), f"pop3d --hash printed {field!r}")
        if password == PASSWORD:
            self.hash = field
        return field
