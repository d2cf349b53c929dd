"""A lab that lacks a part is found out."""

import unittest
from pathlib import Path

import lab as labs
import shape

WHOLE = """# 99 A test

**Aim.** To see.

**Read.** A slide.

```console
$ true
```

## Questions

1. Why?

<details>

1. So.

</details>

## Task

Do it.
"""
INDEX = "| 99 | [a test](99-test.md) | |\n"


class Shape(unittest.TestCase):
    """The parts of a lab."""

    def complaints(self, text, task="a task", index=INDEX):
        return shape.missing(labs.parse(Path("99-test.md"), text), text, task, index)

    def test_a_whole_lab(self):
        self.assertEqual(self.complaints(WHOLE), [])

    def test_each_part_is_missed(self):
        for part in ("# 99 A", "**Aim.**", "**Read.**", "```console\n$ true", "## Questions", "<details>", "## Task"):
            self.assertEqual(len(self.complaints(WHOLE.replace(part, part[:3] + "x", 1))), 1, part)
        self.assertEqual(len(self.complaints(WHOLE, task=None)), 1)
        self.assertEqual(len(self.complaints(WHOLE, index="")), 1)

    def test_a_tool_that_is_typed_has_to_be_named(self):
        self.assertEqual(len(self.complaints(WHOLE.replace("$ true", "$ cat x | telnet 127.0.0.1"))), 1)
        self.assertEqual(len(self.complaints(WHOLE + "<!-- check: test $(ss -Htn | wc -l) = 1 -->\n")), 1)
        named = WHOLE.replace("$ true", "$ telnet").replace("**Aim", "<!-- tools: telnet -->\n\n**Aim")
        self.assertEqual(self.complaints(named), [])
        self.assertEqual(len(self.complaints(named.replace("tools: telnet", "tools: telnet sometool"))), 1)


if __name__ == "__main__":
    unittest.main()
