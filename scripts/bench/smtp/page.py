"""The figures as a Markdown page, with what is asked of them beside it."""

from peers import FLOOR, OURS, POSTFIX, PREFORK
from report import machine
from results import goals, load
from results import part as results_part
from rows import IN_MEMORY, KEPT, NEW, PARTS

TITLES = {"disk": "Letters a second", "memory": "The same in tmpfs", "tls": "The same by TLS", "large": "A large letter",
          "many": "A hundred recipients", "syncs": "Syncs", "idle": "An idle session"}
# What is asked of ours: the row, ours, what it is measured against, and how many times as good it is to be.
GOALS = [(row, ours, peer, least)
         for row, peer, least in ((NEW[8], POSTFIX, 2), (KEPT[8], POSTFIX, 2), (IN_MEMORY[False], POSTFIX, 2.5),
                                  (IN_MEMORY[True], POSTFIX, 2.5), (KEPT[8], FLOOR, 0.4))
         for ours in (OURS, PREFORK)]

HOW = {
    "disk": """\
Letters of 4 KiB, each client's to a user of its own: `letters.c` (one process, epoll) plays all clients, each command after
the reply before, {seconds} s a round after {warm_up} s of warm-up. A figure is letters divided by the time from the first
connection until the last letter lies in its Maildir, which for ours is before the 250. CPU is that of all processes of the
server, as their control group counts it. "{floor}" is `durable.c`: as many processes as there are clients, each of which
writes a file of 4 KiB, fdatasyncs it, renames it into the Maildir and fsyncs the folder, and does nothing else.""",
    "memory": """\
Mailboxes, queue and spool in tmpfs, where a sync costs nothing: what the servers' own work allows.""",
    "tls": """\
Implicit TLS, a full handshake for each session (TLS 1.3, X25519, a certificate of ECDSA P-256), no session taken up again.
Debian 12's OpenSMTPD fails in every handshake, because it does not work with OpenSSL 3.""",
    "large": """\
One letter of 50 MiB to one user, from the connection until it lies in the Maildir; MB are 10^6 octets.""",
    "many": """\
One client, one session, each letter to 100 users: copies in a second.""",
    "syncs": """\
Calls of fsync, fdatasync, sync_file_range, syncfs and sync of all processes of the server, as strace counts them, for each
of {counted} letters, each in a session of its own, until they are in the Maildirs.""",
    "idle": """\
KiB of PSS that {sessions} sessions at a time take, each, of all processes of the server, while their clients have said
`EHLO` and nothing more.""",
}

HEAD = """\
# SMTP, measured

Written by `make bench-smtp`, which measures anew and replaces this page.

{machine}

{rounds} rounds ({slow_rounds} of syncs and idle sessions); in each, every server is started anew for each part with fresh
mailboxes, one server after the other, and each round begins with another. Nothing is deleted meanwhile. Figures are medians
of the rounds; a ratio is the median of the ratios within each round, more than 1 where ours is better. Clients share the
CPUs with the servers.

Every server delivers to Maildirs of one uid below the same folder. Postfix takes a letter into its queue, syncs it there and
delivers it by `virtual`; OpenSMTPD takes it into its queue and delivers it by `mail.maildir`; both run without DNS, without
limits of connections and otherwise as they come. Ours delivers before it says 250.
"""


def part(results, plan, name):
    """A part: how it is measured, and its table."""
    how = HOW[name].format(floor=FLOOR, **vars(plan))
    return f"## {TITLES[name]}\n\n{how}\n\n" + results_part(results, name, {}, lambda one: one.startswith("smtpd"))


def page(results, plan, at_start):
    about = "\n".join(f"- {name}: {value}" for name, value in [*machine(), ("Other work", load(at_start))])
    parts = [part(results, plan, name) for name in PARTS if results.names(name)]
    return "\n".join([HEAD.format(machine=about, **vars(plan)), goals(results, GOALS, {}), *parts])
