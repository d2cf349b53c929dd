"""Three users with mailboxes, smtpd, and what must hold after a crash."""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lib.checks import Failure, check, show, wait_until
from lib.mailbox import DOMAIN, OWNER
from lib.paths import LOOPBACK
from site_of_crash import CrashSite
from smtp.client import Sent, Smtp

# Users, each with a uid of its own: for a letter to all of them there are three processes that write.
USERS = {"levy": OWNER, "bob": OWNER + 1, "carol": OWNER + 2}
EVERYBODY = tuple(USERS)
# Titles of the processes that the keeper forks.
BOX, ANSWER = ("mailbox",), ("questions of", "a letter", "a login")


class Site(CrashSite):
    """A context manager."""

    PROGRAM = "smtpd"

    def __init__(self, programs: Path, system: str, kind, seed: int, *options: str) -> None:
        super().__init__(programs, system, seed)
        self.kind, self.options = kind, options
        self.disk = self.root  # on which the daemon's queue is
        self.homes = self.root / "home"
        self.last = self.dice.randrange(100) * 30  # number of the last letter
        if self.is_mounted:
            self.make_homes()

    def make_homes(self) -> None:
        """Homes for the users, without a mailbox; the daemon reads where they are with each letter."""
        self.homes.mkdir(mode=0o755)
        for name, uid in USERS.items():
            (self.homes / name).mkdir(mode=0o700)
            os.chown(self.homes / name, uid, uid)
        self.write_users()

    def write_users(self) -> None:
        """Says where the users' homes are."""
        self.users.write_text("".join(f"{name}::{uid}:{uid}:{name.title()}:{self.homes / name}:\n" for name, uid in USERS.items()))

    def clear(self) -> None:
        """Removes every letter; sometimes the mailboxes too, so that the next delivery makes them."""
        has_mailboxes = self.dice.random() < 0.5
        for home in (self.homes / name for name in USERS):
            for path in home.iterdir():
                if has_mailboxes and path.is_dir():
                    for file in path.rglob("*"):
                        if file.is_file():
                            file.unlink()
                else:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    # The daemon and its clients.

    def argv(self) -> list[Any]:
        """The daemon's command line."""
        return ["-l", f"{LOOPBACK}:0", "-u", "nobody", "--max-per-ip", 256, "--hostname", DOMAIN, "--domain", DOMAIN,
                "--users", self.users, *self.kind.options(self.disk), *self.options]

    @contextmanager
    def on(self, disk: Path) -> Iterator[None]:
        """The daemon on another disk meanwhile: the same one, where the users file says what is where; another one for
        a queue."""
        if not self.kind.has_queue:
            yield
            return
        kept, self.daemon, self.disk, before = self.daemon, None, disk, self.disk
        try:
            yield
        finally:
            if self.daemon:
                self.daemon.kill()
            self.daemon, self.disk = kept, before

    def connect(self) -> Smtp:
        """A client that has said EHLO."""
        client = Smtp(self.start().port, self.kind.domain)
        client.ask("EHLO client.test")
        return client

    def last_client(self) -> None:
        """Comes, and cannot send a letter."""
        with self.connect() as client:
            check(not client.deliver(self.next_letter(), EVERYBODY).is_safe, "a letter was accepted without a keeper")

    def next_letter(self) -> int:
        """The number of a letter that was not sent before."""
        self.last += 1
        return self.last

    def recipients(self) -> tuple[str, ...]:
        """Some of the users, by chance."""
        return tuple(self.dice.sample(EVERYBODY, self.dice.choice((1, 2, 3))))

    # What must hold.

    def check_letters(self, sent: Iterable[Sent]) -> dict[int, int]:
        """What is in the mailboxes: each letter whole, and once; each acknowledged one at all its recipients. Returns how
        many have each of the letters that were not acknowledged."""
        sent = {letter.number: letter for letter in sent}
        others = {number: 0 for number, letter in sent.items() if not letter.is_safe}
        for name in USERS:
            found = self.kind.letters(self.homes / name)
            check(len(set(found)) == len(found), f"{name} has letters twice: {sorted(found)}")
            strangers = [number for number in found if number not in sent]
            check(not strangers, f"{name} has letters from nowhere: {strangers}")
            lost = [number for number, letter in sent.items() if letter.is_safe and name in letter.to and number not in found]
            check(not lost, f"LOST: {lost} of {name}, of {sorted(sent)}")
            for number in found:
                letter = sent[number]
                check(name in letter.to, f"{name} has {letter}")
                check(letter.is_safe or letter.is_complete, f"{name} has {letter}, which did not end")
                if number in others:
                    others[number] += 1
        return others

    def send_again(self, letter: Sent) -> Sent:
        """Sends a letter to which the server has said 4xx behind its end again, as a client does, to the same recipients,
        until all have it: those who have it already must not get it twice."""
        sent = [letter]

        def is_taken() -> bool:
            with self.connect() as client:
                sent.append(client.deliver(letter.number, letter.to))
            return sent[-1].is_safe and sent[-1].to == letter.to

        wait_until("a letter that is sent again", is_taken)
        return sent[-1]

    def check_after(self, sent: list[Sent]) -> dict[int, int]:
        """What must hold after a crash: the letters, and that the next client can send one to everybody."""
        self.bury()
        self.at_rest_after()
        if self.kind.is_whole_at_once:
            self.check_letters(sent)
        last = []

        def is_taken() -> bool:
            with self.connect() as client:
                last.append(client.deliver(self.next_letter(), EVERYBODY))
                return last[-1].is_safe and last[-1].to == EVERYBODY

        try:
            wait_until("the next letter", is_taken)
        except Failure as failure:
            raise Failure(f"{failure}: {last[-1:]}; {show(self.daemon.log()[-600:])}") from None
        self.at_rest()
        return {number: count for number, count in self.check_letters([*sent, *last]).items()
                if number in {letter.number for letter in sent}}

    def at_rest_after(self) -> None:
        """As at_rest(), where there is a daemon."""
        if self.daemon:
            self.at_rest()
