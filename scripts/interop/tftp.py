"""tftpd beyond files that come and go: what it refuses, netascii on the wire, many at once."""

import os
import pty
import pwd
import signal
import socket
import struct
import time

from lib import LOOPBACK, add, at_once, check, same, test, wait_until
from lib.program import start
from tftp_clients import (CLIENTS, fetched, fresh, no_error, octets, puts, serve, stored,
                          text)


def complains(output):
    """The program says that it failed, by its exit status or in words."""
    check(output.code != 0 or "rror" in output.text or "not found" in output.text,
          f"{output.name} ended with 0 and complained of nothing: {output.text}")
    return output


def missing(fixture, client):
    begin = time.monotonic()
    local = fixture.folder("get") / "local"
    complains(client.get(fixture, fixture.tftpd.port, fresh(fixture, "missing"), local))
    check(time.monotonic() - begin < 3, "it took long to tell")
    check(not local.exists() or local.read_bytes() == b"", "there is a local file with something")


def refused(fixture, client):
    remote = fresh(fixture, "refused")
    begin = time.monotonic()
    complains(client.put(fixture, fixture.closed_tftpd.port, fixture.file("local", octets(2000)), remote))
    check(time.monotonic() - begin < 3, "it took long to tell")
    check(not (fixture.tftp_root / remote).exists(), "the upload is there")


def exists(fixture, client):
    name = serve(fixture, b"the old one")
    complains(client.put(fixture, fixture.keeping_tftpd.port, fixture.file("local", octets(2000)), name))
    same((fixture.tftp_root / name).read_bytes(), b"the old one", "file")


def replaces(fixture, client):
    name = serve(fixture, b"the old one" * 1000)
    (fixture.tftp_root / name).chmod(0o666)
    no_error(client.put(fixture, fixture.tftpd.port, fixture.file("local", octets(700)), name))
    same((fixture.tftp_root / name).read_bytes(), octets(700), "file")


def confined(fixture, client):
    outside = fixture.file("outside", b"secret", 0o644)
    outside.parent.chmod(0o755)
    link = fresh(fixture, "link")
    (fixture.tftp_root / link).symlink_to(outside)
    up = os.path.relpath(outside, fixture.tftp_root)
    for name in (up, f"{link}", f"sub/../{up}", str(outside)):
        local = fixture.folder("get") / "local"
        out = client.get(fixture, fixture.tftpd.port, name, local)
        check(not local.exists() or b"secret" not in local.read_bytes(), f"{name} was served")
        if client is not CLIENTS["curl"]:  # curl takes the dots out of its URL
            complains(out)


def below_a_folder(fixture, client):
    folder = fresh(fixture, "folder")
    (fixture.tftp_root / folder).mkdir(mode=0o755)
    serve(fixture, octets(1500), f"{folder}/a..b")
    same(fetched(fixture, client, f"{folder}/a..b"), octets(1500), "file")
    same(fetched(fixture, client, f"/{folder}/a..b"), octets(1500), "file by an absolute name")


def unreadable(fixture, client):
    name = serve(fixture, b"secret")
    (fixture.tftp_root / name).chmod(0)
    if fixture.is_root:
        os.chown(fixture.tftp_root / name, 0, 0)
    complains(client.get(fixture, fixture.tftpd.port, name, fixture.folder("get") / "local"))
    complains(client.get(fixture, fixture.tftpd.port, ".", fixture.folder("get") / "local"))


def again_at_once(fixture, client):
    name = fresh(fixture, "again")
    for size in (600, 512, 0, 1025):
        no_error(client.put(fixture, fixture.tftpd.port, fixture.file("local", octets(size)), name))
        same(fetched(fixture, client, name), octets(size), f"file of {size} octets")


for who, client in CLIENTS.items():
    add(f"{who}: a file that is missing: it says so at once, and has no file", missing, client)
    add(f"{who}: an upload to a server without --create is refused at once", refused, client)
    add(f"{who}: an upload over a file without --overwrite is refused, the old one stays",
        exists, client)
    add(f"{who}: with --overwrite the new file takes the place of the old one", replaces, client)
    add(f"{who}: ../, absolute names and symbolic links do not lead out of the root",
        confined, client)
    add(f"{who}: a name with a folder, with dots in it, with a leading slash", below_a_folder, client)
    add(f"{who}: an unreadable file and a folder are refused", unreadable, client)
    add(f"{who}: put and get of one name, four times in a row", again_at_once, client)


