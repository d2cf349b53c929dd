"""A lab as it is written: Markdown in, blocks and checks out.

The format is told in docs/labs/README.md, for those who write labs.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

DEADLINE = 10.0  # seconds that a step may take
WATCHDOG = 120.0  # seconds that a lab may take
FENCE = re.compile(r"```console(?: +(\S+))?\s*$")
COMMENT = re.compile(r"<!-- (\w+):\s*(.*?)\s*-->", re.DOTALL)
KEY = re.compile(r"\^[A-Z\\\]]$")


class Unreadable(Exception):
    """The Markdown is not as the format wants it."""


@dataclass
class Step:
    """Something typed, and what is then seen."""

    kind: str  # command, text, key; or none: the program goes on by itself
    typed: str
    line: int
    expected: list = field(default_factory=list)
    deadline: float = DEADLINE
    any_order: bool = False  # the lines of the output may come in any order
    prompt: str = ""  # of the program that it is typed to; the step before must have shown it
    after: str = ""  # kind of the terminal's next step, "" if there is none
    ends: bool = False  # the next thing is a command in the same terminal: this one must have ended


@dataclass
class Block:
    """A fenced block: some steps in one terminal."""

    terminal: str
    line: int
    last: int  # the closing fence
    steps: list = field(default_factory=list)


@dataclass
class Check:
    """A command that must succeed at this place."""

    command: str
    line: int
    deadline: float = DEADLINE


@dataclass
class Lab:
    """One file of docs/labs."""

    path: Path
    title: str = ""
    tools: set = field(default_factory=set)  # other people's programs that it types
    fixed: set = field(default_factory=set)
    prompts: list = field(default_factory=list)
    watchdog: float = WATCHDOG
    user: str = "root"  # who types it, in the room
    items: list = field(default_factory=list)

    @property
    def name(self):
        """As in `03-zombies`."""
        return self.path.stem

    @property
    def number(self):
        """As in `03`."""
        return self.name.split("-")[0]

    def steps(self):
        """All steps with their terminals, in their order."""
        return [(block.terminal, step) for block in self.items if isinstance(block, Block)
                for step in block.steps]


def read(path):
    """Reads a lab from its file."""
    return parse(Path(path), Path(path).read_text(encoding="utf-8"))


def parse(path, text):
    """Makes a lab of its text."""
    lab = Lab(path)
    deadline, any_order = DEADLINE, False
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        line = lines[at]
        fence = FENCE.match(line)
        if fence:
            block, at = _block(lab, fence.group(1) or "", lines, at)
            for step in block.steps:
                step.deadline, step.any_order = deadline, any_order
            lab.items.append(block)
            deadline, any_order = DEADLINE, False
        elif line.startswith("```"):
            at = _closing(path, lines, at) + 1
        elif line.startswith("<!-- "):
            start = at
            while "-->" not in lines[at]:
                at += 1
                if at == len(lines):
                    raise Unreadable(f"{path}:{start + 1}: a comment without an end")
            at += 1
            word, value = _comment(path, "\n".join(lines[start:at]), start + 1)
            if word == "deadline":
                deadline = _number(path, value, start + 1)
            elif word == "order":
                any_order = value == "any"
            elif word == "check":
                lab.items.append(Check(value, start + 1, deadline))
                deadline = DEADLINE
            else:
                _header(lab, word, value, start + 1)
        else:
            if not lab.title and line.startswith("# "):
                lab.title = line[2:].strip()
            at += 1
    _link(lab)
    return lab


def _closing(path, lines, start):
    for at in range(start + 1, len(lines)):
        if lines[at].rstrip() == "```":
            return at
    raise Unreadable(f"{path}:{start + 1}: a fence without an end")


def _comment(path, text, line):
    found = COMMENT.fullmatch(text)
    return (found.group(1), found.group(2)) if found else ("", text)


def _number(path, value, line):
    try:
        return float(value)
    except ValueError:
        raise Unreadable(f"{path}:{line}: {value!r} is no number of seconds") from None


def _header(lab, word, value, line):
    if word == "tools":
        lab.tools |= set(value.split())
    elif word == "fixed":
        lab.fixed |= set(value.split())
    elif word == "prompt":
        lab.prompts.append(value)
    elif word == "user":
        if value not in ("root", "ordinary"):
            raise Unreadable(f"{lab.path}:{line}: a room's user is root or ordinary")
        lab.user = value
    elif word == "watchdog":
        lab.watchdog = _number(lab.path, value, line)
    elif word:
        raise Unreadable(f"{lab.path}:{line}: the format knows no '{word}:'")


def _typed(lab, line):
    """Kind and text of a line that is typed, and the prompt of a program before it."""
    if line == "$" or line.startswith("$ "):
        return "command", line[2:], ""
    if line == ">" or line.startswith("> "):
        return "text", line[2:], ""
    if KEY.match(line):
        return "key", line, ""
    for prompt in lab.prompts:
        if line.startswith(prompt + " "):
            return "text", line[len(prompt) + 1:], prompt
    return None


def _block(lab, terminal, lines, start):
    end = _closing(lab.path, lines, start)
    block = Block(terminal, start + 1, end + 1)
    for at in range(start + 1, end):
        line = lines[at]
        typed = _typed(lab, line)
        if typed:
            kind, text, prompt = typed
            if kind == "command" and not text:
                continue  # a bare prompt at the end of a transcript
            block.steps.append(Step(kind, text, at + 1, prompt=prompt))
        else:
            if re.match(r"\\[$>^\\]", line):
                line = line[1:]
            _before(block, at).expected.append(line)
    return block, end + 1


def _before(block, at):
    """The step that output in this place belongs to."""
    if not block.steps:
        block.steps.append(Step("none", "", at + 1))
    return block.steps[-1]


def _link(lab):
    """Tells each step what comes next in its terminal."""
    last, before = {}, None
    for terminal, step in lab.steps():
        if terminal in last:
            last[terminal].after = step.kind
            last[terminal].ends = step.kind == "command" and before is last[terminal]
        if step.prompt:
            if terminal not in last:
                raise Unreadable(f"{lab.path}:{step.line}: no program is there to show '{step.prompt}'")
            last[terminal].expected.append(step.prompt)
        last[terminal] = before = step
