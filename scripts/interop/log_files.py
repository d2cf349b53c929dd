"""docs/deploy/fail2ban and docs/deploy/logrotate.d with the real programs, and log lines of the real daemons.

A failed login must count for the address that it came from, and for no other, whatever name was sent: clients
here come from addresses of 127.0.0.0/8, and those who attack write of 127.9.9.9.
"""

import base64
import gzip
import re
import shutil
import signal
import socket
from contextlib import closing
from pathlib import Path

from lib import LOOPBACK, Program, check, need, same, test, wait_until
from lib.fixture import PASSWORD
from lib.paths import REPOSITORY
from lib.sockets import free_port
from letters import SLIDES
from pop3 import login
from syslogd import Jail

DEPLOY = REPOSITORY / "docs" / "deploy"
FILTER = DEPLOY / "fail2ban" / "filter.d" / "forklore.conf"
FAKE = "127.9.9.9"
# Names that would bring an address of the attacker's choice to where one is looked for.
NAMES = [
    b"levy",
    b"x' failed (PASS)",
    b"127.9.9.9:1: login of 'x",
    b"pop3d[1]: 127.9.9.9:1: login of 'x",
    b"x' failed (PASS)\n2026-01-01T00:00:00.000Z INFO pop3d[1]: 127.9.9.9:1: login of 'x",
    b"x' failed (PASS)\r\nJan  1 00:00:00 mail pop3d[1]: 127.9.9.9:1: login of 'x",
    b"\\' failed (PASS) \\",
    b"2026-01-01T00:00:00.000Z INFO pop3d[1]: 127.9.9.9:1",
    b"[127.9.9.9]:1: login of <HOST>",
    b"x\x1b[2K\x1b[1G\x7f\xff\xc2\x85\xe2\x80\xa8127.9.9.9",
    b"\xff" * 255,  # a line of more than a kilobyte, which is cut
]
# Lines that are no failed logins, or of no address.
OTHERS = f"""
2026-01-01T00:00:00.000Z INFO pop3d[1]: {FAKE}:1: levy logged in (PASS), 2 messages
2026-01-01T00:00:00.000Z WARN pop3d[1]: {FAKE}:1: login of 'levy': keeper: no answer
2026-01-01T00:00:00.000Z INFO pop3d[1]: {FAKE}:1: 5 failed logins, session ended
2026-01-01T00:00:00.000Z INFO pop3d[1]: 127.0.0.1:1: pop3d[1]: {FAKE}:1: login of 'x' failed (PASS)
2026-01-01T00:00:00.000Z INFO pop3d[1]: unix: login of '{FAKE}:1: login of \\'x' failed (PASS)
2026-01-01T00:00:00.000Z INFO other[1]: {FAKE}:1: login of 'x' failed (PASS)
Jan  1 00:00:00 mail other[1]: pop3d[1]: {FAKE}:1: login of 'x' failed (PASS)
Jan  1 00:00:00 {FAKE}:1: login of 'x' failed (PASS)
"""
# The same line in every log that the filter's own comment names, and as others write them.
FORMS = """
2026-01-01T00:00:00.000Z INFO pop3d[1]: 192.0.2.1:52100: login of 'levy' failed (PASS)
2026-01-01T00:00:00.000Z INFO smtpd[1]: [2001:db8::2]:52100: login of 'levy' failed (AUTH SCRAM-SHA-256-PLUS)
Jan  1 00:00:00 mail pop3d[1]: 192.0.2.3:52100: login of 'levy' failed (APOP)
2026-01-01T00:00:00.000001+01:00 mail.red.test smtpd[1]: 192.0.2.4:52100: login of 'levy' failed (AUTH PLAIN)
Jan  1 00:00:00 mail mail.info pop3d[1]: 192.0.2.5:52100: login of 'levy' failed (PASS)
Jan  1 00:00:00 mail pop3d[1]: 2026-01-01T00:00:00.000Z INFO pop3d[1]: 192.0.2.6:52100: login of '' failed (PASS)
Jan  1 00:00:00 mail pop3d[1]: [::1]:52100: login of 'aaaaaaaa...
"""
# And one that was cut: at each place of it, it counts.
CUT = "2026-01-01T00:00:00.000Z INFO pop3d[1]: 192.0.2.9:52100: login of 'a\\'b\\\\' failed (AUTH CRAM-MD5)"
IN_FORMS = ["192.0.2.1", "2001:db8::2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6", "::1"]


def dialogue(port, source, *lines):
    """Sends lines, each after the reply to the one before; returns the replies."""
    with closing(socket.create_connection((LOOPBACK, port), 10, (source, 0))) as client:
        replies = client.makefile("rb")
        said = [replies.readline()]
        for line in lines:
            client.sendall(line + b"\r\n")
            said.append(replies.readline())
            while said[-1][3:4] == b"-":  # SMTP's replies of several lines
                said.append(replies.readline())
        return said


