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

    def letters(self, home: Path) -> list[int]:
        """The letters that a reader sees; each is whole. Those in `tmp` are not delivered."""
        found = []
        for folder in ("new", "cur"):
            path = home / "Maildir" / folder
            found += [number_in(file.read_bytes(), file.name) for file in path.iterdir()] if path.is_dir() else []
        return found
