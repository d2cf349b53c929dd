"""Probes that read: what a server answers to requests, options and acknowledgements."""

import struct

from wire import DATA, ERROR, OACK, RRQ, SILENCE, Client, expect, request, want

PROBES = []
OPTIONS = ((b"blksize", b"1024"), (b"nonsense", b"1"), (b"tsize", b"0"))


def probe(name):
    """Registers a probe: a function of the server's address and of the root as we see it."""
    def register(function):
        PROBES.append((name, function))
        return function
    return register


def refusal(name, code, words, mode=b"octet"):
    """A read request that must be refused with this code."""
    @probe(words)
    def run(server, _root):
        with Client(server) as client:
            expect(client.read(name, mode), ERROR, code)


def raw_refusal(raw, code, words):
    """A malformed request, refused with this code."""
    @probe(words)
    def run(server, _root):
        with Client(server) as client:
            client.ask(raw)
            expect(client.packet(), ERROR, code)


def whole(name, words, mode=b"octet", file="1025"):
    """A read request that is served, whole."""
    @probe(words)
    def run(server, root):
        with Client(server) as client:
            want(client.fetch(name, mode) == (root / file).read_bytes(), "another file")


whole(b"1025", "a file is served")
whole(b"1025", "the mode may be written OcTeT", b"OcTeT")
whole(b"1024", "a multiple of the block ends with an empty DATA", file="1024")
whole(b"/1025", "/NAME lies below the root")
whole(b"//1025", "//NAME lies below the root")
whole(b"a..b", "a..b is a name like others", file="a..b")


@probe("an empty file is DATA 1 of 0 octets")
def empty(server, _root):
    with Client(server) as client:
        expect(client.read(b"empty"), DATA, 1, 0)
        client.ack(1)


@probe("DATA comes from the address that was asked")
def address(server, _root):
    with Client(server) as client:
        want(client.read(b"1025").sender[0] == server[0], "from another one")


refusal(b"1025", 4, "unknown mode: ERROR 4", b"ebcdic")
refusal(b"1025", 4, "mode mail: ERROR 4", b"mail")
refusal(b"", 4, "empty name: ERROR 4")
raw_refusal(struct.pack("!H", RRQ) + b"1025\0octet", 4, "no final NUL: ERROR 4")
raw_refusal(struct.pack("!H", RRQ) + b"1025\0", 4, "no mode: ERROR 4")
refusal(b"missing", 1, "missing file: ERROR 1")
refusal(b"unreadable", 2, "unreadable file: ERROR 2")
refusal(b"folder", 2, "a folder: ERROR 2")
refusal(b"fifo", 2, "a FIFO: ERROR 2, and no hanging")
refusal(b"../outside", 2, "../x: ERROR 2")
refusal(b"folder/../../outside", 2, "a/../../x: ERROR 2")
refusal(b"link", 2, "a link that leads out: ERROR 2")


@probe("octets behind the mode are tolerated")
def trailing(server, root):
    with Client(server) as client:
        client.ask(request(RRQ, b"1024") + b"xyz")
        expect(client.packet(), DATA, 1, 512)


@probe("ACK, DATA, OACK, ERROR, opcode 9, one octet at the service port: silence")
def silence(server, _root):
    for raw in (b"\0\4\0\1", b"\0\3\0\1x", b"\0\6a\0b\0", b"\0\5\0\0x\0", b"\0\x09x\0", b"\1"):
        with Client(server) as client:
            client.ask(raw)
            packet = client.maybe()
            want(packet is None, f"{raw!r}: {packet}")


@probe("netascii: LF comes as CR LF, CR as CR NUL")
def netascii(server, root):
    with Client(server) as client:
        wanted = (root / "text").read_bytes().replace(b"\r", b"\r\0").replace(b"\n", b"\r\n")
        want(client.fetch(b"text", b"netascii") == wanted, "other octets")


@probe("a file of 65,540 blocks: the number wraps to 0")
def wraps(server, root):
    with Client(server) as client:
        options = ((b"blksize", b"8"),)
        want(client.fetch(b"long", options=options) == (root / "long").read_bytes(), "other octets")


@probe("unknown options alone: no OACK")
def unknown(server, _root):
    with Client(server) as client:
        expect(client.read(b"1025", options=((b"nonsense", b"1"),)), DATA, 1, 512)


@probe("OACK names what is granted and nothing else")
def granted(server, _root):
    with Client(server) as client:
        options = expect(client.read(b"1025", options=OPTIONS), OACK).options
        want(options == {b"blksize": b"1024", b"tsize": b"1025"}, str(options))


@probe("names of options in any case")
def any_case(server, _root):
    with Client(server) as client:
        packet = expect(client.read(b"1025", options=((b"BlKsIzE", b"1024"),)), OACK)
        want(packet.options.get(b"blksize") == b"1024", str(packet))


def block_size(size):
    @probe(f"blksize {size} is granted, and the file is whole")
    def run(server, root):
        with Client(server) as client:
            options = ((b"blksize", b"%d" % size),)
            packet = expect(client.read(b"1025", options=options), OACK)
            want(packet.options == {b"blksize": b"%d" % size}, str(packet))
        with Client(server) as client:
            want(client.fetch(b"1025", options=options) == (root / "1025").read_bytes(), "broken")


block_size(8)
block_size(65464)


