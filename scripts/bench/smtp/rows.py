"""What is measured: a function for each part, which does one round of it on every server in turn."""

import re
import smtplib
import ssl
import time
from dataclasses import dataclass

from common import in_turn, pss
from cpu import CpuGroup
from lib import LOOPBACK, check, need, run, wait_until
from peers import FLOOR, PREFORK, delivered
from results import Row

CLIENTS = (1, 8, 64)
OCTETS, LARGE_OCTETS, RECIPIENTS = 4096, 50 << 20, 100
SYNCS = ("fsync", "fdatasync", "sync_file_range", "syncfs", "sync")
# Seconds until everything that was accepted is in the mailboxes.
DELIVERY_LIMIT = 120.0
MEMORY = "/dev/shm"


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    rounds: int = 3
    seconds: float = 2.0
    warm_up: float = 0.4
    slow_rounds: int = 1  # of what does not change from round to round: memory, fsyncs
    sessions: int = 40  # idle ones
    counted: int = 5  # letters of the count of syncs
    kinds: tuple = ()


QUICK = Plan(rounds=1, seconds=0.2, warm_up=0.05, sessions=4, counted=2)


NEW = {clients: Row("disk", f"letters/s, a new session each, {clients} client{'s' * (clients > 1)}") for clients in CLIENTS}
KEPT = {clients: Row("disk", f"letters/s, kept sessions, {clients} client{'s' * (clients > 1)}") for clients in CLIENTS}
ACCEPTED = Row("disk", "the same, 8 clients: letters/s accepted, delivered or not")
CPU = {(8, kept): Row("disk", f"µs of CPU of the server, a letter, {'kept' if kept else 'new'} sessions, 8 clients", False)
       for kept in (False, True)}
IN_MEMORY = {kept: Row("memory", "letters/s in tmpfs, " + ("kept sessions" if kept else "a new session each") + ", 8 clients")
             for kept in (False, True)}
TLS = {kept: Row("tls", "letters/s by TLS, " + ("kept sessions" if kept else "a new session each") + ", 8 clients")
       for kept in (False, True)}
LARGE = Row("large", "a letter of 50 MiB, MB/s")
MANY = Row("many", "a letter of 4 KiB to 100 recipients, mailboxes/s")
SYNCED = {one: Row("syncs", f"fsync and the like, a letter to {'one recipient' if one else '100 recipients'}", False)
          for one in (True, False)}
IDLE = {tls: Row("idle", "KiB of PSS an idle session, " + ("under TLS" if tls else "in the clear"), False) for tls in (False, True)}
ORDER = [*NEW.values(), *KEPT.values(), ACCEPTED, *CPU.values(), *IN_MEMORY.values(), *TLS.values(), LARGE, MANY, *SYNCED.values(),
         *IDLE.values()]


def chosen(plan, number):
    """The servers that are asked for, in this round's order."""
    return in_turn(list(plan.kinds), number, 1)


def send(site, server, clients, seconds, kept=False, tls=False, octets=OCTETS, recipients=1):
    """Letters for this number of seconds, and until the last is in its mailbox: how many, seconds until accepted, seconds until there."""
    before, began = delivered(server), time.monotonic()
    out = run([site.built / "letters", server.tls if tls else server.port, clients, seconds, octets, recipients,
               "kept" if kept else "new", *(["tls"] if tls else [])], limit=180).good()
    count, lasted = out.stdout.split()
    wanted = before + int(count) * recipients
    wait_until(f"{server.name} has delivered {count} letters", lambda: delivered(server) >= wanted, DELIVERY_LIMIT)
    whole = time.monotonic() - began
    check(delivered(server) == wanted, f"{server.name} has delivered {delivered(server)}, not {wanted}")
    return int(count), float(lasted), whole


def rates(site, plan, kind, rows, results, tls=False):
    """Letters in a second of these rows: (clients, whether sessions are kept) and its row."""
    with CpuGroup() as group, site.server(kind, group.words) as server:
        for (clients, kept), row in rows.items():
            send(site, server, clients, plan.warm_up, kept, tls)
            before = group.seconds()
            count, lasted, whole = send(site, server, clients, plan.seconds, kept, tls)
            results.add(row, kind.name, count / whole)
            cpu = CPU.get((clients, kept)) if row.part == "disk" else None
            if cpu is not None and before is not None:
                results.add(cpu, kind.name, (group.seconds() - before) / count * 1e6)
            if row is NEW[8]:
                results.add(ACCEPTED, kind.name, count / lasted)