def plain(name):
    return base64.b64encode(b"\0" + name + b"\0wrong")


def fails(daemon, source, name):
    """One failed login by AUTH PLAIN, which takes any bytes for a name."""
    if daemon.name == "smtpd":
        said = dialogue(daemon.port, source, b"EHLO red.test", b"AUTH PLAIN " + plain(name))
        same(said[-1][:3], b"535", "SMTP code")
    else:
        # A line of POP3 is shorter than a long name, so the response comes on a line of its own.
        said = dialogue(daemon.port, source, b"AUTH PLAIN", plain(name))
        check(said[-1].startswith(b"-ERR [AUTH]"), f"{said[-1]}")


def found(fixture, log):
    """The addresses that fail2ban finds in a log, one for each line that counts."""
    return fixture.run(need("fail2ban-regex"), "-o", "ip", log, FILTER, limit=60).good().stdout.decode().split()


def source(number):
    return f"127.0.0.{10 + number}"


@test("fail2ban: the filter finds a failed login in every form of the log, and nothing else")
def forms(fixture):
    same(found(fixture, fixture.file("forms.log", FORMS.strip() + "\n")), IN_FORMS, "addresses")
    cuts = range(CUT.index("'") + 1, len(CUT) + 1)
    lines = [CUT[:cut] + end for cut in cuts for end in ("", "...")]
    same(found(fixture, fixture.file("cut.log", "\n".join(lines) + "\n")), ["192.0.2.9"] * len(lines), "cut lines")
    same(found(fixture, fixture.file("others.log", OTHERS.strip() + "\n")), [], "addresses of other lines")


@test("fail2ban: failed logins of pop3d and smtpd count for the client's address, whatever name it sends")
def names(fixture):
    options = [*fixture.options("pop3d", "mixed"), "--auth-delay", 0]
    pop3d = fixture.start("pop3d", *options)
    smtpd = fixture.start("smtpd", *fixture.options("smtpd", "mixed"), "--auth-delay", 0)
    sources = [source(number) for number in range(len(NAMES))]
    for daemon in (pop3d, smtpd):
        for where, name in zip(sources, NAMES):
            fails(daemon, where, name)
        daemon.at_rest()
        same(found(fixture, daemon.log_path), sources, f"addresses in the log of {daemon.name}")
    said = dialogue(pop3d.port, source(0), b"USER x' failed (PASS)", b"PASS x", b"APOP 127.9.9.9:1: 00")
    same([line[:4] for line in said[1:3]], [b"-ERR", b"-ERR"], "USER takes one word")
    said = dialogue(pop3d.port, source(50), b"USER 127.9.9.9:1:", b"PASS x")
    check(said[-1].startswith(b"-ERR [AUTH]"), f"{said}")
    pop3d.at_rest()
    check(FAKE in pop3d.log(), "the names are in the log")
    same(set(found(fixture, pop3d.log_path)), {*sources, source(50)}, "addresses in the whole log")


@test("fail2ban: the same through a syslogd, which gets long lines cut")
def through_syslog(fixture):
    jail, log = Jail(fixture), fixture.new("mail.log")
    sources = [source(number) for number in range(len(NAMES))]
    with jail.syslogd(log):
        pop3d = jail.daemon("pop3d", "--users", fixture.dir / "mixed", "--auth-delay", 0)
        with pop3d:
            pop3d.awaits("pop3d listens", lambda: log.exists() and "listening on" in log.read_text())
            for where, name in zip(sources, NAMES):
                fails(pop3d, where, name)
            wait_until("the last line", lambda: found(fixture, log)[-1:] == sources[-1:])
            same(found(fixture, log), sources, "addresses")
            check(f"{NAMES[-1]!a}"[2:-1] not in log.read_text(), "the long line was not cut")


def configured(fixture, log, banned):
    """A folder with fail2ban's own configuration, ours, and a jail's action that writes into a file."""
    folder, there = fixture.folder("fail2ban"), Path("/etc/fail2ban")
    check((there / "jail.conf").exists(), "/etc/fail2ban/jail.conf is not here")
    for name in ("action.d", "filter.d"):
        shutil.copytree(there / name, folder / name)
    for path in there.glob("*.conf"):
        shutil.copy(path, folder)
    shutil.copytree(DEPLOY / "fail2ban", folder, dirs_exist_ok=True)
    (folder / "fail2ban.local").write_text(
        "[Definition]\ndbfile = None\nlogtarget = STDOUT\nsyslogsocket = none\n")
    (folder / "action.d" / "record.conf").write_text(
        f"[Definition]\nactionban = echo <ip> >>{banned}\nactionunban = true\n")
    # Only what a trial has to change: the log, the action, and that an address of this machine may be banned.
    (folder / "jail.local").write_text(
        "[DEFAULT]\nignoreip =\nignoreself = false\n"
        f"[forklore]\nbackend = polling\nlogpath = {log}\naction = record\n")
    return folder


