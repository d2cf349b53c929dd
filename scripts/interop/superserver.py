"""Superservers that are started with the very files of docs/deploy, and what is seen of them.

Of a deployed file only ports, paths and users are rewritten; what is left must work as it is.
"""

import os
import pwd
import re
import shutil
import socket
from contextlib import contextmanager

from lib import LOOPBACK, REPOSITORY, Failure, Program, check, same, show, wait_until
from lib.paths import DAEMONS
from lib.processes import comm, descendants, state
from lib.sockets import bound_inodes

DEPLOY = REPOSITORY / "docs" / "deploy"
# How long a `wait` server stays without a client, in place of the deployed minute and more.
IDLE = 4


def me():
    """The name of the user who runs the tests."""
    return pwd.getpwuid(os.geteuid()).pw_name


def sbin(fixture):
    """A folder with copies of the daemons that every user may run, in place of /usr/local/sbin."""
    folder = fixture.dir / "sbin"
    if not folder.is_dir():
        folder.mkdir()
        for name in (*DAEMONS, "smtpq"):
            check((fixture.programs / name).is_file(), f"{fixture.programs / name} is not there")
            shutil.copy(fixture.programs / name, folder / name)
            (folder / name).chmod(0o755)
    return folder


def transcript(fixture):
    """Where the daemon, whoever it is, makes a file: it would take none that others may write to."""
    folder = fixture.folder("transcript")
    folder.chmod(0o777)
    return folder / "transcript"


def rewritten(fixture, text, extra=""):
    """A deployed text with the paths and users of the fixture; `extra` are more options of the daemon."""
    text = text.replace("/etc/forklore/users", str(fixture.dir / "users"))
    text = text.replace("/srv/tftp", str(fixture.tftp_root))
    if not fixture.is_root:
        text = re.sub(r" -u (nobody|_forklore)\b", "", text)
    text = text.replace(" -u _forklore", " -u nobody")  # a user that each machine has
    return re.sub(r"/usr/local/sbin/(\w+)(?=((?: \1)?(?: -i)?)( .*)?$)",
                  lambda found: str(sbin(fixture) / found[1]), text, flags=re.MULTILINE) + extra


def briefly(arguments):
    """A daemon's options with a short --timeout in place of the deployed one."""
    return re.sub(r" -t \d+\b", f" -t {IDLE}", arguments)


# What is deployed.

def inetd_conf(fixture, service, mode, port, extra):
    """The line of inetd.conf, which may be one of those that are commented out; `mode` is nowait,
    wait, or dgram."""
    kind = r"dgram\s+udp\s+wait" if mode == "dgram" else rf"stream\s+tcp\s+{mode}"
    found = [line.lstrip("#") for line in (DEPLOY / "inetd.conf").read_text().splitlines()
             if re.match(rf"#?{service}\s+{kind}\b", line)]
    check(len(found) == 1, f"{len(found)} lines for {service} {mode} in inetd.conf")
    fields = rewritten(fixture, found[0]).split(maxsplit=6)
    fields[0] = f"{LOOPBACK}:{port}"
    fields[4] = fields[4] if fixture.is_root else me()
    fields[6] = briefly(fields[6]) + extra
    return " ".join(fields) + "\n"


def xinetd_conf(fixture, service, mode, port, extra):
    """The block of the service's file, enabled."""
    text = (DEPLOY / "xinetd.d" / service).read_text()
    name = service if service == "tftp" else f"{service}-{mode}"  # mode as in inetd_conf
    found = [block for block in re.findall(r"^service .*?^}\n", text, re.MULTILINE | re.DOTALL)
             if re.search(rf"^ +id += {name}$", block, re.MULTILINE)]
    check(len(found) == 1, f"{len(found)} services {name} in xinetd.d/{service}")
    block = re.sub(r"^( +disable += )\w+$", r"\1no", found[0], flags=re.MULTILINE)
    block = re.sub(r"^( +server += )/usr/local/sbin", rf"\1{sbin(fixture)}", block, flags=re.MULTILINE)
    block = re.sub(r"^ +server_args .*$", lambda args: briefly(args[0]) + extra, block,
                   flags=re.MULTILINE)
    if not fixture.is_root:
        block = re.sub(r"^( +user += )\w+$", rf"\1{me()}", block, flags=re.MULTILINE)
    block = block.replace("\n}", f"\n    type = UNLISTED\n    port = {port}\n    bind = {LOOPBACK}\n}}")
    return rewritten(fixture, block)


def run_script(fixture, daemon, port, extra="", between=""):
    """The run script, with `between` before the daemon's name."""
    text = (DEPLOY / "ucspi" / daemon / "run").read_text().rstrip("\n")
    text = text.replace(" 0 110 ", " 0 25 ").replace(" 0 7 ", " 0 25 ")
    text = text.replace(" 0 25 ", f" {LOOPBACK} {port} ")
    text = text.replace("/usr/local/sbin/", f"{between}/usr/local/sbin/")
    path = fixture.file("run", rewritten(fixture, text, extra) + "\n", 0o755)
    return path


