"""The figures as a Markdown page, with what is asked of them beside it."""

from peers import ISOLATED, OURS, POPA3D, PREFORK, REUSED
from report import machine
from results import goals, load
from results import part as results_part
from rows import (BIG, FETCH, FETCHMAIL_PART, IDLE, IN_FLIGHT, LISTS, LOCK_STEP, LOGINS, MESSAGES, ORDER, PARTS, PIPELINED, TLS)

TITLES = {"logins": "Login, STAT, QUIT", "tls": "The same by TLS", "retr": "RETR", "large": "A large message",
          "list": "LIST and UIDL", "memory": "An idle session", "clients": "Clients"}
# Names short enough for the heads of tables.
SHORT = {ISOLATED: "Dovecot, isolated", REUSED: "Dovecot, reused", POPA3D: "popa3d"}
FIRST = [row for (_, command, when), row in LISTS.items() if command == "LIST" and when != "second"]
SECOND = [row for (_, command, when), row in LISTS.items() if command == "LIST" and when == "second"]

# What is asked of ours: the row, ours, what it is measured against, and how many times as good it is to be.
GOALS = [
    *((row, ours, REUSED, 1.5) for row in (*LOGINS.values(), *TLS.values()) for ours in (OURS, PREFORK)),
    *((row, ours, ISOLATED, 15) for row in (*LOGINS.values(), *TLS.values()) for ours in (OURS, PREFORK)),
    *((row, OURS, POPA3D, 1) for row in LOGINS.values()),
    (LOCK_STEP, OURS, ISOLATED, 1.2), (LOCK_STEP, OURS, POPA3D, 1), (PIPELINED, OURS, ISOLATED, 2),
    (PIPELINED, OURS, POPA3D, 1), (BIG, OURS, POPA3D, 1.2), (BIG, OURS, ISOLATED, 1),
    *((row, OURS, ISOLATED, 10) for row in FIRST), *((row, OURS, ISOLATED, 1.5) for row in SECOND),
    *((row, OURS, POPA3D, 1) for row in (*FIRST, *SECOND)),
    *((row, OURS, peer, 1) for key, row in LISTS.items() if key[1] == "UIDL" for peer in (ISOLATED, POPA3D)),
    *((row, OURS, peer, 2) for row in IDLE.values() for peer in (ISOLATED, REUSED)), (IDLE[False], OURS, POPA3D, 1),
    (FETCH, "pop3c", "mpop", 1), (FETCH, "pop3c", "fetchmail", 1),
]

HOW = {
    "logins": """\
Connect, `USER`, `PASS`, `STAT`, `QUIT`, each after the reply before, to the end of the file; each client has a mailbox of
one letter. `logins.c` (one process, epoll) plays all of them, {seconds} s a round after {warm_up} s of warm-up. CPU is that of all
processes of the server, as their control group counts it.""",
    "tls": """\
Implicit TLS, a full handshake for each session (TLS 1.3, X25519, a certificate of ECDSA P-256), no session taken up again;
the client is `logins.c` with OpenSSL. popa3d has no TLS.""",
    "retr": """\
One session, `RETR` of {messages:,} messages of 4 KiB over and over for {retr_seconds} s; `retr.c` checks that every reply is as
long as `LIST` says. In lock step a wake-up from one CPU to the other costs more than all else; with both on one CPU there is
none. popa3d writes each reply in two parts, and waits 40 ms for the delayed ACK of the first with Nagle's algorithm: 23
messages in a second. The client asks for ACKs at once (`TCP_QUICKACK`) with popa3d alone, so that its own speed is seen.""",
    "large": """\
The same with one message of 50 MiB; MB are 10^6 octets.""",
    "list": """\
{many:,} letters of 0.6 KiB: milliseconds from `PASS` to the end of the listing. First session: nothing is left of what the server
had remembered (Dovecot's index and list of uids, our sizes), and the files are in the page cache. Dovecot moves letters from
`new` to `cur` in its first session. popa3d, and pop3d over the same file, know an mbox alone: one figure for all rows of a
command.""",
    "memory": """\
KiB of PSS that {sessions} sessions at a time take, each, of all processes of the server, while their clients are logged in and
say nothing.""",
    "clients": """\
{fetched:,} letters of 4 KiB from pop3d, left on the server, through `path.c`, which holds every octet for 10 ms each way, because the
kernel here has no netem. pop3c and mpop deliver to a Maildir and sync each letter; fetchmail writes one file (`bsmtp`) and
syncs nothing. From the start of the program to its end; fetchmail, which asks for one letter after the other, is ended
after {fetchmail} s, and what it has by then counts.""",
}

HEAD = """\
# POP3, measured

Written by `make bench-pop3`, which measures anew and replaces this page. What the figures say, and where the time goes,
is in [pop3-findings.md](pop3-findings.md).

{machine}

{rounds} rounds ({slow_rounds} of listings, memory and clients); in each, every server is started anew for each figure, one server after
the other, and each round begins with another. Figures are medians of the rounds; a ratio is the median of the ratios within
each round, more than 1 where ours is better. Clients share the CPUs with the servers.

No password is hashed, so that the server is measured and not the hash: `{{PLAIN}}` for pop3d and Dovecot, and for popa3d a
PAM that takes any password. pop3d and Dovecot read the same Maildirs, popa3d the same letters as mbox. Every server opens the
mailboxes as their owner. That is one user for all of them, because a process of Dovecot's serves a second client of the same
user alone. popa3d is started by tcpserver: its own daemon takes 500 clients in 10 s, and no more. Isolated is Dovecot's
default, `service_count = 1`: a process serves one client, as ours does; reused is `service_count = 0`.
"""


def part(results, plan, name):
    """A part: how it is measured, and its table."""
    how = HOW[name].format(messages=MESSAGES, in_flight=IN_FLIGHT, fetchmail=plan.patience / FETCHMAIL_PART, **vars(plan))
    return f"## {TITLES[name]}\n\n{how}\n\n" + results_part(results, name, SHORT, lambda one: one.startswith("pop3"))


def page(results, plan, at_start):
    about = "\n".join(f"- {name}: {value}" for name, value in [*machine(), ("Other work", load(at_start))])
    parts = [part(results, plan, name) for name in PARTS if results.names(name)]
    return "\n".join([HEAD.format(machine=about, **vars(plan)), goals(results, GOALS, SHORT), *parts])
