"""The library itself: what is started ends, what fails says why. `make check-scripts` runs this."""

import io
import os
import signal
import socket
import subprocess
import sys
import threading
import unittest
from contextlib import redirect_stdout
from pathlib import Path
from unittest.mock import patch

from lib import namespace, packages, paths, processes, report, sockets
from lib.checks import Failure, Watchdog, at_once, same, show, wait_until
from lib.daemon import Daemon
from lib.dialogue import Dialogue
from lib.folder import Folder
from lib.mailbox import Mailbox, crlf
from lib.pop3 import Pop3
from lib.program import Program, run
from lib.report import NotJudged, Report
from lib.stage import Stage

# A server that says its line, has a child in another session, and ends with 0 on SIGTERM.
SERVER = """\
import os, signal, socket, sys
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
listener = socket.create_server(("127.0.0.1", 0))
if os.fork() == 0:
    os.setsid()
    signal.alarm(60)  # it is in no test's hands once its parent has ended
    signal.pause()
print("listening on %s:%d" % listener.getsockname(), flush=True)
while True:
    client, _ = listener.accept()
    client.sendall(client.recv(100))
    client.close()
"""


class Case(unittest.TestCase):
    """A test with a folder of its own and a watchdog."""

    def setUp(self) -> None:
        self.folder = self.enterContext(Folder("test"))
        self.enterContext(Watchdog(60))

    def python(self, text: str) -> list[str]:
        """The command that runs a program in Python."""
        path = self.folder.file("program", text, 0o755)
        return [sys.executable, str(path)]

    def server(self) -> Daemon:
        """The server above."""
        return self.enterContext(Daemon(self.python(SERVER), self.folder.new("log"), limit=30))

    def fails(self, *words: str) -> object:
        """A context in which a Failure says these words."""
        return self.assertRaisesRegex(Failure, ".*".join(words))


class Checks(Case):
    """Checks and waits."""

    def test_same_shows_where_bytes_part(self) -> None:
        with self.fails("file: 3 bytes, expected 4; they part at 2"):
            same(b"abx", b"abcd", "file")

    def test_a_long_value_is_cut_in_the_middle(self) -> None:
        self.assertEqual(show("x" * 400, 10), "xxxxx [...] xxxxx")

    def test_wait_until_returns_what_it_found_and_fails_with_its_text(self) -> None:
        self.assertEqual(wait_until("it", iter([0, 0, 7]).__next__), 7)
        with self.fails("it: not within 0.05 s"):
            wait_until("it", lambda: False, 0.05)

    def test_at_once_runs_all_jobs_at_the_same_time_and_tells_of_each_failure(self) -> None:
        meeting = threading.Barrier(3)
        at_once([meeting.wait] * 3)
        with self.fails("1 of 2: ZeroDivisionError"):
            at_once([lambda: 1 / 0, lambda: None])

    def test_the_watchdog_fails_what_hangs(self) -> None:
        dog = Watchdog(1)
        with self.fails("took longer than 1 s"), dog:
            signal.pause()

    def test_the_watchdog_sleeps_afterwards(self) -> None:
        with Watchdog(1):
            pass
        self.assertEqual(signal.alarm(0), 0)