def left_out(option, value):
    @probe(f"{option} {value} is left out")
    def run(server, _root):
        with Client(server) as client:
            pair = (option.encode(), value.encode())
            expect(client.read(b"1025", options=(pair,)), DATA, 1, 512)


for bad in (("blksize", "7"), ("blksize", "abc"), ("blksize", "99999999999999999999"),
            ("windowsize", "0"), ("windowsize", "65536"), ("timeout", "0"), ("timeout", "256")):
    left_out(*bad)


@probe("timeout 2 is granted")
def timeout(server, _root):
    with Client(server) as client:
        packet = expect(client.read(b"1025", options=((b"timeout", b"2"),)), OACK)
        want(packet.options == {b"timeout": b"2"}, str(packet))


@probe("tsize of a file of 5 GiB")
def huge(server, _root):
    with Client(server) as client:
        packet = expect(client.read(b"huge", options=((b"tsize", b"0"),)), OACK)
        want(packet.options == {b"tsize": b"%d" % (5 << 30)}, str(packet))
        client.error(8)


@probe("OACK is sent again when no ACK 0 comes")
def oack_again(server, _root):
    with Client(server) as client:
        expect(client.read(b"1025", options=((b"blksize", b"1024"),)), OACK)
        expect(client.packet(6.5), OACK)
        client.ack(0)
        expect(client.packet(), DATA, 1, 1024)


@probe("ERROR 8 after OACK ends the transfer")
def declined(server, _root):
    with Client(server) as client:
        expect(client.read(b"1025", options=((b"tsize", b"0"),)), OACK)
        client.error(8)
        packet = client.maybe(6.5)
        want(packet is None, f"then {packet}")


@probe("a doubled ACK makes no doubled DATA (RFC 1123)")
def apprentice(server, _root):
    with Client(server) as client:
        expect(client.read(b"4096"), DATA, 1)
        client.ack(1)
        client.ack(1)
        numbers = [packet.number for packet in client.all(0.15)]
        want(numbers == [2], f"DATA {numbers}")


@probe("the same request again starts no second transfer")
def duplicate(server, _root):
    with Client(server) as client:
        asked = request(RRQ, b"4096")
        client.ask(asked)
        client.ask(asked)
        packets = client.all(SILENCE)
        senders = {packet.sender for packet in packets}
        want(len(senders) == 1, f"{len(packets)} answers from {len(senders)} ports")


@probe("switched off and on, the client asks again from its port: DATA 1")
def anew(server, _root):
    with Client(server) as client:
        asked = request(RRQ, b"4096")
        client.ask(asked)
        expect(client.packet(), DATA, 1)
        client.ack(1)
        client.all(2.5)
        client.ask(asked)
        found = [packet.number for packet in client.all(3) if packet.opcode == DATA]
        want(1 in found, f"DATA {found}")


@probe("an ERROR that is cut short gets no answer")
def cut_error(server, _root):
    with Client(server) as client:
        expect(client.read(b"4096"), DATA, 1)
        client.send(b"\0\5")
        answers = [packet for packet in client.all(SILENCE) if packet.opcode == ERROR]
        want(not answers, str(answers[:1]))


@probe("an unproven address gets at most three packets in 12 s")
def amplification(server, _root):
    with Client(server) as client:
        client.ask(request(RRQ, b"4096"))
        packets = client.all(12)
        want(1 <= len(packets) <= 3, f"{len(packets)}")


@probe("a lost DATA is sent again")
def resent(server, _root):
    with Client(server) as client:
        expect(client.read(b"4096"), DATA, 1)
        expect(client.packet(6.5), DATA, 1)


@probe("a stranger gets ERROR 5, and the transfer goes on")
def stranger(server, _root):
    with Client(server) as client, Client(server) as other:
        first = expect(client.read(b"4096"), DATA, 1)
        want(first.sender != server, "one port serves all: a stranger cannot be told")
        other.peer = first.sender
        other.ack(1)
        answer = other.packet()
        expect(answer, ERROR, 5)
        client.ack(1)
        expect(client.packet(), DATA, 2)


WINDOW = ((b"windowsize", b"4"),)


def window(client, name=b"4096"):
    """Asks for windows of 4 and acknowledges the OACK."""
    packet = expect(client.read(name, options=WINDOW), OACK)
    want(packet.options == {b"windowsize": b"4"}, str(packet))
    client.ack(0)


def numbers(client, count):
    return [expect(client.packet(), DATA).number for _ in range(count)]


@probe("windowsize 4: four blocks for one ACK (RFC 7440)")
def windows(server, _root):
    with Client(server) as client:
        window(client)
        seen = numbers(client, 4)
        packet = client.maybe(0.1)
        want(seen == [1, 2, 3, 4] and packet is None, f"{seen}, {packet}")
        client.ack(4)
        want(numbers(client, 4) == [5, 6, 7, 8], "no second window")


@probe("windowsize 4: ACK 2 inside a window, and the next begins with 3")
def inside(server, _root):
    with Client(server) as client:
        window(client)
        numbers(client, 4)
        client.ack(2)
        seen = numbers(client, 4)
        want(seen == [3, 4, 5, 6], str(seen))


@probe("windowsize 4: silence, and the window comes again")
def window_again(server, _root):
    with Client(server) as client:
        window(client)
        numbers(client, 4)
        packet = client.packet(6.5)
        want((packet.opcode, packet.number) == (DATA, 1), str(packet))


