"""One job under faults: how it is followed, and what it is compared with in the end."""

import json
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import select

from bench.faults.arrangement import Arrangement, embedded
from bench.faults.checker import violations
from bench.faults.fault import Scope
from bench.faults.history import read
from bench.faults.outcome import Outcome, differences, outcome
from bench.faults.records import unpublished
from bench.faults.waiting import NotInTimeError, until
from service.contract import FINAL_STATES, HELD_STATES, EventType, JobState
from service.store.files import list_jobs
from service.store.tables import Job, JobEvent

Spec = Mapping[str, Any]

_SMALL: Spec = {
    "dataset": "digits",
    "backbone": "vgg11",
    "optim": {"batch": 64, "learning_rate": 0.05},
    "compute": {"threads": 1},
}

BRIEF: Spec = {
    **_SMALL,
    "growth": {"start": 8, "round_epochs": 3, "max_rounds": 2, "max_width": 16},
    "tune": {"epochs": 3, "pruned_epochs": 3},
}
"""Two rounds, both tunings: about 3 s of training after 3 s of start."""

TRAINED: Spec = {**_SMALL, "kind": "train", "widths": 8, "train": {"epochs": 4}}
"""A network of fixed widths: it leaves files beside its models, and findings."""

LONG: Spec = {
    **_SMALL,
    "growth": {"start": 8, "round_epochs": 4, "max_rounds": 4, "max_width": 24},
    "tune": {"epochs": 20, "pruned_epochs": 16},
}
"""Four rounds, both tunings: about 10 s of training after 3 s of start."""

CLAIM_SECONDS = 60.0
"""How long a job may wait for its next attempt: lease, reconciler and a start on a busy machine."""

SWEEP_SECONDS = 15.0
"""How long the sweeper, which looks every 2 s, may take to remove what nobody needs."""

END_SECONDS = 180.0
"""How long a job may take from the last fault to its end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """What a run came to that nobody disturbed."""

    spec: Spec
    outcome: Outcome
    seconds: float
    """From its claim to its end."""


def reference(spec: Spec) -> Reference:
    """Return what a spec comes to without faults; run once a process, in `slbi serve`.

    Raises:
        ValueError: it does not come to a good end, and nothing can be compared with it.
    """
    return _reference(json.dumps(spec))


def usual(scope: Scope) -> Reference:
    """Return the reference of the job that most faults are made to: short in the tests."""
    return reference(BRIEF if scope.quick else LONG)


@cache
def _reference(spec: str) -> Reference:
    with tempfile.TemporaryDirectory() as folder, embedded(Path(folder)) as arrangement:
        job_id = arrangement.submit(json.loads(spec))
        until_ended(arrangement, job_id)
        history = read(arrangement.database, job_id)
        artifacts = arrangement.settings.artifacts
        wrong = violations(history, artifacts)
        if wrong or history.job.state != JobState.SUCCEEDED:
            raise ValueError(f"an undisturbed job must succeed, got {history.job.state}: {wrong}")
        at = {event.type: event.at for event in history.events}
        spent = at[EventType.SUCCEEDED] - at[EventType.CLAIMED]
        return Reference(
            spec=json.loads(spec),
            outcome=outcome(history, artifacts),
            seconds=spent.total_seconds(),
        )


def check(arrangement: Arrangement, job_id: uuid.UUID, expected: Reference) -> list[str]:
    """Return what does not hold of a job that has ended: its history, its files, its result."""
    history = read(arrangement.database, job_id)
    artifacts = arrangement.settings.artifacts
    told = differences(expected.outcome, outcome(history, artifacts))
    if history.job.error is not None:
        told.append(f"it says: {history.job.error}")
    return violations(history, artifacts) + [f"job {job_id}: {sentence}" for sentence in told]


def unswept(arrangement: Arrangement) -> list[str]:
    """Return what is left of files that no row names, once the sweeper has had its time."""
    left: list[str] = []

    def clean() -> bool:
        artifacts = arrangement.settings.artifacts
        jobs = [read(arrangement.database, job_id) for job_id in list_jobs(artifacts)]
        left[:] = [file for history in jobs for file in unpublished(history, artifacts)]
        return not left

    try:
        until(clean, "the sweeper is done", within_s=SWEEP_SECONDS, meanwhile=arrangement.revive)
    except NotInTimeError:
        return [f"what was never published must be swept, {len(left)} files were not: {left[:3]}"]
    return []


def ended(arrangement: Arrangement, job_id: uuid.UUID) -> bool:
    """Return whether a job is in a final state."""
    return arrangement.job(job_id).state in FINAL_STATES


def until_ended(arrangement: Arrangement, job_id: uuid.UUID, within_s: float = END_SECONDS) -> None:
    """Wait for the end of a job, whatever has died being started again.

    Raises:
        NotInTimeError: it does not end.
    """
    until(
        lambda: ended(arrangement, job_id),
        f"job {job_id} ends",
        within_s=within_s,
        meanwhile=arrangement.revive,
    )


def until_claimed(arrangement: Arrangement, job_id: uuid.UUID, after: int) -> int | None:
    """Wait for an attempt of a higher fence, and return its fence; None if the job ended before.

    Raises:
        NotInTimeError: nobody takes the job.
    """

    def found() -> Job | None:
        job = arrangement.job(job_id)
        claimed = job.fence > after and job.state in HELD_STATES
        return job if claimed or job.state in FINAL_STATES else None

    job = until(
        found,
        f"job {job_id} is claimed after attempt {after}",
        within_s=CLAIM_SECONDS,
        meanwhile=arrangement.revive,
    )
    if job is None or job.state in FINAL_STATES:
        return None
    return job.fence


def claimed_at(arrangement: Arrangement, job_id: uuid.UUID, fence: int) -> datetime:
    """Return when an attempt took its job."""
    with arrangement.database.reading() as session:
        return session.scalars(
            select(JobEvent.at).where(
                JobEvent.job_id == job_id,
                JobEvent.fence == fence,
                JobEvent.type == EventType.CLAIMED,
            )
        ).one()
