"""Right verdicts on strange submissions: each test is one that a check once got wrong, or might."""

import os
import subprocess
import textwrap
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tasks
from room import HERE, hindrance

LISTEN = """
import os, signal, socket, sys, time
host, _, port = sys.argv[1].rpartition(":")
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((host, int(port)))
listener.listen(64)
def say():
    print("listening on %s:%d" % listener.getsockname(), flush=True)
def echo(connection):
    while octets := connection.recv(4096):
        connection.sendall(octets)
"""
LISTEN_C = r"""
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
static void echo(int fd) { char b[4096]; ssize_t n; while ((n = read(fd, b, sizeof b)) > 0) if (write(fd, b, n) < 0) return; }
static int open_listener(char **argv)
{
    struct sockaddr_in a = { .sin_family = AF_INET };
    socklen_t len = sizeof a;
    char *colon = strrchr(argv[1], ':');
    *colon = 0;
    inet_pton(AF_INET, argv[1], &a.sin_addr);
    a.sin_port = htons(atoi(colon + 1));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(fd, (void *)&a, sizeof a) < 0 || listen(fd, 64) < 0) exit(1);
    getsockname(fd, (void *)&a, &len);
    printf("listening on %s:%d\n", inet_ntoa(a.sin_addr), ntohs(a.sin_port));
    fflush(stdout);
    return fd;
}
static void sig_chld(int s) { int saved = errno; (void)s; while (waitpid(-1, NULL, WNOHANG) > 0) ; errno = saved; }
"""


