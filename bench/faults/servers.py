"""Redis that forgets or is gone, PostgreSQL that falls over: nothing is lost, and all goes on."""

import time
import uuid
from datetime import UTC, datetime

from sqlalchemy import func, select

from bench.faults.arrangement import Arrangement, stack
from bench.faults.databases import postgresql
from bench.faults.fault import Finding, Scope
from bench.faults.kills import passes
from bench.faults.poller import Poller
from bench.faults.private import open_folder, private_postgres, private_redis
from bench.faults.trial import (
    BRIEF,
    check,
    claimed_at,
    reference,
    until_claimed,
    until_ended,
    usual,
)
from bench.faults.waiting import until
from service.store.tables import Worker

RECOVERY_SECONDS = 5.0
"""Within the reconcile period and so much more a job is taken up. Source: issue 3."""

DOWN_SECONDS = (1.0, 20.0)
"""How long Redis is away, at least and at most; a client that waits ever longer shows."""

IDLE_SECONDS = 60.0
"""How long a worker may take from the end of a job to having nothing to do."""


def redis_flush(scope: Scope, finding: Finding) -> None:
    """Empty Redis right before or after a submit, with the worker idle; its wake-up may be lost."""
    expected = reference(BRIEF)
    with (
        private_redis(scope.folder) as redis,
        stack(scope.folder, broker=redis.url) as arrangement,
    ):
        for number in range(scope.times):
            with finding.trial(f"flush number {number + 1}"):
                _until_idle(arrangement, workers=1)
                before = scope.random.random() < 0.5
                if before:
                    redis.flush()
                job_id = arrangement.submit(BRIEF)
                if not before:
                    redis.flush()
                finding.done += 1
                _taken_up(finding, arrangement, job_id, datetime.now(UTC))
                if passes(arrangement, job_id, scope.random.uniform(0, expected.seconds)):
                    redis.flush()
                until_ended(arrangement, job_id)
                finding.violations += check(arrangement, job_id, expected)


def redis_stop(scope: Scope, finding: Finding) -> None:
    """Stop Redis while one worker trains and one is idle, submit, and start it again."""
    expected = reference(BRIEF)
    with (
        private_redis(scope.folder) as redis,
        stack(scope.folder, broker=redis.url, workers=2) as arrangement,
    ):
        for number in range(scope.times):
            with finding.trial(f"stop number {number + 1}"):
                _until_idle(arrangement, workers=2)
                running = arrangement.submit(BRIEF)
                until_claimed(arrangement, running, 0)
                redis.stop()
                waiting = arrangement.submit(BRIEF)
                most = DOWN_SECONDS[0] if scope.quick else DOWN_SECONDS[1]
                time.sleep(scope.random.uniform(DOWN_SECONDS[0], most))
                redis.start()
                finding.done += 1
                _taken_up(finding, arrangement, waiting, datetime.now(UTC))
                for job_id in (running, waiting):
                    until_ended(arrangement, job_id)
                    finding.violations += check(arrangement, job_id, expected)


def postgres_restart(scope: Scope, finding: Finding) -> None:
    """Have PostgreSQL fall over while a job trains and a client asks, and start it again."""
    expected = usual(scope)
    with (
        open_folder() as folder,
        private_postgres(folder / "data") as server,
        stack(scope.folder, database=postgresql(server.url)) as arrangement,
    ):
        while finding.done < scope.times:
            job_id = arrangement.submit(expected.spec)
            with (
                finding.trial(f"job {job_id}"),
                Poller(str(arrangement.client.base_url), job_id) as poller,
            ):
                until_claimed(arrangement, job_id, 0)
                for _ in range(min(2, scope.times - finding.done)):
                    if not passes(
                        arrangement, job_id, scope.random.uniform(0, expected.seconds / 2)
                    ):
                        break
                    finding.sample("restart_s", server.restart())
                    finding.done += 1
                until_ended(arrangement, job_id)
                finding.violations += check(arrangement, job_id, expected)
            finding.violations += poller.violations
            finding.count("answers", sum(poller.answers.values()))
            finding.count("of them 503", poller.answers[503])
            finding.sample("away_s", poller.longest_away_s)


def _until_idle(arrangement: Arrangement, workers: int) -> None:
    """Wait until so many workers have nothing to do: one that is about to would need no wake-up.

    Raises:
        NotInTimeError: they always have.
    """

    def idle() -> bool:
        with arrangement.database.reading() as session:
            free = select(func.count()).select_from(Worker).where(Worker.job_id.is_(None))
            return session.execute(free).scalar_one() == workers

    until(idle, f"{workers} workers are idle", within_s=IDLE_SECONDS)


def _taken_up(
    finding: Finding, arrangement: Arrangement, job_id: uuid.UUID, since: datetime
) -> None:
    """Wait for a job's first attempt and see whether it came in time."""
    fence = until_claimed(arrangement, job_id, 0)
    if fence is None:
        return
    seconds = (claimed_at(arrangement, job_id, fence) - since).total_seconds()
    finding.sample("recovery_s", max(seconds, 0.0))
    most = arrangement.settings.reconcile_seconds + RECOVERY_SECONDS
    if seconds > most:
        told = f"job {job_id} must be taken up within {most:g} s"
        finding.violations.append(f"{told}, it took {seconds:.1f} s")
