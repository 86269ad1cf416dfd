"""Submit a job, or say what it would take."""

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.catalogue import Catalogue
from service.contract import JobState
from service.datasets import find_dataset
from service.errors import FieldError, InvalidRequestError
from service.estimate import rate, training_macs
from service.jobs.check import CheckedSpec, check
from service.jobs.exports import find_alike
from service.jobs.refusals import given
from service.jobs.sources import find_source, hold_source
from service.jobs.targets import needed_macs
from service.queue import Queue
from service.spec.jobs import (
    GrowSpec,
    JobSpec,
    PruneSpec,
    Still,
    TicketSpec,
    TrainSpec,
    WeightsSpec,
    source_asked,
)
from service.store.database import Database
from service.store.ids import new_id
from service.store.jobs import find_job, find_replay, insert_job
from service.store.needs import lock_source
from service.store.path import recent_paces
from service.store.tables import IdempotencyKey, Job

_PACES = 200
"""Recorded epochs that a time estimate looks at."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Submitted:
    """A job, and whether an earlier request had made it."""

    job: Job
    replayed: bool
    """The idempotency key stood for it."""
    reused: bool = False
    """It is an export that was there, or on its way."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkSize:
    """A network and what it takes; None where the size of the images is not known."""

    widths: Mapping[str, int] | None
    params: int | None
    macs: int | None
    memory_bytes: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """What a spec would take."""

    spec: JobSpec
    first: NetworkSize
    largest: NetworkSize
    macs_least: int | None
    """Multiply-accumulates of the whole training, if no layer ever grew."""
    macs_most: int | None
    """Likewise, if every epoch were one of the largest network."""
    seconds_least: float | None
    """If no layer ever grew."""
    seconds_most: float | None
    """If every epoch were one of the largest network."""
    reason: str | None
    """Why there is no time, if there is none."""


def submit(
    database: Database,
    queue: Queue,
    catalogue: Catalogue,
    directories: tuple[Path, ...],
    *,
    artifacts: Path,
    owner: uuid.UUID,
    spec: JobSpec,
    idempotency_key: str | None,
    again: bool = False,
) -> Submitted:
    """Store a job, queued, and wake a worker. The row is all that the job needs to be run.

    An export is not made twice: if one like it is there, or on its way, it is that one.

    Args:
        database: where.
        queue: wakes a worker.
        catalogue: what can be asked for.
        directories: where data sets lie.
        artifacts: directory of all files of all jobs.
        owner: whose job it is.
        spec: as asked.
        idempotency_key: the same key and request of this owner give the same job.
        again: export anew, whatever is there.

    Raises:
        InvalidRequestError: the spec cannot be run here, or the key was used for another request.
    """
    body = spec.model_dump(mode="json")
    asked = digest({"again": body} if again else body)
    if idempotency_key is not None:
        earlier = _replayed(database, owner, idempotency_key, asked)
        if earlier is not None:
            return earlier
    find = partial(find_source, database, artifacts, owner)
    job = job_of(owner, check(spec, catalogue, directories, find).spec)
    key = None if idempotency_key is None else (idempotency_key, asked)
    try:
        with database.writing() as session:
            there = None if again else _alike(session, artifacts, job)
            replay = None if key is None else replay_of(there or job, *key)
            if there is None:
                hold_source(session, job)
                insert_job(session, job, replay)
            elif replay is not None:
                session.add(replay)
    except IntegrityError:
        if idempotency_key is None:
            raise
        earlier = _replayed(database, owner, idempotency_key, asked)
        if earlier is None:
            raise
        return earlier
    if there is not None:
        return Submitted(job=there, replayed=False, reused=True)
    queue.wake()
    return Submitted(job=job, replayed=False)


def forecast(
    database: Database,
    catalogue: Catalogue,
    directories: tuple[Path, ...],
    *,
    artifacts: Path,
    owner: uuid.UUID,
    spec: JobSpec,
) -> Forecast:
    """Return what a spec would take, and store nothing.

    Raises:
        InvalidRequestError: the spec cannot be run here.
    """
    find = partial(find_source, database, artifacts, owner)
    checked = check(spec, catalogue, directories, find)
    return forecast_of(checked, speed_of(database, catalogue, directories, owner))


