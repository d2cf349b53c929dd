"""A daemon under test: started on a free port, watched, stopped."""

import os
import re
import signal
import subprocess

from harness import Failure, check, end, need, run, same, show, wait_until

READY = re.compile(r"listening on 127\.0\.0\.1:(\d+)")


class Daemon:
    """One of ours on 127.0.0.1, at a port that the system chose; `before` are a program's words
    that start it in their own process. It listens within `limit` seconds."""

    def __init__(self, path, args, log, env, before=(), limit=5.0):
        self.name, self.env, self.log_path = os.path.basename(path), env, log
        check(os.access(path, os.X_OK), f"{path} is not there: cargo build --release --workspace")
        with open(log, "wb") as out:
            self.process = subprocess.Popen(
                [*before, path, "-l", "127.0.0.1:0", *map(str, args)], env=env, cwd="/",
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
        self.pid = self.process.pid
        try:
            self.port = int(wait_until(f"{self.name} listens", self.ready, limit).group(1))
        except BaseException:  # also when this run is told to end just now
            end(self.process)
            raise
        self.descriptors_at_start = len(self.descriptors())

    def ready(self):
        """The line that tells the port."""
        if self.process.poll() is not None:
            raise Failure(f"{self.name} ended with {self.process.returncode}: {show(self.log())}")
        return READY.search(self.log())

    def log(self):
        """Everything it has logged."""
        with open(self.log_path, encoding="utf-8", errors="backslashreplace") as log:
            return log.read()

    def descriptors(self):
        """The parent's open descriptors."""
        return os.listdir(f"/proc/{self.pid}/fd")

    def ps(self, *fields):
        """The children, as ps sees them."""
        argv = [need("ps"), "-o", ",".join(f"{field}=" for field in fields), "--ppid", self.pid]
        return run(argv, self.env, "/").stdout.decode().splitlines()

    def zombies(self):
        """Dead children that nobody has waited for."""
        return [line for line in self.ps("stat", "pid", "comm") if line.startswith("Z")]

    def close_wait(self):
        """Sockets on its port that the client has left and the daemon has not."""
        argv = [need("ss"), "-Htan", "state", "close-wait", f"( sport = :{self.port} )"]
        return run(argv, self.env, "/").good().stdout.decode().splitlines()

    def at_rest(self):
        """Waits until every client is served, and what they left is gone: no child, no zombie
        (one that the parent is about to collect is none), no socket, no descriptor."""
        def gone(what, found, limit=3.0):
            try:
                wait_until(what, lambda: not found(), limit)
            except Failure:
                left = found()
                raise Failure(f"{self.name}: {len(left)} {what}: {show(repr(left))}") from None

        gone("children still run", self.alive, 10)
        gone("zombies", self.zombies)
        gone("sockets in CLOSE-WAIT", self.close_wait)
        gone("descriptors too many", lambda: self.descriptors()[self.descriptors_at_start:])
        same(len(self.descriptors()), self.descriptors_at_start, "descriptors of the parent")

    def alive(self):
        """Children that still run."""
        return [line for line in self.ps("stat", "pid") if not line.startswith("Z")]

    def stop(self):
        """SIGTERM; it must end with 0."""
        code = self.process.poll()
        check(code is None, f"{self.name} had ended with {code} before: {show(self.log())}")
        self.process.send_signal(signal.SIGTERM)
        try:
            same(self.process.wait(10), 0, f"exit status of {self.name}")
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} does not end within 10 s of SIGTERM") from None
        finally:
            self.kill()

    def kill(self):
        """For the way out after a failure."""
        if self.process.poll() is None:
            end(self.process)