def floor(site, plan, rows, results):
    """What the file system allows, with as many processes."""
    for (clients, _), row in rows.items():
        folder = site.folder("floor")
        out = run([site.built / "durable", folder, clients, plan.seconds, OCTETS], limit=60).good()
        count, lasted = map(float, out.stdout.split())
        results.add(row, FLOOR, count / lasted)


def disk(sites, plan, results, number):
    """Letters of 4 KiB to one mailbox a client."""
    rows = {(clients, kept): row for kept, some in ((False, NEW), (True, KEPT)) for clients, row in some.items()}
    for kind in chosen(plan, number):
        rates(sites.disk, plan, kind, rows, results)
    floor(sites.disk, plan, rows, results)


def memory(sites, plan, results, number):
    """The same where a sync costs nothing."""
    rows = {(8, kept): row for kept, row in IN_MEMORY.items()}
    for kind in chosen(plan, number):
        rates(sites.memory, plan, kind, rows, results)
    floor(sites.memory, plan, rows, results)


def tls(sites, plan, results, number):
    """The same by TLS, a full handshake for each session."""
    for kind in (one for one in chosen(plan, number) if one.has_tls):
        rates(sites.disk, plan, kind, {(8, kept): row for kept, row in TLS.items()}, results, tls=True)


def large(sites, plan, results, number):
    """One letter of 50 MiB to one recipient."""
    for kind in chosen(plan, number):
        with sites.disk.server(kind) as server:
            send(sites.disk, server, 1, 0)
            _, _, whole = send(sites.disk, server, 1, 0, octets=LARGE_OCTETS)
            results.add(LARGE, kind.name, LARGE_OCTETS / whole / 1e6)


def many(sites, plan, results, number):
    """One letter to 100 recipients, over and over in one session."""
    for kind in chosen(plan, number):
        with sites.disk.server(kind) as server:
            send(sites.disk, server, 1, 0, recipients=RECIPIENTS)
            count, _, whole = send(sites.disk, server, 1, plan.seconds, kept=True, recipients=RECIPIENTS)
            results.add(MANY, kind.name, count * RECIPIENTS / whole)


def syncs(sites, plan, results, number):
    """How often a server syncs for a letter, as strace counts."""
    if number >= plan.slow_rounds:
        return
    for kind in chosen(plan, number):
        for one, row in SYNCED.items():
            trace = sites.disk.new("trace")
            watch = [need("strace"), "-f", "-qq", "-e", f"trace={','.join(SYNCS)}", "-e", "signal=none", "-o", trace]
            with sites.disk.server(kind, watch) as server:
                recipients = 1 if one else RECIPIENTS
                send(sites.disk, server, 1, 0, recipients=recipients)
                before = counted(trace)
                for _ in range(plan.counted):
                    send(sites.disk, server, 1, 0, recipients=recipients)
                results.add(row, kind.name, (counted(trace) - before) / plan.counted)


def counted(trace):
    """Calls that sync, in a trace; one that strace shows in two parts counts once."""
    return len(re.findall(rf"^\d+ +(?:{'|'.join(SYNCS)})\(", trace.read_text(encoding="ascii", errors="replace"), re.M))


def idle(sites, plan, results, number):
    """What a session takes whose client has said EHLO and nothing more."""
    if number >= plan.slow_rounds:
        return
    for kind in (one for one in chosen(plan, number) if one.name != PREFORK):  # it has a session for each worker
        for under_tls, row in list(IDLE.items())[:1 + kind.has_tls]:
            with sites.disk.server(kind) as server:
                # What a server has for all of its sessions is there after the first one.
                opened(server, under_tls).quit()
                wait_until("the first session has ended", lambda server=server: not connections(server))
                before = pss(server)
                held = [opened(server, under_tls) for _ in range(plan.sessions)]
                try:
                    results.add(row, kind.name, (pss(server) - before) / len(held))
                finally:
                    for session in held:
                        session.close()


def connections(server):
    shown = run([need("ss"), "-Htn", "state", "established", f"( sport = :{server.port} or sport = :{server.tls} )"])
    return shown.good().stdout.strip()


def opened(server, under_tls):
    """A session that has begun."""
    if under_tls:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        session = smtplib.SMTP_SSL(LOOPBACK, server.tls, "topaz.test", timeout=30, context=context)
    else:
        session = smtplib.SMTP(LOOPBACK, server.port, "topaz.test", timeout=30)
    session.ehlo()
    return session


PARTS = {"disk": disk, "memory": memory, "tls": tls, "large": large, "many": many, "syncs": syncs, "idle": idle}
