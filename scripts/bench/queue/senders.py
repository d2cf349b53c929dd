"""The senders that are measured: each has its queue filled while it does not send, and is let go then."""

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from lib import LOOPBACK, Program, need, run, wait_until
from lib.mta import SMTPQ, TREES, OpenSmtpd, Postfix
from lib.sockets import bound, free_port

# The uid of our queue.
OWNER = 61_100
POSTFIX_TREE = TREES / "postfix" / "usr"
LIBRARIES = {"LD_LIBRARY_PATH": str(POSTFIX_TREE / "lib" / "postfix"), "PATH": os.defpath}
SENDER = "hedrick@topaz.test"
# Seconds until a queue is empty, and until a server has taken what it is filled with.
LIMIT, FILL_LIMIT = 300.0, 240
FOLDERS = ("tmp", "letters", "state", "hold")


def domain(number):
    return f"d{number}.test"


def address(number):
    """Where the mail of a domain goes: an address of the loopback for each."""
    return f"127.0.0.{number + 1}"


class Sink(Program):
    """smtp-sink of Postfix, which takes every letter and keeps none; it counts them."""

    def __init__(self, site):
        self.port = free_port()
        super().__init__([POSTFIX_TREE / "sbin" / "smtp-sink", "-c", "-u", "nobody", f"inet:0.0.0.0:{self.port}", 1024],
                         site.new("sink"), LIBRARIES)
        self.awaits("smtp-sink listens", lambda: bound("tcp", self.port))

    def count(self):
        """Letters so far."""
        found = re.findall(rb"mesg=(\d+)", self.log_path.read_bytes()[-200:])
        return int(found[-1]) if found else 0

    def has(self, wanted, began):
        """Seconds since `began` when it has this number."""
        try:
            wait_until(f"smtp-sink has {wanted} letters", lambda: self.count() >= wanted, LIMIT)
        except Exception as failure:
            raise type(failure)(f"{failure}; it has {self.count()}") from None
        return time.monotonic() - began


class Names(Program):
    """dnsmasq, which knows the MX of these domains and asks no other server."""

    def __init__(self, site, destinations):
        self.port = free_port()
        records = [word for number in range(destinations)
                   for word in (f"--mx-host={domain(number)},mx.{domain(number)},10",
                                f"--host-record=mx.{domain(number)},{address(number)}")]
        super().__init__([need("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
                          f"--listen-address={LOOPBACK}", "--bind-interfaces", f"--port={self.port}", "--user=nobody",
                          "--local-ttl=3600", *records], site.new("names"))
        self.awaits("dnsmasq listens", lambda: bound("udp", self.port))


def letter(octets):
    """A text of about this number of octets."""
    line = "All the world's a stage, and all the men and women merely players.\n"
    head = f"From: {SENDER}\nTo: levy@red.test\nSubject: bench\nDate: Mon, 30 Nov 2026 10:00:00 +0000\n\n"
    return head + line * ((octets - len(head)) // len(line))


def our_queue(site, count, destinations, octets, deferred_until=0):
    """A queue of ours with this number of letters, as smtpd leaves them; the folder."""
    folder, text, now = site.folder("queue"), letter(octets), int(time.time()) - 60
    for name in FOLDERS:
        (folder / name).mkdir(mode=0o700)
    os.umask(0o077)
    for number in range(count):
        name = f"{now:x}-{number % 0x100000:05x}-{number}-1"
        (folder / "letters" / name).write_text(
            f"forklore letter 1\nid {name}\narrived {now}\nclient local\nfrom <{SENDER}>\n"
            f"to <user{number}@{domain(number % destinations)}>\n\n{text}")
        if deferred_until:
            (folder / "state" / name).write_text(f"{now} 1 deferred {deferred_until} 451 4.3.0 later\n")
    os.umask(0o022)
    run(["chown", "-R", f"{OWNER}:{OWNER}", folder]).good()
    folder.chmod(0o700)
    return folder


class Smtpq(Program):
    """Ours, as it comes."""

    def __init__(self, site, queue, names, sink, *more):
        argv = [site.programs / "smtpq", "--queue", queue, "-u", OWNER, "--resolver", f"{LOOPBACK}:{names.port}",
                "--port", sink.port, "--hostname", "topaz.test", *more]
        super().__init__(argv, site.new("smtpq"))

    def resident(self):
        """KiB of its parent that are in memory."""
        return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())[1])

    def cpu(self):
        """Seconds of CPU of its parent, without its children."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def source(port, count, destination, octets):
    """Gives a server letters for one domain, by smtp-source."""
    run([POSTFIX_TREE / "sbin" / "smtp-source", "-s", 8, "-m", count, "-l", octets, "-f", SENDER, "-M", "topaz.test",
         "-t", f"user@{domain(destination)}", f"{LOOPBACK}:{port}"], LIBRARIES, limit=FILL_LIMIT).good()


def filled(port, plan, count, destinations):
    for number in range(destinations):
        source(port, count // destinations, number, plan.octets)


def inside(server, *argv):
    """Runs a program where the server sees its files."""
    return run([need("nsenter"), "-t", server.pid, "-m", *argv], limit=FILL_LIMIT)


def smtpctl(server, *words):
    """OpenSMTPD's control program, whose set-group-ID bit was lost when it was unpacked."""
    inside(server, "setpriv", "--egid", SMTPQ, "--keep-groups", "smtpctl", *words).good()


