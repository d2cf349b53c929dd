"""Process 1 of a lab's room: it makes the room, opens terminals, runs commands, reaps.

Started by room.py with a socket; one JSON message a packet. When the socket closes, it ends, and the
room's processes and folder with it.
"""

import ctypes
import fcntl
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios

PR_SET_CHILD_SUBREAPER = 36
# The room's process ids have five digits: a lab's text may show any, and none is a port or a size.
FIRST_PID = 20000
FORKED_PID = 1000  # where nobody lets us choose


def prepare(config):
    """Makes the network, the terminals and the process ids of a namespace usable."""
    if not config["namespaces"]:
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        return
    socket.sethostname("lab")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    # Own terminals, pts/0 being the first; and a /run where ip-netns and iptables may write.
    if config["own_terminals"]:
        subprocess.run(["mount", "-t", "devpts", "-o", "newinstance,ptmxmode=0666,mode=0620", "devpts",
                        "/dev/pts"], check=True)
    if config["private_run"]:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/run"], check=True)
    first = FIRST_PID + int.from_bytes(os.urandom(2), "big") % 8000
    try:
        with open("/proc/sys/kernel/ns_last_pid", "w", encoding="ascii") as file:
            file.write(str(first))
    except OSError:
        while (child := os.fork()) < FORKED_PID:
            os.waitpid(child, 0) if child else os._exit(0)


def pty():
    """Master and slave of a new terminal of 120 columns, that echoes nothing."""
    master, slave = os.openpty()
    mode = termios.tcgetattr(slave)
    mode[1] &= ~termios.ONLCR
    mode[3] &= ~termios.ECHO
    termios.tcsetattr(slave, termios.TCSANOW, mode)
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))
    return master, slave


def restore_signals():
    """Python ignores some signals, and so may who started us (nohup: SIGHUP); the lab's programs must not."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def child(setup, argv, folder, environment):
    """Forks and runs a program after `setup`; the child's id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        restore_signals()
        os.setsid()
        setup()
        os.chdir(folder)
        os.execvpe(argv[0], argv, environment)
    except BaseException as error:  # pylint: disable=broad-except
        os.write(2, f"{argv[0]}: {error}\n".encode())
    finally:
        os._exit(127)


class Init:
    """The main loop."""

    def __init__(self, channel, config):
        self.channel, self.config = channel, config
        self.commands = {}  # pid -> number of the request

    def open(self, _request):
        """A shell on a terminal of its own."""
        master, slave = pty()

        def setup():
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            for number in (0, 1, 2):
                os.dup2(slave, number)
        pid = child(setup, ["bash"], self.config["folder"], self.config["environment"])
        os.close(slave)
        socket.send_fds(self.channel, [json.dumps({"opened": pid}).encode()], [master])
        os.close(master)

    def run(self, request):
        """A command without a terminal, its output into a file."""
        def setup():
            nothing = os.open("/dev/null", os.O_RDONLY)
            output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            for number, file in ((0, nothing), (1, output), (2, output)):
                os.dup2(file, number)
        environment = {**self.config["environment"], **request.get("environment", {})}
        pid = child(setup, request["argv"], self.config["folder"], environment)
        self.commands[pid] = request["run"]

    def kill(self, request):
        """Ends a command that takes too long."""
        for pid, number in self.commands.items():
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
            if pid in self.commands:
                answer = {"ran": self.commands.pop(pid), "status": os.waitstatus_to_exitcode(status)}
                self.channel.send(json.dumps(answer).encode())

    def serve(self):
        """Until the socket closes."""
        wake, signalled = os.pipe()
        for number in (wake, signalled):
            os.set_blocking(number, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(signalled, warn_on_full_buffer=False)
        self.channel.send(b'{"ready": true}')
        while True:
            self.reap()
            ready, _, _ = select.select([wake, self.channel], [], [])
            if wake in ready:
                os.read(wake, 4096)
            if self.channel in ready:
                packet = self.channel.recv(65536)
                if not packet:
                    return
                request = json.loads(packet)
                getattr(self, next(name for name in ("open", "run", "kill") if name in request))(request)


def descendants(root):
    """All processes below one."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                    parents[int(entry)] = int(file.read().rpartition(")")[2].split()[1])
            except OSError:
                pass
    below, grown = {root}, True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in below} - below
        grown, below = bool(more), below | more
    return below - {root}


def main():
    """Serves; afterwards, also if who started it was killed, nothing of the room is left."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    config = json.loads(channel.recv(65536))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prepare(config)
    try:
        Init(channel, config).serve()
    except (BrokenPipeError, ConnectionResetError):
        pass
    end_all(config["namespaces"])
    shutil.rmtree(config["place"], ignore_errors=True)


def end_all(namespaces):
    """Kills every process of the room but this one."""
    if namespaces and os.getpid() == 1:  # process 1 of its namespace: -1 is all that are in it
        try:
            os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            pass
        return
    while left := descendants(os.getpid()):
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            pass


if __name__ == "__main__":
    main()
