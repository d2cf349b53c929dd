"""Other people's programs, and the Debian packages that bring them (the file `packages`)."""

import os
import shutil
from functools import lru_cache
from pathlib import Path

from lib.checks import Failure

LIST = Path(__file__).with_name("packages")
# Where servers lie, which an ordinary user's PATH leaves out.
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


class Missing(Failure):
    """A program is not installed; `package` brings it."""

    def __init__(self, program: str, package: str) -> None:
        super().__init__(f"{program} is not here (Debian: {package}); scripts/interop/setup installs it")
        self.package = package


@lru_cache(maxsize=None)
def packages() -> dict[str, str]:
    """The package of each program."""
    rows = [line.split() for line in LIST.read_text(encoding="ascii").splitlines()
            if line and not line.startswith("#")]
    return {program: row[0] for row in rows for program in row[1].split(",")}


def find(program: str) -> str | None:
    """The path of a program, if it is installed."""
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:{SBIN}")


def need(program: str) -> str:
    """The path of a program, which must be there."""
    path = find(program)
    if path is None:
        raise Missing(program, packages().get(program, program))
    return path
