"""Follow sweeps: their jobs, the one family of all of them; and cancel them."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from service.contract import FINAL_STATES, JobState, Measure
from service.errors import ConflictError, NotFoundError
from service.estimate import training_macs
from service.jobs.budgets import Budget
from service.jobs.results import Family, family_from
from service.racing import PHASES
from service.store import sweeps as stored
from service.store.database import Database
from service.store.jobs import request_cancel
from service.store.tables import Sweep


@dataclass(frozen=True, kw_only=True, slots=True)
class FollowedTrial:
    """A job of a sweep, and how far it is."""

    tried: stored.TriedJob
    epochs: int
    """In which it is compared with the others."""
    training_macs: int
    """That it has taken."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FollowedSweep:
    """A sweep, its jobs in their order, and their family."""

    sweep: Sweep
    trials: Sequence[FollowedTrial]
    family: Family


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepPage:
    """Some sweeps, newest first, each with the states of its jobs."""

    sweeps: Sequence[tuple[Sweep, Mapping[str, int]]]
    last: uuid.UUID | None
    """Behind which the next page begins; None if there are no more."""


def find(
    database: Database,
    owner: uuid.UUID,
    sweep_id: uuid.UUID,
    budget: Budget,
    measures: tuple[Measure, Measure],
) -> FollowedSweep:
    """Return a sweep, its jobs, and what of all their models fits a budget.

    Raises:
        NotFoundError: this owner has none of this id.
    """
    with database.reading() as session:
        sweep = stored.find_sweep(session, owner, sweep_id)
        if sweep is None:
            raise _missing(sweep_id)
        jobs = stored.tried(session, sweep_id)
        forward = stored.forward_macs(session, sweep_id)
        curves = stored.curves(session, sweep_id, PHASES)
        members = stored.members_of(session, sweep_id)
        session.expunge_all()
    ended = all(each.job.state in FINAL_STATES for each in jobs)
    trials = [
        FollowedTrial(
            tried=each,
            epochs=len(curves.get(each.job.id, ())),
            training_macs=training_macs(forward.get(each.job.id, 0), each.trial.images),
        )
        for each in jobs
    ]
    family = family_from(members, budget, measures, ended=ended)
    return FollowedSweep(sweep=sweep, trials=trials, family=family)


def page(
    database: Database, owner: uuid.UUID, *, before: uuid.UUID | None, limit: int
) -> SweepPage:
    """Return the newest sweeps that are older than `before`."""
    with database.reading() as session:
        found = stored.page_of_sweeps(session, owner, before=before, limit=limit + 1)
        sweeps = found[:limit]
        states = stored.states(session, [sweep.id for sweep in sweeps])
        session.expunge_all()
    return SweepPage(
        sweeps=[(sweep, states[sweep.id]) for sweep in sweeps],
        last=sweeps[-1].id if len(found) > limit else None,
    )


def cancel(database: Database, owner: uuid.UUID, sweep_id: uuid.UUID) -> None:
    """Cancel every job of a sweep that has not ended. Twice does no harm.

    Raises:
        NotFoundError: this owner has none of this id.
        ConflictError: all its jobs have ended.
    """
    with database.writing() as session:
        if stored.find_sweep(session, owner, sweep_id) is None:
            raise _missing(sweep_id)
        stored.lock_sweep(session, sweep_id)
        left = [
            each.job
            for each in stored.tried(session, sweep_id, lock=True)
            if each.job.state not in FINAL_STATES
        ]
        if not left:
            raise ConflictError("A job of a sweep must be left to be cancelled, all have ended.")
        now = datetime.now(UTC)
        for job in left:
            if job.state != JobState.CANCELLING:
                request_cancel(session, job, now)


def _missing(sweep_id: uuid.UUID) -> NotFoundError:
    return NotFoundError(f"No sweep has id {sweep_id}.")
