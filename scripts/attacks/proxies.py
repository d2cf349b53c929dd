"""Strangers who come by a proxy on the same machine, whose connections are from the loopback interface."""

import socket
import struct

from lib import LOOPBACK, show, test
from lib.program import run
from site_of_mail import DOMAIN, MALLORY, PASSWORD, Client, holds, maildir

OUTSIDE = "192.0.2.7"  # RFC 5737
V2 = b"\r\n\r\n\0\r\nQUIT\n"


def version_1(port):
    return f"PROXY TCP4 {OUTSIDE} {LOOPBACK} 52100 {port}\r\n".encode()


def version_2(port):
    addresses = socket.inet_aton(OUTSIDE) + socket.inet_aton(LOOPBACK) + struct.pack("!HH", 52100, port)
    return V2 + bytes([0x21, 0x11]) + struct.pack("!H", len(addresses)) + addresses


def local(_port):
    return V2 + bytes([0x20, 0x00, 0, 0])  # the proxy's own: a health check


WAYS = {"PROXY v1": version_1, "PROXY v2": version_2, "PROXY v2 LOCAL": local, "no PROXY line": lambda _port: b""}


def behind_proxy(site, program):
    """A daemon that only the proxy reaches; one without that option has none to offer."""
    told = run([site.programs / program, "--help"], site.env).text
    return site.start(program, *(["--proxy-from", f"{LOOPBACK}/32"] if "--proxy-from" in told else []))


def each_way(site, program, judge):
    """Tries all ways of a proxy; tells those that are broken."""
    maildir(site.user("mallory", MALLORY) / "Maildir", MALLORY)
    daemon, broken = behind_proxy(site, program), []
    for way, header in WAYS.items():
        with Client(daemon.port) as client:
            try:
                client.send(header(daemon.port))
                why = judge(client)
            except ConnectionError:
                why = None  # hung up
        broken += [f"{way}: {why}"] if why else []
    holds(not broken, "\n".join(broken))


@test("behind a proxy, pop3d: no password in the clear from outside")
def plaintext(site):
    def judge(client):
        client.send(b"USER mallory\r\nPASS " + PASSWORD.encode() + b"\r\nSTAT\r\nQUIT\r\n")
        lines = client.file.read().split(b"\r\n")
        return f"a login: {show(b' '.join(lines))}" if b"+OK 0 0" in lines else None
    each_way(site, "pop3d", judge)


@test("behind a proxy, smtpd: VRFY tells strangers nothing")
def vrfy(site):
    def judge(client):
        if not client.reply().startswith(b"220") or not client.ask(b"EHLO topaz.test").startswith(b"250"):
            return None
        reply = client.ask(f"VRFY mallory@{DOMAIN}".encode())
        return f"it is answered: {show(reply)}" if b"mallory" in reply.lower() and reply[:3] == b"250" else None
    each_way(site, "smtpd", judge)
