"""Waiting with an end: what does not come in time is told, and nothing hangs."""

import time
from collections.abc import Callable
from typing import TypeVar

GLANCE_S = 0.05
"""Between two looks."""

T = TypeVar("T")


class NotInTimeError(Exception):
    """Something did not come about in time; the message says what."""


def until(
    ask: Callable[[], T],
    what: str,
    *,
    within_s: float,
    meanwhile: Callable[[], None] = lambda: None,
) -> T:
    """Ask again and again, and return the first answer that counts as true.

    Args:
        ask: what to ask.
        what: the claim that is waited for, e.g. "the job ends".
        within_s: how long at most.
        meanwhile: done between two looks.

    Raises:
        NotInTimeError: there was none in time.
    """
    end = time.monotonic() + within_s
    while not (answer := ask()):
        if time.monotonic() > end:
            raise NotInTimeError(f"it must come about within {within_s:g} s that {what}")
        meanwhile()
        time.sleep(GLANCE_S)
    return answer
