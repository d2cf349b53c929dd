"""A small site: users with homes, a spool that all users may write to, the daemons, and who attacks them."""

import ctypes
import os
import signal
import socket

from lib import LOOPBACK, Daemon, Failure, check, show
from lib.folder import Folder
from lib.processes import descriptors

# The user of the processes that talk to clients.
RIGHTS = os.environ.get("RIGHTS", "nobody")
# Logins and deliveries of a race.
TRIES = int(os.environ.get("TRIES", "2000"))
# User ids of no user of this machine.
ROSE, MALLORY = 4301, 4302
PASSWORD = "x-of-mallory"
DOMAIN = "red.test"
# Seconds that one wait for a reply may take: a watchdog.
REPLY_LIMIT = 60
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None, use_errno=True)


def become(uid):
    """Becomes a user, for good."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


class Acting:
    """A context manager: `function` runs as a user in a process of its own until the end."""

    def __init__(self, uid, function, *args):
        self.pid = os.fork()
        if self.pid == 0:
            try:
                libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                signal.alarm(0)
                become(uid)
                function(*args)
            finally:
                os._exit(1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def maildir(path, uid, *letters):
    """A Maildir of a user's, with these letters."""
    for folder in (path, path / "tmp", path / "new", path / "cur"):
        folder.mkdir(mode=0o700)
        os.chown(folder, uid, uid)
    for number, text in enumerate(letters):
        letter = path / "new" / f"17000000{number:02}.M1P1Q1.attack"
        letter.write_bytes(text)
        os.chown(letter, uid, uid)
    return path


class Site(Folder):
    """A context manager that leaves neither a file nor a process behind."""

    def __init__(self, programs):
        super().__init__("attack")
        self.programs, self.daemons = programs, []
        self.spool = self.dir / "spool"
        self.spool.mkdir()
        self.spool.chmod(0o777)  # as /var/mail of some systems
        self.homes = self.dir / "home"
        self.homes.mkdir()
        self.users = self.dir / "users"
        self.users.touch(mode=0o600)
        self.env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "HOME": "/"}

    def __exit__(self, *_):
        for daemon in self.daemons:
            daemon.kill()
        super().__exit__()

    def user(self, name, uid, has_home=True, password=PASSWORD):
        """A user with a line in the users file, and perhaps with a home."""
        home = self.homes / name
        with self.users.open("a") as file:
            file.write(f"{name}:{{PLAIN}}{password}:{uid}:{uid}:{name.title()}:{home}:\n")
        if has_home:
            home.mkdir(mode=0o711)
            os.chown(home, uid, uid)
        return home

    def start(self, program, *args):
        """A daemon on a free port of the loopback interface."""
        own = ["--hostname", DOMAIN] if program == "smtpd" else ["--auth-delay", "0"]
        argv = [self.programs / program, "-l", f"{LOOPBACK}:0", "-u", RIGHTS, "--max-per-ip", 256,
                "--users", self.users, *own, *args]
        daemon = Daemon(argv, self.new("log"), self.env)
        self.daemons.append(daemon)
        return daemon

    def in_spool(self):
        """The option that puts the mailboxes into the spool."""
        return ["--mail", f"{self.spool}/%u"]


class Client:
    """A connection to a daemon."""

    def __init__(self, port, host=LOOPBACK):
        self.sock = socket.create_connection((host, port), timeout=REPLY_LIMIT)
        self.file = self.sock.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Hangs up."""
        self.file.close()
        self.sock.close()

    def send(self, data):
        """Sends bytes."""
        self.sock.sendall(data)

    def line(self):
        """The next line without its end; empty at the end of the connection."""
        return self.file.readline().rstrip(b"\r\n")

    def reply(self):
        """The next reply of SMTP, its last line."""
        while (line := self.line())[3:4] == b"-":
            pass
        return line

    def ask(self, command):
        """A command of SMTP, and its reply."""
        self.send(command + b"\r\n")
        return self.reply()

    def holders(self):
        """The processes of this machine that hold the other end."""
        ours, theirs = self.sock.getsockname()[1], self.sock.getpeername()[1]
        with open("/proc/net/tcp", encoding="ascii") as table:
            rows = [line.split() for line in table.readlines()[1:]]
        inodes = [row[9] for row in rows
                  if row[1].endswith(f":{theirs:04X}") and row[2].endswith(f":{ours:04X}")]
        names = [f"socket:[{inode}]" for inode in inodes]
        return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and has_open(int(pid), names)]


def has_open(pid, names):
    """Whether a process has one of these open; those of other machines' users show nothing."""
    try:
        return any(name in names for name in descriptors(pid))
    except PermissionError:
        return False


class Broken(Failure):
    """The attack went through; the text says what it has reached."""


def holds(held, why):
    """Says that the attack went through, unless it held."""
    if not held:
        raise Broken(why)


def pop3(port, *commands):
    """A whole session of POP3, sent at once: all lines that came."""
    with Client(port) as client:
        client.send(b"".join(command + b"\r\n" for command in commands))
        try:
            return client.file.read().split(b"\r\n")
        except ConnectionResetError:
            return []


def smtp(port):
    """A session of SMTP after EHLO."""
    client = Client(port)
    greeting = client.reply()
    check(greeting.startswith(b"220"), f"no greeting: {show(greeting)}")
    check(client.ask(b"EHLO topaz.test").startswith(b"250"), "EHLO is refused")
    return client


def envelope(client, *users):
    """MAIL, RCPT and DATA; the reply that refuses, or that to DATA."""
    for command in (b"MAIL FROM:<a@topaz.test>",
                    *(f"RCPT TO:<{user}@{DOMAIN}>".encode() for user in users), b"DATA"):
        reply = client.ask(command)
        if reply[:1] not in (b"2", b"3"):
            return reply
    return reply


def deliver(client, *users, text=b"Subject: x\r\n\r\nx\r\n"):
    """A letter; the reply that it ends with."""
    reply = envelope(client, *users)
    if not reply.startswith(b"354"):
        client.ask(b"RSET")
        return reply
    return client.ask(text + b".")


def files(folder):
    """All files and folders below one, with their owners."""
    return {str(path.relative_to(folder)): path.lstat().st_uid for path in sorted(folder.rglob("*"))}