class Programs(Case):
    """Programs that are run, and those that run beside us."""

    def test_run_gives_code_and_output(self) -> None:
        done = run(["sh", "-c", "cat; echo wrong >&2; exit 3"], stdin=b"in")
        self.assertEqual((done.code, done.stdout, done.stderr), (3, b"in", b"wrong\n"))
        done.bad("wrong")
        with self.fails("sh ended with 3: inwrong"):
            done.good()

    def test_run_kills_what_takes_too_long_with_its_children(self) -> None:
        pid = self.folder.new("pid")
        with self.fails("sh took longer than 0.3 s: .*begun"):
            run(["sh", "-c", f"echo begun; sleep 1000 & echo $! >{pid}; wait"], limit=0.3)
        child = int(pid.read_text())
        wait_until("the end of the child", lambda: processes.state(child) in "ZX")

    def test_a_missing_program_is_told_with_its_package(self) -> None:
        packages.find.cache_clear()
        self.addCleanup(packages.find.cache_clear)
        with patch.object(packages, "SBIN", "/nowhere"), patch.dict(os.environ, PATH="/nowhere"):
            with self.assertRaises(packages.Missing) as caught:
                packages.need("in.tftpd")
        self.assertIn("in.tftpd is not here (Debian: tftpd-hpa)", str(caught.exception))

    def test_a_program_of_another_make_is_not_the_one_that_is_meant(self) -> None:
        row = packages.Package("inetutils-telnet", ("sh",), "false")
        packages.find.cache_clear()
        self.addCleanup(packages.find.cache_clear)
        with patch.object(packages, "packages", lambda: {"sh": row}), self.fails("Debian: inetutils-telnet"):
            packages.need("sh")

    def test_a_program_is_killed_with_all_that_it_started(self) -> None:
        server = self.server()
        [child] = processes.children(server.pid)
        server.kill()
        self.assertEqual(server.code(), -signal.SIGKILL)
        self.assertIn(processes.state(child), "ZX", "a child in another session")
        server.kill()  # once more does nothing

    def test_what_an_ended_program_has_left_is_killed(self) -> None:
        with Program(["sh", "-c", "sleep 1000 & echo $!"], self.folder.new("log")) as program:
            self.assertEqual(program.ends(), 0)
            child = int(program.log())
            self.assertNotIn(processes.state(child), "ZX")
        self.assertIn(processes.state(child), "ZX")

    def test_a_keeper_of_another_parent_and_group_is_killed(self) -> None:
        lines = """\
            import os, signal
            if os.fork() == 0:
                os.setpgid(0, 0)
                if os.fork() == 0:
                    os.setpgid(0, 0)
                    print(os.getpid(), flush=True)
                    signal.pause()
                os._exit(0)
            os.wait()
            signal.pause()
            """
        argv = self.python("\n".join(line[12:] for line in lines.splitlines()))
        for is_running in (True, False):
            with Program(argv, self.folder.new("log")) as program:
                keeper = int(program.awaits("the keeper's line", program.log))
                self.assertNotIn(keeper, [*processes.descendants(program.pid), *processes.group(program.pid)])
                if not is_running:
                    program.signal(signal.SIGTERM)
                    self.assertEqual(program.ends(), -signal.SIGTERM)
                self.assertNotIn(processes.state(keeper), "ZX")
            self.assertIn(processes.state(keeper), "ZX")

    def test_what_ends_before_the_time_is_told_at_once_with_its_log(self) -> None:
        with self.fails("python.* ended with 2: no port"):
            Daemon(self.python("import sys\nsys.exit(print('no port') or 2)"), self.folder.new("log"), limit=50)

    def test_what_says_nothing_is_killed(self) -> None:
        argv = self.python("import signal\nprint('about to', flush=True)\nsignal.pause()")
        with self.fails("listens: not within 0.5 s.*about to"):
            Daemon(argv, self.folder.new("log"), limit=0.5)
        self.assertEqual(processes.children(os.getpid()), [])

    def test_a_daemon_is_reached_at_its_port_and_stops_with_0(self) -> None:
        server = self.server()
        with socket.create_connection((server.host, server.port), 10) as client:
            client.sendall(b"hello")
            self.assertEqual(client.recv(100), b"hello")
        server.stop()
        with self.fails("had ended with 0"):
            server.stop()

    def test_usage_tells_the_cpu_time_of_what_has_ended(self) -> None:
        with Program(["sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"],
                     self.folder.new("log")) as program:
            self.assertEqual(program.ends(50), 0)
        self.assertGreater(program.usage.ru_utime, 0)

    def test_a_dialogue_takes_turns(self) -> None:
        with Dialogue(["cat"]) as cat:
            cat.type(b"one\ntwo")
            self.assertEqual(cat.line(b"o"), b"one")
            self.assertEqual(cat.until(b"tw"), b"tw")
            cat.end_of_input()
            self.assertEqual(cat.rest(), b"o")
        with Dialogue(["true"]) as nothing, self.fails("true ended"):
            nothing.line()


