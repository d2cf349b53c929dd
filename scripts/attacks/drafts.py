"""The first recipient's hands on a letter that others get too."""

import os
import time

from lib import Failure, check, show, test, wait_until
from site_of_mail import MALLORY, ROSE, Acting, Broken, Client, deliver, envelope, holds, maildir, smtp

# Seconds that mallory has for each draft before the letter ends; without a draft there is nothing to wait for.
PATIENCE = 1.0
# More bytes than a server keeps in memory.
LONG = b"An honest line of text, and more of it.\r\n" * 8192
# Clients at once, each with a letter that mallory holds up.
CLIENTS = 4


def two(site):
    """Mallory and rose, with mailboxes; mallory's tmp."""
    for name, uid in (("mallory", MALLORY), ("rose", ROSE)):
        maildir(site.user(name, uid) / "Maildir", uid)
    return site.homes / "mallory" / "Maildir" / "tmp"


def put_fifos(tmp, told):
    """For ever: a FIFO in place of each file in a folder."""
    done = set()
    while True:
        for name in set(os.listdir(tmp)) - done:
            try:
                os.unlink(tmp / name)
                os.mkfifo(tmp / name)
            except OSError:
                continue
            done.add(name)
            (told / name).touch()
        time.sleep(0.001)


def forge(tmp, told):
    """For ever: other words in each file of a folder, in place."""
    while True:
        for name in os.listdir(tmp):
            try:
                with open(tmp / name, "r+b") as file:
                    text = file.read()
                    if b"honest" not in text:
                        continue
                    file.seek(0)
                    file.write(text.replace(b"honest", b"forged"))
            except OSError:
                continue
            (told / name).touch()
        time.sleep(0.001)


def until_done(told, count):
    """Gives mallory time until this many drafts are changed; returns whether they were."""
    try:
        wait_until("drafts are changed", lambda: len(os.listdir(told)) >= count, PATIENCE)
    except Failure:
        return False
    return True


def told_in(site):
    """A folder in which mallory tells what is done."""
    told = site.folder("told")
    told.chmod(0o777)
    return told


@test("FIFO in place of a draft: letters to others are delivered nevertheless")
def fifos(site):
    tmp, told = two(site), told_in(site)
    smtpd = site.start("smtpd", "-c", CLIENTS)
    with Acting(MALLORY, put_fifos, tmp, told):
        clients = [smtp(smtpd.port) for _ in range(CLIENTS)]
        for number, client in enumerate(clients, 1):
            reply = envelope(client, "mallory", "rose")
            check(reply.startswith(b"354"), f"DATA: {show(reply)}")
            client.send(b"Subject: x\r\n\r\n" + LONG)
            until_done(told, number)
            client.send(b".\r\n")
        time.sleep(PATIENCE)
        for client in clients:
            client.close()
        try:
            wait_until("a letter to rose is delivered", lambda: to_rose(smtpd.port))
        except Failure as failure:
            raise Broken(f"{CLIENTS} letters with mallory among the recipients stop all mail: "
                         f"{failure}") from None


def to_rose(port):
    """Whether a letter to rose is taken."""
    with Client(port) as client:
        return client.reply().startswith(b"220") and client.ask(b"EHLO topaz.test").startswith(b"250") \
            and deliver(client, "rose").startswith(b"250")


@test("text: the first recipient cannot change what the others get")
def text(site):
    tmp, told = two(site), told_in(site)
    smtpd = site.start("smtpd")
    with Acting(MALLORY, forge, tmp, told), smtp(smtpd.port) as client:
        for number in range(1, 6):
            reply = envelope(client, "mallory", "rose")
            check(reply.startswith(b"354"), f"DATA: {show(reply)}")
            client.send(b"Subject: x\r\n\r\n" + LONG)
            until_done(told, number)
            reply = client.ask(b".")
            check(reply.startswith(b"250"), f"a letter: {show(reply)}")
    new = site.homes / "rose" / "Maildir" / "new"
    texts = [path.read_bytes() for path in new.iterdir()]
    check(len(texts) == 5, f"rose has {len(texts)} letters of 5")
    forged = sum(b"forged" in text or text.count(b"honest") != 8192 for text in texts)
    holds(not forged, f"{forged} of 5 letters of rose's have mallory's words in them")
