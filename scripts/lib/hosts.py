"""Two hosts with a wire between them that can be cut in each direction.

    client 10.0.0.1  ----  server 10.0.0.2

The client's host is the network namespace of this program, the server's is a second one; nothing outside of
the two sees any of it.
"""

import os

from lib import sockets
from lib.namespace import Host, ip
from lib.program import run
from lib.stage import Stage, table

CLIENT_IP, SERVER_IP, NOBODY_IP = "10.0.0.1", "10.0.0.2", "10.0.0.9"
CLIENT_MAC, SERVER_MAC, NO_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:ff"


class Hosts:
    """A context manager; to be made in a network of its own (stage.own_network)."""

    HEAD = ("HOST", "STATE", "RECV-Q", "SEND-Q", "LOCAL", "PEER", "PROCESS")

    def __init__(self, stage: Stage) -> None:
        self.stage, self.host = stage, Host()
        try:
            ip(f"link add wire address {CLIENT_MAC} type veth peer name wire address {SERVER_MAC} "
               f"netns {self.host.process.pid}")
            ip(f"address add {CLIENT_IP}/24 dev wire")
            ip("link set wire up")
            self.connect()
            self.neighbour("client", NOBODY_IP, NO_MAC)
        except BaseException:
            self.host.end()
            raise

    def __enter__(self) -> "Hosts":
        return self

    def __exit__(self, *_: object) -> None:
        self.host.end()

    def there(self) -> tuple:
        """The words before a command that is to run on the server's host."""
        return self.host.before

    def before(self, host: str) -> tuple:
        """The words before a command that is to run on this host."""
        return self.there() if host == "server" else ()

    def connect(self) -> None:
        """The server's end of the wire comes up."""
        ip(f"address add {SERVER_IP}/24 dev wire", self.there())
        ip("link set wire up", self.there())
        self.mend("client")
        self.mend("server")
        self.stage.until("a wire between the two", self.is_up)

    def is_up(self) -> bool:
        """Whether the wire carries."""
        return "state UP" in run(["ip", "-o", "link", "show", "wire"]).good().text

    def pull_out(self) -> None:
        """The wire is pulled out of the server's host, which ends with all that it knew."""
        ip(f"link set wire netns {os.getpid()} name plug", self.there())
        self.host.end()

    def plug_in(self) -> None:
        """A host of the same name and address is there in its place."""
        self.host = Host()
        ip(f"link set plug netns {self.host.process.pid} name wire")
        self.connect()

    # What a host sends goes to the hardware address in its table of neighbours. With one that nobody has it
    # is lost, as on a cut wire; the other direction stays whole.

    def neighbour(self, host: str, address: str, mac: str) -> None:
        """An entry of that table, for good."""
        ip(f"neighbour replace {address} lladdr {mac} nud permanent dev wire", self.before(host))

    def cut(self, host: str) -> None:
        """What this host sends is lost from now on."""
        self.neighbour(host, SERVER_IP if host == "client" else CLIENT_IP, NO_MAC)

    def mend(self, host: str) -> None:
        """What this host sends arrives again."""
        self.neighbour(host, *((SERVER_IP, SERVER_MAC) if host == "client" else (CLIENT_IP, CLIENT_MAC)))

    def sockets(self, host: str, port: int) -> list[sockets.Tcp]:
        """The TCP sockets of a host that have to do with a port."""
        return sockets.tcp(port, self.before(host))

    def table(self, port: int) -> None:
        """Shows those of both hosts."""
        rows = [(host, tcp.state, tcp.received, tcp.sent, tcp.local, tcp.peer, tcp.process)
                for host in ("client", "server") for tcp in self.sockets(host, port)]
        self.stage.show(table([self.HEAD, *rows], "%-7s %-12s %6s %6s  %-16s %-16s %s"))

    def is_in(self, host: str, state: str, port: int) -> bool:
        """Whether a socket of the host is in this state."""
        return any(tcp.state == state for tcp in self.sockets(host, port))

    def has_no_connection(self, host: str, port: int) -> bool:
        """Whether the host has no socket there, or one that listens alone."""
        return all(tcp.state == "LISTEN" for tcp in self.sockets(host, port))