class Reports(Case):
    """What passed, failed and is missing."""

    def told(self, function) -> tuple[str, int]:
        """What a report of one test prints, and its exit code."""
        with redirect_stdout(io.StringIO()) as out:
            one = Report()
            one.run("it works", function, None, 5)
            code = one.end()
        return out.getvalue(), code

    def raising(self, error: Exception):
        """A test that fails so."""
        def function(_: object) -> None:
            raise error
        return function

    def test_a_test_that_returns_has_passed(self) -> None:
        text, code = self.told(lambda _: None)
        self.assertRegex(text, r"^ok   it works\nin .* s\n1 passed, 0 failed\n$")
        self.assertEqual(code, 0)

    def test_any_exception_is_a_failure(self) -> None:
        text, code = self.told(self.raising(KeyError("x")))
        self.assertIn("FAIL it works\n     KeyError: 'x'\n", text)
        self.assertEqual(code, 1)

    def test_a_missing_program_fails_and_its_package_is_named(self) -> None:
        for error in (packages.Missing("swaks", "swaks"), Failure(f"1 of 2: {packages.Missing('mpop', 'mpop')}")):
            text, code = self.told(self.raising(error))
            self.assertRegex(text, r"setup: (swaks|mpop)\n0 passed, 1 failed\n$")
            self.assertEqual(code, 1)

    def test_what_the_system_does_not_allow_is_told_and_no_failure(self) -> None:
        text, code = self.told(self.raising(NotJudged("no perf here")))
        self.assertIn("NOT JUDGED it works\n     no perf here\n", text)
        self.assertIn("0 passed, 0 failed, 1 not judged", text)
        self.assertEqual(code, 0)

    def test_words_choose_tests_and_a_word_of_none_fails(self) -> None:
        tests = [("nc: a line", len), ("curl: a file", len)]
        self.assertEqual(report.chosen(["curl"], tests), tests[1:])
        self.assertEqual(report.chosen([], tests), tests)
        with self.fails("no test has such a word"):
            report.chosen(["fetchmail"], tests)


class Folders(Case):
    """Folders, mailboxes, and what the kernel tells."""

    def test_nothing_is_left_of_a_folder(self) -> None:
        with Folder("test") as folder:
            folder.file("name", "content")
            self.assertNotEqual(folder.new("x"), folder.new("x"))
        self.assertFalse(folder.dir.exists())

    def test_letters_are_laid_and_read_in_order(self) -> None:
        box = Mailbox("levy", self.folder.folder("home")).lay(b"one\n", b"two")
        self.assertEqual(box.letters(), [b"one\r\n", b"two\r\n"])
        self.assertEqual(box.unfinished(), [])
        self.assertEqual(crlf(b""), b"")

    def test_a_listening_socket_is_found_with_its_process(self) -> None:
        with socket.create_server((paths.LOOPBACK, 0)) as listener:
            port = listener.getsockname()[1]
            [found] = sockets.tcp(port)
            self.assertEqual((found.state, found.pid), ("LISTEN", str(os.getpid())))
            self.assertEqual(sockets.bound_inodes("tcp", port), sockets.listening(os.getpid()))
            self.assertTrue(sockets.bound("tcp", port))
        self.assertEqual(sockets.tcp(port), [])
        self.assertFalse(sockets.bound("tcp", port))

    def test_a_zombie_is_no_living_child(self) -> None:
        child = subprocess.Popen(["true"])
        wait_until("a zombie", lambda: processes.zombies(os.getpid()) == [child.pid])
        self.assertEqual(processes.living(os.getpid()), [])
        child.wait()

    def test_a_stage_says_what_was_not_seen_and_ends_with_1(self) -> None:
        with redirect_stdout(io.StringIO()) as out, self.assertRaises(SystemExit) as caught:
            with Stage(limit=0.05) as stage:
                stage.check("nothing", lambda: True)
                stage.check("a miracle", lambda: False)
        self.assertEqual(caught.exception.code, 1)
        self.assertEqual(out.getvalue(), "   seen  nothing\n   NOT SEEN  a miracle\n")


