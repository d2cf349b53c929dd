"""smtpd behind other mail servers and before a scanner: Postfix and OpenSMTPD relay to it, smtp-source loads it, nmap looks
for an open relay."""

import os
import smtplib

from lib import LOOPBACK, Missing, NotJudged, add, check, need, run, same, test, wait_until
from lib.mta import TREES, OpenSmtpd, Postfix
from letters import KINDS, NO_FINAL_NEWLINE, SENDER, SLIDES, big, crlf, one
from smtp_clients import HELO
from smtp_tls import ports as tls_ports

# Seconds until a relay has delivered: a limit for what hangs.
DELIVERED = 60.0
RELAYS = {"Postfix": Postfix, "OpenSMTPD": OpenSmtpd}


def relay(fixture, name, port, key="", **more):
    """A server that sends all mail to a port of ours, started once."""
    if not fixture.is_root:
        raise NotJudged(f"{name} is started by root alone")
    key = f"relay-{name}{key}"
    if key not in fixture.daemons:
        fixture.daemons[key] = RELAYS[name](fixture, name, {}, os.geteuid(), domain="relay.test", relay_to=port, **more)
    return fixture.daemons[key]


def send(server, to, letter):
    with smtplib.SMTP(LOOPBACK, server.port, HELO, timeout=20) as session:
        same(session.sendmail(SENDER, to, crlf(letter), ["BODY=8BITMIME"]), {}, "refused recipients")


def arrived(box, count=1):
    wait_until(f"{count} letters are relayed", lambda: len(box.letters()) >= count, DELIVERED)
    return box.letters()


def below_header(letter):
    return crlf(letter).partition(b"\r\n\r\n")[2]


def relays(fixture, name, letter):
    """The text arrives as it was sent; the relay adds its own trace, and what a header lacks."""
    box = fixture.mailbox()
    send(relay(fixture, name, fixture.smtpd.port), [box.address], letter)
    got = one(arrived(box))
    same(below_header(got), below_header(letter), "the text")
    check(got.startswith(f"Return-Path: <{SENDER}>\r\nReceived: from relay.test ".encode()), f"the trace: {got[:300]}")
    for line in crlf(letter).partition(b"\r\n\r\n")[0].split(b"\r\n"):
        check(line in got, f"a line of the header is gone: {line}")


for relay_name in RELAYS:
    for kind, text in {**KINDS, "no final newline": NO_FINAL_NEWLINE, "5 MB": big(5_000_000)}.items():
        if relay_name == "OpenSMTPD" and kind == "998-octet lines":
            continue  # it refuses lines of more than its own limit
        if below_header(text):
            add(f"{relay_name} relays: {kind}: the text arrives octet for octet", relays, relay_name, text)


def relays_to_three(fixture, name):
    """One transaction; the unknown one is the sender's affair."""
    boxes = [fixture.mailbox() for _ in range(3)]
    send(relay(fixture, name, fixture.smtpd.port), [*(box.address for box in boxes), "nobody-here@red.test"], SLIDES)
    for box in boxes:
        check(one(arrived(box)).endswith(below_header(SLIDES)), "not the letter")


def relays_many(fixture, name):
    """As many connections as the relay makes, none lost, none twice."""
    box = fixture.mailbox()
    server = relay(fixture, name, fixture.smtpd.port)
    for number in range(40):
        send(server, [box.address], SLIDES + b"number %d\n" % number)
    letters = arrived(box, 40)
    wait_until("nothing is queued for it", lambda: not any(f"to=<{box.address}>" in line and "deferred" in line
                                                           for line in server.log().splitlines()))
    numbers = sorted(int(letter.rstrip().rpartition(b" ")[2]) for letter in letters)
    same(numbers, list(range(40)), "letters")


for relay_name in RELAYS:
    add(f"{relay_name} relays to three and an unknown one: the three have it", relays_to_three, relay_name)
    add(f"{relay_name} relays 40 letters: each arrives once", relays_many, relay_name)


@test("Postfix relays by STARTTLS: the trace says ESMTPS")
def postfix_tls(fixture):
    box = fixture.mailbox()
    server = relay(fixture, "Postfix", tls_ports(fixture)["starttls"], "-tls", more="smtp_tls_security_level = encrypt")
    send(server, [box.address], SLIDES)
    check(b" with ESMTPS " in one(arrived(box)), "it does not")


# smtp-source

def source(fixture, *words):
    tree = TREES / "postfix" / "usr"
    if not tree.is_dir():
        raise Missing("smtp-source", "postfix")
    env = {"LD_LIBRARY_PATH": str(tree / "lib" / "postfix"), "PATH": os.defpath}
    return run([tree / "sbin" / "smtp-source", "-M", HELO, "-f", SENDER, *words], env).good()


def sources(fixture, sessions, *more):
    box = fixture.mailbox()
    source(fixture, "-t", box.address, "-s", sessions, "-m", 60, "-l", 4000, *more, f"{LOOPBACK}:{fixture.smtpd.port}")
    same(len(box.letters()), 60, "letters")
    same(box.unfinished(), [], "files in tmp")


add("smtp-source: 60 letters from 8 sessions at once, a new one for each letter", sources, 8)
add("smtp-source -d: 60 letters from 8 sessions that are kept", sources, 8, "-d")
add("smtp-source -d: 60 letters in one session", sources, 1, "-d")




# nmap

def nmap(fixture, script, port, **arguments):
    words = ",".join(f"{script}.{key}={value}" for key, value in arguments.items())
    return fixture.run(need("nmap"), "--unprivileged", "-sT", "-Pn", "-n", "-p", port, "--script", f"+{script}",
                       *(["--script-args", words] if words else []), LOOPBACK).good()


def open_relay(fixture, queue):
    """Also where there is a queue, for others than this client."""
    box = fixture.mailbox()
    more = ["--queue", fixture.folder("queue"), "--relay-from", "192.0.2.0/24"] if queue else []
    with fixture.start("smtpd", *fixture.options("smtpd"), *more) as smtpd:
        out = nmap(fixture, "smtp-open-relay", smtpd.port, domain="nmap.test", ip=LOOPBACK, **{"from": SENDER})
        out.says("doesn't seem to be an open relay, all tests failed")
        check(" 421 4." not in smtpd.log(), f"the scan was not heard out: {smtpd.log()}")
    same(box.letters(), [], "letters")


add("nmap smtp-open-relay: none of its tests finds a way through", open_relay, False)
add("nmap smtp-open-relay: nor where there is a queue, for others", open_relay, True)


@test("nmap smtp-commands: it reads our EHLO and HELP")
def commands(fixture):
    nmap(fixture, "smtp-commands", fixture.smtpd.port).says("red.test", "PIPELINING", "8BITMIME", "SIZE 52428800")
