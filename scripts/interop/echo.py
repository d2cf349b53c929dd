"""echod with nc, telnet, curl and Python's sockets."""

import os
import pwd
import re
import socket
import struct

from lib import LOOPBACK, at_once, check, same, test, wait_until



@test("nc: a line typed at echod comes back before the next one is typed")
def nc_in_turns(fixture):
    with fixture.dialogue("nc", LOOPBACK, fixture.echod.port) as nc:
        for line in (b"hello", b"", b"a line with \xd0\xb9 and \x00 in it", b"last"):
            nc.type(line + b"\n")
            same(nc.line(), line, "echo")


@test("nc -N: half-close; everything comes back, then nc ends by itself")
def nc_half_close(fixture):
    text = b"no newline at the end"
    same(fixture.run("nc", "-N", LOOPBACK, fixture.echod.port, stdin=text).good().stdout, text, "echo")


@test("nc -N: nothing sent, nothing comes back, and it ends")
def nc_empty(fixture):
    same(fixture.run("nc", "-N", LOOPBACK, fixture.echod.port).good().stdout, b"", "echo")


@test("nc -N: 1 MiB of every octet value comes back octet for octet")
def nc_mebibyte(fixture):
    data = os.urandom(2**20 - 256) + bytes(range(256))
    same(fixture.run("nc", "-N", LOOPBACK, fixture.echod.port, stdin=data).good().stdout, data, "echo")


@test("nc -N: 20 MiB through eight clients at once, each gets its own back")
def nc_parallel(fixture):
    port = fixture.echod.port

    def client(number):
        data = bytes([number]) * (20 * 2**20 // 8)
        out = fixture.run("nc", "-N", LOOPBACK, port, stdin=data).good()
        same(out.stdout, data, f"echo of client {number}")

    at_once([lambda number=number: client(number) for number in range(8)])


@test("telnet: connects, a typed line comes back, closing the session ends it")
def telnet(fixture):
    with fixture.dialogue("telnet", LOOPBACK, fixture.echod.port) as session:
        session.until(b"Connected to 127.0.0.1.")
        session.until(b"Escape character is '^]'.")
        session.line()
        for line in (b"hello from telnet", b"and again"):
            session.type(line + b"\n")
            same(session.line().rstrip(b"\r"), line, "echo")
        session.end_of_input()
        session.rest()


@test("telnet -8: an 8-bit line comes back")
def telnet_binary(fixture):
    with fixture.dialogue("telnet", "-8", "-E", LOOPBACK, fixture.echod.port) as session:
        session.until(b"Connected to 127.0.0.1.")
        session.type(b"eight bits: \xe9\n")
        session.until(b"eight bits: \xe9")


@test("curl telnet://: a file of 200 kB that is sent comes back octet for octet")
def curl_telnet(fixture):
    # At the end of the file curl waits for the server to close, and does not half-close itself:
    # once all has come back there is nothing more to see.
    data = b"".join(b"%d bottles\n" % n for n in range(15_000))
    file = fixture.file("bottles", data)
    with fixture.dialogue("curl", "-sS", "-N", "-T", file,
                          f"telnet://{LOOPBACK}:{fixture.echod.port}") as curl:
        while len(curl.seen) < len(data):
            check(curl.read(10), f"curl ended: {curl.seen[:300]}")
        same(curl.seen, data, "echo")


@test("echoc: the text comes back and it ends with 0")
def echoc(fixture):
    data = b"".join(b"line %d\n" % n for n in range(20_000))
    same(fixture.run("echoc", LOOPBACK, fixture.echod.port, stdin=data).good().stdout, data, "echo")


@test("Python sockets: an octet at a time, each comes back alone")
def octets(fixture):
    with socket.create_connection((LOOPBACK, fixture.echod.port), timeout=5) as sock:
        for value in range(256):
            sock.sendall(bytes([value]))
            same(sock.recv(16), bytes([value]), "echo")
        sock.shutdown(socket.SHUT_WR)
        same(sock.recv(16), b"", "after the half-close")


@test("Python sockets: a slow reader of 4 MiB gets all of it")
def slow_reader(fixture):
    data = os.urandom(4 * 2**20)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(10)
        sock.connect((LOOPBACK, fixture.echod.port))

        got = bytearray()

        def write():
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)

        def read():
            while piece := sock.recv(3000):
                got.extend(piece)

        at_once([write, read])
    same(bytes(got), data, "echo")


