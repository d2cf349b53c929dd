"""The race: a link in place of a mailbox, while the daemon looks at it and opens it."""

import os

from lib import check, show, test
from site_of_mail import MALLORY, PASSWORD, ROSE, TRIES, Acting, deliver, files, holds, maildir, pop3, smtp

LETTER = b"Subject: of another\n\nnot for mallory\n"
# Letters of one session with smtpd.
LETTERS = 50


def flip(link, own, victims):
    """For ever: nothing, links to the mailboxes of others, and mallory's own mailbox, under one name."""
    number = 0
    while True:
        for victim in victims:
            for act in (lambda: os.symlink(victim, link), lambda: os.unlink(link),
                        lambda: os.rename(own, link), lambda: os.rename(link, own)):
                try:
                    act()
                except OSError:  # the daemon has made something there
                    number += 1
                    try:
                        os.rename(link, f"{link}.{number}")
                    except OSError:
                        pass


def spool(site):
    """The name that flips, mallory's own mailbox, and two of others: rose's, and root's."""
    site.user("mallory", MALLORY)
    own = maildir(site.spool / "own", MALLORY)
    victims = [maildir(site.spool / f"of-{uid}", uid, LETTER) for uid in (ROSE, 0)]
    return site.spool / "mallory", own, victims


@test("race, pop3d: a link that flips never leads into another's mailbox")
def logins(site):
    link, own, victims = spool(site)
    before = [files(victim) for victim in victims]
    pop3d = site.start("pop3d", *site.in_spool())
    session = (b"USER mallory", b"PASS " + PASSWORD.encode(), b"STAT", b"RETR 1", b"DELE 1", b"QUIT")
    hits = refused = accepted = 0
    first = ""
    with Acting(MALLORY, flip, link, own, victims):
        for number in range(1, TRIES + 1):
            lines = pop3(pop3d.port, *session)
            is_in = len(lines) > 2 and lines[2].startswith(b"+OK")
            accepted, refused = accepted + is_in, refused + (not is_in)
            if b"not for mallory" in lines:
                hits += 1
                first = first or f"the first in login {number}"
    changed = [files(victim) for victim in victims] != before
    holds(not hits and not changed,
          f"{hits} of {TRIES} logins read the mail of others, {first}" + "; letters are gone" * changed)
    check(accepted and refused, f"{accepted} logins accepted, {refused} refused: the link was not seen")


@test("race, smtpd: a link that flips never has it write into another's folder")
def deliveries(site):
    link, own, victims = spool(site)
    bare = site.spool / "bare"  # a folder of root's, no Maildir
    bare.mkdir(mode=0o700)
    before = [files(folder) for folder in (*victims, bare)]
    smtpd = site.start("smtpd", *site.in_spool())
    done = {b"2": 0, b"4": 0}
    with Acting(MALLORY, flip, link, own, [*victims, bare]):
        for _ in range(max(1, TRIES // LETTERS)):
            with smtp(smtpd.port) as client:
                for _ in range(LETTERS):
                    reply = deliver(client, "mallory")
                    check(reply[:1] in done, f"a reply: {show(reply)}")
                    done[reply[:1]] += 1
    made = [f"{folder.name}/{name}" for folder, was in zip((*victims, bare), before)
            for name in files(folder) if name not in was]
    holds(not made, f"{len(made)} files and folders made in folders of others in {sum(done.values())} "
          f"deliveries: {' '.join(made[:4])}")
    roots = [name for name, uid in files(site.spool).items() if uid == 0 and not name.startswith(("of-0", "bare"))]
    holds(not roots, f"{len(roots)} files and folders of root's in the spool, as {roots[:2]}")
    check(all(done.values()), f"{done[b'2']} deliveries, {done[b'4']} refused: the link was not seen")
