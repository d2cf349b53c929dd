"""The labs' tasks: a starter, a solution, and a check that tells one from the other.

docs/labs/tasks/NN-name/ holds starter.EXT, solution.EXT and an executable `check`. The check is called
with one argument: the file to be judged, or, where that is Rust, the program made of it. It says why on
standard output and ends with 0 if it accepts, with 1 if it refuses; anything else means that it could
not judge. It runs in a room of its own, as a lab does.
"""

import os
import shutil
import subprocess
from pathlib import Path

from room import HERE, PROGRAMS, REPOSITORY, Room

DEADLINE = 60.0  # seconds that a check may take
FOLDER = REPOSITORY / "docs" / "labs" / "tasks"
MANIFEST = """[package]
name = "mine"
version = "0.0.0"
edition = "2024"
publish = false

[[bin]]
name = "mine"
path = "{file}"

[workspace]

[dependencies]
{dependencies}
"""


class Broken(Exception):
    """The task cannot be judged."""


class Task:
    """One folder of docs/labs/tasks."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.check = self.folder / "check"
        self.starter, self.solution = self._only("starter"), self._only("solution")
        if not os.access(self.check, os.X_OK):
            raise Broken(f"{self.check}: no such program")

    def _only(self, stem):
        found = sorted(self.folder.glob(f"{stem}.*"))
        if len(found) != 1:
            raise Broken(f"{self.folder}: {len(found)} files named {stem}.*, one is wanted")
        return found[0]

    @property
    def number(self):
        """As in `03`."""
        return self.folder.name.split("-")[0]

    def built(self, stem):
        """The starter or the solution, as the workspace has built it if it is Rust."""
        file = self.starter if stem == "starter" else self.solution
        if file.suffix != ".rs":
            return file
        program = PROGRAMS / f"lab{self.number}-{stem}"
        if not program.exists():
            raise Broken(f"{program} is not built (cargo build --workspace; docs/labs/tasks/Cargo.toml)")
        return program

    def judge(self, program):
        """True and why, False and why, or Broken."""
        with Room() as room:
            more = {"PYTHONPATH": str(HERE)}
            status, output = room.run([str(self.check), str(program)], DEADLINE, more)
        if status is None:
            raise Broken(f"{self.check} does not end within {DEADLINE:g} seconds\n{output}")
        if status not in (0, 1) or not output.strip():
            raise Broken(f"{self.check} ends with {status}\n{output}")
        return status == 0, output.rstrip()

    def prove(self):
        """That the check refuses the starter and accepts the solution: a list of complaints."""
        complaints = []
        for stem, wanted in (("starter", False), ("solution", True)):
            try:
                accepted, why = self.judge(self.built(stem))
            except Broken as broken:
                complaints.append(str(broken))
                continue
            if accepted != wanted:
                word = "accepts" if accepted else "refuses"
                complaints.append(f"the task's check {word} the {stem}:\n{why}")
        return complaints


def find(number):
    """The task of a lab, or None."""
    found = sorted(FOLDER.glob(f"{number}-*/"))
    return Task(found[0]) if found else None


def build(file):
    """Makes a program of a student's Rust file, with what the examples have at hand."""
    place = PROGRAMS.parent / "labs" / "mine"
    place.mkdir(parents=True, exist_ok=True)
    shutil.copy(REPOSITORY / "Cargo.lock", place / "Cargo.lock")
    lines = [f'unp = {{ path = "{REPOSITORY / "crates" / "unp"}" }}']
    with open(REPOSITORY / "Cargo.toml", encoding="utf-8") as workspace:
        lines += [line.strip() for line in workspace if line.startswith(("nix =", "libc ="))]
    (place / "Cargo.toml").write_text(
        MANIFEST.format(file=Path(file).resolve(), dependencies="\n".join(lines)), encoding="utf-8")
    cargo = os.environ.get("CARGO", "cargo")
    target = PROGRAMS.parent / "labs"
    built = subprocess.run([cargo, "build", "-q", "--manifest-path", str(place / "Cargo.toml"),
                            "--target-dir", str(target)], cwd=REPOSITORY, check=False)
    if built.returncode != 0:
        raise Broken(f"{file} does not compile")
    return target / "debug" / "mine"
