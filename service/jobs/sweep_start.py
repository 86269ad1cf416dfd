"""Start a sweep: several jobs asked for at once, stored in one transaction."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.catalogue import Catalogue
from service.errors import FieldError, InvalidRequestError
from service.jobs.check import CheckedSpec, check
from service.jobs.refusals import escaped
from service.jobs.sources import find_source, hold_source
from service.jobs.submit import (
    Forecast,
    digest,
    forecast_of,
    job_of,
    replay_of,
    replayed,
    speed_of,
)
from service.queue import Queue
from service.racing import PHASES, can_halve
from service.spec.jobs import JobSpec
from service.spec.sweeps import SweepSpec
from service.store import presence
from service.store.database import Database
from service.store.ids import new_id
from service.store.jobs import insert_job
from service.store.sweeps import sweep_of
from service.store.tables import Sweep, Trial


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """A job that a sweep asks for."""

    settings: Mapping[str, Any]
    """What the axes say of it: path -> value."""
    spec: JobSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where and for whom jobs are made."""

    database: Database
    catalogue: Catalogue
    directories: tuple[Path, ...]
    """Where data sets lie."""
    artifacts: Path
    owner: uuid.UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class Foreseen:
    """What a sweep would take, if none of its jobs were stopped."""

    forecasts: Sequence[tuple[Mapping[str, Any], Forecast]]
    """Of each job, with what the axes say of it."""
    macs_least: int | None
    """Multiply-accumulates of all training; None where it is unknown of one job."""
    macs_most: int | None
    seconds_least: float | None
    """Of all jobs one after the other."""
    seconds_most: float | None


def start(
    place: Place,
    queue: Queue,
    asked: SweepSpec,
    drafts: Sequence[Draft],
    *,
    idempotency_key: str | None,
    heartbeat: timedelta,
) -> tuple[uuid.UUID, bool]:
    """Store a sweep and all of its jobs, queued, in one transaction; wake who can begin.

    Args:
        place: where and for whom.
        queue: wakes workers.
        asked: the sweep.
        drafts: its jobs.
        idempotency_key: the same key and body of this owner give the same sweep.
        heartbeat: of the workers.

    Returns:
        The sweep's id, and whether an earlier request had made it.

    Raises:
        InvalidRequestError: a job cannot be run here, or the key was used for another body.
    """
    body = _digest(asked, drafts)
    if idempotency_key is not None:
        earlier = _replayed(place, idempotency_key, body)
        if earlier is not None:
            return earlier, True
    checked = _checked(place, asked, drafts)
    try:
        with place.database.writing() as session:
            jobs = list(zip(drafts, checked, strict=True))
            key = None if idempotency_key is None else (idempotency_key, body)
            sweep_id = _store(session, place.owner, asked, jobs, key)
    except IntegrityError:
        earlier = None
        if idempotency_key is not None:
            earlier = _replayed(place, idempotency_key, body)
        if earlier is None:
            raise
        return earlier, True
    with place.database.reading() as session:
        wanted = presence.wanted(session, now=datetime.now(UTC), heartbeat=heartbeat)
    for _ in range(max(1, wanted)):
        queue.wake()
    return sweep_id, False


def foresee(place: Place, asked: SweepSpec, drafts: Sequence[Draft]) -> Foreseen:
    """Return what a sweep would take, and store nothing.

    Raises:
        InvalidRequestError: a job cannot be run here.
    """
    checked = _checked(place, asked, drafts)
    speed = speed_of(place.database, place.catalogue, place.directories, place.owner)
    found = [forecast_of(each, speed) for each in checked]
    return Foreseen(
        forecasts=[(draft.settings, each) for draft, each in zip(drafts, found, strict=True)],
        macs_least=_total([each.macs_least for each in found]),
        macs_most=_total([each.macs_most for each in found]),
        seconds_least=_total([each.seconds_least for each in found]),
        seconds_most=_total([each.seconds_most for each in found]),
    )


def pointed(asked: SweepSpec, position: int, errors: Sequence[FieldError]) -> list[FieldError]:
    """Return errors in the spec of one job as errors in the body of the sweep."""
    if asked.specs is not None:
        return [replace(each, pointer=f"/specs/{position}{each.pointer}") for each in errors]
    return [replace(each, pointer=_on_axis(asked, each.pointer)) for each in errors]


