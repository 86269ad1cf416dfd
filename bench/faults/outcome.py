"""What came of a run, without what a clock says, so that two runs can be compared to the bit."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from safetensors import deserialize

from bench.faults.history import History

_PATH = (
    "step", "epoch", "round", "phase", "loss", "train_accuracy", "validation_accuracy",
    "learning_rate", "params", "macs",
)  # fmt: skip
_SUPPORT = ("step", "layer", "n_filters", "n_active", "bits")
_GROWTH = ("step", "layer", "round", "before", "after", "fill", "threshold", "reason")
_MODELS = (
    "position", "step", "round", "kind", "origin", "widths", "params", "macs",
    "validation_accuracy", "test_accuracy",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What two runs of one spec must have in common. Rows are name -> value."""

    state: str
    best_accuracy: float | None
    path: Sequence[dict[str, Any]]
    support: Sequence[dict[str, Any]]
    growth: Sequence[dict[str, Any]]
    models: Sequence[dict[str, Any]]
    weights: Sequence[str]
    """SHA-256 of the tensors of every model, in the order of the family."""
    files: dict[str, str]
    """Title -> SHA-256 of what lies beside the models."""
    findings: dict[str, Any] | None


def outcome(history: History, artifacts: Path) -> Outcome:
    """Return what came of a job; a file that is absent has no weights."""
    files = {artifact.id: artifacts / artifact.storage_key for artifact in history.artifacts}
    weights = [files.get(model.artifact_id) for model in history.models]
    return Outcome(
        state=history.job.state,
        best_accuracy=history.job.best_accuracy,
        path=[_values(row, _PATH) for row in history.steps],
        support=[_values(row, _SUPPORT) for row in history.support],
        growth=[_values(row, _GROWTH) for row in history.growth],
        models=[_values(row, _MODELS) for row in history.models],
        weights=[tensors_sha256(path) if path and path.is_file() else "" for path in weights],
        files={file.title: file.sha256 for file in history.artifacts if file.title is not None},
        findings=history.job.findings,
    )


def differences(expected: Outcome, got: Outcome) -> list[str]:
    """Return how an outcome differs from another; of every part, only where it begins to."""
    if got.state != expected.state:
        return [f"it must be {expected.state} as the unbroken run, it is {got.state}"]
    told = []
    for part in fields(Outcome):
        ours, theirs = getattr(got, part.name), getattr(expected, part.name)
        if ours != theirs:
            told.append(f"its {part.name} must equal the unbroken run's: {_first(theirs, ours)}")
    return told


def tensors_sha256(path: Path) -> str:
    """Return the SHA-256 of a checkpoint's tensors; its metadata holds measured times."""
    digest = hashlib.sha256()
    tensors: list[tuple[str, dict[str, Any]]] = deserialize(path.read_bytes())  # type: ignore[no-untyped-call] # theirs
    for name, tensor in sorted(tensors):
        digest.update(f"{name} {tensor['dtype']} {tensor['shape']}\n".encode())
        digest.update(tensor["data"])
    return digest.hexdigest()


def _values(row: object, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def _first(expected: object, got: object) -> str:
    """Return a few words about where two values begin to differ."""
    if not isinstance(expected, list) or not isinstance(got, list):
        return f"expected {expected}, got {got}"
    if len(expected) != len(got):
        return f"expected {len(expected)} entries, got {len(got)}"
    place = next(
        at for at, pair in enumerate(zip(expected, got, strict=True)) if pair[0] != pair[1]
    )
    ours, theirs = got[place], expected[place]
    if isinstance(ours, dict) and isinstance(theirs, dict):
        names = [name for name in theirs if theirs[name] != ours[name]]
        ours, theirs = _values_of(ours, names), _values_of(theirs, names)
    return f"entry {place}: expected {theirs}, got {ours}"


def _values_of(row: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: row[name] for name in names}
