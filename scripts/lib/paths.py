"""Where the repository and the built programs are."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPTS = REPOSITORY / "scripts"
LOOPBACK = "127.0.0.1"
DAEMONS = ("echod", "pop3d", "smtpd", "tftpd")


def target() -> Path:
    """Cargo's folder."""
    return REPOSITORY / os.environ.get("CARGO_TARGET_DIR", "target")


def cargo_build(*words: str, **environment: str) -> None:
    """Builds; ends this program where that fails."""
    command = ["cargo", "build", "--locked", *words]
    env = {**os.environ, **environment}
    if subprocess.run(command, cwd=REPOSITORY, env=env, check=False).returncode != 0:
        sys.exit(" ".join(command) + " failed")


def programs(*build: str) -> Path:
    """The folder of the release programs: $BIN, or Cargo's, built with these words first."""
    if "BIN" in os.environ:
        return Path(os.environ["BIN"]).resolve()
    cargo_build("--release", *build)
    return target() / "release"