def _on_axis(asked: SweepSpec, pointer: str) -> str:
    for path in asked.axes:
        place = "".join(f"/{escaped(name)}" for name in path.split("."))
        made = path.partition(".")[0] not in (asked.base or {})  # by this axis, not by the base
        if f"{pointer}/".startswith(f"{place}/") or (made and place.startswith(f"{pointer}/")):
            return f"/axes/{escaped(path)}"
    return f"/base{pointer}"


def refused(errors: Sequence[FieldError]) -> InvalidRequestError:
    """Return why a sweep is refused; what holds of several of its jobs is said once."""
    once = list(dict.fromkeys(errors))
    return InvalidRequestError(" ".join(f"{error.message}." for error in once), once)


def _checked(place: Place, asked: SweepSpec, drafts: Sequence[Draft]) -> Sequence[CheckedSpec]:
    """Return the specs of a sweep, completed.

    Raises:
        InvalidRequestError: one cannot be run here, or they cannot be compared.
    """
    look: Callable[[JobSpec], CheckedSpec] = partial(
        check,
        catalogue=place.catalogue,
        directories=place.directories,
        find=partial(find_source, place.database, place.artifacts, place.owner),
    )
    checked, errors = [], []
    for position, draft in enumerate(drafts):
        try:
            checked.append(look(draft.spec))
        except InvalidRequestError as error:
            if not error.errors:
                raise
            errors += pointed(asked, position, error.errors)
    errors = errors or list(_incomparable(asked, [each.spec for each in checked]))
    if errors:
        raise refused(errors)
    return checked


def _incomparable(asked: SweepSpec, specs: Sequence[JobSpec]) -> Iterator[FieldError]:
    where = "/specs" if asked.base is None else "/base"
    datasets = sorted({str(spec.dataset) for spec in specs})
    if len(datasets) > 1:
        message = f"all jobs of a sweep must be on one data set, got {', '.join(datasets)}"
        yield FieldError(pointer=where, code="several_datasets", message=message)
    if asked.strategy != "halving":
        return
    kinds = sorted({spec.kind for spec in specs})
    if len(kinds) > 1 or kinds[0] not in PHASES:
        message = f"jobs that halving compares must all grow or all train, got {', '.join(kinds)}"
        yield FieldError(pointer=where, code="not_comparable", message=message)
    if not can_halve():
        message = "strategy must be grid, for Optuna, which decides about halving, is not installed"
        yield FieldError(pointer="/strategy", code="not_installed", message=message)


def _store(
    session: Session,
    owner: uuid.UUID,
    asked: SweepSpec,
    jobs: Sequence[tuple[Draft, CheckedSpec]],
    key: tuple[str, str] | None,
) -> uuid.UUID:
    """Store a sweep and its jobs, and return its id.

    Args:
        session: in a transaction that writes.
        owner: whose.
        asked: the sweep.
        jobs: what it asks for, each with what that is here.
        key: idempotency key and the body's digest; they are stored for the first job.
    """
    sweep = Sweep(
        id=new_id(),
        owner=owner,
        label=asked.label,
        strategy=asked.strategy,
        factor=asked.halving.factor,
        min_epochs=asked.halving.min_epochs,
        max_training_macs=asked.max_training_macs,
        created_at=datetime.now(UTC),
    )
    session.add(sweep)
    session.flush()
    for position, (draft, found) in enumerate(jobs):
        label = found.spec.label or asked.label
        job = job_of(owner, found.spec.model_copy(update={"label": label}))
        hold_source(session, job)
        insert_job(session, job, replay_of(job, *key) if key and position == 0 else None)
        trial = Trial(
            job_id=job.id,
            sweep_id=sweep.id,
            position=position,
            settings=dict(draft.settings),
            images=found.images,
            rungs={},
        )
        session.add(trial)
    return sweep.id


def _replayed(place: Place, key: str, body: str) -> uuid.UUID | None:
    """Return the sweep that an idempotency key stands for, if it was used before."""
    with place.database.reading() as session:
        job = replayed(session, place.owner, key, body)
        return None if job is None else sweep_of(session, job.id)


def _digest(asked: SweepSpec, drafts: Sequence[Draft]) -> str:
    told = asked.model_dump(mode="json", exclude={"base", "axes", "specs"})
    specs = [draft.spec.model_dump(mode="json") for draft in drafts]
    return digest({"sweep": told, "specs": specs})


def _total(parts: Sequence[float | None]) -> Any:  # noqa: ANN401 - whole if all parts are
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None
