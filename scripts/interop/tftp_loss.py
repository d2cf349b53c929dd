"""Files by TFTP between two hosts, over a wire that loses packets; see loss-trial.

It needs network namespaces; where those are not to be had these tests are not there.
"""

from lib import add, at_once, check, need, run, same, show
from lib.namespace import allowed, unshare

PARTS = ("lossy", "worse", "slow", "mac")


def seen(fixture, part):
    """What this part of the trial has seen, by name; all parts are made once, at the same time."""
    if not hasattr(fixture, "loss"):
        for program in ("ip", "tc", "iptables", "nsenter", "atftp", "tftp"):
            need(program)
        fixture.loss = {}
        at_once([lambda name=name: make(fixture, name) for name in PARTS])
    text = fixture.loss.get(part, "")
    found = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    check("left" in found, f"no end of the trial: {show(text, 3000)}")
    return found


def make(fixture, part):
    folder = fixture.folder("loss")
    folder.chmod(0o755)
    argv = [*unshare("net", "pid"), fixture.script("loss-trial"), fixture.programs, folder, part]
    fixture.loss[part] = run(argv, fixture.env, fixture.dir, limit=100).text


def whole(fixture, part, *names):
    found = seen(fixture, part)
    for name in names:
        same(found.get(name), "ok", name)
    check(int(found["lost"]) > 50, "hardly a packet was lost")


def by_mac(fixture):
    found = seen(fixture, "mac")
    same(found["own"], "of this machine", "the file in the folder of the machine")
    check("No such file" in found["other"], f"the file that is in no folder: {found['other']}")
    same(found["six"], "of this machine", "the same file by IPv6")
    same((found["put"], found["six put"], found["stored"]), ("", "", "True"),
         "an upload into the folder of the machine")


def afterwards(fixture):
    for part in PARTS:
        codes = seen(fixture, part)["daemons"].strip("[]").split(", ")
        same(set(codes), {"0"}, "exit status of tftpd, with SIGTERM")
        same(seen(fixture, part)["left"], "[]", "temporary files below the root")


if allowed("net", "pid"):
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
    print("note: the tests over a wire that loses packets are not run: they need network namespaces")
