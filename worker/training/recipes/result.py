"""What came of a run, beside what it recorded."""

from dataclasses import dataclass

from worker.training.recorder import ModelRecord, TestRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What came of a run, beside what it recorded."""

    end: str
    """Why it ended, a sentence for people; empty if nothing but its plan said so."""
    members: tuple[ModelRecord, ...]
    tests: tuple[TestRecord, ...]
    epochs: int
    steps: int
    training_macs: int
    """Multiply-accumulates of all training: 3 x forward, and the forward passes of slicing."""
    seconds: float