# netascii, as it is on the wire (RFC 764 by way of RFC 1350): LF is CR LF, CR is CR NUL.

UNIX = b"one\ntwo\n\nCR\rin a line\rCR LF\r\nend"
WIRE = b"one\r\ntwo\r\n\r\nCR\r\0in a line\r\0CR LF\r\0\r\nend"


@test("curl ;mode=netascii: shows the wire: LF went as CR LF, CR as CR NUL")
def wire_get(fixture):
    same(fetched(fixture, CLIENTS["curl"], serve(fixture, UNIX), "netascii"), WIRE, "wire")


@test("curl ;mode=netascii -T: CR LF on the wire is stored as LF, CR NUL as CR")
def wire_put(fixture):
    same(stored(fixture, CLIENTS["curl"], WIRE, "netascii"), UNIX, "file")


@test("curl ;mode=netascii: a pair of CR LF on the edge of every block, both ways")
def wire_edges(fixture):
    for shift in range(3):
        content = b"x" * (510 + shift) + b"\n" * 600 + b"\r" * 600 + b"y" * shift
        wire = content.replace(b"\r", b"\r\0").replace(b"\n", b"\r\n")
        same(fetched(fixture, CLIENTS["curl"], serve(fixture, content), "netascii"), wire, "wire")
        same(stored(fixture, CLIENTS["curl"], wire, "netascii"), content, "file")


@test("tftp-hpa, tftpc: a text with CR in it, ascii: put, then get, is the same")
def ascii_round(fixture):
    for who in ("tftp-hpa", "tftpc"):
        name = fresh(fixture, "ascii")
        client = CLIENTS[who]
        no_error(client.put(fixture, fixture.tftpd.port, fixture.file("local", UNIX), name, "netascii"))
        same((fixture.tftp_root / name).read_bytes(), UNIX, f"{who}: file")
        same(fetched(fixture, client, name, "netascii"), UNIX, f"{who}: file that came back")


# tftp-hpa's own prompt

def at_the_prompt(fixture, *lines):
    """Types lines at tftp-hpa's prompt."""
    return fixture.run("tftp", LOOPBACK, fixture.tftpd.port, stdin="\n".join([*lines, "quit", ""]).encode())


@test("tftp-hpa: two gets in a row from one prompt, one client port: both whole, and quickly")
def two_gets(fixture):
    names = [serve(fixture, octets(100_000)), serve(fixture, octets(70_000))]
    folder = fixture.folder("get")
    out = at_the_prompt(fixture, "binary", *[f"get {name} {folder}/{name}" for name in names])
    no_error(out)
    same((folder / names[0]).read_bytes(), octets(100_000), "the first")
    same((folder / names[1]).read_bytes(), octets(70_000), "the second")
    check(out.seconds < 3, f"it took {out.seconds:.1f} s")


@test("tftp-hpa: the same file twice from one prompt, one client port: both whole, and quickly")
def same_twice(fixture):
    name, folder = serve(fixture, octets(5000)), fixture.folder("get")
    out = no_error(at_the_prompt(fixture, "binary", f"get {name} {folder}/a", f"get {name} {folder}/b"))
    for copy in ("a", "b"):
        same((folder / copy).read_bytes(), octets(5000), copy)
    check(out.seconds < 3, f"it took {out.seconds:.1f} s")


@test("tftp-hpa: put, get, a missing one, get, put in ascii from one prompt")
def mixed(fixture):
    name, other, folder = fresh(fixture), fresh(fixture), fixture.folder("get")
    out = at_the_prompt(fixture, "binary", f"put {fixture.file('local', octets(3000))} {name}",
                        f"get {name} {folder}/a", "get not-there " + str(folder / "no"),
                        f"get {name} {folder}/b", "ascii",
                        f"put {fixture.file('local', text(3000))} {other}")
    out.says("Error code 1")
    for copy in ("a", "b"):
        same((folder / copy).read_bytes(), octets(3000), copy)
    same((fixture.tftp_root / other).read_bytes(), text(3000), "the text")
    check(out.seconds < 3, f"it took {out.seconds:.1f} s")


