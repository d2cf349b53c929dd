"""Other people's programs that a lab types, and where Debian has them."""

import os
import re
import shutil

PACKAGES = {
    "cargo": "cargo, or https://rustup.rs", "cc": "gcc libc6-dev", "dig": "bind9-dnsutils", "free": "procps", "gdb": "gdb", "ip": "iproute2",
    "iptables": "iptables", "nc": "netcat-openbsd", "netstat": "net-tools", "od": "coreutils",
    "openbsd-inetd": "openbsd-inetd", "pgrep": "procps", "pkill": "procps", "ps": "procps", "python3": "python3",
    "rustc": "rustc, or https://rustup.rs", "script": "bsdutils", "socat": "socat", "ss": "iproute2",
    "strace": "strace", "sysctl": "procps", "systemd-socket-activate": "systemd", "tcpdump": "tcpdump",
    "telnet": "inetutils-telnet", "tftp": "tftp-hpa",
    "unshare": "util-linux", "nsenter": "util-linux", "xinetd": "xinetd",
}
# Not every PATH has these.
SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def package_of(tool):
    """Where to get a tool, in brackets behind its name."""
    return f"Debian: {PACKAGES[tool]}" if tool in PACKAGES else "no package is known"


def missing(tools, path=None):
    """Those that are not here, as `telnet (Debian: inetutils-telnet)`."""
    folders = path if path is not None else os.pathsep.join([os.environ.get("PATH", ""), *SYSTEM_FOLDERS])
    return [f"{tool} ({package_of(tool)})" for tool in sorted(tools) if not shutil.which(tool, path=folders)]


def typed(commands):
    """Tools of the table that stand in commands at a command's place."""
    name = "|".join(map(re.escape, sorted(PACKAGES, key=len, reverse=True)))
    place = re.compile(rf"(?:^|[;|&(]|\$\(|\b(?:exec|timeout \S+|sudo|watch|then|do|if|!)\s)\s*({name})(?![\w./-])")
    return {found for command in commands for line in command.split("\n") for found in place.findall(line)}
