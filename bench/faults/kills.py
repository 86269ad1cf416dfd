"""kill -9 at random moments: of a worker, of its training process, of the whole embedded server."""

import signal
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import text

from bench.faults import process
from bench.faults.arrangement import Arrange, Arrangement
from bench.faults.fault import Finding, Scope, Try
from bench.faults.history import read
from bench.faults.trial import (
    check,
    claimed_at,
    ended,
    unswept,
    until_claimed,
    until_ended,
    usual,
)
from bench.faults.waiting import GLANCE_S, until
from service.contract import EventType
from service.store.checkpoints import newest

Victim = Callable[[Arrangement, uuid.UUID], bool]
"""Kills what belongs to a job that is being worked on; False if there was nothing to kill."""

MOST_PER_JOB = 8
"""Kills are spread over jobs, up to so many on one."""

REACH = 0.5
"""Share of an undisturbed run's time, from the claim, within which a kill falls. Attempts go on
where the one before was, so the later ones die late in the run."""


CHECKPOINT_SECONDS = 60.0
"""How long an attempt may take from its claim to its first checkpoint."""


def worker(arrangement: Arrangement, job_id: uuid.UUID) -> bool:
    """Kill the process that watches over a job's attempt: in the embedded service, all there is."""
    found = arrangement.worker_of(job_id)
    if found is None:
        return False
    found.kill()
    return True


def child(arrangement: Arrangement, job_id: uuid.UUID) -> bool:
    """Kill the training process of a job."""
    found = arrangement.child(job_id)
    return found is not None and process.send(found, signal.SIGKILL)


def child_and_checkpoint(arrangement: Arrangement, job_id: uuid.UUID) -> bool:
    """Wait for an attempt's first checkpoint, kill its process, and damage the newest one.

    Raises:
        NotInTimeError: there is none.
    """
    fence = arrangement.job(job_id).fence
    until(
        lambda: _newest(arrangement, job_id, fence) or ended(arrangement, job_id),
        f"attempt {fence} keeps a checkpoint",
        within_s=CHECKPOINT_SECONDS,
        meanwhile=arrangement.revive,
    )
    if not child(arrangement, job_id):
        return False
    path = _newest(arrangement, job_id, fence)
    if path is not None:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    return True


def _newest(arrangement: Arrangement, job_id: uuid.UUID, fence: int) -> Path | None:
    """Return the file of the newest checkpoint of a job if this attempt kept it."""
    with arrangement.database.reading() as session:
        kept = [row for row in newest(session, job_id)[:1] if row.fence == fence]
        return arrangement.settings.artifacts / kept[0].storage_key if kept else None


def killing(victim: Victim, arrange: Arrange) -> Try:
    """Return what kills as often as asked for, and compares every job with an unkilled one."""

    def run(scope: Scope, finding: Finding) -> None:
        expected = usual(scope)
        with arrange(scope.folder) as arrangement:
            jobs = 0
            while finding.done < scope.times and jobs < 4 * scope.times:
                jobs += 1
                with finding.trial(f"job number {jobs}"):
                    job_id = arrangement.submit(expected.spec)
                    most = min(scope.random.randint(1, MOST_PER_JOB), scope.times - finding.done)
                    delays = [
                        scope.random.uniform(0, REACH * expected.seconds) for _ in range(most)
                    ]
                    kill_often(finding, arrangement, job_id, victim, delays)
                    until_ended(arrangement, job_id)
                    finding.violations += check(arrangement, job_id, expected)
                    if told := told_damaged(arrangement, job_id):
                        finding.count("damaged ones told", told)
            finding.facts["jobs"] = jobs
            finding.violations += [*integrity(arrangement), *unswept(arrangement)]

    return run


def kill_often(
    finding: Finding,
    arrangement: Arrangement,
    job_id: uuid.UUID,
    victim: Victim,
    delays: list[float],
) -> None:
    """Kill after each delay, counted from the claim of an attempt, until the job ends."""
    fence = until_claimed(arrangement, job_id, 0)
    for delay in delays:
        if fence is None or not passes(arrangement, job_id, delay):
            return
        if not victim(arrangement, job_id):
            continue
        killed_at = datetime.now(UTC)  # some victims are waited for first
        finding.done += 1
        fence = until_claimed(arrangement, job_id, fence)
        if fence is not None:
            taken = claimed_at(arrangement, job_id, fence) - killed_at
            finding.sample("recovery_s", taken.total_seconds())


def passes(arrangement: Arrangement, job_id: uuid.UUID, seconds: float) -> bool:
    """Wait so long; return whether the job still goes on."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if ended(arrangement, job_id):
            return False
        time.sleep(GLANCE_S)
    return True


def told_damaged(arrangement: Arrangement, job_id: uuid.UUID) -> int:
    """Return how many damaged checkpoints the history of a job says were passed over."""
    events = read(arrangement.database, job_id).events
    return sum(len(event.data["damaged"]) for event in events if event.type == EventType.RESTORED)


def integrity(arrangement: Arrangement) -> list[str]:
    """Return what SQLite finds wrong with its file; nothing of another database."""
    if not arrangement.database.is_sqlite:
        return []
    with arrangement.database.reading() as session:
        told = session.scalars(text("PRAGMA integrity_check")).all()
    return [] if list(told) == ["ok"] else [f"integrity_check must say ok, it says: {told}"]
