"""The walls of a lab's room: which part of the disk it sees, whose rights it has, where its processes end.

Three steps, because what one user namespace has mounted, a user namespace below it cannot take away:
  1. a mount namespace with a root of its own, made of read-only views (root makes it as root, and becomes an
     ordinary user afterwards; an ordinary user makes it in a user namespace);
  2. user, process, IPC and host name namespaces, and the /proc that belongs to them;
  3. a user namespace for the room, with its network. Root in it is an ordinary user everywhere else, and
     every mount of the steps before is locked: solutions cannot be uncovered, nothing becomes writable.
Needs Linux 5.12 (mount_setattr).
"""

import ctypes
import fcntl
import os
import resource
import signal
import socket
import struct
import sys

ROOM_UID = 60900  # who root becomes; a number that neither Debian nor systemd gives to anybody
ORDINARY_UID = 1000  # who a lab's ordinary user is in the room
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18
MNT_DETACH = 2
SYS_MOUNT_SETATTR = 442  # the same on every architecture
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID = 1, 2
PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
SIOCSIFFLAGS, IFF_UP = 0x8914, 1

# What of the disk is seen, read-only. Homes, /root, /var and /tmp are not.
SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr", "/etc", "/opt", "/nix", "/gnu", "/sys")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
# What can be written, in memory: path, mode, size.
WRITABLE = (("/lab", 0o755, "256m"), ("/home/student", 0o755, "64m"), ("/tmp", 0o1777, "256m"),
            ("/var/tmp", 0o1777, "16m"), ("/run", 0o755, "16m"), ("/dev/shm", 0o1777, "64m"))
FIRST_PID = 20000  # five digits: a lab's text may show any process id, and none is a port or a size
FORKED_PID = 1000  # where the first process id cannot be chosen

libc = ctypes.CDLL(None, use_errno=True)


class Refused(Exception):
    """The kernel does not allow a step."""


def call(what, result):
    """Raises the error of a C call that failed."""
    if result != 0:
        raise Refused(f"{what}: {os.strerror(ctypes.get_errno())}")


def unshare(flags):
    """unshare(2)."""
    call("unshare", libc.unshare(flags))


def mount(source, target, kind=None, flags=0, options=None):
    """mount(2)."""
    words = [word.encode() if word is not None else None for word in (source, target, kind)]
    call(f"mount {target}", libc.mount(*words, ctypes.c_ulong(flags), options.encode() if options else None))


def read_only(path):
    """Makes a mount and all below it read-only, without set-user-ID."""
    attributes = struct.pack("QQQQ", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, 0, 0, 0)
    call(f"mount_setattr {path} (Linux 5.12)", libc.syscall(
        ctypes.c_long(SYS_MOUNT_SETATTR), ctypes.c_long(AT_FDCWD), path.encode(), ctypes.c_long(AT_RECURSIVE),
        attributes, ctypes.c_long(len(attributes))))


def pivot_root(new, old):
    """pivot_root(2)."""
    call("pivot_root", libc.pivot_root(new.encode(), old.encode()))


