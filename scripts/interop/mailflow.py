"""The round: a letter in by every SMTP client, out by every POP3 client, and compared."""

import os

from lib import add, same, test
from lib.mailbox import OWNER
from letters import ROUND, SLIDES, below_trace, one
from pop3_clients import CLIENTS as FETCH
from smtp_clients import CLIENTS as SEND


def goes_round(fixture, send, fetch):
    box = fixture.mailbox()
    send(fixture, [box.address], ROUND)
    below_trace(one(fetch(fixture, box)), ROUND)


for sender in SEND:
    for fetcher, (plain, apop) in FETCH.items():
        add(f"round: in by {sender}, out by {fetcher}", goes_round, SEND[sender], plain)


@test("round: letters from all SMTP clients lie in one maildrop, every POP3 client sees the same")
def together(fixture):
    box = fixture.mailbox()
    for send in SEND.values():
        send(fixture, [box.address], SLIDES)
    fetched = {name: plain(fixture, box) for name, (plain, _) in FETCH.items()}
    for name, letters in fetched.items():
        same(len(letters), len(SEND), f"letters for {name}")
        for letter in letters:
            below_trace(letter, SLIDES)
    same(fetched["poplib"], fetched["curl"], "what poplib and curl saw")
    same(fetched["pop3c"], fetched["curl"], "what pop3c and curl saw")


@test("round: with root's daemons a mailbox and its letters are its owner's, and stay so")
def owner(fixture):
    box = fixture.mailbox()
    want = OWNER if fixture.is_root else os.getuid()  # an ordinary user owns all these mailboxes anyway
    SEND["smtpc"](fixture, [box.address], SLIDES)
    below_trace(one(FETCH["poplib"][0](fixture, box)), SLIDES)
    below_trace(one(FETCH["fetchmail"][0](fixture, box)), SLIDES)
    owners = {path.stat().st_uid for path in [box.maildir, *box.maildir.rglob("*")]}
    same(owners, {want}, "owners of the Maildir and of what is in it")


@test("round: a user whose line has no user id has the rights of --mail-user")
def mail_user(fixture):
    box = fixture.mailbox()
    SEND["smtpc"](fixture, [box.address], SLIDES)
    lines = (fixture.dir / "users").read_text().replace(f":{OWNER}:{OWNER}:", ":::")
    users = fixture.file("users", lines)
    user = [*fixture.as_root(), "--mail-user", f"{OWNER}:{OWNER}"] if fixture.is_root else []
    pop3d = fixture.daemon("pop3d-mail-user", "pop3d", "--users", users, *user)
    below_trace(one(FETCH["poplib"][0](fixture, box, pop3d)), SLIDES)
    pop3d.at_rest()
    pop3d.stop()
    del fixture.daemons["pop3d-mail-user"]
