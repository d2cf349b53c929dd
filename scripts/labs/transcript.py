"""The output that really comes, for those who write a lab."""

import sys

import lab as labs
from lab import Block
from room import Room, Trouble
from session import Session


def take(path, write):
    """Runs a lab to its end, whatever differs; prints its blocks, or writes them into the file."""
    try:
        lab = labs.read(path)
        with Room(user=lab.user) as room:
            outcome = Session(lab, room, look=True).run()
    except (labs.Unreadable, Trouble) as error:
        print(error, file=sys.stderr)
        return 1
    text = path.read_text(encoding="utf-8").splitlines()
    if write:
        for block in reversed([item for item in lab.items if isinstance(item, Block)]):
            text[block.line - 1:block.last] = rendered(lab, block, text, outcome, keep=True)
        path.write_text("\n".join(text) + "\n", encoding="utf-8")
    else:
        for item in lab.items:
            if isinstance(item, Block):
                print("\n".join(rendered(lab, item, text, outcome, keep=False)) + "\n")
    for failure in outcome.failures:
        print(failure, file=sys.stderr)
    if outcome.differing:
        lines = ", ".join(map(str, sorted(outcome.differing)))
        print(f"{path.name}: other output than shown came at lines {lines}", file=sys.stderr)
    return 1 if outcome.failures or outcome.differing else 0


def rendered(lab, block, text, outcome, keep):
    """A block's lines; with `keep`, steps that held keep what the author wrote."""
    lines = [text[block.line - 1]]
    for step in block.steps:
        if step.kind != "none":
            lines.append(text[step.line - 1])
        seen = outcome.transcript.get(step.line)
        held = step.line not in outcome.differing
        if seen is None or (keep and held):
            seen = step.expected
        if step.after == "text" and seen and seen[-1].strip() in lab.prompts:
            seen = seen[:-1]  # it stands before what is typed next
        lines += [escaped(line) for line in seen]
    return lines + [text[block.last - 1]]


def escaped(line):
    """An output line that would be taken for a typed one."""
    return "\\" + line if line[:1] in ("$", ">", "^", "\\") else line
