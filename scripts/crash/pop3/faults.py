"""Errors of the disk and of the system, from each call of a session in turn that may have them: what the client receives
is true, and the log says why."""

import errno
import os
import re
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from lib.checks import Failure, check, same, show, wait_until
from lib.pop3 import Pop3
from letters import letter
from pop3.site import PASSWORD, USER, Before, Site
from tracing import calls_in, strace

# What each call is made to fail with. Those of reading and listing come from the disk; those of writing also from
# a full one and a quota; the others from limits and rights.
FAULTS = {
    "openat": ("EIO", "EACCES", "EMFILE", "ENFILE", "ENOMEM"),
    "newfstatat": ("EIO", "EACCES"),
    "statx": ("EIO",),
    "fstatfs": ("EIO",),
    "flock": ("EIO", "ENOLCK"),
    "fcntl": ("ENOLCK",),
    "getdents64": ("EIO", "ENOMEM"),
    "read": ("EIO",),
    "pread64": ("EIO",),
    "lseek": ("EIO",),
    "unlinkat": ("ENOSPC", "EIO", "EDQUOT", "EACCES", "EROFS"),
    "linkat": ("ENOSPC", "EIO", "EDQUOT", "EACCES", "EMLINK"),
    "renameat": ("ENOSPC", "EIO", "EDQUOT", "EACCES", "EROFS"),
    "renameat2": ("ENOSPC", "EIO", "EDQUOT", "EACCES", "EROFS"),
    "fsync": ("ENOSPC", "EIO", "EDQUOT"),
    "fdatasync": ("ENOSPC", "EIO", "EDQUOT"),
    "ftruncate": ("ENOSPC", "EIO", "EDQUOT"),
    "fchmod": ("EIO", "EACCES"),
    "fchown": ("EPERM",),
    "utimensat": ("EIO", "EACCES"),
    "write": ("ENOSPC", "EIO", "EDQUOT"),
    "pwrite64": ("ENOSPC", "EIO", "EDQUOT"),
    "writev": ("ENOSPC", "EIO", "EDQUOT"),
    "copy_file_range": ("ENOSPC", "EIO", "EDQUOT"),
    "sendfile": ("ENOSPC", "EIO", "EDQUOT"),
}


class Heard(NamedTuple):
    """What the client has received: the replies to PASS, RETR and QUIT, empty where there was none."""

    login: bytes
    retr: bytes
    quit: bytes

    def kind(self) -> str:
        """How the session went."""
        for name, reply in zip(("PASS", "RETR"), self):
            if not reply.startswith(b"+OK"):
                return f"{name}: {status(reply)}"
        return f"QUIT: {status(self.quit)}"


def status(reply: bytes) -> str:
    """The status of a reply, or that there was none."""
    return reply.split()[0].decode() if reply.startswith((b"+OK", b"-ERR")) else "cut off"


def converse(client: Pop3, before: Before, at_quit: Callable[[], None] = lambda: None) -> Heard:
    """Login, STAT, LIST, RETR of the large letter, DELE, QUIT. What is answered must be true."""
    login = client.log_in(USER, PASSWORD)
    if not login.startswith(b"+OK"):
        return Heard(login, b"", b"")
    if (stat := client.ask("STAT")).startswith(b"+OK"):
        same(stat.split()[1], b"%d" % len(before.letters), "letters by STAT")
    client.listing("LIST")
    retr = client.ask(f"RETR {before.letters.index(before.large) + 1}")
    if retr.startswith(b"+OK"):
        lines = client.lines()
        if lines is None:
            return Heard(login, b"", b"")
        same(b"\n".join(lines) + b"\n", letter(before.large), "a letter with its final dot")
    for number in sorted(before.marked):
        client.good(f"DELE {before.letters.index(number) + 1}")
    at_quit()
    return Heard(login, retr, client.ask("QUIT"))


def injected_session(site: Site, before: Before, call: str, *words: str) -> tuple[Heard, list[str], str]:
    """A session whose box is below strace from its fork on: the replies, the calls that had an error injected,
    and what the log has got meanwhile."""
    logged = len(site.start().log())
    with strace(site, site.keeper(), "-f", "-e", f"trace={call}", *words) as out:
        with site.connect() as client:
            name, heard = client.name, converse(client, before)
        wait_until("the line of the client's end", lambda: f"client {name} end" in site.daemon.log()[logged:])
        site.at_rest()
    calls, wanted = calls_in(out), "(INJECTED)" if words else "("
    return heard, [line for line in calls if wanted in line], site.daemon.log()[logged:]


def judge(before: Before, left: list[int], heard: Heard, hit: str, is_once: bool) -> None:
    """The replies are true, where `hit` is the call with the error."""
    gone = before.marked.difference(left)
    is_ok = heard.quit.startswith(b"+OK")
    check(not gone or heard.quit, f"removed without UPDATE: {sorted(gone)}")
    if is_ok:
        check(not re.search(r"\bf(data)?sync\(", hit), f"+OK to QUIT, and what was removed is not on the disk: {hit}")
    if "unlinkat(" in hit and re.search(r'"(new|cur)/', hit):
        check(not is_ok, "+OK to QUIT, and a letter could not be removed")
        stay = len(before.marked) - len(gone)
        check(stay == 1 or (stay > 1 and not is_once), f"{stay} marked letters stay")


def check_told(heard: Heard, hits: list[str], error: str, log: str) -> None:
    """Where the client was refused, the log names peer, user, what, and why."""
    refused = [reply for reply in heard if reply.startswith(b"-ERR")]
    for reply in refused:
        check(re.match(rb"-ERR \[(SYS/TEMP|SYS/PERM)\] ", reply), f"a refusal without [SYS/...]: {show(reply)}")
    if not refused and heard.quit:
        return
    reason = os.strerror(getattr(errno, error))
    warnings = [line for line in log.splitlines() if re.search(" (WARN|ERROR) ", line)]
    if any(re.search(r"^\d+ +write\(2<", hit) for hit in hits):  # the log itself
        return
    # The process with the locks of an mbox says what it saw; that with the letters, for which client.
    check(any(reason in line for line in warnings)
          and any(re.search(r"127\.0\.0\.1:\d+: ", line) and USER in line for line in warnings),
          f"no warning with peer, {USER} and '{reason}' for {heard}: {show(log, 900)}")


def each(site: Site, call: str, error: str, is_once: bool, step: int = 1) -> tuple[int, Counter[str]]:
    """This error from the Nth such call of a session, or from it on, for each N; how many sessions, and how they
    went."""
    number, kinds, count = 1 + site.dice.randrange(step), Counter(), 0
    while True:
        before = site.lay()
        when = f"inject={call}:error={error}:when={number}{'' if is_once else '+'}"
        try:
            heard, hits, log = injected_session(site, before, call, "-e", when)
            if not hits:
                check(heard.quit.startswith(b"+OK"), f"a session without an error: {heard}")
                return count, kinds
            judge(before, site.check_letters(before, heard.quit.startswith(b"+OK")), heard, hits[0], is_once)
            check_told(heard, hits, error, log)
            site.check_after(before, heard.quit)
        except Failure as failure:
            raise Failure(f"{when}: {failure}") from None
        kinds[heard.kind()] += 1
        count += 1
        number += step


def calls_made(site: Site) -> Counter[str]:
    """How often box makes each of these calls in a session without an error."""
    before = site.lay()
    heard, calls, _ = injected_session(site, before, ",".join(FAULTS))
    site.check_after(before, heard.quit)
    return Counter(re.search(r"(\w+)\(", line)[1] for line in calls)
