"""Names of users and hosts where nsswitch.conf(5) names modules that are not built into glibc.

Our programs are linked statically, and a static program that lets glibc load such a module crashes.
Each program here runs in a mount namespace of its own, where /etc/nsswitch.conf is the test's.
"""

from lib import LOOPBACK, Daemon, check, run, same, test
from lib.namespace import with_file

# The modules of libc6 itself (compat, hesiod) are on every Debian; the others are where they are.
NSSWITCH = """passwd: compat systemd hesiod files
group: compat systemd hesiod files
initgroups: compat systemd hesiod files
hosts: hesiod systemd myhostname resolve files dns
services: hesiod db files
"""


def command(fixture, *argv):
    """The command that runs a program with that nsswitch.conf."""
    return with_file(fixture.file("nsswitch.conf", NSSWITCH), "/etc/nsswitch.conf", argv)


@test("nsswitch: echod listens on a host's name and echoc finds it by name, whatever modules are named")
def hosts(fixture):
    argv = [fixture.programs / "echod", "-u", "root", "-l", "localhost:0"]
    with Daemon(argv, fixture.new("log"), fixture.env, before=command(fixture)) as server:
        client = run(command(fixture, fixture.programs / "echoc", "localhost", server.port), fixture.env, "/",
                     stdin=b"by name\n")
        same(client.code, 0, f"exit code; it said {client.stderr!r}")
        same(client.stdout, b"by name\n", "echo")


@test("nsswitch: a user who is not there is told, and no crash, whatever modules are named")
def users(fixture):
    for user in ("no-such-user", "4242:no-such-group"):
        argv = command(fixture, fixture.programs / "echod", "-l", f"{LOOPBACK}:0", "-u", user)
        ended = run(argv, fixture.env, "/")
        same(ended.code, 1, f"exit code of -u {user}; it said {ended.stderr!r}")
        check(b"no such" in ended.stderr, f"-u {user}: {ended.stderr!r}")