# A server that says these bytes to each client, reading a line before all but the first, and hangs up.
SPEAKER = """\
import socket
listener = socket.create_server(("127.0.0.1", 0))
print("listening on %s:%d" % listener.getsockname(), flush=True)
while True:
    client, _ = listener.accept()
    lines = client.makefile("rb")
    for number, words in enumerate(WORDS):
        if number:
            lines.readline()
        client.sendall(words)
    client.shutdown(socket.SHUT_RDWR)
"""


class Clients(Case):
    """A client of POP3 tells what came, also of what is cut off."""

    def client(self, *words: bytes) -> Pop3:
        """A client of a server that says these words."""
        argv = self.python(f"WORDS = {words!r}\n{SPEAKER}")
        server = self.enterContext(Daemon(argv, self.folder.new("log"), limit=30))
        return self.enterContext(Pop3(server.port))

    def test_lines_are_unstuffed_up_to_the_final_dot(self) -> None:
        client = self.client(b"+OK hello\r\n", b"+OK\r\nab\r\n..c\r\n.\r\n", b"-ERR no\r\n")
        self.assertEqual(client.greeting, b"+OK hello\r\n")
        self.assertEqual(client.listing("RETR 1"), [b"ab", b".c"])
        self.assertIsNone(client.listing("RETR 2"))

    def test_a_reply_that_is_cut_off_is_none(self) -> None:
        client = self.client(b"+OK hello\r\n", b"+OK\r\nab\r\n.")
        self.assertIsNone(client.listing("RETR 1"))
        self.assertEqual((client.ask("QUIT"), client.line()), (b"", b""))

    def test_half_a_line_is_no_reply(self) -> None:
        self.assertEqual(self.client(b"+OK hello\r\n", b"+OK by").ask("QUIT"), b"")

    def test_what_must_succeed_fails_with_its_reply(self) -> None:
        with self.fails("NOOP: .-ERR no"):
            self.client(b"+OK\r\n", b"-ERR no\r\n").good("NOOP")


@unittest.skipUnless(namespace.allowed("net", "mount"), "namespaces are not allowed here")
class Namespaces(Case):
    """A file of its own, and a wire that loses packets."""

    def test_a_program_sees_its_own_file(self) -> None:
        file = self.folder.file("hosts", "192.0.2.7 x.test\n")
        argv = namespace.with_file(file, "/etc/hosts", ["cat", "/etc/hosts"])
        self.assertEqual(run(argv).good().stdout, b"192.0.2.7 x.test\n")
        self.assertNotEqual(Path("/etc/hosts").read_bytes(), b"192.0.2.7 x.test\n")

    def test_a_wire_joins_two_hosts(self) -> None:
        text = ("from lib.namespace import Wire, ip\nfrom lib.program import run\nip('link set lo up')\n"
                "with Wire('192.0.2.1', '192.0.2.2') as wire:\n"
                "    print(run([*wire.at('far'), 'ip', '-o', 'address', 'show', 'far']).good().text)\n")
        done = run([*namespace.unshare("net", "pid"), *self.python(text)],
                   env={**os.environ, "PYTHONPATH": str(paths.SCRIPTS)}).good()
        self.assertIn("192.0.2.2/24", done.text)


if __name__ == "__main__":
    unittest.main()
