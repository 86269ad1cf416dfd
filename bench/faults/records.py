"""What must be true of what a job recorded: its path, its family, its files."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from bench.faults.history import History
from service.contract import EventType, JobState
from service.store.checkpoints import KEPT
from service.store.tables import Artifact, Checkpoint


def path_is_whole(history: History) -> Iterator[str]:
    """Give what does not hold of its path: every epoch once, in order, with every layer."""
    epochs = [step.epoch for step in history.steps]
    if epochs != list(range(1, len(epochs) + 1)):
        yield f"its path must hold every epoch once and in order, got {epochs}"
    if history.job.state == JobState.SUCCEEDED and not epochs:
        yield "its path must not be empty"
    fences = [step.fence for step in history.steps]
    if fences != sorted(fences):
        yield f"its path must be of later attempts the further it goes, got {fences}"
    claimed = {attempt.fence for attempt in history.attempts}
    if not claimed.issuperset(fences):
        yield f"its path must be of its own attempts, got {sorted(set(fences) - claimed)}"
    layers = {row.layer for row in history.support}
    wanted = {(step.step, layer) for step in history.steps for layer in layers}
    found = {(row.step, row.layer) for row in history.support}
    for step, layer in sorted(wanted ^ found):
        told = "is there" if (step, layer) in found else "is missing"
        yield f"the support at step {step} must be of every layer, that of {layer} {told}"


def growth_shows_in_the_path(history: History) -> Iterator[str]:
    """Give what does not hold of its growth: the path is as wide as it says, before and after."""
    widths: dict[int, list[tuple[int, int]]] = {}
    for row in history.support:
        widths.setdefault(row.layer, []).append((row.step, row.n_filters))
    grown = {(row.step, row.layer): (row.before, row.after) for row in history.growth}
    for layer, points in widths.items():
        for (step, before), (_, after) in pairwise(points):
            said = grown.pop((step, layer), (before, before))
            if (before, after) != said:
                yield f"layer {layer} went from {before} to {after} at step {step}, growth: {said}"
    for step, layer in sorted(grown):
        yield f"layer {layer} must have a path around its growth at step {step}"


def family_is_whole(history: History) -> Iterator[str]:
    """Give what does not hold of its family: every place once, with a file that was announced."""
    positions = [model.position for model in history.models]
    if positions != list(range(len(positions))):
        yield f"its models must have the places 0, 1, 2, …, got {positions}"
    files = {artifact.id: artifact for artifact in history.artifacts if artifact.title is None}
    used = Counter(model.artifact_id for model in history.models)
    for artifact_id, times in used.items():
        if times > 1 or artifact_id not in files:
            yield f"a model must have a file of its own, {artifact_id} serves {times}"
    for artifact_id in files.keys() - used.keys():
        yield f"a published file must belong to a model, {artifact_id} belongs to none"
    announced = [event for event in history.events if event.type == EventType.MODEL]
    for model in history.models:
        fences = [event.fence for event in announced if event.data["model"] == str(model.id)]
        file = files.get(model.artifact_id)
        if file is not None and fences != [file.fence]:
            told = f"by attempt {file.fence}, it was by {fences}"
            yield f"model {model.position} must be announced once, {told}"
        if history.job.state == JobState.SUCCEEDED and model.test_accuracy is None:
            yield f"model {model.position} must have been tested"


def files_are_announced(history: History) -> Iterator[str]:
    """Give what does not hold of the files beside its models: one a title, announced once."""
    files = [artifact for artifact in history.artifacts if artifact.title is not None]
    for title, times in Counter(file.title for file in files).items():
        if times > 1:
            yield f"there must be one file {title}, there are {times}"
    announced = [event for event in history.events if event.type == EventType.FILE]
    for file in files:
        fences = [event.fence for event in announced if event.data["artifact"] == str(file.id)]
        if fences != [file.fence]:
            told = f"by attempt {file.fence}, it was by {fences}"
            yield f"file {file.title} must be announced once, {told}"


def nothing_lost_remains(history: History) -> Iterator[str]:
    """Give what an attempt left beyond the checkpoint from which a later one went on.

    A later one that recorded nothing shows nothing, and is passed over.
    """
    fences = {artifact.id: artifact.fence for artifact in history.artifacts}
    kept = [(step.step, step.fence, f"step {step.step}") for step in history.steps]
    kept += [
        (model.step, fences[model.artifact_id], f"model {model.position}")
        for model in history.models
        if model.artifact_id in fences
    ]
    kept += [
        (file.step, file.fence, f"file {file.title}")
        for file in history.artifacts
        if file.title is not None and file.step is not None
    ]
    spoke = {event.fence for event in history.events if event.type in _SHOWS_THAT_IT_BEGAN}
    spoke |= {fence for _, fence, _ in kept}
    for attempt in history.attempts:
        if attempt.fence not in spoke:
            continue
        begun = -1 if attempt.resumed_from is None else attempt.resumed_from
        for step, fence, name in kept:
            if fence < attempt.fence and step > begun:
                told = f"attempt {attempt.fence} went on from step {max(begun, 0)}"
                yield f"{name} of attempt {fence} must be gone, as {told}"
        for point in history.steps:
            if point.fence == attempt.fence and point.step <= begun:
                told = f"attempt {point.fence} began at {begun}"
                yield f"step {point.step} must not come twice, {told}"


_SHOWS_THAT_IT_BEGAN = frozenset(
    {EventType.PROGRESS, EventType.MODEL, EventType.FILE, EventType.RESTORED}
)


def files_are_right(history: History, artifacts: Path) -> Iterator[str]:
    """Give what does not hold of its files: each is there and as its row says."""
    rows: list[Artifact | Checkpoint] = [*history.artifacts, *history.checkpoints]
    for row in rows:
        path = artifacts / row.storage_key
        if not path.is_file():
            if isinstance(row, Checkpoint) and history.job.state == JobState.SUCCEEDED:
                continue  # swept between two looks: nobody needs it any more
            yield f"{row.storage_key} must be there, it is not"
            continue
        content = path.read_bytes()
        if len(content) != row.bytes:
            yield f"{row.storage_key} must have {row.bytes} bytes, it has {len(content)}"
        elif hashlib.sha256(content).hexdigest() != row.sha256:
            yield f"{row.storage_key} must have the SHA-256 of its row, it has another"
        if Path(row.storage_key).parts[:2] != (str(row.job_id), str(row.fence)):
            yield f"{row.storage_key} must lie where attempt {row.fence} of {row.job_id} may write"
    if len(history.checkpoints) > KEPT:
        yield f"{KEPT} checkpoints are kept at most, got {len(history.checkpoints)}"


def unpublished(history: History, artifacts: Path) -> list[str]:
    """Return the job's files that no row names: what was never published, and waits for a sweep."""
    rows: list[Artifact | Checkpoint] = [*history.artifacts, *history.checkpoints]
    named = {row.storage_key for row in rows}
    folder = artifacts / str(history.job.id)
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted({path.relative_to(artifacts).as_posix() for path in found} - named)
