"""The measurements. Each begins with a fresh server, and the servers take turns."""

import resource
import statistics
import subprocess
from collections import defaultdict
from dataclasses import dataclass, field

from common import in_turn, say
from lib import Failure, run, show, wait_until
from lib.program import end, start
from servers import Server, by_name

CONCURRENCY = (1, 8, 64)
OCTETS = 64
# Chapter 30: a number of connections with a number of octets each, ten at a time.
CONNECTIONS, LONG, AT_ONCE = 5_000, 4_000, 10
DESIGNS = ("iterative", "fork", "prefork", "thread")
HOLDERS = ("echod -m fork", "C fork", "C fork, -static", "echod -m thread", "C thread")
FLOORS = {"dynamic": ("floor", 0), "static": ("floor-static", 0),
          "static, 5 MiB touched": ("floor-static", 5 << 10),
          "static, 50 MiB touched": ("floor-static", 50 << 10)}


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    rounds: int = 5
    seconds: float = 0.8
    connections: int = CONNECTIONS
    held: tuple = (1_000, 10_000)
    kinds: tuple = ()

    def among(self, names):
        """Those of the names that are to be measured."""
        return [name for name in names if any(kind.name == name for kind in self.kinds)]


QUICK = Plan(rounds=1, seconds=0.1, connections=300, held=(100,))


@dataclass
class Results:
    """What was measured; every list has one value a round."""

    rates: dict = field(default_factory=lambda: defaultdict(list))  # (name, clients): per second
    cpu: dict = field(default_factory=lambda: defaultdict(list))  # the same: s per connection
    floors: dict = field(default_factory=lambda: defaultdict(list))  # name: per second
    control: dict = field(default_factory=lambda: defaultdict(list))  # name: CPU seconds
    memory: dict = field(default_factory=dict)  # (name, held): KiB of PSS, of page tables, a client

    def rate(self, name, clients):
        return statistics.median(self.rates[name, clients])

    def microseconds(self, name, clients):
        return statistics.median(self.cpu[name, clients]) * 1e6

    def ratio(self, name, peer, clients):
        """Not a number where the peer was left out."""
        if not self.rates[peer, clients]:
            return float("nan")
        return self.rate(name, clients) / self.rate(peer, clients)

    def floor(self, name):
        return statistics.median(self.floors[name])

    def control_seconds(self, name):
        return statistics.median(self.control[name])


def load(bench, port, *words):
    """Runs the clients to their end; gives how many connections they made in how many seconds."""
    connections, seconds = run([bench.built / "load", port, *words], limit=60).good().stdout.split()
    return int(connections), float(seconds)


def processes(clients):
    """The clients are two processes, so that they are never what the server waits for."""
    return min(clients, 2)


def rates(bench, plan, results):
    """Connections a second, and CPU time for each."""
    for number in range(plan.rounds):
        say(f"round {number + 1} of {plan.rounds}: connections a second")
        for clients in CONCURRENCY:
            for kind in in_turn(plan.kinds, number, 5):
                with Server(bench, kind) as server:
                    made, seconds = load(bench, server.port, "rate", clients, plan.seconds, OCTETS,
                                         processes(clients))
                    cpu = server.cpu_seconds()
                results.rates[kind.name, clients].append(made / seconds)
                results.cpu[kind.name, clients].append(cpu / made)
        for name, (program, kib) in FLOORS.items():
            out = run([bench.built / program, plan.seconds, kib], limit=60).good()
            results.floors[name].append(float(out.stdout))


def controls(bench, plan, results):
    """CPU seconds of each design for the same work: Stevens' table of chapter 30."""
    kinds = [kind for kind in plan.kinds if kind.design in (*DESIGNS, "epoll")]
    for number in range(plan.rounds):
        say(f"round {number + 1} of {plan.rounds}: process control")
        for kind in in_turn(kinds, number, 5):
            with Server(bench, kind) as server:
                load(bench, server.port, "count", AT_ONCE, plan.connections, LONG, processes(AT_ONCE))
                results.control[kind.name].append(server.cpu_seconds())


def memory(bench, plan, results):
    """What an idle client takes, and that each of them is served when it speaks at last."""
    for held in plan.held:
        for name in plan.among(HOLDERS):
            say(f"{held} idle clients: {name}")
            with Server(bench, by_name(name)) as server:
                results.memory[name, held] = hold(bench, server, held)
                server.cpu_seconds()


def hold(bench, server, held):
    """KiB of PSS and of page tables a client, with this number held."""
    before = server.memory()
    pipe = subprocess.PIPE
    clients = start([bench.built / "load", server.port, "hold", held], stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        said = clients.stdout.readline()
        if said != b"held\n":
            raise Failure(f"clients of {server.kind.name}: {show(clients.stderr.read())}")
        wait_until(f"{held} are served", lambda: server.clients() == held, 30)
        after = server.memory()
        said, wrong = clients.communicate(b"go\n", timeout=60)
        if said != b"echoed\n":
            raise Failure(f"{held} clients of {server.kind.name}: {show(wrong)}")
    finally:
        end(clients)
    return tuple((with_them - without) / held for with_them, without in zip(after, before))


def raise_limits(clients):
    """Descriptors for this number of clients, for the server and for the load: both inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < clients + 100:
        raise Failure(f"{clients} clients need as many descriptors; ulimit -Hn is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


PARTS = {"rates": rates, "control": controls, "memory": memory}
