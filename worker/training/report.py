"""What a run records, told as it happens: a type and data that JSON can say."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from slbi.structure.path import GrowthRecord, LayerRecord, StepRecord
from worker.training.recorder import FileRecord, ModelRecord, ProgressRecord, TestRecord

Report = Callable[[str, Any], None]
"""Takes the type of a record, and its data."""


class Reporter:
    """A `RunRecorder` that hands every record on at once and keeps none.

    Types and data are those of a job's events where a job has such an event (`grew`, `progress`,
    `model`, `tested`, `file`, `findings`), with paths for ids; `layers` and `step` are the path,
    whose supports are told in hex.

    Args:
        report: takes the records.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._names: dict[int, str] = {}

    def layers(self, layers: Sequence[LayerRecord]) -> None:
        """Tell the layers."""
        self._names = {layer.index: layer.name for layer in layers}
        self._report("layers", [asdict(layer) for layer in layers])

    def step(self, step: StepRecord) -> None:
        """Tell one point of the path."""
        support = [{**asdict(row), "bits": row.bits.hex()} for row in step.support]
        self._report("step", {**asdict(step), "support": support})

    def growth(self, growth: Sequence[GrowthRecord]) -> None:
        """Tell what one round widened."""
        layers = [
            {
                "layer": self._names[row.layer],
                "before": row.before,
                "after": row.after,
                "fill": row.fill,
                "reason": row.reason,
            }
            for row in growth
        ]
        self._report("grew", {"step": growth[0].step, "round": growth[0].round, "layers": layers})

    def progress(self, progress: ProgressRecord) -> None:
        """Tell where the run stands."""
        self._report("progress", asdict(progress))

    def model(self, model: ModelRecord) -> None:
        """Tell one member of the family."""
        self._report("model", {**asdict(model), "checkpoint": str(model.checkpoint)})

    def tested(self, results: tuple[TestRecord, ...]) -> None:
        """Tell the test accuracies, each with its member's place in the family."""
        models = [{"model": row.model, "test_accuracy": row.accuracy} for row in results]
        self._report("tested", {"models": models})

    def file(self, record: FileRecord) -> None:
        """Tell a file."""
        size = record.path.stat().st_size
        self._report("file", {**asdict(record), "path": str(record.path), "bytes": size})

    def findings(self, findings: Mapping[str, Any]) -> None:
        """Tell what the run found out so far."""
        self._report("findings", dict(findings))
