import threading
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from service.contract import AttemptOutcome, JobState
from service.errors import FenceLostError
from service.store import claims, jobs
from service.store.claims import Claim
from service.store.database import Database
from service.store.tables import Job
from tests.yard import OWNER, Yard

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LEASE = timedelta(seconds=30)


@pytest.fixture
def yard(database: Database, tmp_path: Path) -> Yard:
    return Yard(database, tmp_path)


def take(yard: Yard, now: datetime = NOW, worker: int = 1) -> Claim | None:
    with yard.database.writing() as session:
        return claims.claim(
            session,
            worker_id=uuid.UUID(int=worker),
            host="here",
            device="cpu",
            pid=1,
            now=now,
            lease=LEASE,
        )


def end(
    yard: Yard,
    claim: Claim | None,
    outcome: AttemptOutcome,
    reason: str | None = "It was so.",
    now: datetime = NOW,
) -> JobState:
    assert claim is not None
    with yard.database.writing() as session:
        return claims.finish(
            session,
            job_id=claim.job_id,
            fence=claim.fence,
            outcome=outcome,
            reason=reason,
            now=now,
            max_attempts=3,
        )


def expire(yard: Yard, now: datetime) -> list[uuid.UUID]:
    with yard.database.writing() as session:
        return claims.expire(session, now=now, max_attempts=3)


def test_a_claim_names_the_job_and_starts_it(yard: Yard) -> None:
    job_id = yard.enqueue({"dataset": "digits"})
    assert take(yard) == Claim(job_id=job_id, owner=OWNER, fence=1, spec={"dataset": "digits"})
    job = yard.job(job_id)
    assert (job.state, job.fence, job.attempts) == (JobState.RUNNING, 1, 1)
    assert (job.started_at, job.lease_until) == (NOW, NOW + LEASE)
    assert [attempt.started_at for attempt in yard.attempts(job_id)] == [NOW]
    assert yard.happened(job_id) == ["claimed"]


def test_nothing_is_claimed_from_an_empty_queue(yard: Yard) -> None:
    assert take(yard) is None


def test_jobs_are_claimed_by_priority_and_then_by_age(yard: Yard) -> None:
    jobs = [yard.enqueue(priority=priority) for priority in (0, 3, 0, -1, 3)]
    claimed = [claim.job_id for _ in jobs if (claim := take(yard))]
    assert claimed == [jobs[1], jobs[4], jobs[0], jobs[2], jobs[3]]


def test_many_at_once_claim_each_job_once(yard: Yard) -> None:
    jobs = {yard.enqueue() for _ in range(24)}
    claimed: list[uuid.UUID] = []
    start = threading.Barrier(6)

    def work() -> None:
        start.wait()
        # None may only mean that others were claiming the last ones just then.
        while len(claimed) < len(jobs):
            if claim := take(yard):
                claimed.append(claim.job_id)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == len(jobs)
    assert set(claimed) == jobs
    assert all(yard.job(job).fence == 1 for job in jobs)


def test_a_renewed_lease_does_not_expire(yard: Yard) -> None:
    job_id = yard.enqueue()
    take(yard)
    with yard.database.writing() as session:
        orders = claims.renew(session, job_id=job_id, fence=1, now=NOW + LEASE, lease=LEASE)
    assert not orders.cancel
    assert not orders.over_limit
    assert expire(yard, NOW + 1.5 * LEASE) == []


def test_an_expired_lease_puts_the_job_back_in_its_old_place(yard: Yard) -> None:
    first, second = yard.enqueue(), yard.enqueue()
    take(yard)
    assert expire(yard, NOW + 2 * LEASE) == [first]
    assert yard.state(first) == JobState.QUEUED
    assert yard.outcomes(first) == ["lost"]
    claim = take(yard)
    assert claim is not None
    assert (claim.job_id, claim.fence) == (first, 2)
    assert yard.state(second) == JobState.QUEUED


