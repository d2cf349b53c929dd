"""A lab's room: namespaces of its own, a read-only view of the disk, and folders that nobody else sees.

Who is root in it is an ordinary user everywhere else; confine.py makes its walls, init.py is its process 1.
"""

import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from functools import lru_cache
from pathlib import Path

import confine

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")).resolve()
PROGRAMS = TARGET / "debug"
TASKS = REPOSITORY / "docs" / "labs" / "tasks"
PROMPT = "\x1e"  # what the room's shells print when they are ready
BASHRC = "PS1=$'\\036' PS2=\nset +o emacs +o vi +o history +H\nunset MAILCHECK\n"
LONGEST_OUTPUT = 1 << 20  # bytes of a command's output that are read
MIB = 1 << 20
# What all processes of a room may take: how many they may be, bytes of memory and of each file, seconds of
# CPU time for each. A room for a lab has daemons and a student's tools; one for a task has a submission.
LAB = {"processes": 512, "memory": 2048 * MIB, "file_size": 256 * MIB, "cpu": 3600, "nested": True}
TASK = {"processes": 256, "memory": 1024 * MIB, "file_size": 128 * MIB, "cpu": 120, "nested": False}


class Trouble(Exception):
    """The room cannot be made, or broke down."""


@lru_cache(maxsize=None)
def hindrance():
    """Why no room can be made here, or nothing."""
    try:
        tried = subprocess.run([sys.executable, "-I", str(HERE / "confine.py")], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
                               errors="replace", timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if tried.returncode == 0:
        return ""
    return f"namespaces are not allowed here ({tried.stdout.strip() or 'no reason is told'})"


@lru_cache(maxsize=None)
def ordinary():
    """User and group id that root becomes: who called sudo, or one that is nobody's."""
    try:
        entry = pwd.getpwuid(int(os.environ.get("SUDO_UID", "0")))
    except (KeyError, ValueError):
        return confine.ROOM_UID, confine.ROOM_UID
    return (entry.pw_uid, entry.pw_gid) if entry.pw_uid else (confine.ROOM_UID, confine.ROOM_UID)


@lru_cache(maxsize=None)
def toolchain():
    """The folder of rustc and its library, or nothing."""
    try:
        asked = subprocess.run(["rustc", "--print", "sysroot"], cwd=REPOSITORY, capture_output=True, timeout=60,
                               encoding="utf-8", check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return os.path.realpath(asked.stdout.strip()) if asked.returncode == 0 and asked.stdout.strip() else ""


def environment():
    """What the lab's programs find in theirs."""
    folders = [PROGRAMS, REPOSITORY / "scripts", HERE / "bin", *os.environ.get("PATH", "").split(":"),
               Path(sys.executable).resolve().parent, f"{toolchain() or '/usr'}/bin",
               "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
    return {"PATH": ":".join(dict.fromkeys(map(str, filter(None, folders)))), "HOME": "/home/student",
            "TERM": "dumb", "LC_ALL": "C.UTF-8", "TZ": "UTC0", "USER": "student", "FORKLORE": str(REPOSITORY),
            "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": "/tmp",
            **{name: os.environ[name] for name in ("CARGO_TARGET_DIR", "FORKLORE_LAB") if name in os.environ}}


def hidden():
    """What nobody in a room may read: solutions, as text, as programs, and in the repository's history."""
    built = [*PROGRAMS.glob("lab*-solution*"), *PROGRAMS.glob("deps/lab*_solution*"),
             *PROGRAMS.glob(".fingerprint/lab-tasks*"), PROGRAMS / "incremental"]
    others = [path for path in TARGET.glob("*") if path != PROGRAMS]
    return [*TASKS.glob("*/solution.*"), REPOSITORY / ".git", *others, *built]


class Room:
    """A context manager: everything started in it ends with it."""

    def __init__(self, limits=None, folder=None, bashrc=BASHRC, show_at=(), user="root"):
        """`folder`: one that stays, in place of an empty /lab; `show_at`: pairs (path, where it is seen);
        `user`: root, or ordinary, who may have every port."""
        self.user = user
        self.limits, self.folder, self.bashrc, self.show_at = limits or LAB, folder, bashrc, list(show_at)
        self.terminals = 0
        self.requests = 0
        self.lock = threading.Lock()

    def __enter__(self):
        self.place = Path(tempfile.mkdtemp(prefix="forklore-lab.")).resolve()
        self.place.chmod(0o755)
        self.channel, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with open(self.place / "init.log", "wb") as log:
            self.process = subprocess.Popen(  # pylint: disable=consider-using-with
                [sys.executable, "-I", str(HERE / "init.py"), str(other.fileno())],
                pass_fds=[other.fileno()], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True)
        other.close()
        try:
            self._send(self._config())
            self._receive(60)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _config(self):
        interpreter = os.path.realpath(sys.base_prefix)
        shown = [REPOSITORY, PROGRAMS, toolchain(), interpreter if interpreter != "/" else ""]
        uid, gid = ordinary()
        return {**self.limits, "user": self.user, "uid": uid, "gid": gid, "place": str(self.place),
                "folder": os.path.realpath(self.folder) if self.folder else "",
                "show": [str(path) for path in shown if path],
                "show_at": [[os.path.realpath(path), at] for path, at in self.show_at],
                "hide": [str(path) for path in hidden()],
                "files": {"/home/student/.bashrc": self.bashrc}, "environment": environment()}

    def __exit__(self, *_):
        self.channel.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.place, ignore_errors=True)

    def _broken(self):
        try:
            log = (self.place / "init.log").read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            log = ""
        return Trouble(f"the lab's room broke down: {log or 'its first process is gone'}")

    def _send(self, message, fds=()):
        try:
            socket.send_fds(self.channel, [json.dumps(message).encode()], list(fds))
        except OSError:
            raise self._broken() from None

    def _receive(self, seconds):
        self.channel.settimeout(max(seconds, 0.01))
        try:
            packet, fds, _, _ = socket.recv_fds(self.channel, 65536, 2)
        except ConnectionError:
            packet, fds = b"", []
        if not packet:
            self.process.wait(30)
            raise self._broken()
        answer = json.loads(packet)
        if "error" in answer:
            raise Trouble(f"the room refuses: {answer['error']}")
        return answer, fds

    def open(self, **request):
        """The master of a new terminal with a shell, and a descriptor that ends with that shell."""
        with self.lock:
            self._send({"open": self.terminals, **request})
            self.terminals += 1
            return self._receive(30)[1]

    def run(self, argv, seconds, more=None):
        """Runs a program in the room: exit status (None: not ended in time), output."""
        with self.lock, tempfile.TemporaryFile() as output:
            self.requests += 1
            self._send({"run": self.requests, "argv": argv, "environment": more or {}}, [output.fileno()])
            status, end = None, time.monotonic() + seconds
            try:
                status = self._receive(end - time.monotonic())[0]["status"]
            except TimeoutError:
                self._send({"kill": self.requests})
                self._receive(30)
            output.seek(0)
            return status, output.read(LONGEST_OUTPUT).decode(errors="replace")
