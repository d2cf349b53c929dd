"""CPU time of all processes of a server, by a control group of its own: what else the machine does counts little."""

import os
from pathlib import Path

# Where the kernel counts: version 1 has a hierarchy of its own for it, version 2 one for all.
PLACES = ((Path("/sys/fs/cgroup/cpuacct"), "cpuacct.usage"), (Path("/sys/fs/cgroup"), "cpu.stat"))
INTO_IT = 'echo $$ >"$0/cgroup.procs" && exec "$@"'


class CpuGroup:
    """A context manager; `words` start a program in the group. Without groups here, `seconds` is None."""

    serial = 0

    def __enter__(self):
        self.folder = self.counter = None
        CpuGroup.serial += 1
        for place, counter in PLACES:
            folder = place / f"forklore-bench.{os.getpid()}.{CpuGroup.serial}"
            try:
                folder.mkdir()
            except OSError:
                continue
            if (folder / counter).exists():
                self.folder, self.counter = folder, folder / counter
                break
            folder.rmdir()
        return self

    def __exit__(self, *_):
        if self.folder:
            try:
                self.folder.rmdir()
            except OSError:
                pass  # a process is still on its way out; an empty group costs nothing

    @property
    def words(self):
        return ["sh", "-c", INTO_IT, self.folder] if self.folder else []

    def seconds(self):
        if not self.counter:
            return None
        text = self.counter.read_text(encoding="ascii")
        return int(text.split()[1]) / 1e6 if text.startswith("usage_usec") else int(text) / 1e9
