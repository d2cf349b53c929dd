"""Names of users and hosts where nsswitch.conf(5) names modules that are not built into glibc.

Our programs are linked statically, and a static program that lets glibc load such a module crashes.
Each program here runs in a mount namespace of its own, where /etc/nsswitch.conf is the test's.
"""

import subprocess
from contextlib import contextmanager

from harness import check, end, need, run, same, start, test, wait_until

HERE = "127.0.0.1"
# The modules of libc6 itself (compat, hesiod) are on every Debian; the others are where they are.
NSSWITCH = """passwd: compat systemd hesiod files
group: compat systemd hesiod files
initgroups: compat systemd hesiod files
hosts: hesiod systemd myhostname resolve files dns
services: hesiod db files
"""


def command(lab, *argv):
    """The command that runs a program with that nsswitch.conf."""
    file = lab.file("nsswitch.conf", NSSWITCH.encode())
    rights = [] if lab.root else ["--map-root-user"]
    script = f'mount --bind "{file}" /etc/nsswitch.conf && exec "$@"'
    return [need("unshare"), "--mount", *rights, "sh", "-c", script, "sh", *map(str, argv)]


@contextmanager
def echod(lab, *args):
    said = lab.folder("names") / "echod.log"
    argv = command(lab, lab.programs / "echod", *args)
    with open(said, "wb") as stderr:
        process = start(argv, lab.env, "/", stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr)
    process.said = said.read_text
    try:
        yield process
    finally:
        end(process)


def port_of(server):
    text = wait_until("echod listens", lambda: "listening on" in server.said() and server.said())
    return int(text.split("listening on")[1].split()[0].rpartition(":")[2])


@test("nsswitch: echod listens on a host's name and echoc finds it by name, whatever modules are named")
def hosts(lab):
    with echod(lab, "-u", "root", "-l", "localhost:0") as server:
        port = port_of(server)
        client = run(command(lab, lab.programs / "echoc", "localhost", port), lab.env, "/",
                     stdin=b"by name\n")
        same(client.code, 0, f"exit code; it said {client.stderr!r}")
        same(client.stdout, b"by name\n", "echo")


@test("nsswitch: a user who is not there is told, and no crash, whatever modules are named")
def users(lab):
    for user in ("no-such-user", "4242:no-such-group"):
        argv = command(lab, lab.programs / "echod", "-l", f"{HERE}:0", "-u", user)
        ended = run(argv, lab.env, "/")
        same(ended.code, 1, f"exit code of -u {user}; it said {ended.stderr!r}")
        check(b"no such" in ended.stderr, f"-u {user}: {ended.stderr!r}")