@test("fail2ban-server: five failed logins ban the client that made them, and none that it names")
def bans(fixture):
    box = fixture.mailbox().lay(SLIDES)
    pop3d = fixture.start("pop3d", *fixture.options("pop3d"), "--auth-delay", 0)
    banned, run_folder = fixture.new("banned"), fixture.folder("run")
    folder = configured(fixture, pop3d.log_path, banned)
    words = ["-c", folder, "-s", run_folder / "socket", "-p", run_folder / "pid"]
    server = Program([need("fail2ban-server"), "-f", *words, "start"], fixture.new("fail2ban.log"), fixture.env)

    def status():
        output = fixture.run(need("fail2ban-client"), *words, "status", "forklore", limit=30)
        return output.text if output.code == 0 else ""

    with server:
        server.awaits("the jail", lambda: "Total failed" in status(), 60)
        for name in (b"127.9.9.9:1: login of 'x", NAMES[4], NAMES[5], b"levy"):
            fails(pop3d, "127.0.0.8", name)  # four: one less than are too many
        for name in NAMES[1:6]:
            fails(pop3d, "127.0.0.7", name)
        session = login(fixture, box, pop3d)
        session.quit()
        server.awaits("all failures are counted", lambda: re.search(r"Total failed:\s*9\b", status()), 60)
        server.awaits("the ban", lambda: banned.exists() and banned.read_text(), 60)
        same(banned.read_text(), "127.0.0.7\n", "banned")
        check(re.search(r"Banned IP list:\s*127\.0\.0\.7\s*$", status(), re.MULTILINE), status())
        server.stop(60)


@test("logrotate: a transcript is renamed, SIGHUP has a new one made; what standard error is written to is emptied")
def rotated(fixture):
    folder, box, other = fixture.folder("logs"), fixture.mailbox(), fixture.mailbox()
    folder.chmod(0o700)
    transcript, log, pid = (folder / name for name in ("pop3d.transcript", "pop3d.log", "pop3d.pid"))
    rule = (DEPLOY / "logrotate.d" / "forklore").read_text()
    for path in ("/var/log/forklore", "/run"):
        check(path in rule, f"{path} is not in the rule")
        rule = rule.replace(f"{path}/", f"{folder}/")
    rules = fixture.file("rules", rule, 0o644)

    def rotate():
        words = ["-f", "-s", folder / "state", rules]
        fixture.run(need("logrotate"), *words).good()

    # As a boot script starts it: 2>>FILE, in a shell that becomes the daemon.
    options = [*fixture.options("pop3d"), "-l", f"{LOOPBACK}:{free_port()}", "-p", pid, "--transcript", transcript]
    script = f'exec "$@" 2>>"{log}"'
    with Program(["/bin/sh", "-c", script, "sh", fixture.programs / "pop3d", *options], fixture.new("sh"),
                 fixture.env, name="pop3d") as pop3d:
        port = pop3d.awaits("pop3d listens", lambda: log.exists() and re.search(r"listening on \S+:(\d+)",
                                                                                  log.read_text()))
        pop3d.port = int(port[1])
        same(int(pid.read_text()), pop3d.pid, "pid")
        old = login(fixture, box, pop3d)
        rotate()
        wait_until("a new transcript", transcript.exists)
        copy = gzip.decompress((folder / "pop3d.log.1.gz").read_bytes()).decode()
        check("listening on" in copy and "listening on" not in log.read_text(), "the log was not copied and emptied")
        same(transcript.stat().st_mode & 0o777, 0o600, "mode of the new transcript")
        new = login(fixture, other, pop3d)
        new_text = wait_until("the new session's lines", transcript.read_text)
        check("PASS ********" in new_text, new_text)
        told = wait_until("the log goes on", log.read_text)
        check(re.match(r"\S+Z INFO pop3d\[", told), f"the log begins with a hole: {told[:80]!r}")
        same(old.noop()[:3], b"+OK", "the old session lives")
        old.quit()
        kept = folder / "pop3d.transcript.1"
        wait_until("the old session's last lines", lambda: "NOOP" in kept.read_text() and "QUIT" in kept.read_text())
        check("NOOP" not in transcript.read_text(), "they went into the new transcript")
        new.quit()
        rotate()  # and once more: the first one is compressed now
        wait_until("a new transcript", transcript.exists)
        check((folder / "pop3d.transcript.2.gz").exists() and (folder / "pop3d.transcript.1").exists(), "names")
        pop3d.signal(signal.SIGTERM)
        same(pop3d.ends(), 0, "exit code")
    check(not pid.exists(), "the pid file is left")
