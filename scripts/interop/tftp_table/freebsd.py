"""The cases of FreeBSD's tftpd (libexec/tftpd/tests), in our words: names and expectations are theirs.

Three expectations are wider here. FreeBSD answers ERROR 2 for an absolute name outside its folders, which are below the
root with us; ERROR 4 for an opcode that is none, where silence cannot be abused; ERROR 1 for an upload that needs --create.
Its server takes a descriptor with one request; the last case of each group asks the same of a running one.
"""

import stat
import struct

from reads import probe
from wire import ACK, DATA, ERROR, OACK, RRQ, Client, expect, request, want
from writes import fresh

MEDIUM = struct.pack("<192I", *range(192))
RFC7440 = struct.pack("<1663I", *range(1663))  # 13 blocks, the last of 508 octets
WINDOW2, WINDOW4 = ((b"windowsize", b"2"),), ((b"windowsize", b"4"),)
# Until a packet that was lost comes again.
AGAIN = 6.5


def blocks(body):
    """Its blocks, from number 1 on."""
    return {number + 1: body[number * 512:(number + 1) * 512] for number in range(len(body) // 512 + 1)}


def receive(client, body, *numbers, limit=3.0):
    """DATA with these numbers and the right octets, in this order."""
    for number in numbers:
        packet = client.packet(limit)
        expect(packet, DATA, number)
        want(packet.body == blocks(body)[number], f"other octets in block {number}")


def reading(root, content, options=()):
    """A request for a file of its own, and the first answer."""
    name, wire_name = fresh(root, content)
    (root / name).chmod(0o644)
    return lambda client: client.read(wire_name, options=options)


@probe("FreeBSD abspath: a file by its whole path")
def abspath(server, root):
    name, wire_name = fresh(root, b"")
    with Client(server) as client:
        expect(client.read(str(root).encode() + b"/" + wire_name), DATA, 1, 0)
        client.ack(1)


@probe("FreeBSD dotdot: neither ../, sub/../../ nor /etc/passwd is served")
def dotdot(server, _root):
    for name, codes in ((b"../outside", [2]), (b"folder/../../outside", [2]), (b"/etc/passwd", [1, 2])):
        with Client(server) as client:
            packet = expect(client.read(name), ERROR)
            want(packet.number in codes, str(packet))


@probe("FreeBSD rrq_dropped_ack: DATA comes again")
def rrq_dropped_ack(server, root):
    with Client(server) as client:
        ask = reading(root, b"small\0")
        expect(ask(client), DATA, 1, 6)
        expect(client.packet(AGAIN), DATA, 1, 6)
        client.ack(1)


@probe("FreeBSD rrq_dropped_data: after the last ACK again, the block comes")
def rrq_dropped_data(server, root):
    with Client(server) as client:
        expect(reading(root, MEDIUM)(client), DATA, 1, 512)
        client.ack(1)
        client.packet()
        client.ack(1)
        receive(client, MEDIUM, 2, limit=AGAIN)
        client.ack(2)


@probe("FreeBSD rrq_duped_ack: the block comes, and again by the clock")
def rrq_duped_ack(server, root):
    with Client(server) as client:
        expect(reading(root, MEDIUM)(client), DATA, 1, 512)
        client.ack(1)
        client.ack(1)
        receive(client, MEDIUM, 2, 2, limit=AGAIN)
        client.ack(2)


@probe("FreeBSD rrq_eaccess: ERROR 2")
def rrq_eaccess(server, root):
    name, wire_name = fresh(root, b"")
    (root / name).chmod(0)
    with Client(server) as client:
        expect(client.read(wire_name), ERROR, 2)


@probe("FreeBSD rrq_empty, rrq_small, s_flag: files of less than a block, with and without a slash")
def rrq_small(server, root):
    for content in (b"", b"small\0"):
        name, wire_name = fresh(root, content)
        for asked in (wire_name, b"/" + wire_name):
            with Client(server) as client:
                want(client.fetch(asked) == content, "another file")


@probe("FreeBSD rrq_medium: a block and a half")
def rrq_medium(server, root):
    name, wire_name = fresh(root, MEDIUM)
    with Client(server) as client:
        want(client.fetch(wire_name) == MEDIUM, "another file")


@probe("FreeBSD rrq_medium_window: both blocks in one window of 2")
def rrq_medium_window(server, root):
    with Client(server) as client:
        packet = expect(reading(root, MEDIUM, WINDOW2)(client), OACK)
        want(packet.options == dict(WINDOW2), str(packet))
        client.ack(0)
        receive(client, MEDIUM, 1, 2)
        client.ack(2)


@probe("FreeBSD rrq_netascii: LF is CR LF, CR is CR NUL")
def rrq_netascii(server, root):
    name, wire_name = fresh(root, b"foo\nbar\rbaz\n\0")
    with Client(server) as client:
        want(client.fetch(wire_name, b"netascii") == b"foo\r\nbar\r\0baz\r\n\0", "other octets")


@probe("FreeBSD rrq_nonexistent: ERROR 1; rrq_path_max, a name of 1050 octets: ERROR 4")
def rrq_nonexistent(server, _root):
    for name, code in ((b"nonexistent.txt", 1), (b"X" * 1050, 4)):
        with Client(server) as client:
            expect(client.read(name), ERROR, code)


@probe("FreeBSD rrq_window_rfc7440: the example of the RFC, with losses")
def rrq_window_rfc7440(server, root):
    with Client(server) as client:
        packet = expect(reading(root, RFC7440, WINDOW4)(client), OACK)
        want(packet.options == dict(WINDOW4), str(packet))
        client.ack(0)
        receive(client, RFC7440, 1, 2, 3, 4)
        client.ack(4)
        receive(client, RFC7440, 5, 6, 7, 8)
        client.ack(5)
        receive(client, RFC7440, 6, 7, 8, 9)
        client.ack(9)
        receive(client, RFC7440, 10, 11, 12, 13)
        receive(client, RFC7440, 10, 11, 12, 13, limit=AGAIN)
        client.ack(13)


@probe("FreeBSD unknown_modes: ascii, binary, en_US.UTF-8, mail: ERROR 4")
def unknown_modes(server, _root):
    for mode in (b"ascii", b"binary", b"en_US.UTF-8", b"mail"):
        with Client(server) as client:
            expect(client.read(b"1025", mode), ERROR, 4)


@probe("FreeBSD unknown_opcode: ERROR 4 or silence, and the next request is served")
def unknown_opcode(server, root):
    with Client(server) as client:
        client.ask(b"\0\7foo.txt\0octet\0")
        packet = client.maybe()
        want(packet is None or (packet.opcode, packet.number) == (ERROR, 4), str(packet))
    with Client(server) as client:
        want(client.fetch(b"1025") == (root / "1025").read_bytes(), "another file")


@probe("FreeBSD short_packet1 to 3: silence, and the next request is served")
def short_packets(server, root):
    for raw in (b"\1", b"\1\2", b"\1\2\3"):
        with Client(server) as client:
            client.ask(raw)
            want(client.maybe() is None, "an answer")
    with Client(server) as client:
        want(client.fetch(b"1024") == (root / "1024").read_bytes(), "another file")


def writing(server, root, content, packets, options=(), mode=b"octet", there=b""):
    """An upload: `packets` is given the client once it was let in, the file has the content then."""
    name, wire_name = fresh(root, there)
    if there is None:
        (root / name).unlink(missing_ok=True)
    with Client(server) as client:
        packet = client.write(wire_name, mode, options)
        if options:
            want(expect(packet, OACK).options == dict(options), str(packet))
        else:
            expect(packet, ACK, 0)
        packets(client)
    want((root / name).read_bytes() == content, "another content")


def in_turn(client):
    client.data(1, MEDIUM[:512])
    expect(client.packet(), ACK, 1)
    client.data(2, MEDIUM[512:])
    expect(client.packet(), ACK, 2)


@probe("FreeBSD wrq_medium, w_flag: over a file, and a new one")
def wrq_medium(server, root):
    writing(server, root, MEDIUM, in_turn)
    writing(server, root, MEDIUM, in_turn, there=None)


@probe("FreeBSD wrq_small, wrq_truncate: short and empty files")
def wrq_small(server, root):
    for content, there in ((b"small\0", b""), (b"", b"small\0")):
        def one(client, content=content):
            client.data(1, content)
            expect(client.packet(), ACK, 1)
        writing(server, root, content, one, there=there)


@probe("FreeBSD wrq_dropped_ack: the ACK comes again")
def wrq_dropped_ack(server, root):
    def lost(client):
        client.data(1, MEDIUM[:512])
        expect(client.packet(), ACK, 1)
        expect(client.packet(AGAIN), ACK, 1)
        client.data(2, MEDIUM[512:])
        expect(client.packet(), ACK, 2)
    writing(server, root, MEDIUM, lost)


@probe("FreeBSD wrq_dropped_data: ACK 0 comes again")
def wrq_dropped_data(server, root):
    def lost(client):
        expect(client.packet(AGAIN), ACK, 0)
        client.data(1, b"small\0")
        expect(client.packet(), ACK, 1)
    writing(server, root, b"small\0", lost)


@probe("FreeBSD wrq_duped_data: acknowledged twice, written once")
def wrq_duped_data(server, root):
    def doubled(client):
        client.data(1, MEDIUM[:512])
        client.data(1, MEDIUM[:512])
        expect(client.packet(), ACK, 1)
        expect(client.packet(AGAIN), ACK, 1)
        client.data(2, MEDIUM[512:])
        expect(client.packet(), ACK, 2)
    writing(server, root, MEDIUM, doubled)


@probe("FreeBSD wrq_eaccess, wrq_eaccess_world_readable: ERROR 2")
def wrq_eaccess(server, root):
    for mode in (stat.S_IRUSR | stat.S_IRGRP, 0o444):
        name, wire_name = fresh(root, b"")
        (root / name).chmod(mode)
        with Client(server) as client:
            expect(client.write(wire_name), ERROR, 2)


@probe("FreeBSD wrq_medium_window: one ACK for two blocks")
def wrq_medium_window(server, root):
    def window(client):
        client.data(1, MEDIUM[:512])
        client.data(2, MEDIUM[512:])
        expect(client.packet(), ACK, 2)
    writing(server, root, MEDIUM, window, WINDOW2)


@probe("FreeBSD wrq_netascii: CR LF is LF, CR NUL is CR")
def wrq_netascii(server, root):
    def text(client):
        client.data(1, b"foo\r\nbar\r\0baz\r\n\0")
        expect(client.packet(), ACK, 1)
    writing(server, root, b"foo\nbar\rbaz\n\0", text, mode=b"netascii")


@probe("FreeBSD wrq_window_rfc7440: the example of the RFC, with losses")
def wrq_window_rfc7440(server, root):
    def windows(client):
        def send(*numbers):
            for number in numbers:
                client.data(number, blocks(RFC7440)[number])
        send(1, 2, 3, 4)
        expect(client.packet(), ACK, 4)
        send(5)
        expect(client.packet(AGAIN), ACK, 5)
        send(6, 7, 8, 9)
        expect(client.packet(), ACK, 9)
        send(10, 12)
        expect(client.packet(AGAIN), ACK, 10)
        send(10, 11, 12, 13)
        packet = client.packet()
        while packet.number == 10:
            packet = client.packet()
        expect(packet, ACK, 13)
    writing(server, root, RFC7440, windows, WINDOW4)


@probe("FreeBSD's requests again, each from one port after the other was answered")
def one_after_the_other(server, root):
    with Client(server) as client:
        for name, answer in ((b"missing", (ERROR, 1)), (b"1025", (DATA, 1))):
            client.peer = None
            client.ask(request(RRQ, name))
            packet = client.packet()
            while (packet.opcode, packet.number) != answer:
                packet = client.packet()
            if packet.opcode == DATA:
                client.peer = packet.sender
                client.error(0)
