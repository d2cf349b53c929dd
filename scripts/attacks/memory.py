"""The password fields of other users, in the memory of the processes that serve a client."""

import os
import re

from lib import check, show, test
from site_of_mail import DOMAIN, MALLORY, PASSWORD, Client, envelope, holds, maildir, smtp

# Written in two parts, so that it is nowhere in one piece but in the users file.
CANARY = "canary-" + "of-levy-7Q4z"


def image(pid):
    """What a process can read of its own memory."""
    found = []
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as maps, open(f"/proc/{pid}/mem", "rb") as mem:
        for line in maps:
            area = re.match(r"([0-9a-f]+)-([0-9a-f]+) r", line)
            if not area or "[vvar" in line or "[vsyscall" in line:
                continue
            start, end = (int(number, 16) for number in area.groups())
            try:
                mem.seek(start)
                found.append(mem.read(end - start))
            except (OSError, ValueError):
                continue
    return b"\0".join(found)


def title(pid):
    """What ps shows."""
    with open(f"/proc/{pid}/cmdline", "rb") as words:
        return words.read().replace(b"\0", b" ").decode(errors="replace").strip()


def all_of(daemon):
    """Every process that logs to the daemon's file: parent, fronts, keeper and what it has forked."""
    return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and logs_to(pid, daemon.log_path)]


def logs_to(pid, path):
    try:
        return os.readlink(f"/proc/{pid}/fd/2") == str(path)
    except OSError:
        return False


def has_none(client, daemon, control, state):
    """Looks into every process of the daemon."""
    serving = client.holders()
    check(serving, f"{state}: no process has the client")
    images = {pid: image(pid) for pid in {*serving, *all_of(daemon)}}
    check(any(control in images[pid] for pid in serving), f"{state}: what is looked for cannot be found")
    having = [f"{pid} ({title(pid)})" for pid, seen in images.items() if CANARY.encode() in seen]
    holds(not having, f"{state}: levy's password is in the memory of {', '.join(having)}")


def users(site):
    """Mallory amid many others, who all have levy's password."""
    with site.users.open("a") as file:
        file.writelines(f"user{number}:{{PLAIN}}{CANARY}:4303:4303::/nowhere:\n" for number in range(500))
    site.user("levy", 4303, password=CANARY)
    maildir(site.user("mallory", MALLORY) / "Maildir", MALLORY, b"Subject: x\n\nx\n")


@test("memory, pop3d: no process that serves mallory has levy's password")
def of_pop3d(site):
    users(site)
    pop3d = site.start("pop3d")
    with Client(pop3d.port) as client:
        check(client.line().startswith(b"+OK"), "a greeting")
        has_none(client, pop3d, b"AUTHORIZATION", "AUTHORIZATION")
        for word, last in ((PASSWORD[1:], b"-ERR"), (PASSWORD, b"+OK")):
            client.send(f"USER mallory\r\nPASS {word}\r\n".encode())
            client.line()
            reply = client.line()
            check(reply.startswith(last), f"login: {show(reply)}")
            has_none(client, pop3d, b"mallory", "after a login")


@test("memory, smtpd: no process that serves mallory has levy's password")
def of_smtpd(site):
    users(site)
    smtpd = site.start("smtpd")
    with smtp(smtpd.port) as client:
        client.ask(b"VRFY levy")
        client.ask(b"MAIL FROM:<a@topaz.test>")
        client.ask(f"RCPT TO:<levy@{DOMAIN}>".encode())
        client.ask(b"RSET")
        reply = envelope(client, "mallory")
        check(reply.startswith(b"354"), f"DATA: {show(reply)}")
        has_none(client, smtpd, b"topaz.test", "within a letter")
        reply = client.ask(b"Subject: x\r\n\r\nx\r\n.")
        check(reply.startswith(b"250"), f"a letter: {show(reply)}")
        has_none(client, smtpd, b"topaz.test", "after a letter")
