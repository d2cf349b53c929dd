"""Mailboxes of each kind that smtpd delivers to, and the letters that are in them."""

import re
from pathlib import Path

from lib.checks import check, show
from letters import number_of

# What may stand before a letter: the lines that smtpd writes.
TRACE = re.compile(rb"(?:(?:Return-Path|Received|Delivered-To|X-Original-To): [^\n]*\n(?:[ \t][^\n]*\n)*)+\Z")


def number_in(text: bytes, where: str) -> int:
    """Which letter this is, every byte of it, behind its trace lines."""
    head, begin, rest = text.partition(b"X-Number: ")
    check(begin and TRACE.match(head), f"{where}: not the beginning of a delivered letter: {show(text[:200])}")
    return number_of(begin + rest, where)


class Maildir:
    """Letters in a Maildir, which is made by the first delivery."""

    name = "Maildir"
    options = ("--mail", "~/Maildir")
    # A letter that was refused is nowhere, where one call has failed.
    takes_back = True

    def letters(self, home: Path) -> list[int]:
        """The letters that a reader sees; each is whole. Those in `tmp` are not delivered."""
        found = []
        for folder in ("new", "cur"):
            path = home / "Maildir" / folder
            found += [number_in(file.read_bytes(), file.name) for file in path.iterdir()] if path.is_dir() else []
        return found


class Mbox:
    """Letters in an mbox, quoted as mboxrd has it. What a killed delivery has left in part is taken out by the next
    one, so that it is looked at only then."""

    name = "mbox"
    options = ("--mail", "mbox:~/mbox")
    # What has failed may be the lock without which a letter cannot be taken back.
    takes_back = False

    def letters(self, home: Path) -> list[int]:
        """The letters that a reader sees; each is whole."""
        path = home / "mbox"
        text = path.read_bytes() if path.is_file() else b""
        check(not text or (text.startswith(b"From ") and text.endswith(b"\n\n")), f"not an mbox: {show(text[-60:])}")
        parts = re.split(rb"^From .*\n", text, flags=re.MULTILINE)[1:]
        return [number_in(re.sub(rb"^>(>*From )", rb"\1", part[:-1], flags=re.MULTILINE), "mbox") for part in parts]
