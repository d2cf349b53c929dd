"""A temporary folder of a run, with its files and folders."""

import os
import shutil
import tempfile
import threading
from pathlib import Path


class Folder:
    """A context manager that leaves nothing behind; `dir` is the folder, in `parent` or where temporary folders are,
    which every user may enter."""

    def __init__(self, purpose: str, parent: str | None = None) -> None:
        self.is_root = os.geteuid() == 0
        self.serial, self.lock = 0, threading.RLock()  # some runs do several things at once
        self.dir = Path(tempfile.mkdtemp(prefix=f"forklore-{purpose}.", dir=parent))
        self.dir.chmod(0o755)

    def __enter__(self) -> "Folder":
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.dir, ignore_errors=True)

    def number(self) -> int:
        """A number that was not given out before."""
        with self.lock:
            self.serial += 1
            return self.serial

    def new(self, stem: str) -> Path:
        """A path that was not given out before."""
        return self.dir / f"{stem}.{self.number()}"

    def folder(self, stem: str) -> Path:
        """A new folder."""
        path = self.new(stem)
        path.mkdir()
        return path

    def file(self, stem: str, content: bytes | str, mode: int = 0o600) -> Path:
        """A new file of this name, in a folder of its own."""
        path = self.folder("file") / stem
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        return path
