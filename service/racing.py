"""Which jobs of a sweep go on: halving by Optuna, and the cap on what all of them may take."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec

import structlog

from service.contract import FINAL_STATES, JobState
from service.estimate import training_macs
from service.store.database import Database
from service.store.jobs import request_cancel
from service.store.sweeps import (
    TriedJob,
    curves,
    forward_macs,
    lock_sweep,
    to_judge,
    tried,
)
from service.store.tables import Sweep

_log = structlog.get_logger(__name__)

PHASES = ("grow", "train")
"""Phases of the path in which jobs are compared. What follows them tunes what they left, and an
`anneal` between steps of `grow` raises the accuracy for the while: neither compares."""

_RUNG = "completed_rung_"
"""How Optuna names the attribute of a trial that holds its value at a rung; a test holds it so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Racer:
    """A job as far as it has come."""

    rungs: Mapping[int, float]
    """Rung -> accuracy with which it was reached, of those that were judged before."""
    curve: Sequence[float]
    """Validation accuracy after each epoch."""
    goes_on: bool
    """Whether it can still be stopped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """What became of a job."""

    rungs: Mapping[int, float]
    stopped_at: int | None
    """Epoch after which it was not among the best; None if it goes on, or had ended."""
    rivals: int
    """Jobs that had reached the rung at which it was stopped, itself included."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stop:
    """A job that was cancelled by its sweep."""

    job_id: uuid.UUID
    reason: str


def can_halve() -> bool:
    """Return whether the library is installed that decides which jobs go on."""
    return find_spec("optuna") is not None


def race(database: Database, now: datetime) -> Sequence[Stop]:
    """Look at every sweep that may have to stop jobs, once; cancel those that do not go on.

    Any number of processes may do so at once: they take turns at each sweep.
    """
    with database.reading() as session:
        waiting = to_judge(session)
    return [stop for sweep_id in waiting for stop in _look(database, sweep_id, now)]


def halve(racers: Sequence[Racer], *, min_epochs: int, factor: int) -> Sequence[Judged]:
    """Return which of the jobs go on, by asynchronous successive halving.

    Rungs lie at `min_epochs` times 1, `factor`, its square and so on. A job that has come to one
    since the last look goes on if its accuracy there is among the best 1 / `factor` of those that
    ever came there, those of this look included; what went on before is not judged again.

    Source: Li et al., arXiv 1810.05934, as `optuna.pruners.SuccessiveHalvingPruner` has it.
    """
    rungs = [dict(racer.rungs) for racer in racers]
    stopped: dict[int, tuple[int, int]] = {}  # number -> epoch, and how many had come there
    longest = max((len(racer.curve) for racer in racers), default=0)
    rung, epoch = 0, min_epochs
    while epoch <= longest:
        came = [
            number
            for number, racer in enumerate(racers)
            if number not in stopped and len(racer.curve) >= epoch and rung not in rungs[number]
        ]
        for number in came:
            rungs[number][rung] = racers[number].curve[epoch - 1]
        for number in came:
            others = [each[rung] for at, each in enumerate(rungs) if at != number and rung in each]
            if racers[number].goes_on and not _goes_on(
                rungs[number], rung, others, min_epochs=min_epochs, factor=factor
            ):
                stopped[number] = (epoch, len(others) + 1)
        rung, epoch = rung + 1, epoch * factor
    return [
        Judged(rungs=reached, stopped_at=epoch, rivals=rivals)
        for reached, (epoch, rivals) in (
            (reached, stopped.get(number, (None, 0))) for number, reached in enumerate(rungs)
        )
    ]


def _goes_on(
    mine: Mapping[int, float],
    rung: int,
    others: Sequence[float],
    *,
    min_epochs: int,
    factor: int,
) -> bool:
    """Return whether Optuna lets a job go on from a rung to which others have come.

    It takes a trial of a study, and keeps at which rungs a trial was in its attributes.
    """
    import optuna  # noqa: PLC0415 - only sweeps that halve need it

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    running = optuna.trial.TrialState.RUNNING
    at = {f"{_RUNG}{before}": mine[before] for before in range(rung)}
    step = min_epochs * factor**rung
    study.add_trial(
        optuna.trial.create_trial(
            state=running, system_attrs=at, intermediate_values={step: mine[rung]}
        )
    )
    study.add_trials(
        optuna.trial.create_trial(state=running, system_attrs={f"{_RUNG}{rung}": value})
        for value in others
    )
    pruner = optuna.pruners.SuccessiveHalvingPruner(
        min_resource=min_epochs, reduction_factor=factor
    )
    return not pruner.prune(study, study.trials[0])


def _look(database: Database, sweep_id: uuid.UUID, now: datetime) -> Sequence[Stop]:
    """Judge the jobs of one sweep, in a transaction."""
    with database.writing() as session:
        sweep = lock_sweep(session, sweep_id)
        if sweep is None:
            return []
        jobs = tried(session, sweep_id, lock=True)
        reasons: dict[uuid.UUID, str] = {}
        if sweep.strategy == "halving" and can_halve():
            reasons |= _halved(sweep, jobs, curves(session, sweep_id, PHASES))
        elif sweep.strategy == "halving":
            _log.error("sweep_not_halved", sweep=str(sweep_id), reason="Optuna is not installed")
        over = _over(sweep, jobs, forward_macs(session, sweep_id))
        stops = []
        for each in jobs:
            reason = reasons.get(each.job.id, over)
            if reason is None or not _can_be_stopped(each):
                continue
            each.trial.stopped = reason
            request_cancel(session, each.job, now, reason)
            stops.append(Stop(job_id=each.job.id, reason=reason))
    return stops


def _halved(
    sweep: Sweep, jobs: Sequence[TriedJob], curve_of: Mapping[uuid.UUID, Sequence[float]]
) -> Mapping[uuid.UUID, str]:
    """Return job -> why it does not go on, and note in place which rungs were reached."""
    racers = [
        Racer(
            rungs={int(rung): value for rung, value in each.trial.rungs.items()},
            curve=() if each.trial.stopped else curve_of.get(each.job.id, ()),
            goes_on=_can_be_stopped(each),
        )
        for each in jobs
    ]
    judged = halve(racers, min_epochs=sweep.min_epochs, factor=sweep.factor)
    reasons = {}
    for each, found in zip(jobs, judged, strict=True):
        each.trial.rungs = {str(rung): value for rung, value in found.rungs.items()}
        if found.stopped_at is not None:
            accuracy = found.rungs[max(found.rungs)]
            reasons[each.job.id] = (
                f"Its validation accuracy {accuracy:.4f} after epoch {found.stopped_at} is not"
                f" among the best 1 / {sweep.factor} of the {found.rivals} jobs that came there."
            )
    return reasons


def _over(sweep: Sweep, jobs: Sequence[TriedJob], forward: Mapping[uuid.UUID, int]) -> str | None:
    """Return why no job goes on, if the sweep has taken what it may."""
    if sweep.max_training_macs is None:
        return None
    taken = sum(training_macs(forward.get(each.job.id, 0), each.trial.images) for each in jobs)
    if taken < sweep.max_training_macs:
        return None
    return f"The sweep has taken {taken} of max_training_macs {sweep.max_training_macs}."


def _can_be_stopped(each: TriedJob) -> bool:
    return each.job.state not in FINAL_STATES | {JobState.CANCELLING}
