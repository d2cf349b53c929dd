"""The unit files of docs/deploy under a real systemd, which scripts/interop/boot starts.

It needs root and namespaces; where those are not to be had these tests are not there.
"""

import os
import subprocess

from harness import add, check, run, same, show
from superserver import DEPLOY, sbin

FOUR = ("echod", "pop3d", "smtpd", "tftpd")


def can_boot():
    """True for root who may make namespaces and finds cgroup 2 and systemd."""
    if os.geteuid() != 0 or not os.path.exists("/lib/systemd/systemd"):
        return False
    with open("/proc/mounts", encoding="utf-8") as mounts:
        if not any(line.split()[2] == "cgroup2" for line in mounts):
            return False
    probe = ["unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--fork",
             "sh", "-c", "mount --make-rprivate / && mount -t tmpfs tmpfs /mnt"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def seen(lab):
    """What boot-trial has seen, by name; booted once."""
    if not hasattr(lab, "boot"):
        units, result = lab.folder("units"), lab.file("result", b"")
        for path in (DEPLOY / "systemd").iterdir():
            (units / path.name).write_text(path.read_text())
        out = run([lab.script("boot"), units, sbin(lab), lab.script("boot-trial"), result],
                  lab.env, lab.dir, limit=28)
        lab.boot = result.read_text() + out.text
    found = dict(line.split("=", 1) for line in lab.boot.splitlines() if "=" in line)
    check(found.get("end") == "end", f"no end of the trial: {show(lab.boot, 3000)}")
    return found


def works(lab, how, letters):
    """Echo, a letter delivered and counted, a file."""
    found = seen(lab)
    wanted = {"echod": "hello", "smtpd": "", "pop3d": str(letters), "tftpd": "content"}
    same({name: found.get(f"{how}.{name}") for name in FOUR}, wanted, f"work by {how}")


def services(lab):
    found = seen(lab)
    for name in FOUR:
        same(found[f"service.{name}.state"], "active", f"{name} after READY=1")
        same(found[f"service.{name}.status"], "0 of 256 clients", f"status of {name}")
        uid = "root" if name in ("pop3d", "smtpd") else "other"
        same(found[f"service.{name}.uid"], uid, f"the user of {name}")
    works(lab, "service", 1)


def stop(lab):
    found = seen(lab)
    same(found["stop.session"], "two", "the session while the service stops")
    same(found["stop.state"], "deactivating", "the service meanwhile")
    same(found["stop.status"], "stopping, 1 client", "its status")
    same(found["stop.later"], "three", "the session after TimeoutStopSec=, before --grace is over")
    same(found["stop.end"], "inactive success", "the end")


def sockets(lab):
    found = seen(lab)
    same(found["socket.before"], "inactive inactive inactive inactive", "before the first client")
    works(lab, "socket", 2)
    same(found["socket.after"], "active active active active", "after the first client")


def restart(lab):
    same(seen(lab)["restart.echoed"], "123456789", "echoes while the service was started anew")
    same(seen(lab).get("restart.new"), "yes", "another process afterwards")


def each(lab):
    works(lab, "each", 3)
    same(seen(lab)["each.left"], "0", "services left of those for a client each")


def watchdog(lab):
    same(seen(lab)["watchdog.fed"], "0 active", "restarts of a service that is well")
    same(seen(lab)["watchdog.starved"], "1", "restarts of one whose parent is stopped")


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
