"""Postfix and OpenSMTPD beside ours. Their packages exclude each other, so scripts/interop/setup unpacks both: each sees
its files in their places, with an /etc, a /run and a spool of its own, in a mount namespace. As root."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib.checks import WAIT_LIMIT, Failure, check, wait_until
from lib.folder import Folder
from lib.mailbox import DOMAIN
from lib.namespace import unshare
from lib.packages import Missing
from lib.paths import LOOPBACK
from lib.program import Program
from lib.sockets import bound, free_port

TREES = Path("/usr/local/share/forklore-interop")
# Uids that no user of this machine has: of the servers' own processes.
POSTFIX, POSTDROP, SMTPD, SMTPQ = range(61_090, 61_094)

IN_ITS_PLACES = """\
set -e
for part in sbin lib libexec; do
    [ ! -d "$1/usr/$part" ] || mount -t overlay overlay -o "lowerdir=$1/usr/$part:/usr/$part" "/usr/$part"
done
mount -t overlay overlay -o "lowerdir=$0/etc:$1/etc:/etc" /etc
mount --bind "$0/run" /run
mount --bind "$0/spool" /var/spool
mount --bind "$0/lib" /var/lib
shift
exec "$@"
"""

POSTFIX_MAIN = """\
compatibility_level = 3.6
maillog_file = {dir}/spool/postfix.log
maillog_file_prefixes = {dir}
data_directory = /var/lib/postfix
alias_maps =
alias_database =
myhostname = {domain}
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
disable_dns_lookups = yes
smtp_host_lookup = native
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
message_size_limit = 62914560
mailbox_size_limit = 0
virtual_mailbox_limit = 0
virtual_mailbox_domains = {virtual}
virtual_mailbox_base = /
virtual_mailbox_maps = texthash:/etc/postfix/mailboxes
virtual_alias_maps = texthash:/etc/postfix/aliases
recipient_delimiter = +
virtual_uid_maps = static:{owner}
virtual_gid_maps = static:{owner}
smtpd_relay_restrictions = {relaying}
{more}
"""
POSTFIX_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
POSTFIX_TLS = """\
127.0.0.1:{tls} inet n - n - - smtpd
  -o smtpd_tls_wrappermode=yes
"""
OPENSMTPD = """\
{pki}
listen on 127.0.0.1 port {port} hostname {domain} {starttls}
{smtps}
smtp limit max-mails 100000
smtp max-message-size 60M
mta max-deferred 1000
table aliases file:/etc/aliases
action "local" maildir alias <aliases>
{action}
{match}
"""


class Mta(Program):
    """A server on `port`, and with a `pair` (certificate, key) by TLS on `tls`. `homes` are the users of `domain`, who are
    the uid `owner`, with a Maildir each in their home; full names may stand in `names`, groups of users in `aliases`. It is an open relay for nobody:
    with `relay_to`, a port of this host, it takes all mail that is not for `domain` from here, and sends it there.
    `before` are words that start it in their own process."""

    def __init__(self, site: Folder, name: str, homes: Mapping[str, Path], owner: int, *, domain: str = DOMAIN,
                 names: Mapping[str, str] | None = None, aliases: Mapping[str, list[str]] | None = None, pair: tuple[Path, Path] | None = None, relay_to: int | None = None,
                 before: tuple = (), **more: Any) -> None:
        check(os.geteuid() == 0, f"{name} is started by root alone")
        tree = TREES / name.lower()
        if not tree.is_dir():
            raise Missing(name, name.lower())
        self.site, self.homes, self.owner, self.domain = site, homes, owner, domain
        self.full_names, self.aliases, self.pair, self.relay_to = names or {}, aliases or {}, pair, relay_to
        self.port, self.tls, self.own = free_port(), free_port(), site.folder(name.lower())
        for folder in ("etc", "run", "spool", "lib"):
            (self.own / folder).mkdir()
        self.users()
        argv = self.prepare(**more)
        super().__init__([*before, *unshare("mount"), "sh", "-c", IN_ITS_PLACES, self.own, tree, *argv],
                         site.new("log"), name=name)
        try:
            self.awaits(f"{name} listens", lambda: bound("tcp", self.port) and (not pair or bound("tcp", self.tls)))
        except BaseException:
            self.kill()
            raise

    def prepare(self, **more: Any) -> list:
        """Writes its configuration; the command that starts it."""
        raise NotImplementedError

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """A file of its own."""
        file = self.own / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def users(self) -> None:
        """The system's users and groups, as it sees them."""
        own = {"postfix": POSTFIX, "postdrop": POSTDROP, "opensmtpd": SMTPD, "opensmtpq": SMTPQ}
        passwd = "root:x:0:0:root:/root:/bin/sh\n" + "".join(f"{name}:x:{uid}:{uid}::/var/lib/opensmtpd/empty:/bin/false\n"
                                                             for name, uid in own.items())
        passwd += "".join(f"{name}:x:{self.owner}:{self.owner}:{self.full_names.get(name, '')}:{home}:/bin/sh\n"
                          for name, home in self.homes.items())
        group = "root:x:0:\nmail:x:8:\n" + "".join(f"{name}:x:{uid}:\n" for name, uid in own.items())
        self.write("etc/passwd", passwd + "nobody:x:65534:65534::/nonexistent:/bin/false\n")
        self.write("etc/group", group + f"levy:x:{self.owner}:\nnogroup:x:65534:\n")
        self.write("etc/shadow", "root:*:19000:0:99999:7:::\n", 0o600)
        self.write("etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files\nservices: files\n")
        self.write("etc/hosts", f"127.0.0.1 localhost {self.domain}\n")
        self.write("etc/resolv.conf", "")
        self.write("etc/mailname", f"{self.domain}\n")

    def rests(self) -> None:
        """Waits until nothing is in its queue."""
        limit = WAIT_LIMIT * 6
        try:
            wait_until("its queue is empty", lambda: not self.queued(), limit)
        except Failure as failure:
            raise Failure(f"{self.name}: {failure}; {self.queued()[:3]}") from None

    def queued(self) -> list[Path]:
        """The files of letters that it has not delivered."""
        found = []
        for folder in self.queues():
            for _ in range(3):  # files go away while they are listed
                try:
                    found += [path for path in folder.rglob("*") if path.is_file()]
                    break
                except FileNotFoundError:
                    continue
        return found

    def queues(self) -> list[Path]:
        """The folders of letters that it has not delivered."""
        raise NotImplementedError