def unit(name):
    """The settings of a unit file; of one that is there more often the last."""
    lines = (DEPLOY / "systemd" / name).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if re.match(r"\w+=", line))


def exec_start(fixture, name):
    """The command of a unit file."""
    return rewritten(fixture, unit(name)["ExecStart"]).split()


# What runs.

class Superserver(Program):
    """A superserver, or a daemon that is one for itself; ended with all that it has started."""

    def __init__(self, fixture, argv, port, env=None, kind="tcp"):
        self.port, self.kind = port, kind
        super().__init__(argv, fixture.folder("superserver") / "log", {**fixture.env, **(env or {})},
                         fixture.dir)

    def __enter__(self):
        try:
            self.awaits(f"{self.name} has port {self.port}", lambda: bound_inodes(self.kind, self.port))
        except BaseException:
            self.kill()
            raise
        return self

    def daemons(self, daemon):
        """The living processes of a daemon below the superserver, or the one that it became."""
        return [pid for pid in [self.pid, *descendants(self.pid)]
                if comm(pid) == daemon and state(pid) not in "ZX"]

    def calms_down(self, daemon, left=0):
        """Waits until no more daemons are left than these, and none of them is a zombie."""
        wait_until(f"{left} {daemon} are left", lambda: len(self.daemons(daemon)) == left, 40)
        wait_until("there is no zombie",
                   lambda: not any(state(pid) == "Z" for pid in descendants(self.pid)))


# What is asked of whoever serves.

GREETING = {"echod": b"", "pop3d": b"+OK", "smtpd": b"220 "}
SAY = {"echod": b"hello\n", "pop3d": b"QUIT\r\n", "smtpd": b"QUIT\r\n"}
ANSWER = {"echod": b"hello\n", "pop3d": b"+OK", "smtpd": b"221 "}


class Caller:
    """A client that stays until it is told to say goodbye."""

    def __init__(self, daemon, port):
        self.daemon = daemon
        self.sock = socket.create_connection((LOOPBACK, port), timeout=8)
        self.name = "%s:%d" % self.sock.getsockname()
        if GREETING[daemon]:
            self.hears(GREETING[daemon])
        else:
            self.says(b"first\n", b"first\n")

    def hears(self, words):
        """The next line, which must begin so."""
        line = b""
        while not line.endswith(b"\n"):
            octet = self.sock.recv(1)
            check(octet, f"{self.daemon} closed after {show(line)}, expected {show(words)}")
            line += octet
        check(line.startswith(words), f"{self.daemon} says {show(line)}, expected {show(words)}")

    def says(self, words, answer):
        """A line, and what must come back."""
        self.sock.sendall(words)
        self.hears(answer)

    def says_goodbye(self):
        """The end of the conversation, which the server must see through."""
        self.says(SAY[self.daemon], ANSWER[self.daemon])
        self.sock.shutdown(socket.SHUT_WR)
        same(self.sock.recv(10), b"", f"after the goodbye of {self.daemon}")
        self.sock.close()


@contextmanager
def callers(daemon, port, number=3):
    """Several clients at once, who say goodbye at the end."""
    found = [Caller(daemon, port) for _ in range(number)]
    try:
        yield found
        for caller in found:
            caller.says_goodbye()
    finally:
        for caller in found:
            caller.sock.close()


def real_work(fixture, daemon, port):
    """The daemon's work, done with somebody else's client."""
    if daemon == "echod":
        same(fixture.run("nc", "-N", LOOPBACK, port, stdin=b"hello").good().stdout, b"hello", "echo")
    elif daemon == "pop3d":
        box = fixture.mailbox().lay(b"Subject: one\n\none\n", b"Subject: two\n\ntwo\n")
        seen = fixture.run("curl", "-sS", f"pop3://{box.name}:correct-horse-9@{LOOPBACK}:{port}/2").good()
        check(b"Subject: two" in seen.stdout, f"curl got {show(seen.stdout)}")
    elif daemon == "smtpd":
        box = fixture.mailbox()
        letter = fixture.file("letter", b"Subject: hello\r\n\r\nhello\r\n")
        fixture.run("curl", "-sS", f"smtp://{LOOPBACK}:{port}/client.test", "--mail-from", "a@b.test",
                    "--mail-rcpt", f"{box.name}@localhost", "-T", letter).good()
        same(len(box.letters()), 1, "letters in the Maildir")
    else:
        raise Failure(f"no work for {daemon}")


def fetches(fixture, port):
    """A file by TFTP, octet for octet."""
    data = os.urandom(3000)
    name = f"file{fixture.number()}"
    (fixture.tftp_root / name).write_bytes(data)
    (fixture.tftp_root / name).chmod(0o644)
    seen = fixture.run("curl", "-sS", "-m", 10, f"tftp://{LOOPBACK}:{port}/{name}").good()
    same(seen.stdout, data, "the file")