def ours(site, plan, sink, names, count, destinations):
    queue = our_queue(site, count, destinations, plan.octets)
    began, before = time.monotonic(), sink.count()
    with Smtpq(site, queue, names, sink) as sender:
        seconds = sink.has(before + count, began)
        sender.awaits("its queue is empty", lambda: not any((queue / "letters").iterdir()), LIMIT)
        return count / seconds


def postfix(site, plan, sink, names, count, destinations):
    """Its letters are held until all are there."""
    more = "\n".join(["smtpd_client_restrictions = static:HOLD", "transport_maps = texthash:/etc/postfix/transport",
                      "relayhost =", "mynetworks = 127.0.0.0/8"])
    server = Postfix(site, "Postfix", {}, OWNER, domain="relay.test", relay_to=sink.port, more=more)
    with server:
        lines = [f"{domain(number)} smtp:[{address(number)}]:{sink.port}\n" for number in range(destinations)]
        server.write("etc/postfix/transport", "".join(lines))
        filled(server.port, plan, count, destinations)
        before = sink.count()
        inside(server, "postsuper", "-c", "/etc/postfix", "-H", "ALL").good()
        began = time.monotonic()
        inside(server, "postqueue", "-c", "/etc/postfix", "-f").good()
        return count / sink.has(before + count, began)


def opensmtpd(site, plan, sink, names, count, destinations):
    """Its sending is paused until all are there."""
    actions = [f'action "to{number}" relay host smtp://{address(number)}:{sink.port}' for number in range(destinations)]
    matches = [f'match from local for domain "{domain(number)}" action "to{number}"' for number in range(destinations)]
    server = OpenSmtpd(site, "OpenSMTPD", {}, OWNER, domain="relay.test", more="\n".join(actions + matches))
    with server:
        smtpctl(server, "pause", "mta")
        filled(server.port, plan, count, destinations)
        began, before = time.monotonic(), sink.count()
        smtpctl(server, "resume", "mta")
        return count / sink.has(before + count, began)


@dataclass(frozen=True)
class Kind:
    """A sender: its name in the tables, how it is measured, and which part of the letters its queue has: one that is
    slow to fill has fewer."""

    name: str
    rate: object
    part: float = 1.0


OURS, POSTFIX, OPENSMTPD = "smtpq", "Postfix", "OpenSMTPD"
KINDS = [Kind(OURS, ours), Kind(POSTFIX, postfix), Kind(OPENSMTPD, opensmtpd, 0.1)]
