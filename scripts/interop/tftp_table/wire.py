"""TFTP as it is on the wire: packets made and read by hand, so that a probe may break every rule."""

import itertools
import socket
import struct
import time

RRQ, WRQ, DATA, ACK, ERROR, OACK = range(1, 7)
# Seconds that a server may take for an answer, and that show that none comes.
ANSWER, SILENCE = 3.0, 0.6
# Below those that the kernel gives out, and never twice: what a server still sends for an earlier
# probe must not meet a later one.
PORTS = itertools.count(20_000)


class Unlike(Exception):
    """The server behaves in another way; the text says how."""


def want(held, why):
    """Ends the probe with `why` unless it held."""
    if not held:
        raise Unlike(why)


def request(opcode, name, mode=b"octet", options=()):
    """A request with its options, a list of pairs of bytes."""
    words = [name, mode, *(word for pair in options for word in pair)]
    return struct.pack("!H", opcode) + b"".join(word + b"\0" for word in words)


class Packet:
    """What came, and from where."""

    def __init__(self, raw, sender):
        self.raw, self.sender = raw, sender
        self.opcode, self.number = struct.unpack("!HH", raw[:4].ljust(4, b"\0"))
        self.body = raw[4:]

    @property
    def options(self):
        words = self.raw[2:].split(b"\0")[:-1]
        return {key.lower(): value for key, value in zip(words[::2], words[1::2])}

    def __str__(self):
        if self.opcode == ERROR:
            return f"ERROR {self.number} ({self.body.rstrip(bytes(1)).decode(errors='replace')})"
        if self.opcode == OACK:
            return f"OACK {self.options}"
        names = {DATA: f"DATA {self.number} of {len(self.body)}", ACK: f"ACK {self.number}"}
        return names.get(self.opcode, f"opcode {self.opcode}")


class Client:
    """A client's port. After the first answer it talks to the port that the answer came from."""

    def __init__(self, server):
        self.server = server
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind(("127.0.0.1", next(PORTS)))
        self.peer = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def ask(self, raw):
        """Sends to the service's own port."""
        self.socket.sendto(raw, self.server)

    def read(self, name, mode=b"octet", options=()):
        self.ask(request(RRQ, name, mode, options))
        return self.packet()

    def write(self, name, mode=b"octet", options=()):
        self.ask(request(WRQ, name, mode, options))
        return self.packet()

    def send(self, raw):
        self.socket.sendto(raw, self.peer)

    def ack(self, number):
        self.send(struct.pack("!HH", ACK, number % 65536))

    def data(self, number, body):
        self.send(struct.pack("!HH", DATA, number % 65536) + body)

    def error(self, code, text=b"enough"):
        self.send(struct.pack("!HH", ERROR, code) + text + b"\0")

    def packet(self, limit=ANSWER):
        """The next packet that comes; ends the probe when none does."""
        packet = self.maybe(limit)
        want(packet, "silence")
        return packet

    def maybe(self, limit=SILENCE):
        """The next packet, or None when nothing comes."""
        self.socket.settimeout(limit)
        try:
            raw, sender = self.socket.recvfrom(65536)
        except (TimeoutError, ConnectionRefusedError):
            return None
        packet = Packet(raw, sender)
        if self.peer is None:
            self.peer = sender
        return packet

    def all(self, seconds):
        """Everything that comes in so many seconds."""
        end, packets = time.monotonic() + seconds, []
        while (left := end - time.monotonic()) > 0:
            packet = self.maybe(left)
            if packet:
                packets.append(packet)
        return packets

    def fetch(self, name, mode=b"octet", options=()):
        """A whole file in lock step, and its packets."""
        packet, body, last = self.read(name, mode, options), b"", 0
        block = 512
        if packet.opcode == OACK:
            block = int(packet.options.get(b"blksize", b"512"))
            self.ack(0)
            packet = self.packet()
        while True:
            want(packet.opcode == DATA, str(packet))
            if packet.number == (last + 1) % 65536:
                last += 1
                body += packet.body
            self.ack(packet.number)
            if len(packet.body) < block and packet.number == last % 65536:
                return body
            packet = self.packet()


def expect(packet, opcode, number=None, size=None):
    """Ends the probe unless the packet is the one that was expected."""
    want(packet.opcode == opcode and number in (None, packet.number)
         and size in (None, len(packet.body)), str(packet))
    return packet
