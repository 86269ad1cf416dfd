"""Which jobs of a sweep go on. What halving decides needs Optuna."""

import uuid
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from service.contract import LOCAL_OWNER, EventType, JobState
from service.racing import Judged, Racer, halve, race
from service.store.database import Database
from service.store.history import events_after
from service.store.ids import new_id
from service.store.tables import Job, PathStep, Sweep, Trial
from tests.service.running import NOON, store_job

IMAGES = 100


def _racer(*curve: float, goes_on: bool = True, **rungs: float) -> Racer:
    reached = {int(name.removeprefix("rung_")): value for name, value in rungs.items()}
    return Racer(rungs=reached, curve=curve, goes_on=goes_on)


def _stopped(racers: list[Racer], *, min_epochs: int = 1, factor: int = 3) -> list[int | None]:
    return [each.stopped_at for each in halve(racers, min_epochs=min_epochs, factor=factor)]


def test_of_those_that_came_to_a_rung_the_best_share_goes_on() -> None:
    assert _stopped([_racer(0.5), _racer(0.7), _racer(0.6)]) == [1, None, 1]
    six = [_racer(value / 10) for value in (1, 6, 2, 5, 3, 4)]
    assert _stopped(six) == [1, None, 1, None, 1, 1]


def test_a_job_that_has_not_come_to_the_first_rung_goes_on() -> None:
    assert _stopped([_racer(0.9, 0.9), _racer(0.1)], min_epochs=2) == [None, None]
    assert _stopped([_racer(), _racer(0.1)]) == [None, None]


def test_the_first_job_of_one_worker_goes_on_and_later_ones_are_compared_with_it() -> None:
    alone = _racer(0.5, 0.6, 0.7, 0.8)
    assert _stopped([alone, _racer(), _racer()]) == [None, None, None]
    ended = _racer(0.5, 0.6, 0.7, 0.8, goes_on=False, rung_0=0.5, rung_1=0.7)
    assert _stopped([ended, _racer(0.4), _racer()]) == [None, 1, None]
    assert _stopped([ended, _racer(0.6, 0.6, 0.6), _racer()]) == [None, 3, None]
    assert _stopped([ended, _racer(0.6, 0.6, 0.75), _racer()]) == [None, None, None]


def test_what_went_on_before_is_not_judged_again() -> None:
    assert _stopped([_racer(0.1, 0.1, rung_0=0.1), _racer(0.9, rung_0=0.9)]) == [None, None]


def test_a_rung_that_was_passed_between_two_looks_counts_with_the_accuracy_it_had() -> None:
    slow, quick = halve([_racer(0.6), _racer(0.5, 0.9, 0.9)], min_epochs=1, factor=2)
    assert (slow, quick) == (
        Judged(rungs={0: 0.6}, stopped_at=None, rivals=0),
        Judged(rungs={0: 0.5}, stopped_at=1, rivals=2),
    )


def test_no_epoch_at_all_stops_nobody() -> None:
    assert (
        halve([_racer(), _racer()], min_epochs=1, factor=2)
        == [Judged(rungs={}, stopped_at=None, rivals=0)] * 2
    )