@test("Python sockets: a client that resets its connection takes nobody along")
def reset(fixture):
    with socket.create_connection((LOOPBACK, fixture.echod.port), timeout=5) as other:
        for _ in range(20):
            rude = socket.create_connection((LOOPBACK, fixture.echod.port), timeout=5)
            rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            rude.sendall(b"x" * 100_000)
            rude.close()
        other.sendall(b"still here?")
        same(other.recv(64), b"still here?", "echo")


@test("Python sockets: 1,024 clients, 64 at a time, then five closing at once: no zombie")
def many(fixture):
    echod = fixture.echod
    for _ in range(16):
        socks = [socket.create_connection((LOOPBACK, echod.port), timeout=5) for _ in range(64)]
        for number, sock in enumerate(socks):
            sock.sendall(b"%d" % number)
        for number, sock in enumerate(socks):
            same(sock.recv(16), b"%d" % number, "echo")
            sock.close()
    five = [socket.create_connection((LOOPBACK, echod.port), timeout=5) for _ in range(5)]
    wait_until("five children", lambda: len(echod.alive()) == 5)
    for sock in five:
        sock.close()
    echod.at_rest()


@test("ps: each client of echod is served by a child of its own")
def children(fixture):
    echod = fixture.echod
    wait_until("no client before", lambda: not echod.alive())
    socks = [socket.create_connection((LOOPBACK, echod.port), timeout=5) for _ in range(3)]
    wait_until("three children", lambda: len(echod.alive()) == 3)
    for sock in socks:
        sock.close()
    echod.at_rest()


@test("ps: a child of echod shows its client, the parent how many there are, and nothing else")
def titles(fixture):
    echod = fixture.echod
    wait_until("no client before", lambda: not echod.alive())

    def parent_shows(clients):
        title = f"echod: parent, {clients} of 256 clients, {LOOPBACK}:{echod.port}"
        ps = ("ps", "-ww", "-o", "args=", "-p", echod.pid)
        wait_until(title, lambda: fixture.run(*ps).good().text == title + "\n")

    socks = [socket.create_connection((LOOPBACK, echod.port), timeout=5) for _ in range(3)]
    for sock in socks:
        sock.sendall(b"x")
        sock.recv(1)
    want = sorted(f"echod: {LOOPBACK}:{sock.getsockname()[1]}" for sock in socks)
    same(sorted(echod.ps("args")), want, "titles")
    parent_shows(3)
    for sock in socks:
        sock.close()
    echod.at_rest()
    parent_shows(0)


@test("ss: while echod listens and serves, LISTEN and ESTABLISHED are to be seen")
def states(fixture):
    port = fixture.echod.port
    with socket.create_connection((LOOPBACK, port), timeout=5) as sock:
        sock.sendall(b"x")
        sock.recv(1)
        seen = fixture.run("ss", "-Htan", f"( sport = :{port} )").good().text
    check(re.search(rf"LISTEN.*{LOOPBACK}:{port}\s", seen), f"no LISTEN: {seen}")
    check(re.search(rf"ESTAB.*{LOOPBACK}:{port}\s", seen), f"no ESTABLISHED: {seen}")


@test("/proc: started by root echod serves as nobody, else as who started it")
def dropped(fixture):
    want = pwd.getpwnam("nobody").pw_uid if fixture.is_root else os.getuid()
    with open(f"/proc/{fixture.echod.pid}/status", encoding="ascii") as status:
        uids = re.search(r"^Uid:\s+(.*)$", status.read(), re.MULTILINE).group(1)
    same(uids.split(), [str(want)] * 4, "real, effective, saved and file system uid")
