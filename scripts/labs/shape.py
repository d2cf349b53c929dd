"""What every lab of the course has: docs/labs/README.md, "How to write a lab"."""

from lab import Check
from tools import PACKAGES, typed

PARTS = ("**Aim.**", "**Read.**", "## Questions", "<details>", "## Task")


def missing(lab, text, task, index):
    """What a lab lacks, a line each. `index` is the text of the course's README."""
    complaints = []
    if not lab.title.startswith(f"{lab.number} "):
        complaints.append(f"its title does not begin with {lab.number}")
    at = -1
    for part in PARTS:
        found = text.find(f"\n{part}")
        if found < 0:
            complaints.append(f"it has no '{part}'")
        elif found < at:
            complaints.append(f"'{part}' stands too early")
        at = max(at, found)
    if not lab.steps():
        complaints.append("there is nothing to run in it")
    needed = typed([step.typed for _, step in lab.steps() if step.kind == "command"]
                   + [item.command for item in lab.items if isinstance(item, Check)])
    if needed - lab.tools:
        complaints.append(f"it types programs that '<!-- tools: -->' does not name: {' '.join(sorted(needed - lab.tools))}")
    if lab.tools - set(PACKAGES):
        complaints.append(f"scripts/labs/tools.py knows no package of: {' '.join(sorted(lab.tools - set(PACKAGES)))}")
    if task is None:
        complaints.append("it has no task in docs/labs/tasks")
    if f"]({lab.path.name})" not in index:
        complaints.append("docs/labs/README.md does not name it")
    return [f"{lab.path.name}: {complaint}" for complaint in complaints]
