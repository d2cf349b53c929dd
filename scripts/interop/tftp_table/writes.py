"""Probes that write: uploads and what is left of them."""

import os

from reads import probe
from wire import ACK, ERROR, OACK, WRQ, Client, expect, request, want


def fresh(root, content=None):
    """A name that no other probe uses; a file that everybody may write, where it has a content."""
    name = f"up.{os.urandom(6).hex()}"
    if content is not None:
        (root / name).write_bytes(content)
        (root / name).chmod(0o666)
    return name, name.encode()


@probe("an upload: ACK 0, and the file is whole")
def upload(server, root):
    name, wire_name = fresh(root)
    with Client(server) as client:
        expect(client.write(wire_name), ACK, 0)
        client.data(1, b"x" * 512)
        expect(client.packet(), ACK, 1)
        client.data(2, b"y")
        expect(client.packet(), ACK, 2)
    want((root / name).read_bytes() == b"x" * 512 + b"y", "another content")


@probe("an upload: options are answered with OACK")
def upload_options(server, root):
    with Client(server) as client:
        options = ((b"blksize", b"1024"), (b"tsize", b"100"))
        packet = expect(client.write(fresh(root)[1], options=options), OACK)
        want(packet.options == {b"blksize": b"1024", b"tsize": b"100"}, str(packet))
        client.data(1, b"x" * 100)
        expect(client.packet(), ACK, 1)


@probe("an upload: the same request again gets the same answer, from one port")
def repeated(server, root):
    name, wire_name = fresh(root)
    with Client(server) as client:
        asked = request(WRQ, wire_name)
        client.ask(asked)
        first = expect(client.packet(), ACK, 0)
        client.ask(asked)
        again = expect(client.packet(6.5), ACK, 0)
        want(again.sender == first.sender, "another port")
        client.data(1, b"all")
        packet = client.packet()
        while packet.number == 0:
            packet = client.packet()
        expect(packet, ACK, 1)
    want((root / name).read_bytes() == b"all", "another content")


@probe("an upload: the last ACK was lost, it comes again")
def last_ack(server, root):
    with Client(server) as client:
        expect(client.write(fresh(root)[1]), ACK, 0)
        client.data(1, b"all")
        expect(client.packet(), ACK, 1)
        client.data(1, b"all")
        expect(client.packet(), ACK, 1)


@probe("an upload: a doubled DATA is acknowledged again and written once")
def doubled(server, root):
    name, wire_name = fresh(root)
    with Client(server) as client:
        expect(client.write(wire_name), ACK, 0)
        for _ in range(2):
            client.data(1, b"x" * 512)
            expect(client.packet(), ACK, 1)
        client.data(2, b"y")
        expect(client.packet(), ACK, 2)
    want((root / name).read_bytes() == b"x" * 512 + b"y", "another content")


@probe("an upload: DATA larger than the block: ERROR 4")
def too_large(server, root):
    with Client(server) as client:
        expect(client.write(fresh(root)[1]), ACK, 0)
        client.data(1, b"x" * 600)
        expect(client.packet(), ERROR, 4)


@probe("an upload: broken off, it leaves no file")
def aborted(server, root):
    name, wire_name = fresh(root)
    with Client(server) as client:
        expect(client.write(wire_name), ACK, 0)
        client.data(1, b"x" * 512)
        expect(client.packet(), ACK, 1)
        client.error(0)
        want(client.maybe() is None, "an answer to ERROR")
    want(not (root / name).exists(), f"a file of {size(root / name)} octets")


@probe("an upload over a file, broken off: the old one is as it was")
def aborted_over(server, root):
    name, wire_name = fresh(root, b"old content")
    with Client(server) as client:
        packet = client.write(wire_name)
        if packet.opcode != ERROR:  # refusing at all keeps the old one as well
            client.data(1, b"x" * 512)
            client.packet()
            client.error(0)
            client.maybe()
    want((root / name).read_bytes() == b"old content", f"{size(root / name)} octets")


@probe("an upload: netascii CR LF becomes LF")
def netascii(server, root):
    name, wire_name = fresh(root)
    with Client(server) as client:
        expect(client.write(wire_name, b"netascii"), ACK, 0)
        client.data(1, b"one\r\ntwo\r\0\r\n")
        expect(client.packet(), ACK, 1)
    want((root / name).read_bytes() == b"one\ntwo\r\n", "other octets")


@probe("an upload, windowsize 4: one ACK a window; a gap: one ACK of the last in order")
def window(server, root):
    with Client(server) as client:
        packet = expect(client.write(fresh(root)[1], options=((b"windowsize", b"4"),)), OACK)
        want(packet.options == {b"windowsize": b"4"}, str(packet))
        for number in (1, 2, 3, 4):
            client.data(number, b"x" * 512)
        expect(client.packet(), ACK, 4)
        for number in (5, 7, 8):
            client.data(number, b"x" * 512)
        expect(client.packet(), ACK, 5)
        want(client.maybe(0.1) is None, "a second ACK")


def size(path):
    return path.stat().st_size if path.exists() else 0
