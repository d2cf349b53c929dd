"""The whole run: what it says of its labs, and what it writes into them."""

import contextlib
import io
import os
import tempfile
import unittest
import unittest.mock
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import transcript

HERE = Path(__file__).resolve().parent


def script():
    """The program `run` as a module."""
    loader = SourceFileLoader("run_script", str(HERE / "run"))
    module = module_from_spec(spec_from_loader("run_script", loader))
    loader.exec_module(module)
    return module


def quietly(action, *arguments):
    """Its result, and what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as error:
        result = action(*arguments)
    return result, out.getvalue() + error.getvalue()


class Verdict(unittest.TestCase):
    """The end of a run."""

    def setUp(self):
        self.run = script()

    def verdict(self, *rows):
        return quietly(self.run.verdict, [self.run.Row("99-test", **row) for row in rows])

    def test_labs_that_hold(self):
        self.assertEqual(self.verdict({}, {})[0], 0)

    def test_one_that_failed_fails_the_run(self):
        status, text = self.verdict({}, {"failures": ["why"]})
        self.assertEqual(status, 1)
        self.assertIn("1 of 2 labs hold; failed: 99-test", text)

    def test_one_that_was_not_run_is_named_and_fails_the_run(self):
        status, text = self.verdict({}, {"not_run": "not here: telnet"})
        self.assertEqual(status, 1)
        self.assertIn("not run: 99-test", text)
        self.assertNotIn("failed", text)

    def test_one_that_was_not_run_is_allowed_where_that_is_asked_for(self):
        with unittest.mock.patch.dict(os.environ, NOT_RUN="allowed"):
            self.assertEqual(self.verdict({}, {"not_run": "not here: telnet"})[0], 0)
            self.assertEqual(self.verdict({"failures": ["why"]}, {"not_run": "not here: telnet"})[0], 1)

    def test_none_that_could_be_run_fails_the_run(self):
        with unittest.mock.patch.dict(os.environ, NOT_RUN="allowed"):
            self.assertEqual(self.verdict({"not_run": "not here: telnet"})[0], 1)


class Hindrance(unittest.TestCase):
    """What a lab needs and a machine lacks."""

    def test_a_tool_that_is_missing_is_named_with_its_package_and_the_lab_is_not_run(self):
        run = script()
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "99-test.md"
            path.write_text("# 99\n<!-- tools: telnet strace -->\n```console\n$ telnet\n```\n", encoding="utf-8")
            with unittest.mock.patch.object(run.tools, "SYSTEM_FOLDERS", ()), \
                    unittest.mock.patch.dict(os.environ, PATH=place):
                row = run.run(path)
        self.assertEqual(row.failures, [])
        self.assertIn("telnet (Debian: inetutils-telnet)", row.not_run)
        self.assertIn("strace (Debian: strace)", row.not_run)

    def test_a_machine_without_namespaces_runs_no_lab(self):
        run = script()
        with unittest.mock.patch.object(run, "hindrance", lambda: "namespaces are not allowed here"):
            self.assertIn("namespaces", run.run(sorted(run.LABS.glob("01-*.md"))[0]).not_run)


class Write(unittest.TestCase):
    """run --write."""

    def test_a_lab_holds_once_what_came_was_written(self):
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "99-test.md"
            path.write_text("""# 99 Test
<!-- prompt: ask> -->
```console
$ sleep 1000 &
$ echo one of 5; echo '$ no command'
one of 4
$ read -p 'ask> ' it
ask> 42
$ kill -0 $! && echo $it
```
After.
""", encoding="utf-8")
            self.assertEqual(quietly(transcript.take, path, True)[0], 1)
            text = path.read_text(encoding="utf-8")
            self.assertRegex(text, r"sleep 1000 &\n\[1\] \d{4,}\n")
            self.assertIn("\none of 5\n\\$ no command\n$ read", text)
            self.assertIn("\nask> 42\n$ kill -0 $! && echo $it\n42\n```\nAfter.\n", text)
            self.assertEqual(quietly(transcript.take, path, True), (0, ""))
            self.assertEqual(path.read_text(encoding="utf-8"), text)


if __name__ == "__main__":
    unittest.main()
