"""The crash tests' own parts: what is not whole is seen, and a disk is made again as it was. Part of
`make check-scripts`."""

import random
import sys
import unittest
import unittest.mock
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from lib.checks import Failure  # noqa: E402
from lib.folder import Folder  # noqa: E402
import disk_states  # noqa: E402
import tracing  # noqa: E402
from pop3 import faults, page, power  # noqa: E402
from pop3.kills import Outcome, calls_of  # noqa: E402
from letters import letter  # noqa: E402
from pop3.maildrops import Maildir, Mbox  # noqa: E402
from pop3.plan import Plan  # noqa: E402
from pop3.site import Before  # noqa: E402
from recorded_disk import ENTRY, entries  # noqa: E402
from site_of_crash import BLOCK  # noqa: E402
import smtpq.page  # noqa: E402
import smtpq.plan  # noqa: E402
from smtpq import power as queue_power  # noqa: E402
from smtpq.names import A, HEADER, NameServer  # noqa: E402
from smtpq.sink import Came  # noqa: E402
from smtpq.site import Found, Put, Site  # noqa: E402

NOBODY = -1


class Case(unittest.TestCase):
    """A test with a folder of its own."""

    def setUp(self) -> None:
        self.folder = self.enterContext(Folder("test"))
        self.enterContext(unittest.mock.patch("pop3.maildrops.OWNER", NOBODY))

    def fails(self, *words: str) -> object:
        """A context in which a Failure says these words."""
        return self.assertRaisesRegex(Failure, ".*".join(words))


class Maildrops(Case):
    """What is read is what was laid, or it is told."""

    def test_letters_are_read_as_they_were_laid(self) -> None:
        for kind in (Maildir(), Mbox()):
            kind.lay(self.folder.dir, range(30, 42))
            self.assertEqual(kind.letters(self.folder.dir), list(range(30, 42)))
            kind.lay(self.folder.dir, range(50, 51))
            self.assertEqual(kind.letters(self.folder.dir), [50])

    def test_half_a_letter_is_seen(self) -> None:
        kind = Maildir()
        kind.lay(self.folder.dir, range(30, 33))
        path = next((self.folder.dir / "Maildir" / "new").iterdir())
        path.write_bytes(path.read_bytes()[:-1])
        with self.fails("not whole"):
            kind.letters(self.folder.dir)

    def test_a_letter_that_is_there_twice_is_seen(self) -> None:
        kind = Maildir()
        kind.lay(self.folder.dir, range(30, 33))
        (self.folder.dir / "Maildir" / "cur" / "again").write_bytes(letter(30))
        with self.fails("twice"):
            kind.letters(self.folder.dir)

    def test_half_an_mbox_is_seen(self) -> None:
        kind = Mbox()
        kind.lay(self.folder.dir, range(30, 33))
        mbox = self.folder.dir / kind.PLACE
        for length in (-1, -40, 7):
            text = mbox.read_bytes()
            mbox.write_bytes(text[:length])
            with self.assertRaises(Failure):
                kind.letters(self.folder.dir)
            mbox.write_bytes(text)


class Disk(Case):
    """The log of a disk, and the states that a cut may leave."""

    def log(self, *writes: tuple[int, bytes] | None) -> list:
        """The entries of a log with these writes; None is a flush."""
        packed = b"".join(ENTRY.pack(0, 0) if write is None else ENTRY.pack(write[0], len(write[1])) + write[1]
                          for write in writes)
        return list(entries(packed))

    def states(self, *writes: tuple[int, bytes] | None, since: int = 0) -> list[tuple[str, bytes]]:
        """What a disk of eight zeros may be."""
        first, log, dice = self.folder.file("first", b"0" * 8), self.log(*writes), random.Random(1)
        return [(how, image) for _, how, image in
                disk_states.states(log, first, disk_states.instants(log, since, dice, 99), dice, 0)]

    def test_what_is_flushed_is_safe_and_what_is_not_may_be_lost(self) -> None:
        self.assertEqual(self.states((0, b"ab"), None, None, (1, b"c")), [
            ("all", b"ab000000"), ("flushed", b"0" * 8),
            ("all", b"ab000000"),
            ("all", b"ac000000"), ("flushed", b"ab000000")])

    def test_cuts_begin_at_an_instant(self) -> None:
        since = self.log((0, b"ab"), None)[-1].end
        found = self.states((0, b"ab"), None, (1, b"c"), since=since)
        self.assertEqual([image for _, image in found], [b"ab000000", b"ac000000", b"ab000000"])

    def test_of_many_cuts_some_are_chosen_and_the_last(self) -> None:
        log = self.log(*[(0, b"a")] * 50)
        found = disk_states.instants(log, 0, random.Random(1), 5)
        self.assertIn(log[-1].end, found)
        self.assertTrue(5 <= len(found) <= 6)

    def test_any_block_may_be_the_one_that_is_lost(self) -> None:
        first = self.folder.file("first", bytes(2 * BLOCK))
        log = self.log((0, b"x" * (2 * BLOCK)))
        found = {(image[:1], image[BLOCK:BLOCK + 1])
                 for _, _, image in disk_states.states(log, first, {log[-1].end}, random.Random(1), 60)}
        self.assertEqual(len(found), 4)


