"""What is answered about jobs: where they stand, what they would take, what happened."""

import uuid
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from service.contract import HELD_STATES, AttemptOutcome, JobKind, JobState
from service.jobs.follow import FollowedJob
from service.jobs.submit import Forecast, NetworkSize
from service.spec.jobs import JobSpec
from service.store.tables import Attempt, JobEvent

_LINKS = (
    "events", "attempts", "path", "models", "checkpoint", "artifacts", "cancel", "pause", "resume",
    "retry",
)  # fmt: skip


class AttemptAnswer(BaseModel):
    """One try at a job."""

    number: int = Field(description="Its place, from 1.")
    fence: int = Field(description="The claim that it is; events name it as `attempt`.")
    worker_id: uuid.UUID
    host: str
    device: str | None
    started_at: datetime
    ended_at: datetime | None
    outcome: AttemptOutcome | None
    reason: str | None
    resumed_from: int | None = Field(
        description="Step of the checkpoint that it went on from; null if it began anew."
    )

    @classmethod
    def of(cls, attempt: Attempt, number: int) -> "AttemptAnswer":
        """Return the answer for an attempt."""
        return cls(
            number=number,
            fence=attempt.fence,
            worker_id=attempt.worker_id,
            host=attempt.host,
            device=attempt.device,
            started_at=attempt.started_at,
            ended_at=attempt.ended_at,
            outcome=AttemptOutcome(attempt.outcome) if attempt.outcome else None,
            reason=attempt.reason,
            resumed_from=attempt.resumed_from,
        )


class AttemptList(BaseModel):
    """Every try at a job, oldest first."""

    items: list[AttemptAnswer]


class JobAnswer(BaseModel):
    """A job."""

    id: uuid.UUID
    kind: JobKind
    label: str | None
    dataset: str
    backbone: str
    state: JobState
    priority: int
    # Not a spec validated anew: a page of 50 would take twice as long. It was, when it was sent.
    spec: dict[str, Any] = Field(
        description="As POST /v1/jobs took it, with the defaults of kind and data set filled in."
    )
    created_at: datetime
    queued_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    cancel_requested: bool
    pause_requested: bool
    attempts: int
    attempt: AttemptAnswer | None = Field(description="The latest one.")
    progress: dict[str, Any] | None = Field(description="Where the run stood after its last epoch.")
    eta_seconds: float | None = Field(description="Until the end at most, while it runs.")
    widths: dict[str, int] | None = Field(description="Filters of every group now.")
    findings: dict[str, Any] | None = Field(
        description="What it found out beyond its models so far; null if nothing."
    )
    best_accuracy: float | None = Field(description="On the validation split, 0 to 1.")
    error: str | None = Field(description="Why it failed, or was paused by the service itself.")
    links: dict[str, str]

    @classmethod
    def of(cls, followed: FollowedJob) -> "JobAnswer":
        """Return the answer for a job."""
        job, attempt = followed.job, followed.attempt
        progress = job.progress or {}
        here = f"/v1/jobs/{job.id}"
        return cls(
            id=job.id,
            kind=job.kind,
            label=job.label,
            dataset=job.spec["dataset"],
            backbone=job.spec["backbone"],
            state=JobState(job.state),
            priority=job.priority,
            spec=job.spec,
            created_at=job.created_at,
            queued_at=job.queued_at,
            started_at=job.started_at,
            ended_at=job.ended_at,
            cancel_requested=job.cancel_requested,
            pause_requested=job.pause_requested,
            attempts=job.attempts,
            attempt=AttemptAnswer.of(attempt, job.attempts) if attempt else None,
            progress=job.progress,
            eta_seconds=progress.get("eta_seconds") if job.state in HELD_STATES else None,
            widths=progress.get("widths"),
            findings=job.findings,
            best_accuracy=job.best_accuracy,
            error=job.error,
            links={"self": here, **{name: f"{here}/{name}" for name in _LINKS}},
        )


class JobPage(BaseModel):
    """Some jobs, newest first."""

    items: list[JobAnswer]
    next: str | None = Field(description="Where the next page is; null on the last.")
    next_cursor: str | None = Field(description="The cursor in `next`.")


class SizeAnswer(BaseModel):
    """A network and what it takes; null where only the images tell."""

    widths: dict[str, int] | None
    params: int | None
    macs: int | None = Field(description="Multiply-accumulates of one image, forward.")
    memory_bytes: int | None = Field(description="Of training it, torch and the data not counted.")

    @classmethod
    def of(cls, size: NetworkSize) -> "SizeAnswer":
        """Return the answer for a size."""
        return cls(
            widths=None if size.widths is None else dict(size.widths),
            params=size.params,
            macs=size.macs,
            memory_bytes=size.memory_bytes,
        )


class TimeAnswer(BaseModel):
    """How long training would take on workers as they were."""

    least_seconds: float | None = Field(description="If no layer ever grew.")
    most_seconds: float | None = Field(
        description="If every epoch were one of the largest network."
    )
    reason: str | None = Field(description="Why there is no estimate, if there is none.")


class WorkAnswer(BaseModel):
    """How much training would be: 3 x forward x images, of all epochs. Null where unknown."""

    least_macs: int | None = Field(description="If no layer ever grew.")
    most_macs: int | None = Field(description="If every epoch were one of the largest network.")


class ForecastAnswer(BaseModel):
    """What a spec would take. Nothing was stored."""

    spec: JobSpec = Field(description="As asked, with the defaults of the data set filled in.")
    now: SizeAnswer = Field(description="The first network.")
    at_most: SizeAnswer = Field(description="The largest one that the caps allow.")
    training: WorkAnswer
    time: TimeAnswer
    layers: list[str] = Field(description="Groups of filters, in their order.")

    @classmethod
    def of(cls, forecast: Forecast) -> "ForecastAnswer":
        """Return the answer for a forecast."""
        return cls(
            spec=forecast.spec,
            now=SizeAnswer.of(forecast.first),
            at_most=SizeAnswer.of(forecast.largest),
            training=WorkAnswer(least_macs=forecast.macs_least, most_macs=forecast.macs_most),
            time=TimeAnswer(
                least_seconds=forecast.seconds_least,
                most_seconds=forecast.seconds_most,
                reason=forecast.reason,
            ),
            layers=list(forecast.first.widths or ()),
        )


class EventAnswer(BaseModel):
    """Something that happened to a job."""

    id: int
    type: str
    at: datetime
    attempt: int = Field(description="Which claim of the job wrote it; 0 before the first.")
    data: dict[str, Any]

    @classmethod
    def of(cls, event: JobEvent) -> "EventAnswer":
        """Return the answer for an event."""
        return cls(id=event.id, type=event.type, at=event.at, attempt=event.fence, data=event.data)


class EventPage(BaseModel):
    """Some events, oldest first."""

    items: list[EventAnswer]
    next_after: int = Field(description="Ask with ?after= this for what came later.")
    ended: bool = Field(description="The job is final and these are its last events.")
