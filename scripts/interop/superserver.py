"""Superservers that are started with the very files of docs/deploy, and what is seen of them.

Of a deployed file only ports, paths and users are rewritten; what is left must work as it is.
"""

import os
import pwd
import re
import shutil
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path

from harness import Failure, check, end, need, same, show, start, wait_until

HERE = "127.0.0.1"
DEPLOY = Path(__file__).resolve().parents[2] / "docs" / "deploy"
# How long a `wait` server stays without a client, in place of the deployed minute and more.
IDLE = 4


def me():
    """The name of the user who runs the tests."""
    return pwd.getpwuid(os.geteuid()).pw_name


def free_port(kind=socket.SOCK_STREAM):
    """A port that nobody has just now."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind((HERE, 0))
        return sock.getsockname()[1]


def sbin(lab):
    """A folder with copies of the daemons that every user may run, in place of /usr/local/sbin."""
    folder = lab.dir / "sbin"
    if not folder.is_dir():
        folder.mkdir()
        for name in ("echod", "pop3d", "smtpd", "tftpd"):
            check((lab.programs / name).is_file(), f"{lab.programs / name} is not there")
            shutil.copy(lab.programs / name, folder / name)
            (folder / name).chmod(0o755)
    return folder


def transcript(lab):
    """Where the daemon, whoever it is, makes a file: it would take none that others may write to."""
    folder = lab.folder("transcript")
    folder.chmod(0o777)
    return folder / "transcript"


def rewritten(lab, text, extra=""):
    """A deployed text with the paths and users of the lab; `extra` are more options of the daemon."""
    text = text.replace("/etc/forklore/users", str(lab.dir / "users"))
    text = text.replace("/srv/tftp", str(lab.tftp_root))
    if not lab.root:
        text = text.replace(" -u root", "")
    return re.sub(r"/usr/local/sbin/(\w+)(?=((?: \1)?(?: -i)?)( .*)?$)",
                  lambda found: str(sbin(lab) / found[1]), text, flags=re.MULTILINE) + extra


def briefly(arguments):
    """A daemon's options with a short --timeout in place of the deployed one."""
    return re.sub(r" -t \d+\b", f" -t {IDLE}", arguments)


# What is deployed.

def inetd_conf(lab, service, mode, port, extra):
    """The line of inetd.conf, which may be one of those that are commented out; `mode` is nowait,
    wait, or dgram."""
    kind = r"dgram\s+udp\s+wait" if mode == "dgram" else rf"stream\s+tcp\s+{mode}"
    found = [line.lstrip("#") for line in (DEPLOY / "inetd.conf").read_text().splitlines()
             if re.match(rf"#?{service}\s+{kind}\b", line)]
    check(len(found) == 1, f"{len(found)} lines for {service} {mode} in inetd.conf")
    fields = rewritten(lab, found[0]).split(maxsplit=6)
    fields[0] = f"{HERE}:{port}"
    fields[4] = fields[4] if lab.root else me()
    fields[6] = briefly(fields[6]) + extra
    return " ".join(fields) + "\n"


def xinetd_conf(lab, service, mode, port, extra):
    """The block of the service's file, enabled."""
    text = (DEPLOY / "xinetd.d" / service).read_text()
    name = service if service == "tftp" else f"{service}-{mode}"  # mode as in inetd_conf
    found = [block for block in re.findall(r"^service .*?^}\n", text, re.MULTILINE | re.DOTALL)
             if re.search(rf"^ +id += {name}$", block, re.MULTILINE)]
    check(len(found) == 1, f"{len(found)} services {name} in xinetd.d/{service}")
    block = re.sub(r"^( +disable += )\w+$", r"\1no", found[0], flags=re.MULTILINE)
    block = re.sub(r"^( +server += )/usr/local/sbin", rf"\1{sbin(lab)}", block, flags=re.MULTILINE)
    block = re.sub(r"^ +server_args .*$", lambda args: briefly(args[0]) + extra, block,
                   flags=re.MULTILINE)
    if not lab.root:
        block = re.sub(r"^( +user += )\w+$", rf"\1{me()}", block, flags=re.MULTILINE)
    block = block.replace("\n}", f"\n    type = UNLISTED\n    port = {port}\n    bind = {HERE}\n}}")
    return rewritten(lab, block)


def run_script(lab, daemon, port, extra="", between=""):
    """The run script, with `between` before the daemon's name."""
    text = (DEPLOY / "ucspi" / daemon / "run").read_text().rstrip("\n")
    text = text.replace(" 0 110 ", " 0 25 ").replace(" 0 7 ", " 0 25 ")
    text = text.replace(" 0 25 ", f" {HERE} {port} ")
    text = text.replace("/usr/local/sbin/", f"{between}/usr/local/sbin/")
    path = lab.file("run", rewritten(lab, text, extra) + "\n", 0o755)
    return path


def unit(name):
    """The settings of a unit file; of one that is there more often the last."""
    lines = (DEPLOY / "systemd" / name).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if re.match(r"\w+=", line))


def exec_start(lab, name):
    """The command of a unit file."""
    return rewritten(lab, unit(name)["ExecStart"]).split()


# What runs.

