"""The unit files of docs/deploy under a real systemd, which scripts/interop/boot starts.

It needs root and namespaces; where those are not to be had these tests are not there.
"""

import os

from lib import add, check, run, same, show
from lib.namespace import allowed
from lib.paths import DAEMONS
from superserver import DEPLOY, sbin


def can_boot():
    """True for root who may make namespaces and finds cgroup 2 and systemd."""
    if os.geteuid() != 0 or not os.path.exists("/lib/systemd/systemd"):
        return False
    with open("/proc/mounts", encoding="utf-8") as mounts:
        if not any(line.split()[2] == "cgroup2" for line in mounts):
            return False
    return allowed("mount", "pid", "net", "uts", "ipc", "cgroup",
                   script="mount --make-rprivate / && mount -t tmpfs tmpfs /mnt")


def seen(fixture):
    """What boot-trial has seen, by name; booted once."""
    if not hasattr(fixture, "boot"):
        units, result = fixture.folder("units"), fixture.file("result", b"")
        for path in (DEPLOY / "systemd").iterdir():
            (units / path.name).write_text(path.read_text())
        out = run([fixture.script("boot"), units, sbin(fixture), fixture.script("boot-trial"), result],
                  fixture.env, fixture.dir, limit=100)
        fixture.boot = result.read_text() + out.text
    found = dict(line.split("=", 1) for line in fixture.boot.splitlines() if "=" in line)
    check(found.get("end") == "end", f"no end of the trial: {show(fixture.boot, 3000)}")
    return found


def works(fixture, how, letters):
    """Echo, a letter delivered and counted, a file."""
    found = seen(fixture)
    wanted = {"echod": "hello", "smtpd": "", "pop3d": str(letters), "tftpd": "content"}
    same({name: found.get(f"{how}.{name}") for name in DAEMONS}, wanted, f"work by {how}")


def services(fixture):
    found = seen(fixture)
    for name in DAEMONS:
        same(found[f"service.{name}.state"], "active", f"{name} after READY=1")
        most = 1024 if name == "tftpd" else 256
        same(found[f"service.{name}.status"], f"0 of {most} clients", f"status of {name}")
        same(found[f"service.{name}.uid"], "other", f"the user of {name}'s main process")
    works(fixture, "service", 1)


def stop(fixture):
    found = seen(fixture)
    same(found["stop.session"], "two", "the session while the service stops")
    same(found["stop.state"], "deactivating", "the service meanwhile")
    same(found["stop.status"], "stopping, 1 client", "its status")
    same(found["stop.later"], "three", "the session after TimeoutStopSec=, before --grace is over")
    same(found["stop.end"], "inactive success", "the end")


def sockets(fixture):
    found = seen(fixture)
    same(found["socket.before"], "inactive inactive inactive inactive", "before the first client")
    works(fixture, "socket", 2)
    same(found["socket.after"], "active active active active", "after the first client")


def restart(fixture):
    same(seen(fixture)["restart.echoed"], "123456789", "echoes while the service was started anew")
    same(seen(fixture).get("restart.new"), "yes", "another process afterwards")


def each(fixture):
    works(fixture, "each", 3)
    same(seen(fixture)["each.left"], "0", "services left of those for a client each")


def watchdog(fixture):
    same(seen(fixture)["watchdog.fed"], "0 active", "restarts of a service that is well")
    same(seen(fixture)["watchdog.starved"], "1", "restarts of one whose parent is stopped")


if can_boot():
    add("case 27: systemd itself, services: READY=1 makes all four active, and they do their work "
        "with the little that their units leave them", services)
    add("case 27: systemd itself, Accept=no: the first client starts the service", sockets)
    add("case 27: systemd itself, Accept=yes: a service for each client, and none is left", each)
    add("systemd itself, stop: a session ends by itself, then the service has stopped in order", stop)
    add("systemd itself, restart behind a socket: no client is refused", restart)
    add("systemd itself, WatchdogSec: a stopped parent is replaced", watchdog)
else:
    print("note: the tests under a booted systemd are not run: they need root, cgroup 2, systemd and "
          "the right to make namespaces", flush=True)
