"""When a call is made again, and how long is waited before."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import sleep as _sleep


@dataclass(frozen=True, kw_only=True, slots=True)
class Backoff:
    """Waits that double, between tries of one call."""

    tries: int = 3
    """Calls made at most, 1 or more."""
    first_seconds: float = 0.25
    """Wait before the second try."""
    longest_seconds: float = 8.0
    """No wait is longer, whatever a Retry-After asks for."""
    sleep: Callable[[float], None] = _sleep

    def __post_init__(self) -> None:
        if self.tries < 1:
            raise ValueError(f"tries must be >= 1, got {self.tries!r}")

    def waits(self) -> Iterator[float]:
        """Give the wait before each further try, seconds; one fewer than the tries."""
        for index in range(self.tries - 1):
            yield min(self.first_seconds * 2**index, self.longest_seconds)

    def wait(self, seconds: float, asked: str | None = None) -> None:
        """Sleep `seconds`, or as long as a Retry-After asks, in seconds, if that is longer."""
        longer = max(seconds, float(asked)) if asked and asked.isdecimal() else seconds
        self.sleep(min(longer, self.longest_seconds))
