"""The room that a student opens: what stays, who comes in, what `check` does in it."""

import os
import pty
import select
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import tasks
from room import HERE, REPOSITORY, hindrance

LONGEST = 120.0  # seconds until something has to be seen


def elsewhere(home):
    """The environment of who lives there, but for the toolchain."""
    return {"HOME": home, "TMPDIR": home,
            "RUSTUP_HOME": os.environ.get("RUSTUP_HOME", str(Path.home() / ".rustup")),
            "CARGO_HOME": os.environ.get("CARGO_HOME", str(Path.home() / ".cargo"))}


class Terminal:
    """A context manager: scripts/labs/shell on a terminal of its own."""

    def __init__(self, *arguments, home):
        self.arguments, self.home, self.seen = arguments, home, ""

    def __enter__(self):
        self.master, slave = pty.openpty()
        environment = {**os.environ, **elsewhere(self.home), "TERM": "dumb"}
        environment.pop("SUDO_UID", None)
        self.process = subprocess.Popen(  # pylint: disable=consider-using-with
            [sys.executable, HERE / "shell", *self.arguments], stdin=slave, stdout=slave, stderr=slave,
            env=environment, start_new_session=True)
        os.close(slave)
        return self

    def __exit__(self, *_):
        os.close(self.master)
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def type(self, text):
        """A line."""
        os.write(self.master, text.encode() + b"\n")

    def until(self, words):
        """Waits until it was shown; all that came since the last time."""
        end = time.monotonic() + LONGEST
        while words not in self.seen:
            if not select.select([self.master], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(f"{words!r} was not shown: {self.seen}")
            try:
                more = os.read(self.master, 65536)
            except OSError:
                more = b""
            if not more:
                raise AssertionError(f"{words!r} was not shown before the end: {self.seen}")
            self.seen += more.decode(errors="replace").replace("\r", "")
        before, self.seen = self.seen, ""
        return before

    def asked(self, command):
        """What a command prints."""
        self.type(f"{command}; echo e''nd-$?")
        return self.until("end-")

    def ends(self):
        """Its exit."""
        self.type("exit")
        while self.process.poll() is None:
            if select.select([self.master], [], [], 0.05)[0]:
                try:
                    os.read(self.master, 65536)
                except OSError:
                    pass


class Shell(unittest.TestCase):
    """scripts/labs/shell."""

    def setUp(self):
        self.assertEqual(hindrance(), "", "these tests need namespaces")
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        os.chmod(place.name, 0o755)
        self.home = place.name

    def test_the_folder_stays_and_nothing_else(self):
        with Terminal("01", home=self.home) as room:
            told = room.until("lab 01 ")
            self.assertIn(f"{self.home}/forklore-labs/01", told)
            self.assertIn("/lab\n", room.asked("pwd"))
            self.assertIn("Read-only", room.asked("touch /etc/x /root/x $FORKLORE/x"))
            room.asked("echo mine >kept; echo gone >/tmp/gone; echo gone >~/gone")
            room.ends()
        self.assertEqual(Path(self.home, "forklore-labs/01/kept").read_text(encoding="ascii"), "mine\n")
        self.assertFalse(Path("/tmp/gone").exists())
        with Terminal("01", home=self.home) as room:
            room.until("lab 01 ")
            self.assertIn("mine", room.asked("cat kept"))
            room.ends()

    def test_a_folder_can_be_named(self):
        with Terminal("--folder", f"{self.home}/else", "02", home=self.home) as room:
            self.assertIn(f"{self.home}/else", room.until("lab 02 "))
            room.asked("echo mine >kept")
            room.ends()
        self.assertTrue(Path(self.home, "else/kept").exists())

    def test_the_second_terminal_is_in_the_same_room_and_ends_with_it(self):
        with Terminal("01", home=self.home) as room:
            room.until("lab 01 ")
            room.asked("(sleep 1000 &)")
            with Terminal("01", home=self.home) as second:
                second.until("lab 01 ")
                self.assertIn("sleep 1000", second.asked("ps axo args"))
                room.ends()
                self.assertRaises(AssertionError, second.until, "never shown")

    def test_check_judges_in_the_room(self):
        with Terminal("01", home=self.home) as room:
            room.until("lab 01 ")
            for suffix in ("rs", "c", "py"):
                room.asked(f"cp $FORKLORE/docs/labs/tasks/01-sockets/starter.{suffix} mine.{suffix}")
                seen = room.asked(f"check mine.{suffix}")
                self.assertIn("which address and port of the server", seen)
            self.assertNotIn("getsockname", room.asked("cat $FORKLORE/docs/labs/tasks/01-sockets/solution.*"))
            room.ends()

    def test_the_real_netstat_is_not_hidden(self):
        self.assertFalse((REPOSITORY / "scripts" / "netstat").exists())
        with Terminal("05", home=self.home) as room:
            room.until("lab 05 ")
            self.assertIn("/scripts/tcpstates", room.asked("command -v tcpstates"))
            self.assertNotIn(str(REPOSITORY), room.asked("command -v netstat"))
            room.ends()

    def test_a_tool_that_is_missing_is_told_at_the_door(self):
        code = ("import sys, runpy; sys.argv = ['shell', '11']; sys.path.insert(0, '.'); import tools;"
                "tools.missing = lambda *_: ['telnet (Debian: inetutils-telnet)'];"
                "runpy.run_path('shell', run_name='__main__')")
        done = subprocess.run([sys.executable, "-c", code], cwd=HERE, input="exit\n", capture_output=True, text=True,
                              env={**os.environ, **elsewhere(self.home)}, check=False)
        self.assertIn("needs what is not here: telnet (Debian: inetutils-telnet)", done.stderr)


if __name__ == "__main__":
    unittest.main()