class Superserver:
    """A superserver, or a daemon that is one for itself; ended with all that it has started."""

    def __init__(self, lab, argv, port, env=None, kind="tcp"):
        self.name, self.port, self.kind = os.path.basename(argv[0]), port, kind
        self.log_path = lab.folder("superserver") / "log"
        with open(self.log_path, "wb") as log:
            self.process = start([str(word) for word in argv], {**lab.env, **(env or {})}, lab.dir,
                                 stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.pid = self.process.pid

    def __enter__(self):
        try:
            wait_until(f"{self.name} has port {self.port}", self.is_there)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for pid in [self.pid, *descendants(self.pid)]:
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                pass
        end(self.process)

    def is_there(self):
        """True once somebody has bound the port."""
        code = self.process.poll()
        check(code is None, f"{self.name} ended with {code}: {show(self.log(), 900)}")
        return bound_inodes(self.kind, self.port)

    def log(self):
        """Everything it has said."""
        return self.log_path.read_text(errors="backslashreplace")

    def daemons(self, daemon):
        """The living processes of a daemon below the superserver, or the one that it became."""
        return [pid for pid in [self.pid, *descendants(self.pid)]
                if comm(pid) == daemon and state(pid) not in "ZX"]

    def zombies(self):
        """Dead processes below it that nobody has waited for."""
        return [pid for pid in descendants(self.pid) if state(pid) == "Z"]

    def calms_down(self, daemon, left=0):
        """Waits until no more daemons are left than these, and none of them is a zombie."""
        wait_until(f"{left} {daemon} are left", lambda: len(self.daemons(daemon)) == left, 12)
        wait_until("there is no zombie", lambda: not self.zombies(), 3)


def fields(pid):
    """/proc/PID/stat behind the name: state, parent, ...; none for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ["X", "0"]


def state(pid):
    """The letter of ps."""
    return fields(pid)[0]


def comm(pid):
    """The program's name."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def descendants(parent):
    """Its children, their children, and so on."""
    parents = {int(name): int(fields(name)[1]) for name in os.listdir("/proc") if name.isdigit()}
    found, row = [], [parent]
    while row:
        row = [pid for pid, above in parents.items() if above in row]
        found += row
    return found


def inodes(pid):
    """The sockets that a process has open."""
    found = []
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                target = os.readlink(f"/proc/{pid}/fd/{fd}")
            except FileNotFoundError:
                continue
            found += re.findall(r"socket:\[(\d+)\]", target)
    except (FileNotFoundError, ProcessLookupError):
        pass
    return sorted(set(found))


def listeners(kind, *where):
    """The inodes of listening TCP sockets, or of UDP sockets. By ss, which asks the kernel for these
    alone: /proc/net/tcp takes its time while thousands of connections are in TIME_WAIT."""
    argv = [need("ss"), "-Hnea", *(["-lt"] if kind == "tcp" else ["-u"]), *where]
    seen = subprocess.run(argv, capture_output=True, check=True, timeout=10).stdout.decode()
    return re.findall(r"\bino:(\d+)", seen)


def bound_inodes(kind, port):
    """Listening TCP sockets, or UDP sockets, at a port."""
    return listeners(kind, "sport", "=", f":{port}")


def listening(pid):
    """The listening TCP sockets that a process has open, at any port."""
    all_of_them = set(listeners("tcp"))
    return [inode for inode in inodes(pid) if inode in all_of_them]


# What is asked of whoever serves.

GREETING = {"echod": b"", "pop3d": b"+OK", "smtpd": b"220 "}
SAY = {"echod": b"hello\n", "pop3d": b"QUIT\r\n", "smtpd": b"QUIT\r\n"}
ANSWER = {"echod": b"hello\n", "pop3d": b"+OK", "smtpd": b"221 "}


class Caller:
    """A client that stays until it is told to say goodbye."""

    def __init__(self, daemon, port):
        self.daemon = daemon
        self.sock = socket.create_connection((HERE, port), timeout=8)
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


def real_work(lab, daemon, port):
    """The daemon's work, done with somebody else's client."""
    if daemon == "echod":
        same(lab.run("nc", "-N", HERE, port, stdin=b"hello").good().stdout, b"hello", "echo")
    elif daemon == "pop3d":
        box = lab.mailbox().lay(b"Subject: one\n\none\n", b"Subject: two\n\ntwo\n")
        seen = lab.run("curl", "-sS", f"pop3://{box.name}:correct-horse-9@{HERE}:{port}/2").good()
        check(b"Subject: two" in seen.stdout, f"curl got {show(seen.stdout)}")
    elif daemon == "smtpd":
        box = lab.mailbox()
        letter = lab.file("letter", b"Subject: hello\r\n\r\nhello\r\n")
        lab.run("curl", "-sS", f"smtp://{HERE}:{port}/client.test", "--mail-from", "a@b.test",
                "--mail-rcpt", f"{box.name}@localhost", "-T", letter).good()
        same(len(box.letters()), 1, "letters in the Maildir")
    else:
        raise Failure(f"no work for {daemon}")


def fetches(lab, port):
    """A file by TFTP, octet for octet."""
    data = os.urandom(3000)
    name = f"file{lab.number()}"
    (lab.tftp_root / name).write_bytes(data)
    (lab.tftp_root / name).chmod(0o644)
    seen = lab.run("curl", "-sS", "-m", 10, f"tftp://{HERE}:{port}/{name}").good()
    same(seen.stdout, data, "the file")


def installed(program):
    """The path of a superserver."""
    return need(program)
