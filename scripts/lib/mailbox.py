"""A user's Maildir, and letters as they travel."""

import os
from pathlib import Path

DOMAIN = "red.test"
# Uid and gid of the mailboxes' owner where root runs the scripts: of no user of this machine.
OWNER = 4200


def owner() -> str:
    """The uid and gid fields of the users file: for an ordinary user the daemons need none."""
    return f"{OWNER}:{OWNER}" if os.geteuid() == 0 else ":"


def give(*paths: Path) -> None:
    """Gives files and folders to the mailboxes' owner, where root runs the scripts."""
    if os.geteuid() == 0:
        for path in paths:
            os.chown(path, OWNER, OWNER)


def crlf(letter: bytes) -> bytes:
    """As it travels: lines end in CRLF, the last one too."""
    text = letter.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return text if not text or text.endswith(b"\r\n") else text + b"\r\n"


class Mailbox:
    """A user with a Maildir."""

    def __init__(self, name: str, home: Path) -> None:
        self.name, self.home = name, home
        give(home)
        self.address = f"{name}@{DOMAIN}"
        self.maildir = home / "Maildir"
        self.count = 0

    def lay(self, *letters: bytes) -> "Mailbox":
        """Puts letters into `new` as any delivery agent does, lines ending in LF."""
        for folder in ("tmp", "new", "cur"):
            (self.maildir / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
            give(self.maildir, self.maildir / folder)
        for letter in letters:
            self.count += 1
            name = f"1700000000.M{self.count:06}P1Q{self.count}.interop"
            (self.maildir / "tmp" / name).write_bytes(letter)
            give(self.maildir / "tmp" / name)
            (self.maildir / "tmp" / name).rename(self.maildir / "new" / name)
        return self

    def letters(self) -> list[bytes]:
        """Every letter, the oldest first, with CRLF."""
        files = [path for folder in ("new", "cur") if (self.maildir / folder).is_dir()
                 for path in (self.maildir / folder).iterdir()]
        return [crlf(path.read_bytes()) for path in sorted(files, key=lambda path: path.name)]

    def unfinished(self) -> list[Path]:
        """Files left in `tmp`."""
        tmp = self.maildir / "tmp"
        return sorted(tmp.iterdir()) if tmp.is_dir() else []