def test_a_job_whose_lease_keeps_expiring_fails_after_the_last_attempt(yard: Yard) -> None:
    job_id = yard.enqueue()
    for _ in range(3):
        take(yard)
        expire(yard, NOW + 2 * LEASE)
    assert yard.state(job_id) == JobState.FAILED
    assert yard.job(job_id).error == (
        "Given up: the job was lost 3 times. The last time: "
        "The worker was not heard of until its lease ran out."
    )
    assert yard.happened(job_id)[-2:] == ["attempt_ended", "failed"]
    assert take(yard) is None


@pytest.mark.parametrize("again", [False, True])
def test_a_stale_fence_can_neither_renew_nor_finish(yard: Yard, *, again: bool) -> None:
    job_id = yard.enqueue()
    stale = take(yard)
    expire(yard, NOW + 2 * LEASE)
    if again:
        take(yard)
    with pytest.raises(FenceLostError), yard.database.writing() as session:
        claims.renew(session, job_id=job_id, fence=1, now=NOW, lease=LEASE)
    with pytest.raises(FenceLostError):
        end(yard, stale, AttemptOutcome.SUCCEEDED)
    assert yard.state(job_id) == (JobState.RUNNING if again else JobState.QUEUED)


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (AttemptOutcome.SUCCEEDED, JobState.SUCCEEDED),
        (AttemptOutcome.FAILED, JobState.FAILED),
        (AttemptOutcome.CANCELLED, JobState.CANCELLED),
        (AttemptOutcome.PREEMPTED, JobState.QUEUED),
        (AttemptOutcome.LOST, JobState.QUEUED),
        (AttemptOutcome.OOM, JobState.QUEUED),
    ],
)
def test_an_outcome_decides_what_becomes_of_the_job(
    yard: Yard, outcome: AttemptOutcome, state: JobState
) -> None:
    job_id = yard.enqueue()
    assert end(yard, take(yard), outcome) == state
    job = yard.job(job_id)
    assert job.state == state
    assert job.lease_until is None
    assert (job.ended_at is None) == (state == JobState.QUEUED)
    assert job.error == ("It was so." if outcome == AttemptOutcome.FAILED else None)
    last = "requeued" if state == JobState.QUEUED else state
    assert yard.happened(job_id) == ["claimed", "attempt_ended", last]


@pytest.mark.parametrize("outcome", ["preempted", "lost", "oom"])
def test_a_job_that_is_to_be_cancelled_is_not_queued_again(yard: Yard, outcome: str) -> None:
    job_id = yard.enqueue()
    claim = take(yard)
    yard.cancel(job_id)
    assert end(yard, claim, AttemptOutcome(outcome)) == JobState.CANCELLED


def test_cancellation_reaches_the_worker_with_its_next_renewal(yard: Yard) -> None:
    job_id = yard.enqueue()
    take(yard)
    yard.cancel(job_id)
    with yard.database.writing() as session:
        assert claims.renew(session, job_id=job_id, fence=1, now=NOW, lease=LEASE).cancel


def test_losses_and_lack_of_memory_are_counted_apart_and_handing_back_is_not(yard: Yard) -> None:
    job_id = yard.enqueue()
    for outcome in ("lost", "oom", "preempted", "lost", "oom", "preempted", "preempted"):
        assert end(yard, take(yard), AttemptOutcome(outcome)) == JobState.QUEUED
    assert end(yard, take(yard), AttemptOutcome.OOM) == JobState.FAILED
    assert yard.job(job_id).error == (
        "Given up: the job ran out of memory 3 times. The last time: It was so."
    )


def test_the_wall_clock_limit_counts_all_attempts(yard: Yard) -> None:
    job_id = yard.enqueue({"compute": {"limit_seconds": 25}})
    end(yard, take(yard), AttemptOutcome.LOST, now=NOW + timedelta(seconds=20))
    begun = NOW + timedelta(hours=1)
    take(yard, begun)

    def over(seconds: float) -> bool:
        with yard.database.writing() as session:
            now = begun + timedelta(seconds=seconds)
            return claims.renew(session, job_id=job_id, fence=2, now=now, lease=LEASE).over_limit

    assert not over(4)
    assert over(6)


def test_a_paused_or_final_job_is_never_expired(yard: Yard) -> None:
    job_id = yard.enqueue()
    take(yard)
    with yard.database.writing() as session:
        session.execute(update(Job).where(Job.id == job_id).values(state=JobState.PAUSED))
    assert expire(yard, NOW + 2 * LEASE) == []


