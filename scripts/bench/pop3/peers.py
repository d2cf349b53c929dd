"""The POP3 servers that are measured, how each is started, and what of it is in memory."""

from dataclasses import dataclass
from pathlib import Path

from common import pss
from dovecot import config
from lib import LOOPBACK, Program, namespace, need
from lib.sockets import bound, free_port

# Uids of the mailboxes' owner, and of popa3d's own user.
OWNER, POPA3D_USER = 61_100, 61_099
PASSWORD = "tanstaaf"
# Sessions at the same time, at most.
MOST = 64

# popa3d sees an /etc, a /var/mail and a /var/lib of its own.
IN_ITS_PLACES = """\
mount --bind "$0/etc" /etc && mount --bind "$0/mail" /var/mail &&
mount -t tmpfs none /var/lib && mkdir /var/lib/popa3d && exec "$@"
"""


@dataclass(frozen=True)
class Kind:
    """A server: its name in the tables, and its command line for a site, a port, and one for TLS."""

    name: str
    argv: object
    has_tls: bool = True
    mail: str = "Maildir"

    @property
    def ours(self):
        return self.name.startswith("pop3d")


def pop3d(*more):
    """Ours, as it comes, with a worker for each of eight clients where it has workers, and with limits that the
    measurements do not reach."""
    def argv(site, port, tls):
        cert, key = site.pair
        user = ["-u", "nobody"] if site.is_root else []
        return [site.programs / "pop3d", "-l", f"{LOOPBACK}:{port}", "--tls-listen", f"{LOOPBACK}:{tls}",
                "--tls-cert", cert, "--tls-key", key, *user, "--users", site.users, "-n", 8,
                "--max-per-ip", 1000, "--grace", 1, *more]
    return argv


def pop3d_mbox(site, port, tls):
    """Ours over the mboxes that popa3d has."""
    return pop3d("--mail", f"mbox:{site.system}/mail/%u")(site, port, tls)


def dovecot(count, avail):
    """Dovecot, each of whose processes serves one client, or any number."""
    return lambda site, port, tls: [need("dovecot"), "-F", "-c", config(
        site.folder("dovecot"), site.readable_users, port, count, avail, tls, site.pair)]


def popa3d(site, port, _tls):
    """popa3d under tcpserver: its own daemon takes 500 clients in 10 s, and no more."""
    return [*namespace.unshare("mount"), "sh", "-c", IN_ITS_PLACES, site.system, need("tcpserver"), "-H", "-R", "-l0",
            "-c", 1000, "-b", 4096, LOOPBACK, port, need("popa3d")]


OURS, PREFORK, OURS_MBOX = "pop3d", "pop3d -m prefork", "pop3d, mbox"
ISOLATED, REUSED = "Dovecot, service_count = 1 (its default)", "Dovecot, service_count = 0"
POPA3D = "popa3d under tcpserver"
KINDS = [Kind(OURS, pop3d()), Kind(PREFORK, pop3d("-m", "prefork")), Kind(OURS_MBOX, pop3d_mbox, mail="mbox"),
         Kind(ISOLATED, dovecot(1, 0)), Kind(REUSED, dovecot(0, 2)), Kind(POPA3D, popa3d, has_tls=False, mail="mbox")]


class Server(Program):
    """A running server with its two ports; a context manager. `before` are words that start it."""

    def __init__(self, site, kind, before=()):
        self.port, self.tls = free_port(), free_port()
        argv = [*before, *kind.argv(site, self.port, self.tls)]
        super().__init__(argv, site.new("log"), name=kind.name)
        try:
            self.awaits(f"{kind.name} listens", lambda: bound("tcp", self.port)
                        and (not kind.has_tls or bound("tcp", self.tls)))
        except BaseException:
            self.kill()
            raise

    def pss(self):
        """KiB of PSS of all its processes."""
        return pss(self)