@test("atftp: two gets and a put from one prompt")
def atftp_prompt(fixture):
    name, other, folder = serve(fixture, octets(5000)), fresh(fixture), fixture.folder("get")
    local = fixture.file("local", octets(900))
    lines = [f"connect {LOOPBACK} {fixture.tftpd.port}", "mode octet", f"get {name} {folder}/a",
             f"get {name} {folder}/b", f"put {local} {other}", "quit", ""]
    fixture.run("atftp", stdin="\n".join(lines).encode()).good()
    for copy in ("a", "b"):
        same((folder / copy).read_bytes(), octets(5000), copy)
    same((fixture.tftp_root / other).read_bytes(), octets(900), "upload")


# Options of RFC 2347, and what was agreed upon as the log tells it.

def agreed(fixture, name, words):
    """The log says of a file that it went over with these options."""
    wait_until(f"the log tells of {name}, {words}", lambda: any(
        f'"{name}"' in line and words in line and "complete" in line
        for line in fixture.tftpd.log().splitlines()))


@test("atftp: blksize, tsize, timeout and windowsize asked for: the file is whole, either way")
def atftp_options(fixture):
    asked = [word for option in ("blksize 1428", "tsize", "timeout 2", "windowsize 4")
             for word in ("--option", option)]
    atftp, local = CLIENTS["atftp"], fixture.folder("get") / "local"
    name, other = serve(fixture, octets(100_000)), fresh(fixture)
    atftp.get(fixture, fixture.tftpd.port, name, local, "octet", *asked).good()
    same(local.read_bytes(), octets(100_000), "file")
    atftp.put(fixture, fixture.tftpd.port, local, other, "octet", *asked).good()
    same((fixture.tftp_root / other).read_bytes(), octets(100_000), "upload")
    for file in (name, other):
        for words in ("blksize=1428", "windowsize=4", "timeout=2", "tsize=100000"):
            agreed(fixture, file, words)


@test("tftpy: blksize from 8 to 65464 and tsize: the file is whole, either way")
def tftpy_options(fixture):
    tftpy = CLIENTS["tftpy"]
    for size, asked in ((3000, 8), (100_000, 1468), (100_000, 65464)):
        words = (f"blksize={asked}", "tsize=0")
        local, name, other = fixture.folder("get") / "local", serve(fixture, octets(size)), fresh(fixture)
        no_error(tftpy.get(fixture, fixture.tftpd.port, name, local, "octet", *words))
        same(local.read_bytes(), octets(size), "file")
        agreed(fixture, name, f"blksize={asked} tsize={size}")
        no_error(tftpy.put(fixture, fixture.tftpd.port, local, other, "octet", words[0]))
        same((fixture.tftp_root / other).read_bytes(), octets(size), "upload")
        agreed(fixture, other, words[0])


@test("busybox tftp -b 1024, curl --tftp-blksize 1024: the file is whole, either way")
def blksize(fixture):
    busybox, local = CLIENTS["busybox tftp"], fixture.folder("get") / "local"
    name, other = serve(fixture, octets(10_000)), fresh(fixture)
    busybox.get(fixture, fixture.tftpd.port, name, local, "octet", "-b", 1024).good()
    same(local.read_bytes(), octets(10_000), "file")
    busybox.put(fixture, fixture.tftpd.port, local, other, "octet", "-b", 1024).good()
    same((fixture.tftp_root / other).read_bytes(), octets(10_000), "upload")
    for words in (["--tftp-blksize", 1024], ["--tftp-no-options"]):
        out = fixture.run("curl", "-sS", *words, f"tftp://{LOOPBACK}:{fixture.tftpd.port}/{name}").good()
        same(out.stdout, octets(10_000), "curl's file")


# Many, and those that vanish

@test("curl: 24 files at once, gets and puts mixed, each its own")
def parallel(fixture):
    curl = CLIENTS["curl"]
    names = [serve(fixture, octets(50_000 + number)) for number in range(12)]
    jobs = [lambda n=n: same(fetched(fixture, curl, names[n]), octets(50_000 + n), names[n])
            for n in range(12)]
    jobs += [lambda n=n: puts(fixture, curl, octets(40_000 + n), "octet") for n in range(12)]
    at_once(jobs)