def forecast_of(checked: CheckedSpec, speed: float | None) -> Forecast:
    """Return what a checked spec would take, at a speed as `speed_of` gives it."""
    first = _size(checked, checked.first)
    largest = _capped(_size(checked, checked.largest), checked.spec)
    reason = None if speed else "No finished job tells yet how fast the workers are."
    if first.macs is None:
        reason = "Only the images tell their size: set data.image_size."
    if checked.first is None:
        reason = "Only the uploaded file tells the widths of its network."
    return Forecast(
        spec=checked.spec,
        first=first,
        largest=largest,
        macs_least=_macs(checked, first.macs, least=True),
        macs_most=_macs(checked, largest.macs, least=False),
        seconds_least=_seconds(checked, first.macs, speed, least=True),
        seconds_most=_seconds(checked, largest.macs, speed, least=False),
        reason=reason,
    )


def _alike(session: Session, artifacts: Path, job: Job) -> Job | None:
    """Return the export that makes a new one needless; who else asks for it waits until the end."""
    if job.kind != "export":
        return None
    lock_source(session, job)
    return find_alike(session, artifacts, job, job.created_at)


def _replayed(database: Database, owner: uuid.UUID, key: str, asked: str) -> Submitted | None:
    """Return the job that an idempotency key stands for, if it was used before."""
    with database.reading() as session:
        job = replayed(session, owner, key, asked)
        session.expunge_all()
    return None if job is None else Submitted(job=job, replayed=True)


def replayed(session: Session, owner: uuid.UUID, key: str, asked: str) -> Job | None:
    """Return the job that an idempotency key stands for, the first one if it stands for a sweep.

    Raises:
        InvalidRequestError: it was used with another body, of which `asked` is the digest.
    """
    replay = find_replay(session, owner, key)
    if replay is None:
        return None
    if replay.body_sha256 != asked:
        message = "an Idempotency-Key must go with the body it was first sent with"
        error = FieldError(pointer="Idempotency-Key", code="key_reused", message=message)
        raise InvalidRequestError(f"{message}, got another one.", [error])
    job = find_job(session, owner, replay.job_id)
    if job is None:
        raise LookupError(f"idempotency key {replay.id} must refer to a job of its owner")
    return job


def replay_of(job: Job, key: str, asked: str) -> IdempotencyKey:
    """Return what makes a key stand for a job and a body, of which `asked` is the digest."""
    return IdempotencyKey(
        id=new_id(),
        owner=job.owner,
        key=key,
        body_sha256=asked,
        job_id=job.id,
        created_at=datetime.now(UTC),
    )


def job_of(owner: uuid.UUID, spec: JobSpec) -> Job:
    """Return a new job, queued, that no database holds yet."""
    now = datetime.now(UTC)
    source = source_asked(spec)
    return Job(
        id=new_id(),
        owner=owner,
        kind=spec.kind,
        label=spec.label,
        spec=spec.model_dump(mode="json"),
        spec_sha256=digest(spec.model_dump(mode="json")),
        source_job=None if source is None else source.job,
        source_upload=None if source is None else source.upload,
        state=JobState.QUEUED,
        priority=spec.priority,
        created_at=now,
        queued_at=now,
        fence=0,
        attempts=0,
        cancel_requested=False,
        pause_requested=False,
    )


