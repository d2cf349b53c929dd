"""What is left when all is done: nothing but the parent, which ends when it is told to."""

import re

from lib import add, check

# Property of the fixture, and the key of its daemon.
DAEMONS = ["echod", "smtpd", "small_smtpd", "pop3d", "apop_pop3d", "mixed_pop3d", "tftpd",
           "keeping_tftpd", "closed_tftpd", "hasty_tftpd"]


def at_rest(fixture, which):
    getattr(fixture, which).at_rest()


def calm_log(fixture, which):
    """No child died of a signal, no panic; what a client does must never do that."""
    bad = [line for line in getattr(fixture, which).log().splitlines()
           if re.search(r"panicked|signal \d|core dumped", line)]
    check(not bad, "\n".join(bad[:5]))


def ends(fixture, which):
    getattr(fixture, which).stop()


for name in DAEMONS:
    add(f"{name}: afterwards no child, no zombie, no CLOSE-WAIT, as many descriptors as before",
        at_rest, name)
    add(f"{name}: no child died of a signal or a panic", calm_log, name)
    add(f"{name}: SIGTERM ends it with 0", ends, name)