@test("curl: killed in the middle of an upload over a file: the old one stays, nothing else is left")
def killed(fixture):
    name = serve(fixture, b"the old one")
    (fixture.tftp_root / name).chmod(0o666)
    before = sorted(os.listdir(fixture.tftp_root))
    tftpd = fixture.hasty_tftpd
    with fixture.dialogue("curl", "-sS", "-T", "-", f"tftp://{LOOPBACK}:{tftpd.port}/{name}") as curl:
        curl.type(octets(100_000))
        wait_until("a child", tftpd.alive)
        curl.process.send_signal(signal.SIGKILL)
    wait_until("the child gives up", lambda: not tftpd.alive(), 20)
    same(sorted(os.listdir(fixture.tftp_root)), before, "names below the root")
    same((fixture.tftp_root / name).read_bytes(), b"the old one", "file")


@test("Python sockets: DATA comes from a fresh port; a stranger's packet gets ERROR 5")
def by_hand(fixture):
    name = serve(fixture, octets(700))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        sock.settimeout(5)
        stranger.settimeout(5)
        sock.sendto(b"\0\1" + name.encode() + b"\0OcTeT\0", (LOOPBACK, fixture.tftpd.port))
        data, peer = sock.recvfrom(2048)
        same(data, b"\0\3\0\1" + octets(700)[:512], "DATA 1")
        same(peer[0], LOOPBACK, "address of the answer")
        check(peer[1] != fixture.tftpd.port, "DATA came from the port of the service")
        stranger.sendto(struct.pack("!HH", 4, 1), peer)
        same(stranger.recv(512)[:4], b"\0\5\0\5", "answer to the stranger")
        sock.sendto(struct.pack("!HH", 4, 1), peer)
        same(sock.recv(2048), b"\0\3\0\2" + octets(700)[512:], "DATA 2")
        sock.sendto(struct.pack("!HH", 4, 2), peer)


@test("/proc: started by root tftpd serves as nobody, and its uploads are nobody's")
def dropped(fixture):
    name = fresh(fixture, "upload")
    CLIENTS["tftpc"].put(fixture, fixture.tftpd.port, fixture.file("local", b"x"), name).good()
    want = pwd.getpwnam("nobody").pw_uid if fixture.is_root else os.getuid()
    same((fixture.tftp_root / name).stat().st_uid, want, "owner of the upload")
    same(os.stat(f"/proc/{fixture.tftpd.pid}").st_uid, want, "uid of the daemon")


def on_terminal(fixture, *argv):
    """What a program shows on a terminal; it must end well."""
    terminal, its_end = pty.openpty()
    process = start(fixture.known(argv), env={**fixture.env, "TERM": "xterm"}, cwd=fixture.dir,
                    stdin=its_end, stdout=its_end, stderr=its_end)
    os.close(its_end)
    shown = b""
    try:
        while piece := os.read(terminal, 4096):
            shown += piece
    except OSError:
        pass  # EIO: nobody has the other end any more
    os.close(terminal)
    same(process.wait(), 0, "exit status")
    return shown.decode("utf-8", "replace")


@test("pty, tftpc: on a terminal a bar shows how much of how much has come; elsewhere, and with -q, "
      "nothing is said")
def progress_bar(fixture):
    data, size = octets(3 * 2**20), "of 3.00 MiB"
    name, local = serve(fixture, data), fixture.folder("get") / "local"
    argv = ["tftpc", "--blksize", "512", f"{LOOPBACK}:{fixture.tftpd.port}"]
    same(fixture.run(*argv, "get", name, local).good().text, "", "what it says to a pipe")
    same(on_terminal(fixture, *argv, "-q", "get", name, local), "", "what it says with -q")
    shown = on_terminal(fixture, *argv, "get", name, local)
    check(size in shown, f"no bar: {shown[-300:]}")
    same(local.read_bytes(), data, "file")
    shown = on_terminal(fixture, *argv, "put", local, fresh(fixture, "put"))
    check(size in shown, f"no bar: {shown[-300:]}")
    check(f"/{len(data)}" not in shown, f"another bar at first: {shown[:300]}")


@test("tftpc: a sparse file of more than 4 GiB comes to its last octet, with its size")
def sparse(fixture):
    name, size = fresh(fixture, "sparse"), 2**32 + 12_345
    with open(fixture.tftp_root / name, "wb") as file:
        file.truncate(size)
    (fixture.tftp_root / name).chmod(0o644)
    fixture.run("tftpc", "--blksize", 65464, "--windowsize", 64, "--tsize",
                f"tftp://{LOOPBACK}:{fixture.tftpd.port}/{name}", "/dev/null").good()
    wait_until("the log tells of it", lambda: f"{size} octets, 65609 blocks" in fixture.tftpd.log())
