"""Members of families that no database holds, one by one or drawn by hypothesis."""

import uuid
from datetime import UTC, datetime
from typing import get_args

from hypothesis import strategies as st

from service.contract import Measure, ModelKind
from service.jobs.budgets import Budget
from service.store.family import Member
from service.store.tables import Artifact, Model

MEASURES: tuple[Measure, ...] = get_args(Measure)
JOB = uuid.UUID(int=7)
_KINDS: tuple[ModelKind, ...] = ("grown", "tuned")


def member(
    *,
    macs: int = 100,
    params: int = 10,
    size: int = 1000,
    latency_ms: float | None = None,
    accuracy: float = 0.5,
    kind: ModelKind = "grown",
    dataset: str | None = None,
    position: int = 0,
) -> Member:
    """Return a member of the job `JOB`; `size` are the bytes of its file."""
    model = Model(
        id=uuid.UUID(int=1000 + position),
        job_id=JOB,
        position=position,
        kind=kind,
        origin=f"number {position}",
        dataset=dataset,
        params=params,
        macs=macs,
        validation_accuracy=accuracy,
        latency_ms=latency_ms,
    )
    published = datetime(2026, 1, 2, tzinfo=UTC)
    return Member(model=model, artifact=Artifact(bytes=size, published_at=published))


_few = st.integers(1, 6)
_latencies = st.none() | st.sampled_from([0.1, 0.25, 1 / 3, 2.0])
_accuracies = st.sampled_from([0.0, 0.1, 0.3, 1 / 3, 0.9, 1.0]) | st.floats(0, 1)


@st.composite
def families(draw: st.DrawFn, *, least: int = 0) -> list[Member]:
    """Draw a family in which ties and missing latencies are common."""
    return [
        member(
            macs=draw(_few),
            params=draw(_few),
            size=draw(_few),
            latency_ms=draw(_latencies),
            accuracy=draw(_accuracies),
            kind=draw(st.sampled_from(_KINDS)),
            dataset=draw(st.sampled_from([None, None, None, "mnist"])),
            position=position,
        )
        for position in range(draw(st.integers(least, 8)))
    ]


budgets = st.builds(
    Budget,
    max_macs=st.none() | _few,
    max_params=st.none() | _few,
    max_bytes=st.none() | _few,
    max_latency_ms=_latencies,
    min_accuracy=st.none() | _accuracies,
    kind=st.none() | st.sampled_from(_KINDS),
)
"""Budgets that such families meet now and then."""
