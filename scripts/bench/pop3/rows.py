"""What is measured: a function for each part, which does one round of it on every server in turn."""

import poplib
import signal
import ssl
import time
from dataclasses import dataclass

from common import in_turn, say
from cpu import CpuGroup
from lib import LOOPBACK, Failure, Program, check, need, run, wait_until
from lib.daemon import Daemon
from lib.folder import Folder
from maildrops import FETCHED, LARGE, RETR, SIZED, UNSIZED
from peers import ISOLATED, KINDS, OURS, OURS_MBOX, PASSWORD, POPA3D, PREFORK, REUSED, Server
from results import Row

CLIENTS = (8, 64)
MESSAGES, OCTETS, IN_FLIGHT = 1_000, 4096, 50
LARGE_OCTETS, SMALL_OCTETS = 50 << 20, 600
# Of a client's time, what fetchmail gets.
FETCHMAIL_PART = 6
# Microseconds, one way: a round trip of 20 ms.
ONE_WAY = 10_000


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    rounds: int = 5
    seconds: float = 1.2  # of logins
    retr_seconds: float = 0.6
    warm_up: float = 0.3
    many: int = 50_000  # messages of the large listing
    slow_rounds: int = 3  # of what takes long: listings, memory, clients
    sessions: int = 40  # idle ones
    fetched: int = 10_000  # messages for the clients
    patience: float = 60.0  # seconds for a client; what it has by then counts
    kinds: tuple = ()


QUICK = Plan(rounds=1, seconds=0.3, retr_seconds=0.1, warm_up=0.1, many=2_000, slow_rounds=1, sessions=4, fetched=300,
             patience=5.0)


LOGINS = {clients: Row("logins", f"sessions/s, {clients} clients") for clients in CLIENTS}
TLS = {clients: Row("tls", f"sessions/s by TLS, {clients} clients") for clients in CLIENTS}
CPU = {False: Row("logins", f"µs of CPU of the server, a session, {CLIENTS[0]} clients", False),
       True: Row("tls", f"µs of CPU of the server, a session, {CLIENTS[0]} clients", False)}
LOCK_STEP = Row("retr", f"{MESSAGES:,} messages of 4 KiB, lock step, messages/s")
PINNED = Row("retr", "the same, server and client on one CPU, messages/s")
PIPELINED = Row("retr", f"{IN_FLIGHT} in flight, messages/s")
BIG = Row("large", "a message of 50 MiB, MB/s")
LISTS = {(sizes, command, when): Row("list", f"{command}, names {'with' if sizes else 'without'} `W=`, {title}, ms", False)
         for command in ("LIST", "UIDL") for sizes in (True, False)
         for when, title in (("new", "first session, letters in `new`"), ("second", "second session"),
                             ("cur", "first session, letters in `cur`"))
         if command == "LIST" or when != "cur"}
IDLE = {tls: Row("memory", "KiB of PSS an idle session, " + ("under TLS" if tls else "in the clear"), False)
        for tls in (False, True)}
FETCH = Row("clients", "letters/s, a round trip of 20 ms")
ORDER = [*LOGINS.values(), CPU[False], *TLS.values(), CPU[True], LOCK_STEP, PINNED, PIPELINED, BIG, *LISTS.values(), *IDLE.values(), FETCH]


def chosen(plan, number, *names):
    """Those of the servers that are asked for, in this round's order."""
    return in_turn([kind for kind in KINDS if kind.name in names and kind in plan.kinds], number, 1)


def sessions(site, plan, results, number):
    """Login, STAT and QUIT, in the clear."""
    for kind in chosen(plan, number, OURS, PREFORK, OURS_MBOX, ISOLATED, REUSED, POPA3D):
        for clients, row in LOGINS.items():
            logins(site, plan, kind, clients, row, results)


def tls_sessions(site, plan, results, number):
    """The same by TLS, a full handshake each."""
    for kind in chosen(plan, number, OURS, PREFORK, ISOLATED, REUSED):
        for clients, row in TLS.items():
            logins(site, plan, kind, clients, row, results, "tls")


