"""pop3d --auth-socket with Dovecot's own auth process: curl, mpop and pop3c log in through it."""

import getpass
import grp
import os

from lib import LOOPBACK, Program, check, need, same, test, wait_until
from lib.fixture import PASSWORD
from lib.mailbox import OWNER, give
from letters import SLIDES

CONFIG = """\
protocols =
base_dir = {dir}/run
state_dir = {dir}/state
log_path = {dir}/log
default_internal_user = {internal}
default_internal_group = {group}
default_login_user = {login}
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login cram-md5 scram-sha-256
passdb {{
  driver = passwd-file
  args = {dir}/passwords
}}
userdb {{
  driver = static
  args = uid={uid} gid={uid} home=/nonexistent
}}
service auth {{
  unix_listener {dir}/auth {{
    mode = 0666
  }}
}}
service anvil {{
  chroot =
}}
"""


def site(fixture):
    """Dovecot with one user, and a pop3d that asks it; its mail lies by name."""
    folder = fixture.folder("dovecot")
    (folder / "state").mkdir()
    (folder / "passwords").write_text(f"levy:{{PLAIN}}{PASSWORD}::::::\n")
    own = (getpass.getuser(), grp.getgrgid(os.getgid()).gr_name, getpass.getuser())
    internal, group, login = ("daemon", "daemon", "nobody") if fixture.is_root else own
    config = folder / "dovecot.conf"
    config.write_text(CONFIG.format(dir=folder, internal=internal, group=group, login=login, uid=OWNER))
    dovecot = Program([need("dovecot"), "-F", "-c", config], folder / "stderr", fixture.env)
    wait_until("Dovecot has its socket", lambda: (folder / "auth").is_socket())
    box = folder / "mail" / "levy"
    for name in ("tmp", "new", "cur"):
        (box / name).mkdir(parents=True)
        give(box, box / name)
    letter = box / "new" / "1.interop"
    letter.write_bytes(SLIDES)
    give(letter)
    user = ["--mail-user", OWNER] if fixture.is_root else []
    pop3d = fixture.start("pop3d", "--auth-socket", folder / "auth", "--mail", f"{folder}/mail/%u", *user,
                          *fixture.as_root(), "--auth-delay", "0")
    return dovecot, pop3d


@test("Dovecot's auth socket: curl, mpop and pop3c log in by each mechanism, and not with a wrong password")
def by_each_mechanism(fixture):
    dovecot, pop3d = site(fixture)
    with dovecot, pop3d:
        at = f"pop3://{LOOPBACK}:{pop3d.port}/"
        for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5"):
            def curl(password, name="levy"):
                return fixture.run("curl", "-sS", "-u", f"{name}:{password}", "--login-options",
                                   f"AUTH={mechanism}", at)
            check(curl(PASSWORD).good().stdout.startswith(b"1 "), f"{mechanism}: no list")
            same(curl("wrong").code, 67, f"{mechanism}, wrong password")
        check(fixture.run("curl", "-sS", "-u", f"Levy:{PASSWORD}", at).good().stdout.startswith(b"1 "), "Levy")
        out = fixture.run(fixture.programs / "pop3c", "-u", "levy", "--sasl", "SCRAM-SHA-256",
                          f"{LOOPBACK}:{pop3d.port}", "list", stdin=f"{PASSWORD}\n".encode()).good()
        check(out.stdout.startswith(b"1 "), f"pop3c: {out.text}")
        check(PASSWORD not in pop3d.log(), "a password in the log")
