"""A task whose check does not tell the starter from the solution is found out."""

import tempfile
import unittest
from pathlib import Path

from tasks import Broken, Task


class Tasks(unittest.TestCase):
    """The check of each test is a shell script that judges a file by its text."""

    def prove(self, check):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "99-test"
            folder.mkdir()
            folder.parent.chmod(0o755)
            (folder / "starter.txt").write_text("begin\n", encoding="ascii")
            (folder / "solution.txt").write_text("begin end\n", encoding="ascii")
            (folder / "check").write_text(f"#!/bin/sh\n{check}\n", encoding="ascii")
            (folder / "check").chmod(0o755)
            return Task(folder).prove()

    def test_a_check_that_tells_one_from_the_other(self):
        self.assertEqual(self.prove('echo judged; grep -q end "$1"'), [])

    def test_a_check_that_accepts_everything(self):
        self.assertIn("accepts the starter", self.prove("echo fine")[0])

    def test_a_check_that_refuses_everything(self):
        self.assertIn("refuses the solution", self.prove("echo no; exit 1")[0])

    def test_a_check_that_was_killed_has_not_accepted(self):
        self.assertIn("killed by signal 9", "".join(self.prove("echo accepted: fine; kill -9 $$")))

    def test_a_check_whose_tools_are_missing_judges_nothing(self):
        self.assertEqual(len(self.prove("# none\n# tools: no-such-tool\necho fine")), 2)
        self.assertIn("no-such-tool", self.prove("# none\n# tools: no-such-tool\necho fine")[0])

    def test_starters_that_are_refused_for_other_faults(self):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "99-test"
            folder.mkdir()
            for name in ("starter", "solution"):
                (folder / f"{name}.py").write_text(f"print('{name}')\n", encoding="ascii")
                (folder / f"{name}.sh").write_text(f"#!/bin/sh\necho {name} sh\n", encoding="ascii")
                (folder / f"{name}.sh").chmod(0o755)
            (folder / "check").write_text("#!/bin/sh\nx=$($1)\necho not yet: $x\n"
                                          "case $x in solution*) exit 0; esac; exit 1\n", encoding="ascii")
            (folder / "check").chmod(0o755)
            self.assertIn("have other faults", "".join(Task(folder).prove()))

    def test_a_check_that_breaks_down_refuses_nothing(self):
        self.assertEqual(len(self.prove("echo oh; exit 3")), 2)
        self.assertEqual(len(self.prove("exit 1")), 2)

    def test_a_folder_without_a_check_is_no_task(self):
        with tempfile.TemporaryDirectory() as place, self.assertRaises(Broken):
            Task(place)


if __name__ == "__main__":
    unittest.main()