class Postfix(Mta):
    """Postfix with `more` lines of main.cf."""

    def prepare(self, more: str = "") -> list:
        lines = [more]
        if self.pair:
            lines += [f"smtpd_tls_cert_file = {self.pair[0]}", f"smtpd_tls_key_file = {self.pair[1]}",
                      "smtpd_tls_security_level = may", "smtpd_tls_session_cache_timeout = 0"]
        if self.relay_to is not None:
            lines += [f"relayhost = [{LOOPBACK}]:{self.relay_to}"]
        relaying = "permit_mynetworks, reject" if self.relay_to is not None else "reject_unauth_destination"
        values = {"dir": self.own, "domain": self.domain, "virtual": self.domain if self.homes else "", "owner": self.owner,
                  "relaying": relaying, "port": self.port, "tls": self.tls}
        self.write("etc/postfix/main.cf", POSTFIX_MAIN.format(more="\n".join(lines), **values))
        self.write("etc/postfix/master.cf", (POSTFIX_MASTER + POSTFIX_TLS * bool(self.pair)).format(**values))
        boxes = [f"{name}@{self.domain} {home}/Maildir/\n" for name, home in self.homes.items()]
        self.write("etc/postfix/mailboxes", "".join(boxes))
        groups = [f"{name}@{self.domain} {', '.join(f'{one}@{self.domain}' for one in some)}\n" for name, some in self.aliases.items()]
        self.write("etc/postfix/aliases", "".join(groups))
        (self.own / "spool" / "postfix").mkdir()
        (self.own / "lib" / "postfix").mkdir()
        os.chown(self.own / "lib" / "postfix", POSTFIX, POSTFIX)
        return ["postfix", "-c", "/etc/postfix", "start-fg"]

    def log(self) -> str:
        """What it has said, and its log."""
        path = self.own / "spool" / "postfix.log"
        return super().log() + (path.read_text(errors="backslashreplace") if path.exists() else "")

    def queues(self) -> list[Path]:
        return [self.own / "spool" / "postfix" / name for name in ("maildrop", "incoming", "active", "deferred")]


class OpenSmtpd(Mta):
    """OpenSMTPD; `more` lines stand before its rules."""

    def prepare(self, more: str = "") -> list:
        pki, smtps, starttls = "", "", ""
        if self.pair:
            pki = f'pki "{self.domain}" cert "{self.pair[0]}"\npki "{self.domain}" key "{self.pair[1]}"'
            starttls = f'tls pki "{self.domain}"'
            smtps = f'listen on 127.0.0.1 port {self.tls} hostname {self.domain} smtps pki "{self.domain}"'
        action, match = "", f'match from any for domain "{self.domain}" action "local"'
        if self.relay_to is not None:
            action = f'action "away" relay host smtp://{LOOPBACK}:{self.relay_to} helo "{self.domain}"'
            match = 'match from local for any action "away"'
        text = OPENSMTPD.format(pki=f"{pki}\n{more}", port=self.port, domain=self.domain, starttls=starttls, smtps=smtps,
                                action=action, match=match)
        self.write("etc/smtpd.conf", text)
        self.write("etc/aliases", "".join(f"{name}: {', '.join(some)}\n" for name, some in self.aliases.items()))
        for folder, owner, mode in (("lib/opensmtpd/empty", (0, 0), 0o755), ("spool/smtpd", (0, 0), 0o711)):
            path = self.own / folder
            path.mkdir(parents=True)
            os.chown(path, *owner)
            path.chmod(mode)
        return ["smtpd", "-d", "-f", "/etc/smtpd.conf"]

    def queues(self) -> list[Path]:
        return [self.own / "spool" / "smtpd" / name for name in ("incoming", "queue", "corrupt")]
