"""What is answered about sweeps."""

import uuid
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from service.api.answers.jobs import ForecastAnswer
from service.api.answers.results import ModelList
from service.contract import FINAL_STATES, JobState
from service.jobs.sweep_start import Foreseen
from service.jobs.sweeps import FollowedSweep, FollowedTrial
from service.spec.sweeps import HalvingSpec, Strategy
from service.store.tables import Sweep

_ENDED_EARLY = frozenset({JobState.CANCELLING, JobState.CANCELLED})


class SweepAnswer(BaseModel):
    """A sweep, and where its jobs stand."""

    id: uuid.UUID
    label: str | None
    strategy: Strategy
    halving: HalvingSpec | None = Field(description="Null unless the strategy is halving.")
    max_training_macs: int | None
    created_at: datetime
    states: dict[JobState, int] = Field(description="How many of its jobs are in each state.")
    ended: bool = Field(description="All its jobs have ended.")
    links: dict[str, str]

    @classmethod
    def of(cls, sweep: Sweep, states: Mapping[str, int]) -> "SweepAnswer":
        """Return the answer for a sweep."""
        return cls(**_told(sweep, states))


class SweepPageAnswer(BaseModel):
    """Some sweeps, newest first."""

    items: list[SweepAnswer]
    next: str | None = Field(description="Where the next page is; null on the last.")
    next_cursor: str | None = Field(description="The cursor in `next`.")


class TrialAnswer(BaseModel):
    """A job of a sweep."""

    job_id: uuid.UUID
    settings: dict[str, Any] = Field(description="What the axes say of it: path -> value.")
    kind: str
    backbone: str
    state: JobState
    epochs: int = Field(description="After which it was compared, or could be.")
    training_macs: int = Field(description="That it has taken: 3 x forward x images.")
    best_accuracy: float | None
    stopped: str | None = Field(
        description="Why the sweep cancelled it; null if it did not, or the job went on even so."
    )
    href: str

    @classmethod
    def of(cls, each: FollowedTrial) -> "TrialAnswer":
        """Return the answer for a job of a sweep."""
        job, trial = each.tried.job, each.tried.trial
        return cls(
            job_id=job.id,
            settings=trial.settings,
            kind=job.kind,
            backbone=job.spec["backbone"],
            state=JobState(job.state),
            epochs=each.epochs,
            training_macs=each.training_macs,
            best_accuracy=job.best_accuracy,
            stopped=trial.stopped if job.state in _ENDED_EARLY else None,
            href=f"/v1/jobs/{job.id}",
        )


class SweepDetailAnswer(SweepAnswer):
    """A sweep with its jobs, and the one family of all of them."""

    training_macs: int = Field(description="That all its jobs have taken together.")
    jobs: list[TrialAnswer]
    family: ModelList

    @classmethod
    def following(cls, found: FollowedSweep, *, front_only: bool) -> "SweepDetailAnswer":
        """Return the answer for a sweep and its family, or the front of that."""
        states = Counter(each.tried.job.state for each in found.trials)
        return cls(
            **_told(found.sweep, states),
            training_macs=sum(each.training_macs for each in found.trials),
            jobs=[TrialAnswer.of(each) for each in found.trials],
            family=ModelList.of(found.family, front_only=front_only),
        )


class ForeseenJobAnswer(ForecastAnswer):
    """What one job of a sweep would take."""

    settings: dict[str, Any]


class SweepTotalAnswer(BaseModel):
    """What all jobs would take, were none stopped; null where it is unknown of one."""

    jobs: int
    least_macs: int | None = Field(description="3 x forward x images, if no layer ever grew.")
    most_macs: int | None
    max_training_macs: int | None = Field(description="As asked: what is over it is cancelled.")
    least_seconds: float | None = Field(description="Of all jobs one after the other.")
    most_seconds: float | None


class SweepForecastAnswer(BaseModel):
    """What a sweep would take. Nothing was stored."""

    total: SweepTotalAnswer
    jobs: list[ForeseenJobAnswer]

    @classmethod
    def of(cls, foreseen: Foreseen, cap: int | None) -> "SweepForecastAnswer":
        """Return the answer for a dry run."""
        return cls(
            total=SweepTotalAnswer(
                jobs=len(foreseen.forecasts),
                least_macs=foreseen.macs_least,
                most_macs=foreseen.macs_most,
                max_training_macs=cap,
                least_seconds=foreseen.seconds_least,
                most_seconds=foreseen.seconds_most,
            ),
            jobs=[
                ForeseenJobAnswer(settings=dict(settings), **dict(ForecastAnswer.of(forecast)))
                for settings, forecast in foreseen.forecasts
            ],
        )


def _told(sweep: Sweep, states: Mapping[str, int]) -> dict[str, Any]:
    here = f"/v1/sweeps/{sweep.id}"
    halving = HalvingSpec(min_epochs=sweep.min_epochs, factor=sweep.factor)
    return {
        "id": sweep.id,
        "label": sweep.label,
        "strategy": sweep.strategy,
        "halving": halving if sweep.strategy == "halving" else None,
        "max_training_macs": sweep.max_training_macs,
        "created_at": sweep.created_at,
        "states": dict(states),
        "ended": all(state in FINAL_STATES for state in states),
        "links": {"self": here, "cancel": f"{here}/cancel"},
    }