@settings(max_examples=25, deadline=None)
@given(
    curves=st.lists(st.lists(st.integers(0, 9).map(lambda n: n / 9), max_size=9), max_size=6),
    factor=st.integers(2, 4),
)
def test_the_library_decides_as_the_rule_reads(curves: list[list[float]], factor: int) -> None:
    judged = halve([_racer(*curve) for curve in curves], min_epochs=1, factor=factor)
    stopped: set[int] = set()
    for epoch in (factor**rung for rung in range(5)):
        here = [
            number
            for number, curve in enumerate(curves)
            if len(curve) >= epoch and number not in stopped
        ]
        best = sorted((curves[number][epoch - 1] for number in here), reverse=True)
        go_on = best[: max(1, len(here) // factor)]
        for number in here:
            if curves[number][epoch - 1] < min(go_on):
                assert judged[number].stopped_at == epoch
                stopped.add(number)
    for number, each in enumerate(judged):
        assert (each.stopped_at is not None) == (number in stopped)


def _store_sweep(database: Database, jobs: list[uuid.UUID], **columns: Any) -> uuid.UUID:  # noqa: ANN401 - columns
    values: dict[str, Any] = {
        "id": new_id(), "owner": LOCAL_OWNER, "strategy": "grid", "factor": 2, "min_epochs": 1,
        "created_at": NOON, **columns,
    }  # fmt: skip
    with database.writing() as session:
        session.add(Sweep(**values))
        session.flush()
        for position, job_id in enumerate(jobs):
            session.add(
                Trial(
                    job_id=job_id, sweep_id=values["id"], position=position, settings={},
                    images=IMAGES, rungs={},
                )
            )  # fmt: skip
    sweep_id: uuid.UUID = values["id"]
    return sweep_id


def _trained(database: Database, accuracies: list[float], **columns: Any) -> uuid.UUID:  # noqa: ANN401 - columns
    """Store a job that runs and has recorded epochs of 1000 MACs an image."""
    job_id = store_job(database, **{"state": JobState.RUNNING, "fence": 1, **columns})
    _train(database, job_id, accuracies)
    return job_id


def _train(
    database: Database,
    job_id: uuid.UUID,
    accuracies: list[float],
    first: int = 1,
    phase: str = "grow",
) -> None:
    with database.writing() as session:
        for epoch, accuracy in enumerate(accuracies, first):
            session.add(
                PathStep(
                    job_id=job_id, step=epoch, fence=1, epoch=epoch, round=0, phase=phase,
                    loss=1.0, train_accuracy=0.5, validation_accuracy=accuracy, learning_rate=0.1,
                    params=10, macs=1000, seconds=1.0,
                )
            )  # fmt: skip


def _states(database: Database, *jobs: uuid.UUID) -> list[str]:
    with database.reading() as session:
        return [session.get_one(Job, job_id).state for job_id in jobs]


def test_a_sweep_over_its_cap_cancels_what_is_left_and_says_why(database: Database) -> None:
    done = _trained(database, [0.5], state=JobState.SUCCEEDED)
    running = _trained(database, [0.5])
    waiting, paused = store_job(database), store_job(database, state=JobState.PAUSED)
    other = _trained(database, [0.5] * 9)
    taken = 3 * 1000 * IMAGES * 2
    cap = taken + 1
    _store_sweep(database, [done, running, waiting, paused], max_training_macs=cap)
    assert race(database, NOON) == []

    _train(database, running, [0.5], first=2)
    stops = race(database, NOON)

    assert {stop.job_id for stop in stops} == {running, waiting, paused}
    assert _states(database, done, running, waiting, paused, other) == [
        "succeeded", "cancelling", "cancelled", "cancelled", "running",
    ]  # fmt: skip
    reason = f"The sweep has taken {3 * taken // 2} of max_training_macs {cap}."
    with database.reading() as session:
        assert session.get_one(Trial, running).stopped == reason
        assert session.get_one(Trial, done).stopped is None
        events = events_after(session, waiting, after=0, limit=9)
        told = [(event.type, event.data) for event in events]
    assert told == [
        (EventType.CANCEL_REQUESTED, {"reason": reason}),
        (EventType.CANCELLED, {}),
    ]
    assert race(database, NOON) == []


def test_a_sweep_without_cap_and_halving_stops_nobody(database: Database) -> None:
    _store_sweep(database, [_trained(database, [0.1] * 9), _trained(database, [0.9] * 9)])
    assert race(database, NOON) == []


def test_halving_stops_the_worse_of_two_and_keeps_what_was_reached(database: Database) -> None:
    worse, better = _trained(database, [0.4]), _trained(database, [0.6])
    waiting = store_job(database)
    _store_sweep(database, [worse, better, waiting], strategy="halving")

    (stop,) = race(database, NOON)

    assert stop.job_id == worse
    assert stop.reason == (
        "Its validation accuracy 0.4000 after epoch 1 is not among the best 1 / 2 of the 2 jobs"
        " that came there."
    )
    assert _states(database, worse, better, waiting) == ["cancelling", "running", "queued"]
    # What one process has judged, the next one knows: a later job is compared with both.
    _train(database, waiting, [0.5])
    with database.writing() as session:
        session.get_one(Job, waiting).state = JobState.RUNNING
        session.get_one(Job, worse).state = JobState.CANCELLED
    (stop,) = race(database, NOON + timedelta(seconds=10))
    assert stop.job_id == waiting
    assert "of the 3 jobs" in stop.reason


def test_the_epochs_of_annealing_are_no_rung_and_never_the_accuracy_at_one(
    database: Database,
) -> None:
    annealed, plain = _trained(database, [0.4]), _trained(database, [0.5, 0.6])
    _train(database, annealed, [0.8, 0.9], first=2, phase="anneal")
    _store_sweep(database, [annealed, plain], strategy="halving")

    (stop,) = race(database, NOON)

    assert (stop.job_id, "0.4000 after epoch 1" in stop.reason) == (annealed, True)
    with database.reading() as session:
        assert session.get_one(Trial, annealed).rungs == {"0": 0.4}
        assert session.get_one(Trial, plain).rungs == {"0": 0.5, "1": 0.6}


def test_growth_counts_on_behind_annealing_from_where_it_stood(database: Database) -> None:
    annealed, plain = _trained(database, [0.4]), _trained(database, [0.3, 0.5])
    _train(database, annealed, [0.1, 0.1], first=2, phase="anneal")
    _train(database, annealed, [0.6], first=4)
    _store_sweep(database, [annealed, plain], strategy="halving", min_epochs=2)

    (stop,) = race(database, NOON)

    assert (stop.job_id, "0.5000 after epoch 2" in stop.reason) == (plain, True)
    with database.reading() as session:
        assert session.get_one(Trial, annealed).rungs == {"0": 0.6}


def test_what_annealing_trains_counts_against_the_cap(database: Database) -> None:
    job_id = _trained(database, [0.5])
    _store_sweep(database, [job_id], max_training_macs=3 * 1000 * IMAGES * 2)
    assert race(database, NOON) == []
    _train(database, job_id, [0.9], first=2, phase="anneal")
    assert [stop.job_id for stop in race(database, NOON)] == [job_id]


def test_a_job_that_was_stopped_and_retried_is_left_alone(database: Database) -> None:
    worse, better = _trained(database, [0.4]), _trained(database, [0.6])
    _store_sweep(database, [worse, better], strategy="halving")
    assert len(race(database, NOON)) == 1
    with database.writing() as session:
        session.get_one(Job, worse).state = JobState.RUNNING
    _train(database, worse, [0.1, 0.1], first=2)
    assert race(database, NOON) == []
