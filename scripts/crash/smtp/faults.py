"""Errors of the disk and of the system, from each call in turn that delivers a letter: the replies to the client are true, and
the log says why."""

import errno
import os
import re
from collections import Counter

from lib.checks import Failure, check, show, wait_until
from smtp.client import Sent
from smtp.site import EVERYBODY, Site
from tracing import calls_in, strace

# What each call is made to fail with. Those of writing and of names come from the disk, a full one, and a quota; the
# others from limits and rights.
FAULTS = {
    "openat": ("EIO", "ENOSPC", "EDQUOT", "EACCES", "EMFILE", "ENFILE", "ENOMEM"),
    "newfstatat": ("EIO", "EACCES"),
    "statx": ("EIO",),
    "fstatfs": ("EIO",),
    "statfs": ("EIO",),
    "mkdirat": ("EIO", "ENOSPC", "EDQUOT", "EACCES", "EROFS"),
    "clone": ("EAGAIN", "ENOMEM"),
    "socketpair": ("EMFILE", "ENFILE"),
    "fcntl": ("EMFILE", "ENOLCK"),
    "flock": ("EIO", "ENOLCK"),
    "setresuid": ("EAGAIN",),
    "setgroups": ("EPERM",),
    "memfd_create": ("EMFILE", "ENOMEM"),
    "recvmsg": ("EMFILE", "ENOMEM"),
    "sendmsg": ("ENOBUFS", "EMFILE"),
    "read": ("EIO",),
    "pread64": ("EIO",),
    "getdents64": ("EIO", "ENOMEM"),
    "lseek": ("EIO",),
    "write": ("ENOSPC", "EIO", "EDQUOT"),
    "writev": ("ENOSPC", "EIO", "EDQUOT"),
    "pwrite64": ("ENOSPC", "EIO", "EDQUOT"),
    "copy_file_range": ("ENOSPC", "EIO", "EDQUOT"),
    "sendfile": ("ENOSPC", "EIO", "EDQUOT"),
    "fsync": ("ENOSPC", "EIO", "EDQUOT"),
    "fdatasync": ("ENOSPC", "EIO", "EDQUOT"),
    "syncfs": ("ENOSPC", "EIO", "EDQUOT"),
    "linkat": ("ENOSPC", "EIO", "EDQUOT", "EACCES", "EMLINK"),
    "renameat": ("ENOSPC", "EIO", "EDQUOT", "EACCES", "EROFS"),
    "renameat2": ("ENOSPC", "EIO", "EDQUOT", "EACCES", "EROFS"),
    "unlinkat": ("EIO", "EACCES", "EROFS"),
    "ftruncate": ("ENOSPC", "EIO", "EDQUOT"),
    "fchmod": ("EIO", "EACCES"),
    "fchown": ("EPERM",),
    "utimensat": ("EIO", "EACCES"),
}


# Calls between our own processes: the one that fails may have no process left to tell; the other one has a warning.
BETWEEN = ("recvmsg", "sendmsg")


def injected_session(site: Site, call: str, *words: str) -> tuple[list[Sent], list[str], str]:
    """A session, two letters to all users and one to one user, whose keeper and all that it forks are below strace: the
    letters, the calls that had an error injected, and what the log has got meanwhile."""
    logged, sent = len(site.start().log()), []
    with strace(site, site.keeper(), "-f", "-e", f"trace={call}", *words) as out:
        with site.connect() as client:
            for to in (EVERYBODY, EVERYBODY[:1], EVERYBODY):
                sent.append(client.deliver(site.next_letter(), to))
            name = client.name
        wait_until("the line of the client's end", lambda: f"client {name} end" in site.daemon.log()[logged:]
                   or site.daemon.code() is not None)
        site.at_rest()
    calls, wanted = calls_in(out), "(INJECTED)" if words else "("
    return sent, [line for line in calls if wanted in line], site.daemon.log()[logged:]


def kind_of(letter: Sent) -> str:
    """The replies that the client has about a letter."""
    if letter.is_safe:
        return "250" if letter.to == EVERYBODY[:len(letter.to)] else "250 for some"
    return letter.reply[:3].decode() or "cut off"


def check_told(sent: list[Sent], hits: list[str], error: str, log: str) -> None:
    """What is refused is refused for now, and the log names peer, what, and why."""
    for letter in sent:
        check(not letter.reply or letter.reply[:1] in b"24", f"refused for good: {letter}")
    if all(letter.is_safe for letter in sent):
        return
    reason = os.strerror(getattr(errno, error))
    warnings = [line for line in log.splitlines() if re.search(" (WARN|ERROR) ", line)]
    if any(re.search(r"^\d+ +write\(2<", hit) for hit in hits):  # the log itself
        return
    is_between = any(re.match(rf"\d+ ({'|'.join(BETWEEN)})\(", hit) for hit in hits)
    check(any(reason in line or is_between for line in warnings)
          and any(re.search(r"127\.0\.0\.1:\d+: ", line) for line in warnings),
          f"no warning with peer and '{reason}' for {[letter.reply for letter in sent]}: {show(log, 900)}")


def each(site: Site, call: str, error: str, is_once: bool, step: int = 1) -> tuple[int, Counter[str]]:
    """This error from the Nth such call of each process, or from it on, for each N; how many sessions, and how the
    letters went."""
    number, kinds, count = 1 + site.dice.randrange(step), Counter(), 0
    while True:
        when = f"inject={call}:error={error}:when={number}{'' if is_once else '+'}"
        try:
            sent, hits, log = injected_session(site, call, "-e", when)
            if not hits:
                check(all(letter.is_safe and letter.to for letter in sent), f"a session without an error: {sent}")
                site.clear()
                return count, kinds
            # A letter cannot be taken back by a call that fails; and when a box cannot say that its letter is there, it may
            # stay; which places have it is not known either where the text cannot be read: two copies before none.
            stays = re.search(rf"\d +(unlinkat|pread64|{'|'.join(BETWEEN)})\(", "\n".join(hits))
            check_told(sent, hits, error, log)
            if is_once and not stays and site.kind.takes_back:
                site.check_letters(sent)
                sent, first = [site.send_again(letter) if letter.is_complete and not letter.is_safe else letter
                               for letter in sent], sent
            else:
                first = sent
            site.check_after(sent)
        except Failure as failure:
            raise Failure(f"{when}: {failure}") from None
        kinds.update(map(kind_of, first))
        count += 1
        number += step
        site.clear()


def calls_made(site: Site) -> Counter[str]:
    """How often a process makes each of these calls in a session without an error, at most."""
    sent, calls, _ = injected_session(site, ",".join(FAULTS))
    site.check_after(sent)
    site.clear()
    found = Counter(re.search(r"^(\d+) +(\w+)\(", line).groups() for line in calls)
    most: Counter[str] = Counter()
    for (_, call), count in found.items():
        most[call] = max(most[call], count)
    return most
