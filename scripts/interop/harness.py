"""What every module here stands on: the list of tests, watchdogs, other people's programs.

A test is a function of the lab, registered with its name; it passes when it returns. Whatever it
starts goes through `Lab.run` or `Dialogue`, which end it after a time: nothing here waits for ever.
"""

import os
import selectors
import shutil
import signal
import subprocess
import threading
import time

# Seconds. A test may take TEST_LIMIT, one program in it PROGRAM_LIMIT.
TEST_LIMIT = 30
PROGRAM_LIMIT = 20
# Where servers lie, which an ordinary user's PATH leaves out.
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"

TESTS = []


class Failure(Exception):
    """A test failed; the text says why."""


def test(name):
    """Registers a function as the test of this name."""
    def register(function):
        TESTS.append((name, function))
        return function
    return register


def add(name, function, *args):
    """Registers a call of a function that has more parameters than the lab."""
    TESTS.append((name, lambda lab: function(lab, *args)))


def check(held, why):
    """Fails with `why` unless it held."""
    if not held:
        raise Failure(why)


def show(value, most=300):
    """Bytes or text for a message: escaped, and cut in the middle when long."""
    text = value if isinstance(value, str) else repr(bytes(value))[1:]
    return text if len(text) <= most else f"{text[:most // 2]} [...] {text[-most // 2:]}"


def same(got, want, what):
    """Fails unless both are equal, and shows where they part."""
    if got == want:
        return
    if not isinstance(want, (bytes, bytearray)):
        raise Failure(f"{what}: {show(repr(got))}, expected {show(repr(want))}")
    at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
    near = slice(max(0, at - 40), at + 40)
    raise Failure(f"{what}: {len(got)} octets, expected {len(want)}; they part at {at}: "
                  f"{show(got[near])}, expected {show(want[near])}")


def wait_until(what, condition, limit=5.0):
    """Waits for a condition, and gives back what it found."""
    end = time.monotonic() + limit
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise Failure(f"{what}: not within {limit:g} s")
        time.sleep(0.01)


def at_once(jobs):
    """Does all jobs at the same time, each in a thread; fails if one of them does."""
    wrong = []

    def work(job):
        try:
            job()
        except Exception as error:  # a thread's own exception would be lost
            wrong.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=work, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TEST_LIMIT)
        check(not thread.is_alive(), f"not done within {TEST_LIMIT} s")
    check(not wrong, f"{len(wrong)} of {len(jobs)}: " + "\n".join(sorted(set(wrong))))


def need(program):
    """The path of somebody else's program, which must be there."""
    path = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:{SBIN}")
    if path is None:
        raise Failure(f"{program} is not installed: run scripts/interop/setup")
    return path


class Watchdog:
    """Fails the code inside when it takes too long, by SIGALRM in this process."""

    def __init__(self, seconds):
        self.seconds = seconds

    def __enter__(self):
        signal.signal(signal.SIGALRM, self.bark)
        signal.alarm(self.seconds)

    def __exit__(self, *_):
        signal.alarm(0)

    def bark(self, *_):
        raise Failure(f"took longer than {self.seconds} s")


class Output:
    """What a program left: its exit status, and what it wrote."""

    def __init__(self, name, code, stdout, stderr, seconds):
        self.name, self.code, self.seconds = name, code, seconds
        self.stdout, self.stderr = stdout, stderr

    @property
    def text(self):
        """Everything it wrote, as text."""
        return (self.stdout + self.stderr).decode("utf-8", "backslashreplace")

    def good(self):
        """Itself, if it ended with 0."""
        check(self.code == 0, f"{self.name} ended with {self.code}: {show(self.text, 500)}")
        return self

    def bad(self, *words):
        """Itself, if it ended with another status than 0 and said all these words."""
        check(self.code != 0, f"{self.name} ended with 0, expected a failure: {show(self.text)}")
        return self.says(*words)

    def says(self, *words):
        """Itself, if it said all these words."""
        for word in words:
            check(word in self.text, f"{self.name} does not say '{word}': {show(self.text, 600)}")
        return self


def start(argv, env, cwd, **files):
    """A program of its own process group, so that its children can be ended with it."""
    path = argv[0] if os.sep in argv[0] else need(argv[0])
    return subprocess.Popen([path, *argv[1:]], env=env, cwd=cwd, start_new_session=True, **files)


def end(process):
    """Ends a program of ours and its children."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def run(argv, env, cwd, stdin=b"", limit=PROGRAM_LIMIT):
    """Runs a program to its end, with a watchdog."""
    argv = [os.fspath(word) if not isinstance(word, int) else str(word) for word in argv]
    name = os.path.basename(argv[0])
    begin = time.monotonic()
    pipe = subprocess.PIPE
    process = start(argv, env, cwd, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        stdout, stderr = process.communicate(stdin, timeout=limit)
    except subprocess.TimeoutExpired:
        end(process)
        stdout, stderr = process.communicate()
        raise Failure(f"{name} took longer than {limit} s: {show(stdout + stderr)}") from None
    except BaseException:
        end(process)
        raise
    return Output(name, process.returncode, stdout, stderr, time.monotonic() - begin)


class Dialogue:
    """A program that is typed to and read from in turns, as a person at a terminal does."""

    def __init__(self, argv, env, cwd):
        self.name = os.path.basename(argv[0])
        argv = [str(word) for word in argv]
        pipe = subprocess.PIPE
        self.process = start(argv, env, cwd, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT)
        self.seen = b""
        self.ended = False
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.selector.close()
        if self.process.poll() is None:
            end(self.process)
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                pipe.close()
            except BrokenPipeError:
                pass

    def type(self, text):
        """Types it."""
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def end_of_input(self):
        """Types control-D."""
        self.process.stdin.close()

    def read(self, limit):
        """Reads more of what it writes; false at its end."""
        if self.ended:
            return False
        if not self.selector.select(limit):
            raise Failure(f"{self.name} is silent; so far {show(self.seen)}")
        piece = os.read(self.process.stdout.fileno(), 65536)
        self.seen += piece
        self.ended = not piece
        return bool(piece)

    def line(self, prefix=b"", limit=10.0):
        """Its next line, which must begin so."""
        while b"\n" not in self.seen:
            check(self.read(limit), f"{self.name} ended; left over: {show(self.seen)}")
        line, _, self.seen = self.seen.partition(b"\n")
        check(line.startswith(prefix), f"{self.name}: {show(line)}, expected {show(prefix)}")
        return line

    def until(self, text, limit=10.0):
        """Reads up to and with this text."""
        while text not in self.seen:
            check(self.read(limit), f"{self.name} ended without {show(text)}: {show(self.seen)}")
        before, found, self.seen = self.seen.partition(text)
        return before + found

    def rest(self, limit=10.0):
        """Everything up to its end; it must end by itself."""
        while self.read(limit):
            pass
        try:
            self.code = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} does not end") from None
        return self.seen
