"""tftpy as a command: tftpy_client.py get|put PORT REMOTE LOCAL [OPTION=VALUE]...

An option of RFC 2347 with a value: blksize=1468, tsize=0.
"""

import sys

import tftpy

HERE = "127.0.0.1"


def main(verb, port, remote, local, *options):
    asked = dict(option.split("=") for option in options)
    client = tftpy.TftpClient(HERE, int(port), {name: int(value) for name, value in asked.items()})
    if verb == "get":
        client.download(remote, local)
    else:
        client.upload(remote, local)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except tftpy.TftpException as why:
        sys.exit(f"tftpy: Error: {why}")
