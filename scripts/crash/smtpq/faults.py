"""kill -9 before each system call of smtpq, and errors of the disk from each, and from those of smtpc, which puts letters in."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from lib.checks import Failure, check, show, wait_until
from smtpq.site import Found, Put, Site
from tracing import calls_in, strace
from lib.packages import need

# What each call is made to fail with: the disk's errors, a full one, and limits.
FAULTS = {
    "openat": ("EIO", "ENOSPC", "EMFILE"),
    "newfstatat": ("EIO",),
    "fstat": ("EIO",),
    "clone": ("EAGAIN",),
    "fcntl": ("ENOLCK",),
    "read": ("EIO",),
    "pread64": ("EIO",),
    "getdents64": ("EIO",),
    "write": ("ENOSPC", "EIO"),
    "fallocate": ("ENOSPC",),
    "fsync": ("ENOSPC", "EIO"),
    "fdatasync": ("ENOSPC", "EIO"),
    "renameat2": ("ENOSPC", "EIO"),
    "linkat": ("ENOSPC",),
    "unlinkat": ("EIO", "EROFS"),
}
# Before which a process is killed: what changes files, and what talks to others.
KILLED = ("openat", "fcntl", "write", "sendto", "recvfrom", "read", "fsync", "fdatasync", "renameat2", "unlinkat", "close")
# A write of what has become of a letter: if it fails, the letter is sent again.
STATE = re.compile(r"^\d+ +(write|fdatasync|fsync)\(\d+<[^>]*/state")
# What makes a notification visible, or says that it is.
NOTICE = re.compile(r"^\d+ +(fsync|fdatasync|write|unlinkat|renameat2)\(\d+<[^>]*/(letters|state)")


def letters(site: Site) -> list[Put]:
    """Two letters, one for each way in."""
    return [site.put_by_smtp(), site.put_by_command()]


def of_runner(site: Site, calls: str, *words: str) -> tuple[list[Put], list[str]]:
    """A round with strace at the runner and all that it forks: the letters; the calls, with words those that failed."""
    site.serve()
    with strace(site, site.start().pid, "-f", "-e", f"trace={calls}", *words) as out:
        puts = letters(site)

        def hits() -> list[str]:
            text = out.read_text(errors="replace")
            return re.findall(r".*(?:\(INJECTED\)|killed by SIGKILL).*", text) if words else []

        def is_over() -> bool:
            if site.names("letters"):
                (site.queue / "flush").touch()
            return hits() or not site.names("letters") or site.daemon.code() is not None

        wait_until("an empty queue, or an error", is_over, 60)
        lines = calls_in(out) if not words else []
        found = hits() if words else lines
    return puts, found


def of_putter(site: Site, calls: str, *words: str) -> tuple[list[Put], list[str]]:
    """A letter put in by smtpc under strace; the calls, with words those that failed."""
    site.start()
    out = site.new("strace")
    argv = [need("strace"), "-f", "-y", "-q", "-o", out, "-e", f"trace={calls}", *words]
    put = site.put_by_command(*argv)
    text = out.read_text(errors="replace")
    return [put], re.findall(r".*(?:\(INJECTED\)|killed by SIGKILL).*", text) if words else calls_in(out)


def calls_made(site: Site, of, names: tuple[str, ...]) -> Counter[str]:
    """How often a process makes each of these calls, at most, in a round without an error."""
    puts, calls = of(site, ",".join(names))
    check(all(put.is_safe for put in puts), f"below strace: {puts}")
    site.check_after(puts, 0)
    found = Counter(match.groups() for line in calls if (match := re.search(r"^(\d*) *(\w+)\(", line)))
    most: Counter[str] = Counter()
    for (_, call), count in found.items():
        most[call] = max(most[call], count)
    return most


def drawn(site: Site, todo: list, step: int, has_hit: Callable[[], int]) -> Iterator:
    """Every `step`th; a round may make fewer calls than the one before, so if none of those came, others follow."""
    first = todo[site.dice.randrange(min(step, len(todo)))::step]
    yield from first
    others = [one for one in todo if one not in first]
    while others and not has_hit():
        yield others.pop(site.dice.randrange(len(others)))


def before_each_call(site: Site, step: int) -> tuple[int, Found]:
    """Kills a process of the runner before each of its calls, or every `step`th: the kills, what became of the letters."""
    made = calls_made(site, of_runner, KILLED)
    todo = [(call, number) for call, count in sorted(made.items()) for number in range(1, count + 1)]
    kills, total = 0, Counter()
    for call, number in drawn(site, todo, step, lambda: kills):
        try:
            puts, hits = of_runner(site, call, "-e", f"inject={call}:signal=KILL:when={number}")
            found = site.check_after(puts, len(hits))
        except Failure as failure:
            raise Failure(f"killed before {call} number {number}: {failure}") from None
        kills += bool(hits)
        total.update(found._asdict())
    check(kills, "nothing was killed")
    site.check_sweep()
    return kills, Found.of(total)


def errors(site: Site, of, step: int, is_short: bool) -> tuple[int, Found]:
    """Errors of each call, once, and it and all later ones: how many, and what became of the letters."""
    made, count, total = calls_made(site, of, tuple(FAULTS)), 0, Counter()
    todo = [(call, error, number, plus) for call, names in FAULTS.items() for error in (names[:1] if is_short else names)
            for number in range(1, made[call] + 1) for plus in ("", "+") if error == names[0] or not plus]
    for call, error, number, plus in drawn(site, todo, step, lambda: count):
        when = f"inject={call}:error={error}:when={number}{plus}"
        try:
            puts, hits = of(site, call, "-e", when)
            may_be_twice = any(STATE.match(hit) for hit in hits)
            found = site.check_after(puts, 0, may_be_twice, any(NOTICE.match(hit) for hit in hits))
        except Failure as failure:
            raise Failure(f"{when}: {failure}") from None
        if site.daemon and "inotify: " in site.daemon.log():
            site.stop()  # it looks at the queue every few seconds from here on
        count += bool(hits)
        total.update(found._asdict())
    check(count, "nothing has failed")
    site.check_sweep()
    return count, Found.of(total)