class Verdicts(Case):
    """What the client heard, and the log."""

    BEFORE = Before([1, 2, 3, 4], {1, 3, 4}, {}, {})
    OK, ERR = b"+OK bye", b"-ERR [SYS/TEMP] some not removed"

    def judge(self, left: list[int], reply: bytes, hit: str, is_once: bool = True) -> None:
        """The verdict on these letters and this reply to QUIT."""
        faults.judge(self.BEFORE, left, faults.Heard(self.OK, self.OK, reply), hit, is_once)

    def test_ok_after_a_failed_fsync_is_a_lie(self) -> None:
        self.judge([2], self.ERR, "9 fsync(7</x/new>) = -1 EIO (INJECTED)")
        with self.fails("not on the disk"):
            self.judge([2], self.OK, "9 fsync(7</x/new>) = -1 EIO (INJECTED)")

    def test_all_but_the_letter_that_cannot_be_removed_must_be_gone(self) -> None:
        hit = '9 unlinkat(7</x>, "new/a", 0) = -1 EIO (INJECTED)'
        self.judge([2, 3], self.ERR, hit)
        for left, reply in (([2, 3], self.OK), ([2], self.ERR), ([1, 2, 3], self.ERR)):
            with self.assertRaises(Failure):
                self.judge(left, reply, hit)
        self.judge([2, 3, 4], self.ERR, hit, is_once=False)

    def test_nothing_is_removed_without_quit(self) -> None:
        with self.fails("without UPDATE"):
            self.judge([2, 3], b"", "9 openat(")

    def test_the_log_names_peer_user_and_reason(self) -> None:
        heard, hit = faults.Heard(self.OK, self.OK, self.ERR), "9 fsync(7) = -1"
        told = "x WARN pop3d[9]: 127.0.0.1:7: levy: fsync /new: Input/output error\n"
        faults.check_told(heard, hit, "EIO", told)
        for log in ("", told.replace("127.0.0.1:7: ", ""), told.replace("levy", "x"), told.replace("WARN", "INFO")):
            with self.fails("no warning"):
                faults.check_told(heard, hit, "EIO", log)
        with self.fails("without .SYS"):
            faults.check_told(heard._replace(quit=b"-ERR no"), hit, "EIO", told)


class Traces(Case):
    """strace's output."""

    def test_the_calls_of_the_child_are_counted(self) -> None:
        out = self.folder.file("out", "7   ppoll([] <unfinished ...>\n8   read(1) = 0\n8   read(2) = 0\n"
                                      "8   fsync(3) = 0\n7   <... ppoll resumed>) = 1\n")
        self.assertEqual(calls_of(out, "login"), {"read": 2, "fsync": 1})

    def test_a_call_in_two_parts_is_one(self) -> None:
        out = self.folder.file("out", "7   fsync(3 <unfinished ...>\n8   read(1) = 0\n"
                                      "7   <... fsync resumed>) = -1 EIO (Input/output error) (INJECTED)\n8 +++ exited with 0 +++\n")
        self.assertEqual(tracing.calls_in(out), ["8 read(1) = 0", "7 fsync(3) = -1 EIO (Input/output error) (INJECTED)"])

    def test_a_process_that_is_gone_needs_no_tracer(self) -> None:
        self.assertTrue(tracing.is_traced(1 << 30))


