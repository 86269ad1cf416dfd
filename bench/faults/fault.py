"""What a fault is, what trying it needs, and what comes of it."""

import random
import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.faults.waiting import NotInTimeError


class NotRunError(Exception):
    """This machine cannot make the fault; the message says what would have to be there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """How often a fault is made, where it may write, and what its moments are drawn from."""

    times: int
    quick: bool
    """Whether everything that has a size should be small."""
    folder: Path
    """Exists and is empty."""
    random: random.Random


@dataclass(kw_only=True, slots=True)
class Finding:
    """What trying a fault has shown so far; it grows with every trial."""

    done: int = 0
    """How often the fault was made."""
    violations: list[str] = field(default_factory=list)
    """What did not hold, a sentence each."""
    samples: dict[str, list[float]] = field(default_factory=dict)
    """Name with its unit, e.g. recovery_s -> one value a trial."""
    facts: dict[str, float] = field(default_factory=dict)
    """Name with its unit -> a value of the whole run."""

    def sample(self, name: str, value: float) -> None:
        """Add what one trial measured."""
        self.samples.setdefault(name, []).append(value)

    def count(self, name: str, number: float = 1) -> None:
        """Add to a fact that is a sum."""
        self.facts[name] = self.facts.get(name, 0) + number

    @contextmanager
    def trial(self, what: str) -> Iterator[None]:
        """Take a wait that ended in vain for a violation, and go on behind it."""
        try:
            yield
        except NotInTimeError as error:
            self.violations.append(f"{what}: {error}")

    def measured(self) -> dict[str, float]:
        """Return facts, and of every sample its median and largest value."""
        found = dict(self.facts)
        for name, values in self.samples.items():
            found[f"{name} median"] = statistics.median(values)
            found[f"{name} max"] = max(values)
        return found


Try = Callable[[Scope, Finding], None]
"""Makes a fault as often as asked for, and adds what came of it to the finding."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One line of the table."""

    name: str
    what: str
    """For people."""
    arrangement: str
    """Where it is made: embedded, stack, or a database."""
    times: int
    """How often."""
    few: int = 1
    """How often the tests make it; 0 leaves it to the benchmark."""
    run: Try

    @property
    def key(self) -> str:
        """To choose it by."""
        return f"{self.name}/{self.arrangement}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """What came of a fault."""

    key: str
    fault: str
    arrangement: str
    times: int
    violations: tuple[str, ...]
    measured: Mapping[str, float]
    seconds: float
    not_run: str | None = None
    """Why it was not made, if it was not."""
