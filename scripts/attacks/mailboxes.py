"""Whose a mailbox is: the first to make one, and a home that is not there."""

import os

from lib import show, test
from lib.processes import fields
from site_of_mail import MALLORY, PASSWORD, ROSE, Client, deliver, files, holds, maildir, pop3, smtp


@test("first comer, smtpd: who makes the mailbox of another does not get the letters")
def first_comer_smtp(site):
    site.user("rose", ROSE)
    box = maildir(site.spool / "rose", MALLORY)
    smtpd = site.start("smtpd", *site.in_spool())
    with smtp(smtpd.port) as client:
        reply = deliver(client, "rose")
    letters = os.listdir(box / "new")
    holds(not letters, f"rose's letter lies in a folder of mallory's: {show(reply)}")
    holds(reply.startswith(b"4"), f"no temporary error: {show(reply)}")


@test("first comer, pop3d: who makes the mailbox of another does not choose what the other reads")
def first_comer_pop3(site):
    site.user("rose", ROSE)
    maildir(site.spool / "rose", MALLORY, b"Subject: forged\n\nby mallory\n")
    pop3d = site.start("pop3d", *site.in_spool())
    lines = pop3(pop3d.port, b"USER rose", b"PASS " + PASSWORD.encode(), b"RETR 1", b"QUIT")
    holds(b"by mallory" not in lines, "rose reads what mallory has put there")
    holds(lines[2].startswith(b"-ERR [SYS/TEMP]"), f"no temporary error: {show(lines[2])}")


@test("missing home, pop3d: no session, above all none of root's, and nothing is made")
def missing_home_pop3(site):
    site.user("rose", ROSE, has_home=False)
    pop3d = site.start("pop3d")
    with Client(pop3d.port) as client:
        client.line()
        client.send(b"USER rose\r\nPASS " + PASSWORD.encode() + b"\r\n")
        client.line()
        reply = client.line()
        uids = {uid for pid in client.holders() for uid in uids_of(pid)}
        holds(reply.startswith(b"-ERR [SYS/TEMP]"),
              f"{show(reply)}, and the session's processes have the user ids {sorted(uids)}")
        holds(0 not in uids, f"a process with the client has the user ids {sorted(uids)}")
    holds(not files(site.homes), f"made: {sorted(files(site.homes))}")


@test("missing home, smtpd: a temporary error, and nothing is made below which a disk is mounted later")
def missing_home_smtp(site):
    site.user("rose", ROSE, has_home=False)
    smtpd = site.start("smtpd")
    with smtp(smtpd.port) as client:
        reply = deliver(client, "rose")
    holds(not files(site.homes), f"{show(reply)}, and made: {sorted(files(site.homes).items())[:3]}")
    holds(reply.startswith(b"4"), f"no temporary error: {show(reply)}")


def uids_of(pid):
    """The user ids of a process; none of one that has ended."""
    if fields(pid)[0] in "XZ":
        return []
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as status:
        return [int(uid) for line in status if line.startswith("Uid:") for uid in line.split()[1:]]
