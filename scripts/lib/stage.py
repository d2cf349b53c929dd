"""For the scripts that show one slide each on a projector: titles, tables, and promises that are checked.

Such a script ends with 0 only if all it promised was seen; with 1 if something was not, with 2 for a wrong
command line, and with 77 if this machine does not let it try.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from lib import namespace, paths, sockets
from lib.checks import Failure, check, wait_until
from lib.daemon import Daemon
from lib.folder import Folder
from lib.packages import find, package_of
from lib.processes import living, state
from lib.program import Program
from lib.report import command

# Seconds that a promise may take to be kept.
LIMIT = 20.0
CANNOT = 77
# How programs are started: their user types at a pipe, and ps shows no session leaders (`s`).
TYPED = {"stdin": subprocess.PIPE, "process_group": 0}


class Stage(Folder):
    """What the audience sees; ends all programs that were started with it, and removes its folder."""

    def __init__(self, seen: str = "seen  ", not_seen: str = "NOT SEEN  ", limit: float = LIMIT) -> None:
        super().__init__("stage")
        self.words, self.limit = (seen, not_seen), limit
        self.steps = self.checks = 0
        self.mine: list[Program] = []
        terminal = sys.stdout.isatty()
        self.bold, self.green, self.red, self.off = (
            ("\x1b[1m", "\x1b[32m", "\x1b[31m", "\x1b[0m") if terminal else ("", "", "", ""))

    def __exit__(self, kind: Any, error: Any, *_: object) -> None:
        for program in reversed(self.mine):
            program.kill()
        super().__exit__()
        if isinstance(error, Failure):
            print(f"   {self.red}{self.words[1]}{self.off}{error}")
            sys.exit(1)

    # Told.

    def head(self, text: str) -> None:
        """What it is about."""
        print(f"{self.bold}{text}{self.off}")

    def title(self, text: str) -> None:
        """The next step."""
        self.steps += 1
        print(f"\n{self.bold}{self.steps}. {text}{self.off}")

    def tell(self, *lines: str) -> None:
        """Words of the script's own."""
        print("\n".join(f"   {line}" for line in lines))

    def show(self, text: str) -> None:
        """What a program says."""
        for line in text.splitlines():
            print(f"   | {line}")

    def ps(self, fields: str, *words: Any) -> None:
        """Shows processes with ps."""
        shown = subprocess.run(["ps", "-o", fields, *map(str, words)], capture_output=True, check=False)
        self.show(shown.stdout.decode(errors="replace"))

    def end(self, text: str) -> int:
        """The last word, and the exit code."""
        print(f"\n{self.green}{text}{self.off}")
        return 0

    # Checked.

    def held(self, what: str) -> None:
        """A promise was kept."""
        self.checks += 1
        print(f"   {self.green}{self.words[0]}{self.off}{what}")

    def must(self, what: str, is_so: Any) -> None:
        """Checks a promise without waiting."""
        check(is_so, what)
        self.held(what)

    def until(self, what: str, condition: Callable[[], Any], told: Callable[[], None] | None = None) -> Any:
        """Waits for what is promised; `told` shows more where it does not come."""
        try:
            return wait_until(what, condition, self.limit)
        except Failure:
            if told:
                told()
            raise Failure(what) from None

    def check(self, what: str, condition: Callable[[], Any], told: Callable[[], None] | None = None) -> None:
        """A promise: waits for it, and says that it was kept."""
        self.until(what, condition, told)
        self.held(what)

    # Programs.

    def keep(self, program: Any) -> Any:
        """A program that ends with the stage."""
        self.mine.append(program)
        return program

    def server(self, program: str, *args: Any, before: Sequence[Any] = ()) -> Daemon:
        """A server that listens; its user types at a pipe."""
        return self.keep(Daemon([built(program), *args], self.new(program), cwd=paths.REPOSITORY,
                                before=before, limit=self.limit, **TYPED))

    def client(self, program: str, *args: Any) -> Program:
        """A client whose user types at a pipe."""
        return self.keep(Program([built(program), *args], self.new(program), cwd=paths.REPOSITORY, **TYPED))

    def echoed(self, client: Program, line: str = "hello") -> Program:
        """Types a line and waits until it has come back."""
        client.type(line)
        self.until("the echo of a line", lambda: line in client.log(), lambda: self.show(client.log()))
        return client

    def ends_with(self, client: Program, code: int) -> None:
        """Waits for a client's end, and tells its exit code as `echo $?` does."""
        seen = client.ends(self.limit)
        seen = seen if seen >= 0 else 128 - seen
        self.tell(f"echo $?: {seen}")
        check(seen == code, f"exit code {code}")

    def child_of(self, server: Daemon) -> int:
        """Its only child that lives."""
        return self.until(f"a child of {server.name}", lambda: living(server.pid))[0]

    def stopped(self, pid: int, number: int) -> None:
        """Sends SIGSTOP, and waits until the process has stopped."""
        os.kill(pid, number)
        self.until("a stopped process", lambda: state(pid) == "T")