def logins(site, plan, kind, clients, row, results, *tls):
    """Sessions in a second, and CPU time of each."""
    with CpuGroup() as group, Server(site, kind, group.words) as server:
        port = server.tls if tls else server.port
        for seconds in (plan.warm_up, plan.seconds):
            before, began = group.seconds(), time.monotonic()
            out = run([site.built / "logins", port, clients, seconds, *tls], limit=120).good()
            lasted = time.monotonic() - began
        rate = float(out.stdout)
        results.add(row, kind.name, rate)
        if clients == CLIENTS[0] and before is not None:
            results.add(CPU[bool(tls)], kind.name, (group.seconds() - before) / (rate * lasted) * 1e6)


def retr(site, plan, results, number):
    """Many messages of 4 KiB: each after the one before, and with commands in flight."""
    user = site.has(RETR, MESSAGES, OCTETS)
    one_cpu = [need("taskset"), "-c", "0"]
    for kind in chosen(plan, number, OURS, OURS_MBOX, ISOLATED, POPA3D):
        for row, window, before in ((LOCK_STEP, 1, []), (PINNED, 1, one_cpu), (PIPELINED, IN_FLIGHT, [])):
            with Server(site, kind, before) as server:
                count, _, seconds = messages(site, plan, server, kind, user, window, before)
                results.add(row, kind.name, count / seconds)


def large(site, plan, results, number):
    """One message of 50 MiB."""
    user = site.has(LARGE, 1, LARGE_OCTETS)
    for kind in chosen(plan, number, OURS, OURS_MBOX, ISOLATED, POPA3D):
        with Server(site, kind) as server:
            _, octets, seconds = messages(site, plan, server, kind, user, 1)
            results.add(BIG, kind.name, octets / seconds / 1e6)


def messages(site, plan, server, kind, user, window, before=()):
    """Messages, octets and seconds of one session; the session before it counts for nothing."""
    for seconds in (0, plan.retr_seconds):
        out = run([*before, site.built / "retr", server.port, user, window, seconds, *acknowledging(kind)], limit=120).good()
    return tuple(map(float, out.stdout.split()))


def acknowledging(kind):
    """popa3d writes its replies in two parts."""
    return ["quickack"] if kind.name == POPA3D else []


def listings(site, plan, results, number):
    """LIST and UIDL of very many messages. Where the server has forgotten all, it is the first session."""
    if number >= plan.slow_rounds:
        return
    for sizes, name in ((True, SIZED), (False, UNSIZED)):
        own = site.has(name, plan.many, SMALL_OCTETS, sizes, mbox=sizes)
        for kind in chosen(plan, number, OURS, OURS_MBOX, ISOLATED, POPA3D):
            if kind.mail == "mbox" and not sizes:
                # It has no names: what was measured stands in the rows of both.
                for (told, *what), row in LISTS.items():
                    if not told:
                        results.add(row, kind.name, results.values[LISTS[True, *what], kind.name][number])
                continue
            say(f"listings: {kind.name}")
            with Server(site, kind) as server:
                def ask(command, whose=own, count=plan.many):
                    argv = [site.built / "list", server.port, whose, command, count, *acknowledging(kind)]
                    return float(run(argv, limit=120).good().stdout)
                ask("LIST", "user0", 1)  # the server's own first time
                for command, when in (("LIST", "new"), ("UIDL", "new"), ("LIST", "cur")):
                    site.forgotten(own, when)
                    results.add(LISTS[sizes, command, when], kind.name, ask(command))
                    if when == "new":
                        results.add(LISTS[sizes, command, "second"], kind.name, ask(command))


def memory(site, plan, results, number):
    """What a session takes whose client is logged in and says nothing."""
    if number >= plan.slow_rounds:
        return
    for kind in chosen(plan, number, OURS, OURS_MBOX, ISOLATED, REUSED, POPA3D):
        for tls, row in IDLE.items():
            if kind.has_tls and kind.mail == "Maildir" or not tls:
                results.add(row, kind.name, idle(site, plan, kind, tls))


def idle(site, plan, kind, tls):
    """KiB of PSS a session. What a server has for all of its sessions is there after the first one."""
    with Server(site, kind) as server:
        opened(server, 0, tls).quit()
        check(wait_until("the first session has ended", lambda: not connections(server)), "")
        before = server.pss()
        held = [opened(server, number, tls) for number in range(plan.sessions)]
        try:
            return (server.pss() - before) / len(held)
        finally:
            for session in held:
                session.close()


def connections(server):
    shown = run([need("ss"), "-Htn", "state", "established", f"( sport = :{server.port} or sport = :{server.tls} )"])
    return shown.good().stdout.strip()


