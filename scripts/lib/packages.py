"""Other people's programs, and the Debian packages that bring them (the file `packages`)."""

import os
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from lib.checks import Failure

LIST = Path(__file__).with_name("packages")
# Where servers lie, which an ordinary user's PATH leaves out.
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


class Missing(Failure):
    """A program is not installed; `package` brings it."""

    def __init__(self, program: str, package: str) -> None:
        super().__init__(f"{program} is not here (Debian: {package}); scripts/interop/setup installs it")
        self.package = package


class Package(NamedTuple):
    """A line of the list; `command`, if there is one, succeeds once the programs work."""

    name: str
    programs: tuple[str, ...]
    command: str


@lru_cache(maxsize=None)
def packages() -> dict[str, Package]:
    """The package of each program."""
    rows = [line.split(maxsplit=2) for line in LIST.read_text(encoding="ascii").splitlines()
            if line and not line.startswith("#")]
    found = [Package(row[0], tuple(row[1].split(",")), "".join(row[2:])) for row in rows]
    return {program: package for package in found for program in package.programs}


def package_of(program: str) -> str:
    """The Debian package that brings a program."""
    return packages()[program].name if program in packages() else program


@lru_cache(maxsize=None)
def find(program: str) -> str | None:
    """The path of a program, if it is installed and is the one that is meant."""
    path = f"{os.environ.get('PATH', os.defpath)}:{SBIN}"
    command = packages()[program].command if program in packages() else ""
    if command and subprocess.run(["sh", "-c", command], env={**os.environ, "PATH": path},
                                  stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode:
        return None
    return shutil.which(program, path=path)


def need(program: str) -> str:
    """The path of a program, which must be there."""
    path = find(program)
    if path is None:
        raise Missing(program, package_of(program))
    return path