def map_root_to(uid, gid, inside=0):
    """Makes the process root of its new user namespace, or another user there, who is `uid` outside."""
    for name, text in (("setgroups", "deny"), ("uid_map", f"{inside} {uid} 1"), ("gid_map", f"{inside} {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def can_become(uid):
    """Whether this is a root to whom another user id is one of many: root of a machine or of a container."""
    if os.geteuid() != 0:
        return False
    with open("/proc/self/uid_map", encoding="ascii") as ranges:
        return any(int(first) <= uid < int(first) + int(count)
                   for first, _, count in map(str.split, ranges))


# --- 1. the view of the disk ------------------------------------------------------------------------
class View:
    """The root folder to be, at /new; the old one is at /old."""

    def __init__(self, owner):
        self.owner = owner  # user and group of what can be written
        mount("none", "/", flags=MS_REC | MS_PRIVATE)
        mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=4m")
        os.mkdir("/tmp/old")
        pivot_root("/tmp", "/tmp/old")
        os.chdir("/")
        for folder in ("/new", "/nothing"):
            os.mkdir(folder)
        with open("/nothing.file", "w", encoding="ascii"):
            pass
        mount("tmpfs", "/new", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=4m")
        self.shown = []

    def show(self, path, at=None, writable=False):
        """A path of the disk, as far as it is there; read-only."""
        old, new = f"/old{path}", f"/new{at or path}"
        if os.path.islink(old):
            os.symlink(os.readlink(old), new)
        elif os.path.isdir(old) and (at or not any(path == seen or path.startswith(seen + "/")
                                                   for seen in self.shown)):
            os.makedirs(new, exist_ok=True)
            mount(old, new, flags=MS_BIND | MS_REC)
            if not writable:
                read_only(new)
            self.shown.append(at or path)

    def hide(self, path):
        """Puts an empty file or folder over a path, if there is one."""
        new = f"/new{path}"
        if os.path.lexists(new) and not os.path.islink(new):
            mount("/nothing" if os.path.isdir(new) else "/nothing.file", new, flags=MS_BIND)
            read_only(new)

    def write(self, path, mode, size):
        """An empty folder in memory, which can be written."""
        uid, gid = self.owner
        os.makedirs(f"/new{path}", exist_ok=True)
        mount("tmpfs", f"/new{path}", "tmpfs", MS_NOSUID | MS_NODEV,
              f"mode={mode:o},size={size},uid={uid},gid={gid}")

    def devices(self):
        """A /dev with no disk in it."""
        for folder in ("/new/dev/pts", "/new/dev/shm"):
            os.makedirs(folder)
        for name in DEVICES:
            with open(f"/new/dev/{name}", "w", encoding="ascii"):
                pass
            mount(f"/old/dev/{name}", f"/new/dev/{name}", flags=MS_BIND)
        for name, target in (("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd"), ("stdin", "fd/0"),
                             ("stdout", "fd/1"), ("stderr", "fd/2")):
            os.symlink(target, f"/new/dev/{name}")

    def finish(self):
        """Makes it the root folder, and lets go of the old one."""
        os.makedirs("/new/proc", exist_ok=True)
        mount("/old/proc", "/new/proc", flags=MS_BIND | MS_REC)
        attributes = struct.pack("QQQQ", MOUNT_ATTR_RDONLY, 0, 0, 0)
        call("mount_setattr /", libc.syscall(
            ctypes.c_long(SYS_MOUNT_SETATTR), ctypes.c_long(AT_FDCWD), b"/new", ctypes.c_long(0), attributes,
            ctypes.c_long(len(attributes))))
        os.chdir("/new")
        pivot_root(".", ".")
        call("umount", libc.umount2(b".", MNT_DETACH))
        os.chdir("/")


def make_view(config, owner):
    """Everything that a room sees. Paths of `config` are absolute and without symbolic links."""
    view = View(owner)
    for path in SYSTEM:
        view.show(path)
    view.devices()
    for path, mode, size in WRITABLE:
        if path != "/lab" or not config.get("folder"):
            view.write(path, mode, size)
    if config.get("folder"):
        view.show(config["folder"], at="/lab", writable=True)
    for path in config["show"]:
        view.show(path)
    for path, at in config["show_at"]:
        view.show(path, at=at)
    for path in config["hide"]:
        view.hide(path)
    view.finish()


# --- 2. and 3. the namespaces -----------------------------------------------------------------------
def first_pid():
    """Lets process ids begin with five digits."""
    first = FIRST_PID + int.from_bytes(os.urandom(2), "big") % 8000
    try:
        with open("/proc/sys/kernel/ns_last_pid", "w", encoding="ascii") as file:
            file.write(str(first))
    except OSError:
        while (child := os.fork()) < FORKED_PID:
            os.waitpid(child, 0) if child else os._exit(0)


def loopback_up():
    """ip link set lo up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def die_with_parent():
    """SIGKILL when the process that forked this one has ended."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def enter(config):
    """Goes into a new room. Returns in its process 1; the caller's process waits for that and exits as it does."""
    uid, gid = os.geteuid(), os.getegid()
    if can_become(config["uid"]):
        unshare(CLONE_NEWNS)
        make_view(config, (config["uid"], config["gid"]))
        uid, gid = config["uid"], config["gid"]
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # or /proc/self would still be root's
    else:
        unshare(CLONE_NEWUSER | CLONE_NEWNS)
        map_root_to(uid, gid)
        make_view(config, (0, 0))
        uid, gid = 0, 0
    unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS)
    map_root_to(uid, gid)
    die_with_parent()
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        os._exit(1 if status else 0)
    die_with_parent()
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV)
    socket.sethostname("lab")
    first_pid()
    unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET)
    map_root_to(0, 0)
    die_with_parent()
    mount("devpts", "/dev/pts", "devpts", MS_NOSUID, "newinstance,ptmxmode=0666,mode=0620")
    loopback_up()
    if config["user"] == "ordinary":
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", "w", encoding="ascii") as file:
            file.write("0")
        unshare(CLONE_NEWUSER)
        map_root_to(0, 0, ORDINARY_UID)
        die_with_parent()
    limits(config)


def limits(config):
    """What all processes of the room together, and each of them, may take."""
    for what, most in ((resource.RLIMIT_NPROC, config["processes"]), (resource.RLIMIT_FSIZE, config["file_size"]),
                       (resource.RLIMIT_CPU, config["cpu"])):
        _, hard = resource.getrlimit(what)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))
    if not config["nested"]:
        try:
            with open("/proc/sys/user/max_user_namespaces", "w", encoding="ascii") as file:
                file.write("0")
        except OSError as error:
            raise Refused(f"/proc/sys/user/max_user_namespaces: {error.strerror}") from None


def main():
    """Tries whether a room can be made: says why not and ends with 1, or ends with 0."""
    try:
        enter({"uid": ROOM_UID, "gid": ROOM_UID, "show": [], "show_at": [], "hide": [], "processes": 100,
               "file_size": 1 << 20, "cpu": 60, "nested": False, "user": "root"})
    except (Refused, OSError) as error:
        print(error, flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
