"""Mailboxes of each kind that smtpd delivers to, and the letters that are in them."""

import re
from pathlib import Path

from lib.checks import check, show
from lib.mailbox import DOMAIN
from letters import number_of

# What may stand before a letter: the lines that smtpd writes.
TRACE = re.compile(rb"(?:(?:Return-Path|Received|Delivered-To|X-Original-To): [^\n]*\n(?:[ \t][^\n]*\n)*)+\Z")


def number_in(text: bytes, where: str) -> int:
    """Which letter this is, every byte of it, behind its trace lines."""
    head, begin, rest = text.partition(b"X-Number: ")
    check(begin and TRACE.match(head), f"{where}: not the beginning of a delivered letter: {show(text[:200])}")
    return number_of(begin + rest, where)


class Kind:
    """What smtpd delivers to. `is_whole_at_once`: what a crash has left is whole without the next delivery;
    `takes_back`: a place that has refused a letter has nothing of it, where one call has failed."""

    name = ""
    domain = DOMAIN
    is_whole_at_once = takes_back = True
    has_queue = False

    def options(self, root: Path) -> list:
        """The daemon's options, where its disk is there."""
        raise NotImplementedError

    def letters(self, home: Path) -> list[int]:
        """The letters that a user has whose home this is; each is whole."""
        raise NotImplementedError


class Maildir(Kind):
    """Letters in a Maildir, which is made by the first delivery."""

    name = "Maildir"

    def options(self, root: Path) -> list:
        return ["--mail", "~/Maildir"]

    def letters(self, home: Path) -> list[int]:
        """The letters that a reader sees; each is whole. Those in `tmp` are not delivered."""
        found = []
        for folder in ("new", "cur"):
            path = home / "Maildir" / folder
            found += [number_in(file.read_bytes(), file.name) for file in path.iterdir()] if path.is_dir() else []
        return found


class Mbox(Kind):
    """Letters in an mbox, quoted as mboxrd has it. What a killed delivery has left in part is taken out by the next
    one, so that it is looked at only then."""

    name = "mbox"
    is_whole_at_once = False
    # What has failed may be the lock without which a letter cannot be taken back.
    takes_back = False

    def options(self, root: Path) -> list:
        return ["--mail", "mbox:~/mbox"]

    def letters(self, home: Path) -> list[int]:
        """The letters that a reader sees; each is whole."""
        path = home / "mbox"
        text = path.read_bytes() if path.is_file() else b""
        check(not text or (text.startswith(b"From ") and text.endswith(b"\n\n")), f"not an mbox: {show(text[-60:])}")
        parts = re.split(rb"^From .*\n", text, flags=re.MULTILINE)[1:]
        return [number_in(re.sub(rb"^>(>*From )", rb"\1", part[:-1], flags=re.MULTILINE), "mbox") for part in parts]


class Queue(Kind):
    """Letters for the users of another domain, in the queue on the disk. A letter has its recipients in its envelope."""

    name = "queue"
    domain = "far.test"
    has_queue = True

    def options(self, root: Path) -> list:
        return ["--queue", root / "queue"]

    def letters(self, home: Path) -> list[int]:
        """The letters to a user, in the queue of the disk that the homes are on."""
        folder = home.parent.parent / "queue" / "letters"
        found = []
        for path in folder.iterdir() if folder.is_dir() else []:
            envelope, end, text = path.read_bytes().partition(b"\n\n")
            check(envelope.startswith(b"forklore letter 1\n") and end, f"{path.name}: no envelope: {show(envelope[:200])}")
            if f"to <{home.name}@{self.domain}>".encode() in envelope.split(b"\n"):
                found.append(number_in(text, path.name))
        return found
