"""Letters that are known to the last byte."""

import random
import re
from functools import lru_cache

from lib.checks import check, show

# Bytes of a large letter: more than a piece that pop3d reads and sends, and than smtpd keeps in memory.
LARGE = 300_000


@lru_cache(1000)
def letter(number: int) -> bytes:
    """The letter of this number, with LF; no two are equal, and no part of one is another."""
    dice = random.Random(number)
    body = [f"line {line} of letter {number}: {dice.randrange(1 << 64):x}" for line in range(dice.randrange(1, 20))]
    if number % 30 == 1:
        body += [f"{dice.randrange(1 << 300):x}" for _ in range(LARGE // 75)]
    more = ["", ".", "..dots", "From levy", ">From levy", f"the end of {number}"]
    return "\n".join([f"X-Number: {number}", f"Subject: letter {number}", "", *body, *more, ""]).encode()


def number_of(text: bytes, where: str) -> int:
    """Which letter this is, every byte of it."""
    found = re.match(rb"X-Number: (\d+)\n", text)
    check(found, f"{where}: not the beginning of a letter: {show(text[:60])}")
    number = int(found[1])
    check(text == letter(number), f"{where}: letter {number} is not whole, {len(text)} bytes")
    return number