def opened(server, number, tls):
    """A session that is logged in."""
    if tls:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        session = poplib.POP3_SSL(LOOPBACK, server.tls, timeout=30, context=context)
    else:
        session = poplib.POP3(LOOPBACK, server.port, timeout=30)
    session.user(f"user{number}")
    session.pass_(PASSWORD)
    return session


# Clients, all of them with our server at the other end of the path.

def pop3c(site, user, port, to):
    """pop3c into a Maildir."""
    password = to.file("password", PASSWORD + "\n")
    maildir = to.dir / "Maildir"
    return [site.programs / "pop3c", "-u", user, "--password-file", password, f"{LOOPBACK}:{port}", "fetch",
            maildir], lambda: stored(maildir)


def mpop(site, user, port, to):
    """mpop into a Maildir, as it comes: with pipelining where the server has it."""
    maildir = to.dir / "Maildir"
    for folder in (maildir, *(maildir / name for name in ("tmp", "new", "cur"))):
        folder.mkdir()
    config = to.file("mpoprc", f"account default\nhost {LOOPBACK}\nport {port}\ntls off\nauth user\nuser {user}\n"
                               f"password {PASSWORD}\ndelivery maildir {maildir}\nuidls_file {to.dir}/ids\nkeep on\n")
    return [need("mpop"), "-C", config, "--quiet"], lambda: stored(maildir)


def fetchmail(site, user, port, to):
    """fetchmail into one file (`bsmtp`), which costs it least."""
    config = to.file("fetchmailrc", "set invisible\nset no bouncemail\nset postmaster root\n"
                     f"poll {LOOPBACK} service {port} protocol pop3 timeout 30 no dns uidl\n"
                     f"user \"{user}\" password \"{PASSWORD}\" sslproto \"\" no rewrite bsmtp \"{to.dir}/batch\" keep\n",
                     0o700)
    return ([need("fetchmail"), "--fetchmailrc", config, "--idfile", to.dir / "ids", "--pidfile", to.dir / "pid",
             "--nodetach", "--nosyslog", "--silent"], lambda: batched(to.dir / "batch"))


def stored(maildir):
    """How many letters are in a Maildir."""
    return sum(1 for name in ("new", "cur") if (maildir / name).is_dir() for _ in (maildir / name).iterdir())


def batched(path):
    """How many letters are in a batch of SMTP."""
    return path.read_bytes().count(b"\nDATA\r\n") if path.exists() else 0


FETCHERS = {"pop3c": pop3c, "mpop": mpop, "fetchmail": fetchmail}


def clients(site, plan, results, number):
    """Programs that fetch a maildrop over a path of 20 ms, and leave it as it is."""
    if number >= plan.slow_rounds:
        return
    user = site.has(FETCHED, plan.fetched, OCTETS, mbox=False)
    for name in in_turn(list(FETCHERS), number, 1):
        say(f"clients: {name}")
        with Server(site, KINDS[0]) as server, Folder("bench-pop3") as to, \
                Daemon([site.built / "path", server.port, ONE_WAY], to.new("path")) as path:
            argv, count = FETCHERS[name](site, user, path.port, to)
            # The slow ones are ended when their speed is known: it is the same for each letter.
            patience = plan.patience / FETCHMAIL_PART if name == "fetchmail" else plan.patience
            results.add(FETCH, name, fetch(argv, count, plan.fetched, patience, to))


def fetch(argv, count, all_of_them, patience, to):
    """Letters in a second, from the start of the program to its end, or as far as it comes in `patience` seconds."""
    began = time.monotonic()
    with Program(argv, to.new("log"), env={"HOME": str(to.dir), "PATH": "/usr/bin:/bin", "USER": "me"}) as program:
        while program.code() is None and time.monotonic() - began < patience:
            time.sleep(0.005)
        seconds, letters = time.monotonic() - began, count()
        if program.code() is None:
            program.signal(signal.SIGTERM)
        elif program.code() != 0 or letters != all_of_them:
            raise Failure(f"{program.name} ended with {program.code()} and {letters} letters: {program.log()[-600:]}")
    return letters / seconds


PARTS = {"logins": sessions, "tls": tls_sessions, "retr": retr, "large": large, "list": listings, "memory": memory,
         "clients": clients}
