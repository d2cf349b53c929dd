"""A lab's room: a folder, and network, process, mount, host name and IPC namespaces of its own."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from functools import lru_cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
PROGRAMS = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")).resolve() / "debug"
PROMPT = "\x1e"  # what the room's shells print when they are ready
BASHRC = "PS1=$'\\036' PS2=\nset +o emacs +o vi +o history +H\nunset MAILCHECK\n"


class Trouble(Exception):
    """The room cannot be made, or broke down."""


@lru_cache(maxsize=None)
def namespaces():
    """The command that makes namespaces here, or [] where they are not allowed."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", *user, "--net", "--pid", "--mount", "--uts", "--ipc", "--fork",
               "--kill-child", "--mount-proc"]
    try:
        tried = subprocess.run([*command, "sh", "-c", "ip link set lo up && mount -t tmpfs tmpfs /run"],
                               capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return command if tried.returncode == 0 else []


def environment(home):
    """What the lab's programs find in theirs."""
    folders = [PROGRAMS, REPOSITORY / "scripts", *os.environ.get("PATH", "").split(":"),
               "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
    return {"PATH": ":".join(dict.fromkeys(map(str, folders))), "HOME": str(home), "TERM": "dumb",
            "LC_ALL": "C.UTF-8", "TZ": "UTC0", "USER": "student", "FORKLORE": str(REPOSITORY),
            "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(home.parent / "tmp"),
            **{name: os.environ[name] for name in ("CARGO_TARGET_DIR",) if name in os.environ}}


class Room:
    """A context manager: everything started in it ends with it."""

    def __init__(self, own_namespaces=True, own_terminals=True):
        self.namespaces = bool(own_namespaces and namespaces())
        self.own_terminals = own_terminals
        self.terminals = 0
        self.requests = 0

    def __enter__(self):
        self.place = Path(tempfile.mkdtemp(prefix="forklore-lab."))
        self.place.chmod(0o755)
        self.folder = self.place / "lab"
        home = self.place / "home"
        for folder in (self.folder, home, self.place / "tmp"):
            folder.mkdir()
        (home / ".bashrc").write_text(BASHRC, encoding="ascii")
        self.channel, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        prefix = namespaces() if self.namespaces else []
        with open(self.place / "init.log", "wb") as log:
            self.process = subprocess.Popen(  # pylint: disable=consider-using-with
                [*prefix, sys.executable, "-I", str(HERE / "init.py"), str(other.fileno())],
                pass_fds=[other.fileno()], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True)
        other.close()
        private_run = not any(path.is_relative_to("/run") for path in (self.place, REPOSITORY, PROGRAMS))
        try:
            self._send({"namespaces": self.namespaces, "private_run": private_run,
                        "own_terminals": self.own_terminals,
                        "place": str(self.place), "folder": str(self.folder), "environment": environment(home)})
            self._receive(20)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.channel.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.place, ignore_errors=True)

    def _broken(self):
        log = (self.place / "init.log").read_text(encoding="utf-8", errors="replace").strip()
        return Trouble(f"the lab's room broke down: {log or 'its first process is gone'}")

    def _send(self, message):
        try:
            self.channel.send(json.dumps(message).encode())
        except OSError:
            raise self._broken() from None

    def _receive(self, seconds):
        self.channel.settimeout(max(seconds, 0.01))
        packet, fds, _, _ = socket.recv_fds(self.channel, 65536, 1)
        if not packet:
            raise self._broken()
        return json.loads(packet), fds

    def open(self):
        """The master of a new terminal with a shell."""
        self._send({"open": self.terminals})
        self.terminals += 1
        return self._receive(10)[1][0]

    def run(self, argv, seconds, more=None):
        """Runs a program in the room: exit status (None: not ended in time), output."""
        self.requests += 1
        output = self.place / f"output.{self.requests}"
        self._send({"run": self.requests, "argv": argv, "output": str(output), "environment": more or {}})
        status, end = None, time.monotonic() + seconds
        try:
            status = self._receive(end - time.monotonic())[0]["status"]
        except TimeoutError:
            self._send({"kill": self.requests})
            self._receive(10)
        text = output.read_text(encoding="utf-8", errors="replace") if output.exists() else ""
        return status, text
