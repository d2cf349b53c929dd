"""Files by TFTP between two hosts, over a cable that loses packets; see loss-trial.

It needs network namespaces; where those are not to be had these tests are not there.
"""

import os
import subprocess

from harness import add, at_once, check, need, run, same, show

PARTS = ("lossy", "worse", "slow", "mac")
# The words before a command that is to run as root of a network namespace of its own.
OWN_NETWORK = ["unshare", "--net"] if os.geteuid() == 0 else \
    ["unshare", "--user", "--map-root-user", "--net"]


def can_unshare():
    return subprocess.run([*OWN_NETWORK, "true"], capture_output=True, check=False).returncode == 0


def seen(lab, part):
    """What this part of the trial has seen, by name; all parts are made once, at the same time."""
    if not hasattr(lab, "loss"):
        for program in ("ip", "tc", "iptables", "nsenter", "atftp", "tftp"):
            need(program)
        lab.loss = {}
        at_once([lambda name=name: make(lab, name) for name in PARTS])
    text = lab.loss.get(part, "")
    found = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    check("left" in found, f"no end of the trial: {show(text, 3000)}")
    return found


def make(lab, part):
    folder = lab.folder("loss")
    folder.chmod(0o755)
    argv = [*OWN_NETWORK, lab.script("loss-trial"), lab.programs, folder, part]
    lab.loss[part] = run(argv, lab.env, lab.dir, limit=28).text


def whole(lab, part, *names):
    found = seen(lab, part)
    for name in names:
        same(found.get(name), "ok", name)
    check(int(found["lost"]) > 50, "hardly a packet was lost")


def by_mac(lab):
    found = seen(lab, "mac")
    same(found["own"], "of this machine", "the file in the folder of the machine")
    check("No such file" in found["other"], f"the file that is in no folder: {found['other']}")
    same(found["six"], "of this machine", "the same file by IPv6")
    same((found["put"], found["six put"], found["stored"]), ("", "", "True"),
         "an upload into the folder of the machine")


def afterwards(lab):
    for part in PARTS:
        codes = seen(lab, part)["daemons"].strip("[]").split(", ")
        same(set(codes), {"0"}, "exit status of tftpd, with SIGTERM")
        same(seen(lab, part)["left"], "[]", "temporary files below the root")


if can_unshare():
    ON_A_CABLE = "on a cable that loses 10 % of all packets"
    add(f"iptables, tftpc: {ON_A_CABLE}, files of every size come whole, both ways", whole, "lossy",
        "tftpc", "tftpc options")
    add(f"iptables, tftpc: {ON_A_CABLE}, over --single-port", whole, "lossy", "single")
    add(f"iptables, atftp: {ON_A_CABLE}, without options and with", whole, "lossy", "atftp",
        "atftp options")
    add(f"iptables, tftp-hpa: {ON_A_CABLE}", whole, "lossy", "tftp-hpa")
    add("iptables, tftpc: and on one that loses 20 %", whole, "worse", "tftpc 20")
    add("tbf, tftpc, atftp: windows larger than a slow cable's queue come whole", whole, "slow",
        "slow", "slow atftp", "slow lock step")
    add("ip, tftpc: --map gives each machine its folder by its MAC address, also by IPv6", by_mac)
    add("iptables, tbf: no half file is left, and SIGTERM ends tftpd with 0", afterwards)
else:
    print("note: the tests over a cable that loses packets are not run: they need network namespaces")
