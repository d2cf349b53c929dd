"""pop3d and smtpd behind a real HAProxy, with clients on another host; see proxy-trial.

It needs network namespaces; where those are not to be had these tests are not there.
"""

import ast

from lib import add, check, need, run, same, show
from lib.namespace import allowed, unshare

CLIENT = "192.0.2.2"


def seen(fixture, name):
    """What the trial has seen under this name; it is made once."""
    if not hasattr(fixture, "proxied"):
        for program in ("haproxy", "ip", "nsenter"):
            need(program)
        fixture.proxy_box = fixture.mailbox().lay(b"Subject: one\n\nbody\n")
        folder = fixture.folder("proxy")
        folder.chmod(0o755)
        argv = [*unshare("net", "pid"), fixture.script("proxy-trial"), fixture.programs, folder,
                fixture.proxy_box.name, fixture.dir / "secrets"]
        fixture.proxied = run(argv, fixture.env, fixture.dir, limit=100).text
    found = dict(line.split("=", 1) for line in fixture.proxied.splitlines() if "=" in line)
    check("stopped" in found, f"no end of the trial: {show(fixture.proxied, 3000)}")
    return ast.literal_eval(found[name])


def replies(said, *prefixes):
    """Each line begins so."""
    same(len(said), len(prefixes), f"replies, {said}")
    for line, prefix in zip(said, prefixes):
        check(line.startswith(prefix), f"'{line}' does not begin with '{prefix}': {said}")


def plaintext(fixture):
    for version in ("v4", "v6"):
        replies(seen(fixture, f"plaintext {version}"), "+OK", "-ERR", "+OK")


def logins(fixture):
    for version in ("v4", "v6"):
        for number in range(4):
            replies(seen(fixture, f"login {version} {number}"), "+OK", "+OK", "+OK", "+OK 1 ", "+OK")
    for name in ("one", "two"):
        same(seen(fixture, f"logins {name}"), [True] * 4, f"logins of backend {name} with the client's address")


def locked(fixture):
    (said,) = seen(fixture, "locked")
    check(said.startswith("-ERR [IN-USE]"), said)


def per_ip(fixture):
    same(seen(fixture, "per-ip pop3"), ["+OK +OK -ER"], "three clients at once, --max-per-ip 2")
    same(seen(fixture, "per-ip smtp"), ["220 220 421"], "three clients at once, --max-per-ip 2")
    same(seen(fixture, "per-ip other"), ["220"], "one of another address")


def letters(fixture):
    for port in (1125, 1126):
        said = seen(fixture, f"letter {port}")
        replies(said, "220", "250", said[2][:3], "250", "250", "354", "250", "221")
        check(not said[2].startswith("250"), f"VRFY for a stranger: {said[2]}")
    traces = [letter for letter in fixture.proxy_box.letters() if b"Subject: by a proxy" in letter]
    same(len(traces), 2, "letters")
    for letter in traces:
        check(f"client.test ([{CLIENT}])".encode() in letter, show(letter))


def stranger(fixture):
    replies(seen(fixture, "stranger"), "220", "554 5.7.0", "")


def checks(fixture):
    for name in ("one", "two", "strict", "smtp", "smtpv1"):
        same(seen(fixture, f"checks {name}"), [], f"log lines of {name} about HAProxy's checks")
    same([line[:3] for line in seen(fixture, "without one")], ["+OK"] * 3, "logins when a backend has ended")


if allowed("net", "pid"):
    add("haproxy: send-proxy: no password in the clear from outside, though HAProxy is on this machine", plaintext)
    add("haproxy: send-proxy-v2 with crc32c: two backends, each log has the client's address", logins)
    add("haproxy: a maildrop that one backend holds is in use at the other", locked)
    add("haproxy: --max-per-ip counts the client's address", per_ip)
    add("haproxy: smtpd: Received has the client's address, and VRFY is not for it", letters)
    add("haproxy: a stranger who says PROXY gets 554 and the end", stranger)
    add("haproxy: checks (tcp-check, smtpchk) leave no log line; one backend may end", checks)
else:
    print("note: the tests behind HAProxy are not run: they need network namespaces")