class Verdicts(unittest.TestCase):
    """Each judges a submission of some lab's task."""

    def setUp(self):
        self.assertEqual(hindrance(), "", "these tests need namespaces")

    def judged(self, number, source, suffix=".py", mode=0o644):
        with tempfile.TemporaryDirectory() as place:
            file = Path(place) / f"submitted{suffix}"
            file.write_bytes(source if isinstance(source, bytes) else textwrap.dedent(source).encode())
            file.chmod(mode)
            verdict = tasks.find(number).judge(file)
        self.assertNotIn("/submission/check", verdict.why)  # a traceback of the check's
        return verdict

    def refused(self, number, source, *seen, suffix=".py", mode=0o644):
        verdict = self.judged(number, source, suffix, mode)
        self.assertFalse(verdict.accepted, verdict.why)
        self.assertTrue(verdict.ended, verdict.why)
        for words in seen:
            self.assertIn(words, verdict.why)
        return verdict

    def all_refused(self, cases):
        """Many at a time, for most of them sleep: tuples of what `refused` takes, and a dictionary of the rest."""
        with ThreadPoolExecutor(4) as pool:
            waiting = [(case, pool.submit(self.refused, *case, **more)) for *case, more in cases]
        for case, verdict in waiting:
            with self.subTest(case[0]):
                verdict.result()

    def accepted(self, number, source, suffix=".py"):
        verdict = self.judged(number, source, suffix)
        self.assertTrue(verdict.accepted, verdict.why)

    # --- lab 03 -------------------------------------------------------------------------------------
    def test_a_double_fork_leaves_no_zombie(self):
        self.accepted("03", LISTEN + """
say()
while True:
    connection, _ = listener.accept()
    first = os.fork()
    if first == 0:
        if os.fork() == 0:
            listener.close()
            echo(connection)
        os._exit(0)
    connection.close()
    os.waitpid(first, 0)
""")

    def test_a_double_fork_in_c_leaves_no_zombie(self):
        self.accepted("03", LISTEN_C + """
int main(int argc, char **argv)
{
    int listenfd = open_listener(argv);
    (void)argc; (void)sig_chld;
    for ( ; ; ) {
        int fd = accept(listenfd, NULL, NULL);
        pid_t first = fork();
        if (first == 0) {
            if (fork() == 0) { close(listenfd); echo(fd); }
            _exit(0);
        }
        close(fd);
        waitpid(first, NULL, 0);
    }
}
""", suffix=".c")

    def test_children_that_nobody_wants_to_know_of_leave_no_zombie(self):
        self.accepted("03", LISTEN + """
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
say()
while True:
    connection, _ = listener.accept()
    if os.fork() == 0:
        listener.close()
        echo(connection)
        os._exit(0)
    connection.close()
""")

    def test_a_server_that_takes_eintr_for_a_client_forks_for_ever(self):
        verdict = self.refused("03", LISTEN_C + """
int main(int argc, char **argv)
{
    int listenfd = open_listener(argv);
    struct sigaction act = { .sa_handler = sig_chld };
    (void)argc;
    sigaction(SIGCHLD, &act, NULL);
    for ( ; ; ) {
        int fd = accept(listenfd, NULL, NULL);
        if (fork() == 0) { close(listenfd); echo(fd); _exit(0); }
        close(fd);
    }
}
""", "does not wait in accept", "EINTR", "processes were forked", suffix=".c")
        self.assertIn("Interrupted System Calls", verdict.why)

    def test_a_server_that_spins_in_accept_is_refused(self):
        self.refused("03", LISTEN + """
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
listener.setblocking(False)
say()
while True:
    try:
        connection, _ = listener.accept()
    except BlockingIOError:
        continue
    connection.setblocking(True)
    if os.fork() == 0:
        listener.close()
        echo(connection)
        os._exit(0)
    connection.close()
""", "does not wait in accept", "0 processes were forked")

    def test_a_server_that_looks_once_a_second_is_not_spinning(self):
        self.accepted("03", LISTEN + """
def reap(*_):
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
signal.signal(signal.SIGALRM, reap)
signal.setitimer(signal.ITIMER_REAL, 0.3, 0.3)
say()
while True:
    connection, _ = listener.accept()
    if os.fork() == 0:
        listener.close()
        echo(connection)
        os._exit(0)
    connection.close()
""")

    def test_wait_in_the_handler_leaves_zombies(self):
        self.refused("03", LISTEN + """
signal.signal(signal.SIGCHLD, lambda *_: os.wait())
say()
while True:
    connection, _ = listener.accept()
    if os.fork() == 0:
        listener.close()
        echo(connection)
        os._exit(0)
    connection.close()
""", "zombies stay", "Client Terminates All Five Connections")

    # --- servers that hold on, or go too soon -------------------------------------------------------
    NEVER_CLOSES = LISTEN + """
say()
kept = []
while True:
    kept.append(listener.accept()[0])
    kept[-1].sendall(b"hello\\n")
"""

    def test_a_server_that_never_closes_is_told_so(self):
        self.refused("01", self.NEVER_CLOSES, "does not close the connection", "its own address and port")
        self.refused("05", self.NEVER_CLOSES, "does not close the connection", "not told the time",
                     "no TIME_WAIT")

    def test_several_faults_are_all_told_with_what_was_seen_and_where_to_read(self):
        verdict = self.refused("02", LISTEN + """
say()
kept = []
while True:
    connection, _ = listener.accept()
    kept.append(connection)
    if os.fork() == 0:
        while octets := connection.recv(4096):
            connection.sendall(octets)
        time.sleep(1000)
""", "a child keeps sockets", "the parent keeps its clients' sockets", "does not see the server close")
        self.assertEqual(verdict.why.count("   seen: "), 3)
        self.assertEqual(verdict.why.count("   read: "), 3)
        self.assertTrue(verdict.why.startswith("not yet: 3 faults\n"))

    def test_a_server_that_closes_at_once(self):
        code = LISTEN + "say()\nwhile True:\n    listener.accept()[0].close()\n"
        self.all_refused([("01", code, "gets no answer", {}), ("02", code, "gets no echo", {}),
                          ("03", code, "gets no echo", {}), ("05", code, "not told the time", {})])

    def test_a_server_that_sends_without_end(self):
        code = LISTEN + ("signal.signal(signal.SIGCHLD, signal.SIG_IGN)\nsay()\nwhile True:\n    c, _ = listener.accept()\n"
                         "    if os.fork() == 0:\n        while True: c.sendall(b'x' * 65536)\n    c.close()\n")
        self.all_refused([("01", code, "no end", {}), ("02", code, "gets no echo", {}),
                          ("03", code, "gets no echo", {}), ("05", code, "no end", {})])

    # --- the contract -------------------------------------------------------------------------------
    def test_a_server_that_prints_nothing(self):
        self.all_refused([(number, LISTEN + "listener.accept()\n", "does not say 'listening on ADDR:PORT'",
                           "What a program must do", "it listens on port", {}) for number in ("01", "02", "03", "05")])

    def test_a_line_that_is_not_flushed_is_guessed(self):
        self.refused("02", LISTEN + "print('listening on %s:%d' % listener.getsockname())\nlistener.accept()\n",
                     "is standard output flushed")

    def test_a_server_that_prints_a_wrong_port(self):
        for line in ("127.0.0.1:1", "127.0.0.1:99999", "127.0.0.1:0"):
            with self.subTest(line):
                self.refused("02", LISTEN + f"print('listening on {line}', flush=True)\nlistener.accept()\n",
                             "does not listen where it says", "ports where somebody listens")
        self.refused("05", LISTEN + "print('listening on 127.0.0.9:%d' % listener.getsockname()[1], flush=True)\n"
                     "listener.accept()\n", "does not listen where its argument says")

    def test_a_program_that_ends_at_once(self):
        self.all_refused([(number, "import sys\nprint('so long')\nsys.exit(3)\n", "ends in place of serving",
                           "exit status 3", "so long", {}) for number in ("01", "02", "03", "05")])
        self.refused("02", "import os\nos.abort()\n", "killed by SIGABRT")

    def test_a_server_that_prints_without_end(self):
        self.refused("02", LISTEN + "while True: print('x' * 100)\n", "does not say 'listening on ADDR:PORT'")

    def test_control_characters_do_not_reach_the_terminal(self):
        verdict = self.refused("02", "print('\\x1b]0;title\\x07\\x1b[2J')\n", "ends in place of serving")
        self.assertNotIn("\x1b", verdict.why)

    # --- what is no program -------------------------------------------------------------------------
    def test_garbage_and_files_that_cannot_be_executed(self):
        self.all_refused([(number, os.urandom(2000), "cannot be run", {"suffix": ".bin", "mode": 0o755})
                          for number in ("01", "02", "03", "04", "05")])
        self.refused("02", b"#!/bin/sh\nexit 0\n", "cannot be run: Permission denied", suffix=".sh")
        self.refused("02", b"", "cannot be run", suffix="", mode=0o755)
        self.refused("02", b"#!/no/such/interpreter\n", "cannot be run", suffix="", mode=0o755)
        self.refused("04", b"\xff\xfe\x00", "does not say 'counting'", suffix=".py")

    def test_c_that_does_not_compile_is_told_what_the_compiler_says(self):
        verdict = self.refused("01", "int main(void) { return no_such_name; }\n", "no_such_name", "does not compile",
                               suffix=".c")
        self.assertIn("mine.c:1", verdict.why)

    def test_rust_that_does_not_compile_is_told_what_the_compiler_says(self):
        task = tasks.find("01")
        tasks.prepare(task, ".rs")
        self.refused("01", "fn main() { no_such_name() }\n", "no_such_name", "does not compile", suffix=".rs")
        self.refused("01", "fn main() { panic!(\"at the disco\") }\n", "at the disco", suffix=".rs")

    def test_a_program_for_standard_input_that_does_not_read_or_ends(self):
        self.refused("04", "import sys,time\nprint('counting', file=sys.stderr, flush=True)\ntime.sleep(1000)\n",
                     "does not read its input")
        self.refused("04", "import sys\nprint('counting', file=sys.stderr, flush=True)\n", "ends before its input does")
        self.refused("04", "import sys\nprint('counting', file=sys.stderr, flush=True)\n"
                     "while True: print('so far: 0')\n", "not yet")

    def test_client_programs_that_do_nothing_right(self):
        for source, more in (("print('\\xff' * 3)\n", {}), (os.urandom(500), {"suffix": ".bin", "mode": 0o755})):
            self.all_refused([(number, source, more) for number in ("06", "09", "13", "15", "18")])

    def test_servers_of_later_labs_that_do_nothing_right(self):
        for source in ("print('hello')\n", LISTEN + "say()\nwhile True:\n    listener.accept()[0].close()\n"):
            self.all_refused([(number, source, {}) for number in ("07", "08", "10", "14", "16")])

    def test_texts_of_any_bytes_are_judged(self):
        for source in (bytes(range(256)), b""):
            self.all_refused([(number, source, {"suffix": ".txt"}) for number in ("11", "12", "17")])

    # --- the command --------------------------------------------------------------------------------
    def test_the_command_tells_what_it_cannot_judge(self):
        for arguments in (["99", "x"], ["01", "/no/such/file"], ["01", "/tmp"], [], ["01", "/dev/null"]):
            with self.subTest(arguments):
                done = subprocess.run([HERE / "check", *arguments], capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 2, done)
                self.assertNotIn("Traceback", done.stderr)

    def test_a_check_builds_nothing_that_the_workspace_has_built(self):
        def built():
            return {path: path.stat().st_mtime_ns for path in (tasks.PROGRAMS / "deps").iterdir()}

        subprocess.run([os.environ.get("CARGO", "cargo"), "build", "--locked", "-q", "--workspace"],
                       cwd=tasks.REPOSITORY, check=True)
        before = built()
        for number in ("01", "11", "12", "17"):
            task = tasks.find(number)
            tasks.prepare(task, task.starter.suffix)
        self.assertEqual([path.name for path, time in built().items() if before.get(path) != time], [])


if __name__ == "__main__":
    unittest.main()
