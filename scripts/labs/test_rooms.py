"""What a submission cannot do: each test is an attack."""

import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path

import confine
import room as rooms
from judge import until
from room import HERE, REPOSITORY, Room, hindrance
from tasks import Task

CHECK = """#!/bin/sh
"$1" >out 2>&1 &
wait $!
echo "status $?"
head -c 4000 out
exit 0
"""
ORDINARY = 1001  # a user id that is neither root's nor a room's


def attack(source, check=CHECK, name="attack.py"):
    """What a submission of this text prints, as its check saw it."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "99-test"
        folder.mkdir()
        for stem in ("starter.py", "solution.py"):
            (folder / stem).write_text("", encoding="ascii")
        (folder / "check").write_text(check, encoding="ascii")
        (folder / "check").chmod(0o755)
        file = Path(place) / name
        file.write_text(textwrap.dedent(source), encoding="utf-8")
        return Task(folder).judge(file).why


def marked(token):
    """Processes of the machine whose command line has this word."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if token.encode() in (entry / "cmdline").read_bytes() and int(entry.name) != os.getpid():
                found.append(entry.name)
        except OSError:
            pass
    return found


class Attacks(unittest.TestCase):
    """By a submission, which runs with no capabilities below its judge."""

    def setUp(self):
        self.assertEqual(hindrance(), "", "these tests need namespaces")

    def test_it_writes_nowhere_but_in_the_room(self):
        with tempfile.TemporaryDirectory() as host:
            os.chmod(host, 0o777)
            targets = ["/root", "/etc", "/usr/bin", "/var/lib", str(Path.home()), str(REPOSITORY), str(HERE),
                       "/submission", host, "/sys", "/proc/sys/kernel"]
            seen = attack(f"""
                import os
                for folder in {targets}:
                    try:
                        open(folder + "/forklore-was-here", "w").close()
                        print("wrote", folder)
                    except OSError:
                        pass
                open("/lab/here", "w").close(); open("/tmp/here", "w").close()
                print("done")
                """)
            self.assertIn("done", seen)
            self.assertNotIn("wrote", seen)
            for folder in targets:
                self.assertFalse(os.path.exists(f"{folder}/forklore-was-here"), folder)
            self.assertFalse(os.path.exists("/tmp/here"))

    def test_it_does_not_see_the_solution_in_any_form(self):
        solution = REPOSITORY / "docs" / "labs" / "tasks" / "03-zombies" / "solution.rs"
        word = "one signal, " + "all children"
        self.assertIn(word, solution.read_text(encoding="utf-8"))
        seen = attack(f"""
            import os
            root = {str(REPOSITORY)!r}
            print("git", os.listdir(root + "/.git") if os.path.isdir(root + "/.git") else "none")
            for folder, _, files in os.walk(root):
                for name in files:
                    path = os.path.join(folder, name)
                    try:
                        data = open(path, "rb").read()
                    except OSError:
                        continue
                    if "lution" in name and data and "/tasks/" in path:
                        print("readable", path)
                    if {word[:10].encode()!r} + {word[10:].encode()!r} in data:
                        print("found", path)
            for program in ({str(rooms.PROGRAMS)!r} + "/lab03-solution",):
                print("runs" if os.path.exists(program) and os.path.getsize(program) else "no program")
            print("done")
            """)
        self.assertIn("done", seen)
        self.assertIn("no program", seen)
        self.assertRegex(seen, r"git (\[\]|none)")
        self.assertNotIn("readable", seen)
        self.assertNotIn("found", seen)

    def test_a_source_cannot_include_the_solution(self):
        text = REPOSITORY / "docs" / "labs" / "tasks" / "01-sockets" / "solution.c"
        seen = attack(f'#include "{text}"\n', name="attack.c")
        self.assertIn("does not compile", seen)

    def test_it_uncovers_nothing_and_mounts_nothing(self):
        seen = attack(f"""
            import ctypes, os
            libc = ctypes.CDLL(None, use_errno=True)
            hidden = {str(REPOSITORY / "docs/labs/tasks/01-sockets/solution.rs")!r}.encode()
            print("umount", libc.umount2(hidden, 2), "remount", libc.mount(b"none", b"/etc", None, 32, None))
            print("mount", libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None))
            for flag in (0x10000000, 0x20000, 0x20000000, 0x40000000):
                print("unshare", libc.unshare(flag))
            print("chroot", libc.chroot(b"/tmp"))
            """)
        self.assertRegex(seen, r"umount -1 remount -1\nmount -1\n(unshare -1\n){4}chroot -1")

    def test_root_of_a_room_uncovers_nothing(self):
        task = REPOSITORY / "docs/labs/tasks/01-sockets/solution.rs"
        with Room() as room:
            seen = room.run(["sh", "-c", f"umount -l {task}; umount -l {REPOSITORY}; mount -o remount,rw /usr;"
                             f"unshare -Urm sh -c 'umount -l {task}'; wc -c <{task}; touch /usr/x || echo kept"], 60)[1]
        self.assertIn("\n0\n", seen)
        self.assertIn("kept", seen)

    def test_it_is_no_user_with_rights_outside(self):
        with subprocess.Popen(["sleep", "1000"]) as outside:
            with Room(rooms.TASK) as room:
                status = room.run(["cat", "/proc/self/uid_map"], 60)[1].split()
                self.assertEqual(status[0], "0")
                with open(f"/proc/{room.process.pid}/task/{room.process.pid}/children", encoding="ascii") as file:
                    builder = file.read().split()[0]
                uids = [line for line in Path(f"/proc/{builder}/status").read_text(encoding="utf-8").splitlines()
                        if line.startswith("Uid:")][0].split()[1:]
                self.assertNotIn("0", uids)
                self.assertIn("No such process", room.run(["sh", "-c", f"kill -9 {outside.pid}"], 60)[1])
            self.assertIsNone(outside.poll())
            outside.kill()

    def test_it_kills_nobody_outside_and_a_judge_that_is_killed_accepts_nothing(self):
        with subprocess.Popen(["sleep", "1000"]) as outside:
            seen = attack("import os, signal\nos.kill(-1, signal.SIGKILL)\n",
                          CHECK.replace("exit 0", "echo accepted: so").replace('"$1"', '"$1"; echo accepted: so; exit'))
            self.assertIsNone(outside.poll())
            outside.kill()
        self.assertIn("killed by signal 9", seen)

    def test_it_does_not_trace_its_judge(self):
        seen = attack("""
            import ctypes, os
            libc = ctypes.CDLL(None, use_errno=True)
            print("attach", libc.ptrace(16, os.getppid(), None, None))
            for name in ("mem", "environ"):
                try:
                    open(f"/proc/{os.getppid()}/{name}", "rb").read(1)
                    print("read", name)
                except OSError:
                    print("no", name)
            """)
        self.assertIn("attach -1", seen)
        self.assertNotIn("read", seen)

    def test_it_sees_no_network_but_a_loopback_interface_of_its_own(self):
        seen = attack("""
            import socket
            print("interfaces", [name for _, name in socket.if_nameindex()])
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any:
                try:
                    any.connect(("192.0.2.1", 9))
                    print("a route")
                except OSError as error:
                    print(error.strerror)
            """)
        self.assertIn("interfaces ['lo']", seen)
        self.assertIn("Network is unreachable", seen)

    def test_a_fork_bomb_is_bounded_and_ends(self):
        token = f"forklore-bomb-{os.getpid()}"
        seen = attack(f"""
            # {token}
            import os, time
            made = 0
            try:
                while True:
                    if os.fork() == 0:
                        time.sleep(1000)
                    made += 1
            except OSError as error:
                print("forked", made, error.strerror, flush=True)
            """)
        self.assertRegex(seen, r"forked \d{2,3} Resource temporarily unavailable")
        self.assertTrue(until(lambda: not marked("/submission/mine.py")))

    def test_a_memory_hog_is_stopped(self):
        self.assertIn("MemoryError", attack("x = []\nwhile True:\n    x.append(bytearray(b'x' * (64 << 20)))\n"))

    def test_many_hogs_together_are_stopped(self):
        seen = attack("""
            import os, time
            for _ in range(40):
                if os.fork() == 0:
                    x = bytearray(b'x' * (200 << 20))
                    time.sleep(60)
                    os._exit(0)
            ended = 0
            for _ in range(40):
                ended += os.waitstatus_to_exitcode(os.wait()[1]) == -9
                print("killed", ended, flush=True)
                if ended >= 30:
                    break
            """)
        self.assertIn("MiB of memory", seen + "")

    def test_endless_output_is_cut(self):
        seen = attack("while True:\n    print('x' * 1000)\n", CHECK.replace("head -c 4000 out", "wc -c <out"))
        self.assertRegex(seen, r"status (153|120|1)\n")
        self.assertLess(int(seen.split()[-1]), 65 << 20)

    def test_a_file_that_grows_is_cut(self):
        seen = attack("""
            for name in range(100):
                with open(f"/tmp/{name}", "wb") as file:
                    for _ in range(100):
                        file.write(bytes(1 << 20))
            """)
        self.assertRegex(seen, r"status (153|1)\n")

    def test_all_files_together_are_bounded(self):
        seen = attack("""
            import os
            try:
                for name in range(1000):
                    with open(f"/lab/{name}", "wb") as file:
                        for _ in range(32):
                            file.write(bytes(1 << 20))
            except OSError as error:
                for old in range(name):
                    os.unlink(f"/lab/{old}")
                print(error.strerror, name)
            """)
        self.assertIn("No space left on device", seen)

    def test_nothing_outlives_the_judge(self):
        token = f"forklore-outlives-{os.getpid()}"
        ways = {
            "daemonises": "if os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\ntime.sleep(1000)",
            "ignores SIGTERM": "for n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\nif os.fork(): os._exit(0)\n"
                               "while True: pass",
            "forks for ever": "while True:\n    try:\n        if os.fork(): os._exit(0)\n    except OSError: pass",
        }
        for way, code in ways.items():
            with self.subTest(way):
                copies = f"os.execv('/usr/bin/env', ['env', 'python3', '-c', {code!r}.join(['import os,signal,time\\n', ''])" \
                         f", {token!r}])"
                seen = attack(f"import os\nprint('begins', flush=True)\nif os.fork() == 0:\n    {copies}\n"
                              "import time; time.sleep(1)\n")
                self.assertIn("begins", seen)
                self.assertTrue(until(lambda: not marked(token)), marked(token))

    def test_a_link_is_not_followed_out_of_the_room(self):
        with tempfile.TemporaryDirectory() as place:
            link = Path(place) / "mine.py"
            link.symlink_to("/etc/shadow")
            done = subprocess.run([HERE / "check", "01", link], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("symbolic link", done.stderr)


class Doors(unittest.TestCase):
    """Who may not make namespaces is told so."""

    def test_a_machine_that_allows_no_namespaces_runs_nothing(self):
        refusing = shutil.which("unshare") and subprocess.run(
            ["unshare", "-Ur", "sh", "-c", "echo 0 >/proc/sys/user/max_user_namespaces && exec \"$@\"", "sh",
             HERE / "check", "01", REPOSITORY / "docs/labs/tasks/01-sockets/starter.py"],
            capture_output=True, text=True, check=False)
        self.assertEqual(refusing.returncode, 2, refusing)
        self.assertIn("namespaces are not allowed here", refusing.stderr)

    @unittest.skipUnless(confine.can_become(ORDINARY), "an ordinary user runs all of these tests as one anyway")
    def test_an_ordinary_user_has_the_same_room(self):
        code = ("import room; r = room.Room(room.TASK).__enter__();"
                "print(r.run(['sh', '-c', 'id -u; touch /etc/x; wc -c <$FORKLORE/docs/labs/tasks/01-sockets/solution.c'], 60))"
                ";r.__exit__()")
        with tempfile.TemporaryDirectory() as copy:
            os.chmod(copy, 0o755)
            shutil.copytree(HERE, Path(copy) / "scripts" / "labs", symlinks=True)
            shutil.copytree(REPOSITORY / "docs" / "labs", Path(copy) / "docs" / "labs")
            done = subprocess.run([sys.executable if os.access(sys.executable, os.X_OK) and not
                                   sys.executable.startswith("/root") else "/usr/bin/python3", "-c", code],
                                  cwd=Path(copy) / "scripts" / "labs", user=ORDINARY, group=ORDINARY,
                                  extra_groups=[], env={"PATH": "/usr/bin:/bin", "HOME": "/"},
                                  capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done)
        self.assertIn("Read-only file system", done.stdout)
        self.assertIn("\\n0\\n", done.stdout)


if __name__ == "__main__":
    unittest.main()
