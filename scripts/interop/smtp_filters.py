"""smtpd with the filters of sites that exist, by the milter protocol: OpenDKIM signs and verifies, rspamd refuses."""

import os
import smtplib

from lib import LOOPBACK, Missing, add, check, same, test
from lib.mta import TREES
from lib.program import Program
from lib.sockets import bound, free_port
from letters import KINDS, SENDER, SLIDES, below_trace, crlf, one

HELO = "topaz.test"
# What every scanner takes for spam (GTUBE).
SPAM = SLIDES + b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\n"

RSPAMD = """\
options {{ pidfile = "{dir}/pid"; tempdir = "{dir}"; url_tld = "{dir}/tld"; filters = "dkim";
  dns {{ nameserver = ["127.0.0.1:9"]; timeout = 0.1s; retransmits = 1; }} }}
logging {{ type = "console"; level = "notice"; }}
worker "rspamd_proxy" {{ bind_socket = "127.0.0.1:{port}"; milter = yes; timeout = 10s; count = 1;
  upstream "local" {{ default = yes; self_scan = yes; }} }}
actions {{ reject = 15; }}
"""


def tree(name):
    """Where the programs of a package are, which is not installed."""
    found = TREES / name
    if not found.is_dir():
        raise Missing(name, name)
    return found


def started(fixture, key, make):
    """A filter, started once; its address for --milter."""
    if key not in fixture.daemons:
        address, argv, is_up, env = make()
        program = Program(argv, fixture.new("log"), {**fixture.env, **env}, name=key)
        fixture.daemons[key] = program
        program.address = address
        program.awaits(f"{key} listens", is_up)
    return fixture.daemons[key].address


def opendkim(fixture, signs):
    """OpenDKIM, which signs what this machine sends, or verifies it."""
    def make():
        folder = fixture.folder("dkim")
        if not hasattr(fixture, "dkim_key"):
            fixture.dkim_key = folder / "key.pem"
            fixture.run("openssl", "genrsa", "-out", fixture.dkim_key, "2048").good()
            fixture.dkim_key.chmod(0o600)
        public = fixture.run("openssl", "rsa", "-in", fixture.dkim_key, "-pubout").good().stdout.decode()
        key = "".join(line for line in public.splitlines() if not line.startswith("-----"))
        (folder / "keys").write_text(f"s1._domainkey.topaz.test v=DKIM1; k=rsa; p={key}\n")
        (folder / "internal").write_text(f"{LOOPBACK}\n" if signs else "192.0.2.1\n")
        config = folder / "opendkim.conf"
        config.write_text(f"Domain topaz.test\nSelector s1\nKeyFile {fixture.dkim_key}\nMode sv\nBackground no\n"
                          f"Socket local:{folder}/socket\nInternalHosts {folder}/internal\nRequireSafeKeys no\n"
                          f"Canonicalization simple/simple\nAlwaysAddARHeader yes\nTestPublicKeys {folder}/keys\n")
        argv = [tree("opendkim") / "usr/sbin/opendkim", "-f", "-x", config]
        return f"unix:{folder}/socket", argv, (folder / "socket").exists, {}
    return started(fixture, "OpenDKIM signs" if signs else "OpenDKIM verifies", make)


def rspamd(fixture):
    def make():
        root, folder, port = tree("rspamd"), fixture.folder("rspamd"), free_port()
        (folder / "tld").write_text("test\n")
        (folder / "rspamd.conf").write_text(RSPAMD.format(dir=folder, port=port))
        share = root / "usr/share/rspamd"
        places = {"CONFDIR": root / "etc/rspamd", "SHAREDIR": share, "RULESDIR": share / "rules",
                  "LUALIBDIR": share / "lualib", "PLUGINSDIR": share / "plugins", "DBDIR": folder,
                  "RUNDIR": folder, "LOGDIR": folder}
        argv = [root / "usr/bin/rspamd", "-f", "-i", "-u", os.geteuid(), "-g", os.getegid(), "-c", folder / "rspamd.conf"]
        if os.geteuid() == 0:
            argv[4], argv[6] = "root", "root"
        argv += [f"--var={name}={path}" for name, path in places.items()]
        return (f"{LOOPBACK}:{port}", argv, lambda: bound("tcp", port),
                {"LD_LIBRARY_PATH": str(root / "usr/lib/rspamd")})
    return started(fixture, "rspamd", make)


def send(daemon, box, letter):
    with smtplib.SMTP(LOOPBACK, daemon.port, HELO, timeout=60) as session:
        session.sendmail(SENDER, [box.address], crlf(letter), ["BODY=8BITMIME"])


def filtered(fixture, *addresses):
    options = [word for address in addresses for word in ("--milter", address)]
    return fixture.start("smtpd", *fixture.options("smtpd"), *options)


def signed(fixture, letter):
    """What OpenDKIM has signed arrives so that another OpenDKIM takes the signature for good: not a byte is changed."""
    box = fixture.mailbox()
    with filtered(fixture, opendkim(fixture, True)) as daemon:
        send(daemon, box, letter)
    text = one(box.letters())
    check(b"\r\nDKIM-Signature: " in text, f"no signature: {text[:400]}")
    again = fixture.mailbox()
    with filtered(fixture, opendkim(fixture, False)) as daemon:
        whole = text[text.index(b"DKIM-Signature: "):]
        send(daemon, again, whole)
        check(b"dkim=pass" in one(again.letters()), f"not verified: {one(again.letters())[:600]}")
        changed = fixture.mailbox()
        send(daemon, changed, whole.replace(b"Subject: meeting", b"Subject: Meeting"))
        check(b"dkim=fail" in one(changed.letters()), "a changed letter is verified")


for kind, text in KINDS.items():
    if kind != "an end of data in its middle":
        add(f"OpenDKIM: {kind}: what one signs the other verifies", signed, text)


@test("rspamd: a letter arrives unchanged, and spam is refused by its reply")
def spam(fixture):
    box = fixture.mailbox()
    with filtered(fixture, rspamd(fixture)) as daemon:
        send(daemon, box, SLIDES)
        below_trace(one(box.letters()), SLIDES)
        try:
            send(daemon, box, SPAM)
        except smtplib.SMTPDataError as error:
            same((error.smtp_code, error.smtp_error.split()[0]), (554, b"5.7.1"), "the reply")
        else:
            check(False, "spam is taken")
    same(len(box.letters()), 1, "letters")


@test("rspamd and OpenDKIM: both are asked, and the letter that passes is signed")
def both(fixture):
    box = fixture.mailbox()
    with filtered(fixture, rspamd(fixture), opendkim(fixture, True)) as daemon:
        send(daemon, box, SLIDES)
    check(b"\r\nDKIM-Signature: " in one(box.letters()), "no signature")
