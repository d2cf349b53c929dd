"""Maildrops of each kind that pop3d knows, with letters that are known to the last byte."""

import os
import re
import shutil
from pathlib import Path

from lib.checks import check, show
from lib.mailbox import OWNER
from letters import letter, number_of


class Maildir:
    """Letters in a Maildir: two in five in `cur`, sizes in half of the names."""

    name = "Maildir"
    options: tuple[str, ...] = ()
    PLACE = "Maildir"

    def lay(self, home: Path, numbers: range) -> None:
        """A new maildrop with these letters, in place of any that was there."""
        self.clear(home)
        maildir = home / self.PLACE
        for folder in (home, maildir, *(maildir / name for name in ("tmp", "new", "cur"))):
            folder.mkdir(mode=0o700, exist_ok=True)
            os.chown(folder, OWNER, OWNER)
        for number in numbers:
            text = letter(number)
            base = f"{1700000000 + number}.M{number}P1.crash"
            if number % 2:
                base += f",S={len(text)},W={len(text) + text.count(10)}"
            path = maildir / ("cur" if number % 5 < 2 else "new") / (base + (":2,S" if number % 5 < 2 else ""))
            path.write_bytes(text)
            os.chown(path, OWNER, OWNER)

    def clear(self, home: Path) -> None:
        """Removes the maildrop."""
        shutil.rmtree(home / self.PLACE, ignore_errors=True)

    def remove_all(self, home: Path) -> None:
        """Removes every letter, and has nothing made safe."""
        for folder in ("new", "cur"):
            for path in (home / self.PLACE / folder).iterdir():
                path.unlink()

    def letters(self, home: Path) -> list[int]:
        """The letters that are there, in their order; each is whole, and there once."""
        maildir, found = home / self.PLACE, []
        for folder in ("new", "cur"):
            found += [number_of(path.read_bytes(), path.name) for path in (maildir / folder).iterdir()]
        check(len(set(found)) == len(found), f"letters twice: {sorted(found)}")
        return sorted(found)


class Seen(Maildir):
    """The same under --seen: RETR moves a letter from `new` to `cur`."""

    name = "Maildir, --seen"
    options = ("--seen",)


class Mbox:
    """Letters in an mbox, quoted as mboxrd has it."""

    name = "mbox"
    options: tuple[str, ...] = ()
    PLACE = "mail/mbox"

    def lay(self, home: Path, numbers: range) -> None:
        """A new maildrop with these letters, in place of any that was there."""
        self.clear(home)
        mbox = home / self.PLACE
        for folder in (home, mbox.parent):
            folder.mkdir(mode=0o700, exist_ok=True)
            os.chown(folder, OWNER, OWNER)
        mbox.write_bytes(b"".join(self.entry(number) for number in numbers))
        mbox.chmod(0o600)
        os.chown(mbox, OWNER, OWNER)

    @staticmethod
    def entry(number: int) -> bytes:
        """A letter as it stands in the file."""
        quoted = re.sub(rb"^(>*From )", rb">\1", letter(number), flags=re.MULTILINE)
        return b"From levy@red.test Mon Nov 30 10:00:00 2026\n" + quoted + b"\n"

    def clear(self, home: Path) -> None:
        """Removes the maildrop."""
        shutil.rmtree((home / self.PLACE).parent, ignore_errors=True)

    def letters(self, home: Path) -> list[int]:
        """The letters that are there, in their order; each is whole, and there once."""
        text, found = (home / self.PLACE).read_bytes(), []
        check(not text or (text.startswith(b"From ") and text.endswith(b"\n\n")),
              f"not an mbox: {show(text[:60])} [...] {show(text[-60:])}")
        for part in re.split(rb"^From .*\n", text, flags=re.MULTILINE)[1:]:
            check(part.endswith(b"\n\n"), f"no blank line behind a letter: {show(part[-60:])}")
            found.append(number_of(re.sub(rb"^>(>*From )", rb"\1", part[:-1], flags=re.MULTILINE), "mbox"))
        check(sorted(set(found)) == found, f"letters twice or out of order: {found}")
        return found


KINDS = (Maildir(), Seen(), Mbox())
