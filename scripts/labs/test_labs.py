"""A lab that tells the truth holds, and one that does not fails."""

import os
import subprocess
import sys
import textwrap
import unittest
from pathlib import Path

import lab as labs
from judge import until
from room import Room
from session import Session


def hold(text, watchdog=60):
    """The failures of a lab of this text."""
    lab = labs.parse(Path("99-test.md"), textwrap.dedent(text))
    lab.watchdog = watchdog
    for _, step in lab.steps():
        step.deadline = min(step.deadline, 30)
    with Room() as room:
        outcome = Session(lab, room).run()
    return outcome


class Labs(unittest.TestCase):
    """Each test is a lab."""

    def holds(self, text, steps):
        outcome = hold(text)
        self.assertEqual(outcome.failures, [])
        self.assertEqual(outcome.steps, steps)

    def fails(self, text, why):
        outcome = hold(text)
        self.assertEqual(len(outcome.failures), 1, outcome)
        self.assertIn(why, outcome.failures[0])

    def test_what_is_really_seen_holds(self):
        self.holds("""
            # A title
            ```console
            $ printf 'a\\nb'
            a
            b
            $ false
            $ echo $?
            1
            ```
            <!-- check: test -z "$(ls)" -->
            """, 3)

    def test_a_wrong_count_fails(self):
        self.fails("""
            <!-- deadline: 1 -->
            ```console
            $ echo 5 zombies
            4 zombies
            ```
            """, "> 5 zombies")

    def test_a_missing_line_fails(self):
        self.fails("""
            <!-- deadline: 1 -->
            ```console
            $ printf 'a\\n'
            a
            b
            ```
            """, "99-test.md:4: \"printf 'a\\\\n'\"")

    def test_a_line_that_the_lab_does_not_show_fails(self):
        self.fails("""
            <!-- deadline: 1 -->
            ```console
            $ printf 'a\\nb\\n'
            a
            ```
            """, "b")

    def test_output_is_compared_when_it_is_complete(self):
        self.fails("""
            <!-- deadline: 1 -->
            ```console
            $ bash -c 'for i in 1 2 3; do echo $i; done'
            1
            ```
            ```console other
            $ true
            ```
            """, "> 2")

    def test_output_that_comes_after_all_was_seen_fails(self):
        self.fails("""
            ```console one
            $ cat; echo late
            ^D
            ```
            ```console two
            $ true
            $ sleep 0.3
            ```
            """, "late")

    def test_a_pid_that_is_not_the_one_shown_before_fails(self):
        self.holds("""
            ```console
            $ sleep 1000 &
            [1] 4711
            $ ps -o pid= -C sleep
            4711
            $ kill 4711
            ```
            """, 3)
        self.fails("""
            <!-- deadline: 1 -->
            ```console
            $ sleep 1000 & sleep 1000 &
            [1] 4711
            [2] 4712
            $ echo $!
            4711
            ```
            """, "echo $!")

    def test_a_program_that_does_not_end_fails(self):
        self.fails("""
            <!-- deadline: 1 -->
            ```console
            $ echo a; sleep 1000
            a
            $ echo b
            b
            ```
            """, "not ended after 1 seconds")

    def test_a_program_that_has_ended_takes_no_more_text(self):
        self.fails("""
            ```console
            $ echo a
            a
            > text
            ```
            """, "no program is there any more")

    def test_a_check_that_fails_fails_the_lab(self):
        self.fails("""
            ```console
            $ echo a >file
            ```
            <!-- deadline: 1 -->
            <!-- check: echo the file has; cat file; grep b file -->
            """, "the check ends with 1")

    def test_a_check_that_hangs_fails_the_lab(self):
        self.fails("""
            ```console
            $ true
            ```
            <!-- deadline: 1 -->
            <!-- check: sleep 1000 -->
            """, "the check does not end")

    def test_a_check_waits_until_it_is_true(self):
        self.holds("""
            ```console
            $ (sleep 0.5; echo x >file) &
            [1] 4711
            ```
            <!-- check: test -s file -->
            """, 1)

    def test_a_command_that_looks_waits_until_it_sees(self):
        self.holds("""
            ```console
            $ (sleep 0.5; echo x >file) &
            [1] 4711
            $ ls
            file
            ```
            """, 2)

    def test_terminals_live_beside_each_other(self):
        self.holds("""
            ```console reader
            $ mkfifo pipe; cat <pipe
            ```
            ```console writer
            $ cat >pipe
            > hello
            ```
            ```console reader
            hello
            ```
            ```console writer
            ^D
            $ X=here
            ```
            ```console reader
            $ echo back ${X:-there}
            back there
            ```
            """, 7)

    def test_a_programs_prompt_is_part_of_what_is_seen(self):
        text = """
            <!-- prompt: ask> -->
            <!-- deadline: 2 -->
            ```console
            $ read -p 'PROMPT' answer
            ask> 42
            $ echo $answer
            42
            ```
            """
        self.holds(text.replace("PROMPT", "ask> "), 3)
        self.holds(text.replace("PROMPT", "ask> ").replace("ask> 42", "```\n\n            ```console\n            ask> 42"), 3)
        self.fails(text.replace("PROMPT", "say> "), "> ask>")

    def test_keys_reach_the_program(self):
        self.holds("""
            ```console
            $ sleep 1000
            ^C
            $ echo $?
            130
            $ cat
            > a
            a
            ^Z
            [1]+  Stopped                 cat
            ```
            """, 6)

    def test_sigpipe_is_not_ignored_in_a_lab(self):
        self.holds("""
            ```console
            $ yes | true; echo ${PIPESTATUS[0]}
            141
            ```
            """, 1)

    def test_the_watchdog_ends_a_lab(self):
        outcome = hold("""
            ```console
            $ sleep 1000
            $ true
            ```
            """, watchdog=1)
        self.assertEqual(len(outcome.failures), 1)

    def test_a_look_that_must_show_nothing_is_repeated_until_it_does(self):
        self.holds("""
            ```console a
            $ touch file
            $ (bash -c 'sleep 1; rm file' &)
            ```
            ```console b
            $ ls
            ```
            ```console a
            $ true
            ```
            """, 4)

    def test_nothing_outlives_a_lab(self):
        token = f"forklore-outlives-{os.getpid()}"
        self.holds(f"""
            ```console
            $ (setsid bash -c 'exec -a {token} sleep 1000' &)
            $ pgrep -fc '^{token}'
            1
            ```
            """, 2)
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                self.assertFalse(entry.read_bytes().startswith(token.encode()))
            except OSError:
                pass


    def test_a_room_is_gone_when_who_made_it_was_killed(self):
        code = "import time, room; r = room.Room().__enter__(); print(r.place, flush=True); time.sleep(1000)"
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, encoding="utf-8",
                              cwd=Path(__file__).parent) as maker:
            place = Path(maker.stdout.readline().strip())
            self.assertTrue(place.is_dir())
            maker.kill()
        self.assertTrue(until(lambda: not place.exists(), 60))


class Text(unittest.TestCase):
    """What the format refuses."""

    def refused(self, text):
        with self.assertRaises(labs.Unreadable):
            labs.parse(Path("99-test.md"), text)

    def test_unknown_headers_and_open_fences(self):
        self.refused("<!-- neds: netns -->")
        self.refused("```console\n$ true\n")
        self.refused("<!-- deadline: soon -->")
        self.refused("<!-- check: true\n")

    def test_other_comments_and_blocks_are_left_alone(self):
        lab = labs.parse(Path("99-test.md"), "# T\n<!-- a remark -->\n```text\n$ false\n```\n")
        self.assertEqual((lab.title, lab.items), ("T", []))


if __name__ == "__main__":
    unittest.main()
