"""How a run tells what it did: the path, the family, its progress, its files and findings."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from slbi.structure.path import PathList, Phase, Recorder

ModelKind = Literal["grown", "trained", "pruned", "masked", "tuned", "ticket", "random", "dense"]
"""How a member of the family came about: at the end of a round of growth, or of a training with
twins; sliced to its support, or put under a mask; tuned behind that; trained from early weights
under a mask, and the rivals of that, under the same mask from random weights or without a mask."""

FileKind = Literal["picture", "order", "mask", "table", "export", "card"]
"""What a file beside the models is."""

FileFormat = Literal["png", "safetensors", "json", "csv", "onnx", "pt2", "zip", "md"]
"""What its name ends in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgressRecord:
    """Where a run stands, after every epoch."""

    epoch: int
    """Epochs finished."""
    epochs: int
    """Epochs the run will have at most, as far as is known now."""
    round: int
    phase: Phase
    validation_accuracy: float
    """0 to 1."""
    widths: Mapping[str, int]
    eta_seconds: float
    """Seconds until the end at most, estimated from the epochs so far."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRecord:
    """One member of a run's family, its checkpoint written and complete."""

    step: int
    round: int
    kind: ModelKind
    origin: str
    """What the member is, for people, e.g. "round 3", "round 3, support", "round 3, tuned"."""
    widths: Mapping[str, int]
    params: int
    macs: int
    """Multiply-accumulates of one image, forward."""
    validation_accuracy: float
    """0 to 1."""
    latency_ms: float
    """Median forward of one image on the run's device, ms."""
    checkpoint: Path
    """The safetensors file, see `worker.training.checkpoint`."""
    dataset: str | None = None
    """Data set whose classes it tells apart, where it is not the run's own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TestRecord:
    """Accuracy of one member on the test split, which a run reads once, at its end."""

    __test__ = False  # pytest takes a class of this name for a test

    model: int
    """Position of the member among the `ModelRecord`s of the run, from 0."""
    accuracy: float
    """0 to 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileRecord:
    """A file that a run leaves beside its models, written and complete."""

    title: str
    """Its name within the run, e.g. "conv1-weights.png", ending in its format. A later file of the
    same title takes its place."""
    kind: FileKind
    format: FileFormat
    step: int
    """Last step of the path by then, 0 before the first: an attempt that goes on from an earlier
    one has the file made again."""
    path: Path
    """In the run's folder, under a name that no file of the run had before: whoever reads the one
    of this title that there was must not find another content."""

    def __post_init__(self) -> None:
        if not _TITLE.fullmatch(self.title) or not self.title.endswith(f".{self.format}"):
            told = f"title must be a plain file name of at most 255 characters in .{self.format}"
            raise ValueError(f"{told}, got {self.title!r}")


_TITLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")


class RunRecorder(Recorder, Protocol):
    """Takes everything a run reports, in order, each record once."""

    def progress(self, progress: ProgressRecord) -> None:
        """Take where the run stands."""

    def model(self, model: ModelRecord) -> None:
        """Take one member of the family; its checkpoint file is complete."""

    def tested(self, results: tuple[TestRecord, ...]) -> None:
        """Take the test accuracy of every member."""

    def file(self, record: FileRecord) -> None:
        """Take a file of the run beside its models; it is complete."""

    def findings(self, findings: Mapping[str, Any]) -> None:
        """Take what the run found out so far, as JSON can say it; replaces what was told before."""


@dataclass(kw_only=True)
class RunList(PathList):
    """A `RunRecorder` that keeps the records in lists, for tests and the shell."""

    progress_records: list[ProgressRecord] = field(default_factory=list)
    model_records: list[ModelRecord] = field(default_factory=list)
    test_records: list[TestRecord] = field(default_factory=list)
    file_records: list[FileRecord] = field(default_factory=list)
    found: Mapping[str, Any] | None = None
    """What `findings` was told last."""

    def progress(self, progress: ProgressRecord) -> None:
        """Keep where the run stands."""
        self.progress_records.append(progress)

    def model(self, model: ModelRecord) -> None:
        """Keep one member."""
        self.model_records.append(model)

    def tested(self, results: tuple[TestRecord, ...]) -> None:
        """Keep the test accuracies."""
        self.test_records.extend(results)

    def file(self, record: FileRecord) -> None:
        """Keep a file, and only the last of each title."""
        self.file_records = [kept for kept in self.file_records if kept.title != record.title]
        self.file_records.append(record)

    def findings(self, findings: Mapping[str, Any]) -> None:
        """Keep the findings, and no earlier ones."""
        self.found = findings