def release(yard: Yard, worker: int = 1) -> list[uuid.UUID]:
    with yard.database.writing() as session:
        return claims.release(session, worker_id=uuid.UUID(int=worker), now=NOW, max_attempts=3)


def test_what_a_worker_that_is_gone_held_is_free_at_once(yard: Yard) -> None:
    orphan, other = yard.enqueue(), yard.enqueue()
    take(yard)
    take(yard, worker=2)
    assert release(yard) == [orphan]
    assert yard.state(orphan) == JobState.QUEUED
    (attempt,) = yard.attempts(orphan)
    assert (attempt.outcome, attempt.ended_at) == ("lost", NOW)
    assert attempt.reason == "The server was stopped while the job ran."
    assert yard.state(other) == JobState.RUNNING
    assert release(yard) == []


def test_a_job_that_has_gone_to_another_worker_is_not_taken_from_it(yard: Yard) -> None:
    job_id = yard.enqueue()
    take(yard)
    expire(yard, NOW + 2 * LEASE)
    take(yard, worker=2)
    assert release(yard) == []
    assert yard.state(job_id) == JobState.RUNNING


def test_orphans_count_as_lost_and_wishes_are_honoured(yard: Yard) -> None:
    failing, cancelled = yard.enqueue(), yard.enqueue()
    for _ in range(2):
        take(yard)
        release(yard)
    take(yard)
    take(yard)
    yard.cancel(cancelled)
    assert release(yard) == [failing, cancelled]
    assert yard.state(failing) == JobState.FAILED
    assert yard.state(cancelled) == JobState.CANCELLED


@pytest.mark.parametrize("outcome", ["preempted", "lost", "oom"])
def test_a_job_that_is_to_pause_is_put_aside(yard: Yard, outcome: str) -> None:
    job_id = yard.enqueue()
    claim = take(yard)
    yard.steer(job_id, jobs.request_pause)
    assert end(yard, claim, AttemptOutcome(outcome)) == JobState.PAUSED
    job = yard.job(job_id)
    assert (job.pause_requested, job.error, job.ended_at) == (False, None, None)
    assert take(yard) is None


def test_a_job_that_comes_to_its_end_first_is_not_paused(yard: Yard) -> None:
    job_id = yard.enqueue()
    claim = take(yard)
    yard.steer(job_id, jobs.request_pause)
    assert end(yard, claim, AttemptOutcome.SUCCEEDED) == JobState.SUCCEEDED
    assert not yard.job(job_id).pause_requested


@pytest.mark.parametrize("wanted", [False, True])
def test_want_of_room_pauses_a_job_and_says_how_much_it_needs(yard: Yard, *, wanted: bool) -> None:
    job_id = yard.enqueue()
    claim = take(yard)
    assert claim is not None
    if wanted:
        yard.steer(job_id, jobs.request_pause)
    with yard.database.writing() as session:
        state = claims.finish(
            session,
            job_id=job_id,
            fence=1,
            outcome=AttemptOutcome.NO_SPACE,
            reason="There was no room.",
            now=NOW,
            max_attempts=3,
            space_needed=1000,
        )
    assert state == JobState.PAUSED
    job = yard.job(job_id)
    # What somebody wants paused does not go on by itself.
    told = (None, None) if wanted else ("There was no room.", 1000)
    assert (job.error, job.space_needed) == told
    yard.steer(job_id, jobs.resume)
    job = yard.job(job_id)
    assert (job.state, job.error, job.space_needed) == (JobState.QUEUED, None, None)


def test_a_retry_counts_losses_anew(yard: Yard) -> None:
    job_id = yard.enqueue()
    for _ in range(3):
        end(yard, take(yard), AttemptOutcome.LOST)
    assert yard.state(job_id) == JobState.FAILED
    yard.steer(job_id, jobs.retry)
    for _ in range(2):
        assert end(yard, take(yard), AttemptOutcome.LOST) == JobState.QUEUED
    assert end(yard, take(yard), AttemptOutcome.LOST) == JobState.FAILED
