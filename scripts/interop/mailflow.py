"""The round: a letter in by every SMTP client, out by every POP3 client, and compared."""

import os
import pwd

from harness import add, check, same, test
from lab import DOMAIN
from letters import ROUND, SLIDES, below_trace, one
from pop3_clients import CLIENTS as FETCH
from smtp_clients import CLIENTS as SEND


def goes_round(lab, send, fetch):
    box = lab.mailbox()
    send(lab, [box.address], ROUND)
    below_trace(one(fetch(lab, box)), ROUND)


for sender in SEND:
    for fetcher, (plain, apop) in FETCH.items():
        add(f"round: in by {sender}, out by {fetcher}", goes_round, SEND[sender], plain)


@test("round: letters from all SMTP clients lie in one maildrop, every POP3 client sees the same")
def together(lab):
    box = lab.mailbox()
    for send in SEND.values():
        send(lab, [box.address], SLIDES)
    fetched = {name: plain(lab, box) for name, (plain, _) in FETCH.items()}
    for name, letters in fetched.items():
        same(len(letters), len(SEND), f"letters for {name}")
        for letter in letters:
            below_trace(letter, SLIDES)
    same(fetched["poplib"], fetched["curl"], "what poplib and curl saw")
    same(fetched["pop3c"], fetched["curl"], "what pop3c and curl saw")


@test("round: smtpd of root delivers as the mailbox's owner; pop3d of that owner hands it out")
def owner(lab):
    if not lab.root:
        lab.mailbox()  # an ordinary user is the owner of all his mailboxes: the others show it
        return
    box = lab.mailbox()
    nobody = pwd.getpwnam("nobody")
    os.chown(box.home, nobody.pw_uid, nobody.pw_gid)
    SEND["smtpc"](lab, [box.address], SLIDES)
    owners = {path.stat().st_uid for path in box.maildir.rglob("*")} | {box.maildir.stat().st_uid}
    same(owners, {nobody.pw_uid}, "owners of the Maildir and what is in it")
    users = lab.file("users", (lab.dir / "users").read_bytes(), 0o644)
    users.parent.chmod(0o755)
    pop3d = lab.daemon("pop3d-nobody", "pop3d", "--users", users, "-u", "nobody")
    below_trace(one(FETCH["poplib"][0](lab, box, pop3d)), SLIDES)
    check(DOMAIN.encode() in one(box.letters()), "no trace of this server")
    pop3d.at_rest()
    pop3d.stop()
    del lab.daemons["pop3d-nobody"]