def digest(asked: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a request, the same however its fields are ordered."""
    canonical = json.dumps(asked, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _size(checked: CheckedSpec, widths: Mapping[str, int] | None) -> NetworkSize:
    cost = checked.cost(widths)
    if cost is None:
        return NetworkSize(widths=widths, params=None, macs=None, memory_bytes=None)
    spec = checked.spec
    batch = 1 if isinstance(spec, Still) else given("optim.batch", spec.optim.batch)
    memory = cost.memory_bytes(batch)
    return NetworkSize(widths=widths, params=cost.params, macs=cost.macs, memory_bytes=memory)


def _capped(size: NetworkSize, spec: JobSpec) -> NetworkSize:
    """Return a size within the caps on parameters and MACs; its widths are then not reached."""
    if size.params is None or size.macs is None or not isinstance(spec, GrowSpec):
        return size
    return NetworkSize(
        widths=size.widths,
        params=min(size.params, spec.growth.max_params or size.params),
        macs=min(size.macs, spec.growth.max_macs or size.macs),
        memory_bytes=size.memory_bytes,
    )


def speed_of(
    database: Database, catalogue: Catalogue, directories: tuple[Path, ...], owner: uuid.UUID
) -> float | None:
    """Return training MACs a second, by the owner's finished jobs."""
    with database.reading() as session:
        paces = recent_paces(session, owner, _PACES)
    measured = []
    for pace in paces:
        images = _images(pace.spec, catalogue, directories)
        if images:
            measured.append((training_macs(pace.macs, images), pace.seconds))
    return rate(measured)


def _images(
    spec: Mapping[str, Any], catalogue: Catalogue, directories: tuple[Path, ...]
) -> int | None:
    """Return the images that an epoch of this spec trains on."""
    dataset = find_dataset(spec["dataset"], catalogue, directories)
    return None if dataset is None else round(dataset.train * (1 - spec["data"]["validation"]))


def _macs(checked: CheckedSpec, macs: int | None, *, least: bool) -> int | None:
    """Return the multiply-accumulates of all training; the arguments are those of `_seconds`."""
    return None if macs is None else sum(_work(checked, macs, least=least))


def _seconds(
    checked: CheckedSpec, macs: int | None, speed: float | None, *, least: bool
) -> float | None:
    """Return how long training takes if every epoch is of a network of `macs`.

    Args:
        checked: the spec.
        macs: of the network, one image.
        speed: training multiply-accumulates a second.
        least: if growth ends after its first round.
    """
    if macs is None or speed is None:
        return None
    grown, rest = _work(checked, macs, least=least)
    spec = checked.spec
    most = spec.growth.max_seconds if isinstance(spec, GrowSpec) else None
    return min(grown / speed, most or grown / speed) + rest / speed


def _work(checked: CheckedSpec, macs: int, *, least: bool) -> tuple[int, int]:
    """Return the multiply-accumulates of growth, and of all other training."""
    spec = checked.spec
    epoch = training_macs(macs, checked.images)
    if not isinstance(spec, GrowSpec):
        return 0, epoch * _epochs(spec)
    growth, tune = spec.growth, spec.tune
    if growth.targets:
        last = checked.cost(checked.largest)
        largest = macs if last is None else last.macs
        epochs = given("tune.epochs", tune.epochs)
        return needed_macs(growth, largest, checked.images, epochs), 0
    rounds = 1 if least else given("growth.max_rounds", growth.max_rounds)
    epochs = given("growth.round_epochs", growth.round_epochs) * rounds
    grown = epoch * min(epochs, growth.max_epochs or epochs)
    grown = min(grown, growth.max_training_macs or grown)
    tuning = given("tune.epochs", tune.epochs)
    tuning += given("tune.pruned_epochs", tune.pruned_epochs)
    return grown, epoch * tuning


def _epochs(spec: JobSpec) -> int:
    """Return the epochs of a job whose network does not grow, at most."""
    if isinstance(spec, TrainSpec):
        parts = [(1, spec.train)]
    elif isinstance(spec, WeightsSpec):
        parts = [(1, spec.train), (1, spec.finetune), (1, spec.retrain)]
    elif isinstance(spec, TicketSpec):
        arms = (1 + len(set(spec.rivals))) * (1 + (spec.transfer_to is not None))
        parts = [(1, spec.train), (arms, spec.retrain)]
    elif isinstance(spec, PruneSpec):
        parts = [(1, spec.finetune)]
    else:
        parts = []
    return sum(times * given("epochs", training.epochs) for times, training in parts)