class Page(Case):
    """The page has a row for each figure."""

    def test_every_table_has_its_rows(self) -> None:
        plan = Plan(True, None, 7)
        outcomes = Counter({Outcome(True, "all", 0): 3, Outcome(False, "some", 1): 2})
        plan.random.append(("Maildir on ext4", "box", "UPDATE", outcomes))
        plan.calls.append(("Maildir on ext4", "login", Counter(read=5), outcomes))
        plan.faults.append(("Maildir on ext4", "fsync", 2, Counter({"QUIT: -ERR": 2})))
        plan.power.append(("Maildir", "ext4", 6, power.Figures(10, 4, 1234, 5, 6)))
        text = page.text(plan)
        for row in ("| Maildir on ext4 | box | UPDATE | 5 | 3 | 0 | 2 | 3 | 2 |",
                    "| Maildir on ext4 | box | 1 | 5 | 3 | 0 | 2 | 3 | 2 |",
                    "| Maildir on ext4 | `fsync` | 2 | 0 | 0 | 0 | 0 | 0 | 2 | 0 |",
                    "| Maildir | ext4 | 6 | 10 | 4 | 1,234 | 5 | 6 |"):
            self.assertIn(row, text)


class Queue(Case):
    """What a server has taken is judged."""

    def setUp(self) -> None:
        super().setUp()
        self.site = self.enterContext(Site(Path(), "none", 7))

    def judged(self, to: str, *came: Came, kills: int = 0) -> Found:
        """The judgement of a letter that was told to be safe."""
        for one in came:
            self.site.sink.came.append(one)
            self.site.sink.last[one.connection] = self.site.sink.last.get(one.connection, 0) + 1
        return self.site.check_letters([Put(7, (to,), True)], kills, False, False)

    def came(self, connection: int, is_cut: bool = False) -> Came:
        """Letter 7 once more."""
        return Came(letter(7), ("ok-7-0@red.test",), connection, is_cut, not is_cut, 0)

    def test_a_letter_that_has_arrived_once_is_right(self) -> None:
        self.assertEqual(self.judged("ok-7-0@red.test", self.came(1)), Found(1, 0, 0, 0, 0))

    def test_a_letter_that_is_lost_or_not_whole_is_seen(self) -> None:
        for came in ((), (self.came(1, is_cut=True),)):
            with self.fails("LOST"):
                self.judged("ok-7-0@red.test", *came)
        with self.fails("not whole"):
            self.judged("ok-7-0@red.test", self.came(1)._replace(text=letter(7)[:-1]))

    def test_a_letter_that_comes_twice_needs_a_reason(self) -> None:
        self.assertEqual(self.judged("ok-7-0@red.test", self.came(1, is_cut=True), self.came(2)).cut, 1)
        self.assertEqual(self.judged("ok-7-0@red.test", self.came(3), self.came(4), kills=1).killed, 1)
        with self.fails("twice"):
            self.judged("ok-7-0@red.test", self.came(5), self.came(6))
        self.site.sink.clear()
        with self.fails("twice"):  # another letter has followed over the connection
            self.judged("ok-7-0@red.test", self.came(7), self.came(7), kills=1)

    def test_a_notification_that_is_missing_or_doubled_is_seen(self) -> None:
        text = b"From: Mail delivery <MAILER-DAEMON@topaz.test>\nMessage-ID: <1@topaz.test>\n\nFinal-Recipient: rfc822;never-7-0@red.test\n"
        notice = Came(text, ("author-7@red.test",), 1, False, True, 0)
        self.assertEqual(self.judged("never-7-0@red.test", notice).returned, 1)
        with self.fails("LOST"):
            self.judged("never-7-0@red.test")
        self.assertEqual(self.judged("never-7-0@red.test", notice, notice._replace(connection=2), kills=1).killed, 1)
        with self.fails("notified twice"):
            self.judged("never-7-0@red.test", notice, notice._replace(text=text.replace(b"1@", b"2@"), connection=2))

    def test_the_name_server_knows_an_address_and_no_mx(self) -> None:
        with NameServer({"red.test": "127.0.0.2"}) as server:
            for kind, count in ((A, 1), (15, 0)):
                question = b"\3red\4test\0" + bytes((0, kind, 0, 1))
                answer = server.answer(HEADER.pack(9, 0x100, 1, 0, 0, 0) + question)
                self.assertEqual(HEADER.unpack_from(answer), (9, 0x8180, 1, count, 0, 0))

    def test_every_table_has_its_rows(self) -> None:
        plan = smtpq.plan.Plan(True, None, 7)
        plan.random.append(("ext4", "child", 3, Found(12, 2, 1, 4, 0)))
        plan.power.append(("ext4", queue_power.Figures(10, 300, 40, 90, 5, 4, 3)))
        text = smtpq.page.text(plan)
        for row in ("| ext4 | child | 3 | 12 | 2 | 1 | 4 | 0 |", "| ext4 | 10 | 300 | 40 | 90 | 5 | 4 | 3 |"):
            self.assertIn(row, text)