def built(program: str) -> str:
    """The path of a program of the slides, from the repository: in $BIN, or where Cargo puts it."""
    folder = os.environ.get("BIN") or os.path.relpath(paths.target() / "debug", paths.REPOSITORY)
    return os.path.join(folder, program)


def cannot(why: str) -> None:
    """This machine does not let the script try."""
    print(f"{os.path.basename(sys.argv[0])}: {why}", file=sys.stderr)
    sys.exit(CANNOT)


def present(usage: str, main: Callable[[Stage], int], needed: Sequence[str], programs: Sequence[str],
            stage: Callable[[], Stage] = Stage) -> None:
    """Runs a script: looks for what it needs (other people's programs, then ours), and shows it."""
    name = os.path.basename(sys.argv[0])

    def shown(args: list[str]) -> int:
        if args:
            print(f"usage: scripts/{name} (no arguments; BIN=FOLDER: where the programs are, "
                  "else target/debug)", file=sys.stderr)
            return 2
        missing = [program for program in needed if not find(program)]
        if missing:
            cannot(f"{', '.join(missing)}: not here (Debian: "
                   f"{' '.join(sorted(set(map(package_of, missing))))})")
        sys.stdout.reconfigure(line_buffering=True)
        os.chdir(paths.REPOSITORY)
        for program in programs:
            if not os.access(built(program), os.X_OK):
                cannot(f"{built(program)} is not built: make build build-debug")
        with stage() as opened:
            return main(opened)

    command(name, usage, shown)


def own_network() -> bool:
    """Runs the script again in a network of its own, where nothing is but the loopback; false where that is
    not allowed. To be called before anything is shown."""
    if namespace.INSIDE not in os.environ and not namespace.allowed("net"):
        return False
    namespace.enter("net")
    return True


def table(rows: Sequence[Sequence[Any]], form: str) -> str:
    """Lines of these columns, without blanks at their ends."""
    return "\n".join((form % tuple(row)).rstrip() for row in rows)


class OneHost:
    """The TCP sockets of one port of this host, as netstat and the slides name them."""

    HEAD = ("STATE", "RECV-Q", "LOCAL", "PEER", "PROCESS")

    def __init__(self, stage: Stage, counted: bool) -> None:
        self.stage, self.counted = stage, counted
        self.port = 9877 if counted else 0

    def server(self, program: str) -> Daemon:
        """A server at the slides' port in a network of our own, else at one that is free."""
        server = self.stage.server(program, f"{paths.LOOPBACK}:{self.port}")
        self.port = server.port
        return server

    def client(self, program: str, *options: str) -> Program:
        """A client of it."""
        return self.stage.client(program, *options, f"{paths.LOOPBACK}:{self.port}")

    def sockets(self) -> list[sockets.Tcp]:
        """All of them."""
        return sockets.tcp(self.port)

    def table(self) -> None:
        """Shows them."""
        rows = [(tcp.state, tcp.received, tcp.local, tcp.peer, f"{tcp.process} {tcp.pid}")
                for tcp in self.sockets()]
        self.stage.show(table([self.HEAD, *rows], "%-12s %6s  %-16s %-16s %s"))

    def ends_are(self, client: str = "", server: str = "") -> bool:
        """Whether a connection is in these states, at the client's end and at the server's."""
        own = f":{self.port}"
        at_client = [tcp.state for tcp in self.sockets() if tcp.peer.endswith(own)]
        at_server = [tcp.state for tcp in self.sockets() if tcp.local.endswith(own)]
        return (not client or client in at_client) and (not server or server in at_server)

    def reaches(self, client: str = "", server: str = "") -> None:
        """Waits for these states."""
        what = " and ".join(filter(None, (client, server)))
        self.stage.until(what, lambda: self.ends_are(client, server), self.table)

    def no_connection(self) -> bool:
        """Whether all of them have come to their end."""
        return all(tcp.state in ("LISTEN", "TIME_WAIT") for tcp in self.sockets())

    def one_reset(self, before: int, when: str) -> None:
        """A promise: this host has sent one RST since `before`; where it has counters of its own."""
        if self.counted:
            self.stage.check(f"RSTs sent by this host: {before} before the {when}, {before + 1} after it",
                             lambda: sockets.resets() == before + 1)
