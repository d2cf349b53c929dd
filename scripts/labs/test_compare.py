"""What counts as the same output."""

import unittest

from compare import Numbers, lines_fit, lines_fit_in_any_order


def fits(expected, seen, fixed=(), known=None):
    numbers = Numbers(fixed)
    numbers.real.update(known or {})
    return lines_fit(expected.splitlines(), seen.splitlines(), numbers)


class Compare(unittest.TestCase):
    """Line by line."""

    def same(self, *arguments, **named):
        self.assertIsNotNone(fits(*arguments, **named), arguments)

    def differ(self, *arguments, **named):
        self.assertIsNone(fits(*arguments, **named), arguments)

    def test_counts_are_compared(self):
        self.same("5 zombies", "5 zombies")
        self.differ("5 zombies", "4 zombies")
        self.differ("5 zombies", "15 zombies")

    def test_every_line_must_be_there_and_no_more(self):
        self.differ("a\nb", "a")
        self.differ("a", "a\nb")
        self.differ("", "a")

    def test_blanks_between_words_do_not_count_but_their_being_there_does(self):
        self.same("LISTEN 0 128", "LISTEN  0      128   ")
        self.differ("ab", "a b")

    def test_an_ellipsis_stands_for_anything_in_its_line_only(self):
        self.same("220 … ESMTP", "220 red.test smtpd ESMTP")
        self.same("a … b", "a b")
        self.differ("220 … ESMTP", "220 red.test SMTP")
        self.differ("a…", "a\nb")

    def test_a_line_of_an_ellipsis_stands_for_any_lines(self):
        self.same("a\n…\nz", "a\nz")
        self.same("a\n…\nz", "a\nb\nc\nz")
        self.differ("a\n…\nz", "a\nb")
        self.same("…\n4711 b\n…", "1000 a\n2000 b\n3000 c")

    def test_a_long_number_is_any_at_first_and_then_the_same(self):
        self.same("pid 4711\nended 4711", "pid 2042\nended 2042")
        self.differ("pid 4711\nended 4711", "pid 2042\nended 2043")
        self.same("4711 child of 4711", "2042 child of 2042")
        self.differ("4711 child of 4711", "2042 child of 2043")
        self.differ("ended 4711", "ended 2043", known={"4711": "2042"})

    def test_numbers_that_differ_here_differ_there(self):
        self.differ("4711\n4712", "2042\n2042")

    def test_a_long_number_is_no_short_one(self):
        self.differ("pid 4711", "pid 5")

    def test_fixed_numbers_are_compared(self):
        self.same("port 9877", "port 9877", fixed=["9877"])
        self.differ("port 9877", "port 9878", fixed=["9877"])
        self.differ("pid 4711", "pid 9877", fixed=["9877"])

    def test_times_match_times_of_their_form(self):
        self.same("2026-01-02T03:04:05Z echod", "2031-11-12T13:14:15Z echod")
        self.same("Tue, 28 Jul 2026 12:00:00 +0000", "Wed, 1 Jan 2031 01:02:03 +0100")
        self.same("bash 0:00", "bash 0:12")
        self.differ("bash 0:00", "bash 12")
        self.differ("127.0.0.1:25", "127.0.0.1:21")
        self.differ("[::1]:25", "[::1]:21")
        self.differ("10:25 a", "10:2x a")

    def test_durations_match_durations_of_their_unit(self):
        self.same("took 0.53 s", "took 1.2 s")
        self.same("timer:(timewait,59sec,0)", "timer:(timewait,1min2sec,0)")
        self.same("real 0m0.215s", "real 1m2.001s")
        self.same("0.000 s: complete", "0.207 s: complete")
        self.differ("took 0.53 s", "took 0.5 ms")
        self.differ("after 5 s", "after 6 s")

    def test_notices_of_ended_jobs_are_left_out(self):
        self.same("[1]+  Terminated   sleep 100\na", "a")
        self.differ("[1]+  Stopped   cat", "")
        self.same("[1] 4711", "[1] 2042")


class AnyOrder(unittest.TestCase):
    """Lines that come in any order."""

    def found(self, expected, seen):
        return lines_fit_in_any_order(expected.splitlines(), seen.splitlines(), Numbers())

    def test_each_line_has_its_partner(self):
        self.assertIsNotNone(self.found("a\nb\nc", "c\na\nb"))
        self.assertIsNone(self.found("a\nb", "a\na"))
        self.assertIsNone(self.found("a\nb", "a"))
        self.assertIsNone(self.found("a", "a\nb"))

    def test_numbers_hold_over_all_lines(self):
        self.assertIsNotNone(self.found("1000 starts\n1000 … ends\n2000 starts", "7002 starts\n7001 starts\n7001 ends"))
        self.assertIsNone(self.found("1000 starts\n1000 ends", "7001 ends\n7002 starts"))


class Commands(unittest.TestCase):
    """Numbers in what is typed."""

    def test_a_command_is_typed_with_the_number_of_this_run(self):
        numbers = fits("[1] 4711", "[1] 2042")
        self.assertEqual(numbers.to_real("kill -9 4711 # not 4712"), "kill -9 2042 # not 4712")
        self.assertEqual(numbers.to_text("2042 died"), "4711 died")


if __name__ == "__main__":
    unittest.main()
