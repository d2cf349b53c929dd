"""Process 1 of a lab's room: it makes the room, opens terminals, runs commands, reaps.

Started by room.py with a socket; one JSON message a packet. When the socket closes, it ends, and the
room's processes and folders with it.
"""

import fcntl
import json
import os
import select
import shutil
import signal
import socket
import struct
import sys
import termios
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import confine  # noqa: E402

LOOK = 0.25  # seconds between two looks at the room's memory


def pty(request):
    """Master and slave of a new terminal; one for the runner has 120 columns and echoes nothing."""
    master, slave = os.openpty()
    if not request.get("by_hand"):
        mode = termios.tcgetattr(slave)
        mode[1] &= ~termios.ONLCR
        mode[3] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, mode)
    rows, columns = request.get("size", (50, 120))
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    return master, slave


def restore_signals():
    """Python ignores some signals, and so may who started us (nohup: SIGHUP); the lab's programs must not."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def child(setup, argv, environment):
    """Forks and runs a program after `setup`; the child's id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        restore_signals()
        os.setsid()
        setup()
        os.chdir("/lab")
        os.execvpe(argv[0], argv, environment)
    except BaseException as error:  # pylint: disable=broad-except
        os.write(2, f"{argv[0]}: {error}\n".encode())
    finally:
        os._exit(127)


def kib(path, names):
    """Sum of some lines of a file in /proc, in bytes; 0 if the process is gone."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            words = dict(line.split(":", 1) for line in file if ":" in line)
        return 1024 * sum(int(words[name].split()[0]) for name in names if name in words)
    except (OSError, ValueError):
        return 0


def memory(most):
    """Bytes of memory of each process, libraries left out. Where that is too much in all, pages that several
    share, as after fork, are divided among them, which takes longer to read."""
    pids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and entry != "1"]
    each = {pid: kib(f"/proc/{pid}/status", ("RssAnon", "RssShmem")) for pid in pids}
    if sum(each.values()) > most:
        each = {pid: kib(f"/proc/{pid}/smaps_rollup", ("Pss_Anon", "Pss_Shmem")) for pid in pids}
    return each


class Init:
    """The main loop."""

    def __init__(self, channel, config):
        self.channel, self.config = channel, config
        self.commands = {}  # pid -> number of the request, and its output
        self.shells = {}  # pid -> a pipe that is closed when the shell has ended, whoever still has its terminal

    def open(self, request, _fds):
        """A shell on a terminal of its own."""
        try:
            master, slave = pty(request)

            def setup():
                fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
                for number in (0, 1, 2):
                    os.dup2(slave, number)
            pid = child(setup, ["bash"], {**self.config["environment"], **request.get("environment", {})})
        except OSError as error:
            self.channel.send(json.dumps({"error": f"no terminal: {error.strerror}"}).encode())
            return
        os.close(slave)
        ended, self.shells[pid] = os.pipe()
        socket.send_fds(self.channel, [json.dumps({"opened": pid}).encode()], [master, ended])
        os.close(master)
        os.close(ended)

    def run(self, request, fds):
        """A command without a terminal, its output into a file."""
        def setup():
            nothing = os.open("/dev/null", os.O_RDONLY)
            for number, file in ((0, nothing), (1, fds[0]), (2, fds[0])):
                os.dup2(file, number)
        environment = {**self.config["environment"], **request.get("environment", {})}
        try:
            pid = child(setup, request["argv"], environment)
        except OSError as error:  # no process is left to the room
            os.close(fds[0])
            self.channel.send(json.dumps({"ran": request["run"], "error": error.strerror}).encode())
            return
        self.commands[pid] = request["run"], fds[0]

    def kill(self, request, _fds):
        """Ends a command that takes too long."""
        for pid, (number, _) in self.commands.items():
            if number == request["kill"]:
                os.killpg(pid, signal.SIGKILL)

    def reap(self):
        """Every child that has ended, and every orphan."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self.shells:
                os.close(self.shells.pop(pid))
            if pid in self.commands:
                number, output = self.commands.pop(pid)
                os.close(output)
                self.channel.send(json.dumps({"ran": number,
                                              "status": os.waitstatus_to_exitcode(status)}).encode())

    def bound_memory(self):
        """Ends the largest process while all together have more than the room may have."""
        most = self.config["memory"]
        each = memory(most)
        if sum(each.values()) <= most:
            return
        large = sorted(each, key=each.get, reverse=True)
        if each[large[0]] < most // 16:  # many small ones: all but the commands themselves
            ended = [pid for pid in large if pid not in self.commands]
        else:
            ended = large[:1]
        for pid in ended:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for _, output in self.commands.values():
            os.write(output, f"(killed: the room's processes had more than {most >> 20} MiB of memory)\n".encode())

    def serve(self):
        """Until the socket closes."""
        wake, signalled = os.pipe()
        for number in (wake, signalled):
            os.set_blocking(number, False)
            os.set_inheritable(number, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(signalled, warn_on_full_buffer=False)
        self.channel.send(b'{"ready": true}')
        while True:
            self.reap()
            self.bound_memory()
            ready, _, _ = select.select([wake, self.channel], [], [], LOOK)
            if wake in ready:
                os.read(wake, 4096)
            if self.channel in ready:
                packet, fds, _, _ = socket.recv_fds(self.channel, 65536, 1)
                if not packet:
                    return
                request = json.loads(packet)
                action = next(name for name in ("open", "run", "kill") if name in request)
                getattr(self, action)(request, fds)


def room(channel, config):
    """Process 1. When it ends, the kernel kills whatever is left in its namespace."""
    for name, text in config["files"].items():
        with open(name, "w", encoding="utf-8") as file:
            file.write(text)
    os.chdir("/lab")
    Init(channel, config).serve()


def main():
    """Makes the room and serves; afterwards, also if who started it was killed, nothing of the room is left."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    packet = channel.recv(1 << 20)
    if not packet:
        return
    config = json.loads(packet)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.pop("PYTHONPATH", None)
    builder = os.fork()
    if builder == 0:
        status = 1
        try:
            confine.die_with_parent()
            confine.enter(config)
            room(channel, config)
            status = 0
        except (BrokenPipeError, ConnectionResetError):
            status = 0
        except (confine.Refused, OSError) as error:
            print(error, flush=True)
        finally:
            os._exit(status)
    channel.close()
    os.waitpid(builder, 0)
    shutil.rmtree(config["place"], ignore_errors=True)


if __name__ == "__main__":
    main()
