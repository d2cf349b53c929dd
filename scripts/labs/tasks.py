"""The labs' tasks: starters, solutions, and a check that tells one from the other.

docs/labs/tasks/NN-name/ holds starter.EXT, solution.EXT (of each language) and an executable `check`. The
check is called with one argument: a program that is to be judged, or, where the task is a text, the file. It
says why on standard output and ends with 0 if it accepts, with 1 if it refuses; anything else means that it
could not judge. It runs in a room of its own, as a lab does, and so does the compiler.
"""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import room as rooms
from room import HERE, PROGRAMS, REPOSITORY, TASKS, Room, Trouble
from tools import missing, package_of

DEADLINE = 180.0  # seconds that a check may take
COMPILER_DEADLINE = 180.0  # seconds
LARGEST = 64 << 20  # bytes of a submission
BINARY = "/home/student/mine"
CC = ("cc", "-std=gnu17", "-Wall", "-Wextra", "-O1", "-g", "-pthread", "-o", BINARY)
RUSTC = ("rustc", "--edition=2024", "--crate-name=mine", "--crate-type=bin", "-Cdebuginfo=line-tables-only",
         "-Ctarget-feature=+crt-static", "-o", BINARY)
CRATES = ("unp", "nix", "libc")  # what a submission in Rust has at hand
PROGRAM = (".rs", ".c", ".py")


class Broken(Exception):
    """The task cannot be judged."""


@dataclass
class Verdict:
    """What a check said."""

    accepted: bool
    why: str
    ended: bool = True  # by itself: neither killed nor too late

    def faults(self):
        """What is refused, without what this run alone has seen."""
        return [re.sub(r"\d+", "N", line) for line in self.why.splitlines() if re.match(r"\d+\. |not yet", line)]


class Task:
    """One folder of docs/labs/tasks."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.check = self.folder / "check"
        self.starters, self.solutions = self._all("starter"), self._all("solution")
        if set(self.starters) != set(self.solutions) or not self.starters:
            raise Broken(f"{self.folder}: starters and solutions are wanted in the same languages")
        if not os.access(self.check, os.X_OK):
            raise Broken(f"{self.check}: no such program")

    def _all(self, stem):
        """Extension -> file; Rust first."""
        found = {path.suffix: path for path in sorted(self.folder.glob(f"{stem}.*"))}
        return dict(sorted(found.items(), key=lambda item: item[0] != ".rs"))

    @property
    def number(self):
        """As in `03`."""
        return self.folder.name.split("-")[0]

    @property
    def starter(self):
        """The one that is judged where nothing else is said."""
        return next(iter(self.starters.values()))

    @property
    def is_text(self):
        """Whether not a program is wanted, but a text that is handed to one."""
        return ".txt" in self.starters

    def builds(self):
        """Programs of the workspace that the check starts."""
        return self._told("builds")

    def tools(self):
        """Other people's programs that the check starts."""
        return self._told("tools")

    def user(self):
        """Who runs the check, in its room."""
        return next(iter(self._told("user")), "root")

    def _told(self, word):
        found = re.search(rf"^# {word}: (.*)$", self.check.read_text(encoding="utf-8"), re.MULTILINE)
        return found.group(1).split() if found else []

    def built(self, file):
        """A starter or solution, as the workspace has built it if it is Rust."""
        if file.suffix != ".rs":
            return file
        program = PROGRAMS / f"lab{self.number}-{file.stem}"
        if not program.exists():
            raise Broken(f"{program} is not built (cargo build --workspace; docs/labs/tasks/Cargo.toml)")
        return program

    def judge(self, file):
        """The verdict, or Broken. `file` is a source, a program or a text."""
        absent = missing(self.tools())
        if absent:
            raise Broken(f"{', '.join(absent)} is not here")
        with tempfile.TemporaryDirectory(prefix="forklore-submission.") as place:
            os.chmod(place, 0o755)
            copy = Path(place) / f"mine{Path(file).suffix}"
            take(file, copy)
            shutil.copy(self.check, Path(place) / "check")
            try:
                with Room(rooms.TASK, show_at=[(place, "/submission")], user=self.user()) as room:
                    return self._judge(room, Path("/submission") / copy.name)
            except Trouble as error:
                raise Broken(str(error)) from None

    def _judge(self, room, file):
        more = {"PYTHONPATH": str(HERE)}
        argument = str(file)
        if not self.is_text:
            argument = str(HERE / "submission")
            command, trouble = compiled(room, file)
            if trouble:
                return Verdict(False, trouble)
            more["SUBMISSION"] = json.dumps(command)
        status, output = room.run(["/submission/check", argument], DEADLINE, more)
        output = output.rstrip()
        if status is None:
            return Verdict(False, f"{output}\nnot yet: the check did not end within {DEADLINE:g} seconds".lstrip(),
                           ended=False)
        if status < 0:
            return Verdict(False, f"{output}\nnot yet: the check was killed by signal {-status}".lstrip(), ended=False)
        if status not in (0, 1) or not output:
            raise Broken(f"{self.check} ends with {status}\n{output}")
        return Verdict(status == 0, output)

    def prove(self):
        """That the check refuses the starters, for the same faults, and accepts the solutions: complaints."""
        complaints, faults = [], {}
        for files, wanted in ((self.starters, False), (self.solutions, True)):
            for file in files.values():
                try:
                    verdict = self.judge(self.built(file))
                except Broken as broken:
                    complaints.append(str(broken))
                    continue
                if verdict.accepted != wanted or not verdict.ended:
                    word = "accepts" if verdict.accepted else "refuses"
                    complaints.append(f"the task's check {word} the {file.name}:\n{verdict.why}")
                elif not wanted:
                    faults[file.name] = verdict.faults()
        first = next(iter(faults.values()), None)
        complaints += [f"the task's starters have other faults: {name}:\n" + "\n".join(found)
                       for name, found in faults.items() if found != first]
        return complaints


def find(number):
    """The task of a lab, or None."""
    found = sorted(TASKS.glob(f"{number}-*/"))
    return Task(found[0]) if found else None


def take(file, copy):
    """Copies a submission to where its room can see it: a file, not what a link in its place points to."""
    try:
        source = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        reason = "a symbolic link, not a file" if os.path.islink(file) else error.strerror
        raise Broken(f"{file}: {reason}") from None
    try:
        status = os.fstat(source)
        if not stat.S_ISREG(status.st_mode):
            raise Broken(f"{file}: not a regular file")
        if status.st_size > LARGEST:
            raise Broken(f"{file}: more than {LARGEST >> 20} MiB")
        with open(copy, "wb") as target, open(source, "rb", closefd=False) as data:
            shutil.copyfileobj(data, target)
    finally:
        os.close(source)
    copy.chmod(0o755 if status.st_mode & 0o111 else 0o644)


def compiled(room, file):
    """The command that runs a submission; or nothing, and what its compiler says."""
    if file.suffix == ".py":
        return ["python3", str(file)], ""
    if file.suffix not in PROGRAM:
        return [str(file)], ""
    compiler = [*CC, str(file)] if file.suffix == ".c" else [*RUSTC, *externs(), str(file)]
    status, output = room.run(compiler, COMPILER_DEADLINE)
    if status == 127:
        raise Broken(f"{compiler[0]} is not here ({package_of(compiler[0])})")
    if status != 0:
        why = "takes the compiler too long" if status is None else "does not compile"
        return None, f"{output.rstrip()}\nnot yet: {file.name} {why}".lstrip()
    return [BINARY], ""


# --- what the workspace has to build ----------------------------------------------------------------
def prepare(task, suffix):
    """Builds what a judgement needs, with the features of `cargo build --workspace`, so nothing twice."""
    programs = [*task.builds(), *(["lab01-starter"] if suffix == ".rs" else [])]
    if not programs or "FORKLORE_LAB" in os.environ:  # a room's shell has built them before it opened
        return
    words = " and ".join(filter(None, [", ".join(task.builds()), "the slides' library unp" * (suffix == ".rs")]))
    print(f"check: building {words} (once; later checks find them built) …", file=sys.stderr, flush=True)
    flags = [word for program in programs for word in ("--bin", program)]
    try:
        built = subprocess.run([os.environ.get("CARGO", "cargo"), "build", "--locked", "--workspace", *flags,
                                "--message-format=json-render-diagnostics"], cwd=REPOSITORY,
                               stdout=subprocess.PIPE, check=False)
    except FileNotFoundError:
        raise Broken(f"cargo is not here ({package_of('cargo')})") from None
    if built.returncode != 0:
        raise Broken("the workspace does not compile")
    if suffix == ".rs":
        note_externs(built.stdout.decode(errors="replace"))


def externs_file():
    """Where it is written what rustc has to be told."""
    return PROGRAMS / "labs-externs.json"


def note_externs(messages):
    """Keeps what cargo says of the libraries that it has built."""
    flags, found = ["-L", f"dependency={PROGRAMS / 'deps'}"], {}
    for message in map(json.loads, filter(lambda line: line.startswith("{"), messages.splitlines())):
        name = message.get("target", {}).get("name")
        if message.get("reason") == "build-script-executed":
            flags += [word for path in message["linked_paths"] for word in ("-L", path)]
        elif message.get("reason") == "compiler-artifact" and name in CRATES:
            # One that a build script needs has fewer features, because the workspace asks for more.
            files = [path for path in message["filenames"] if path.endswith(".rlib")]
            if files and len(message["features"]) >= len(found.get(name, ("", ()))[1]):
                found[name] = files[0], message["features"]
    missing = [name for name in CRATES if name not in found]
    if missing:
        raise Broken(f"cargo does not say where {', '.join(missing)} lies")
    flags += [word for name in CRATES for word in ("--extern", f"{name}={found[name][0]}")]
    new = externs_file().with_suffix(f".{os.getpid()}")
    new.write_text(json.dumps(flags), encoding="utf-8")
    new.replace(externs_file())


def externs():
    """rustc's flags for the crates at hand."""
    try:
        return json.loads(externs_file().read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Broken(f"the libraries for Rust are not built ({error}): scripts/labs/check builds them") from None
