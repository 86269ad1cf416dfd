"""SIGTERM while training: the job is handed back at the step it had reached, and goes on there."""

import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from bench.faults.arrangement import Arrange, Arrangement
from bench.faults.fault import Finding, Scope, Try
from bench.faults.history import read
from bench.faults.kills import passes
from bench.faults.trial import (
    Reference,
    check,
    ended,
    unswept,
    until_claimed,
    until_ended,
    usual,
)
from bench.faults.waiting import until
from service.contract import AttemptOutcome
from service.store.checkpoints import newest

EXIT_SECONDS = 10.0
"""How long a worker may take to end. Source: issue 3."""

BEGIN_SECONDS = 60.0
"""How long a training process may take to its first checkpoint."""

SURE = 5
"""Of so many attempts one at least is between two steps, where a checkpoint can be kept."""

MOST_PER_JOB = 3
"""Terminations are spread over jobs, up to so many on one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Handed:
    """What an attempt left when it was told to stop."""

    fence: int
    step: int | None
    """Of the checkpoint from which the next attempt has to go on; None if it must begin anew."""


def terminating(arrange: Arrange) -> Try:
    """Return what sends SIGTERM to a worker that trains, and sees where the next one goes on."""

    def run(scope: Scope, finding: Finding) -> None:
        expected = usual(scope)
        with arrange(scope.folder) as arrangement:
            jobs = 0
            while finding.done < scope.times and jobs < 4 * scope.times:
                jobs += 1
                with finding.trial(f"job number {jobs}"):
                    _one_job(scope, finding, arrangement, expected)
            finding.facts["jobs"] = jobs
            if finding.done >= SURE and not finding.facts.get("kept when asked"):
                finding.violations.append("an attempt that is asked must keep a checkpoint")
            finding.violations += unswept(arrangement)

    return run


def _one_job(scope: Scope, finding: Finding, arrangement: Arrangement, expected: Reference) -> None:
    job_id = arrangement.submit(expected.spec)
    handed: list[Handed] = []
    fence = until_claimed(arrangement, job_id, 0)
    for _ in range(min(MOST_PER_JOB, scope.times - finding.done)):
        delay = scope.random.uniform(0, expected.seconds / MOST_PER_JOB)
        if fence is None or not _trains(arrangement, job_id, fence):
            break
        if not passes(arrangement, job_id, delay):
            break
        left = _terminate(finding, arrangement, job_id, fence)
        if left is not None:
            finding.done += 1
            handed.append(left)
        fence = until_claimed(arrangement, job_id, fence)
    until_ended(arrangement, job_id)
    finding.violations += check(arrangement, job_id, expected)
    attempts = {row.fence: row for row in read(arrangement.database, job_id).attempts}
    for left in handed:
        following = attempts[left.fence + 1]
        if following.resumed_from != left.step:
            told = f"attempt {left.fence} of job {job_id} was left at step {left.step}"
            finding.violations.append(f"{told}, the next went on from {following.resumed_from}")


def _trains(arrangement: Arrangement, job_id: uuid.UUID, fence: int) -> bool:
    """Wait for an attempt's first checkpoint, and return whether the job still goes on then."""

    def begun() -> bool:
        with arrangement.database.reading() as session:
            trained = any(row.fence == fence for row in newest(session, job_id))
        return trained or ended(arrangement, job_id)

    until(begun, f"attempt {fence} trains", within_s=BEGIN_SECONDS, meanwhile=arrangement.revive)
    return not ended(arrangement, job_id)


def _terminate(
    finding: Finding, arrangement: Arrangement, job_id: uuid.UUID, fence: int
) -> Handed | None:
    """Send SIGTERM, see how the worker ends, and return where it left the job.

    Returns:
        None if the job came to its end first.
    """
    worker = arrangement.worker_of(job_id)
    if worker is None:
        return None
    begun, asked_at = time.monotonic(), datetime.now(UTC)
    code = worker.terminate(EXIT_SECONDS)
    finding.sample("exit_s", time.monotonic() - begun)
    if code is None:
        finding.violations.append(f"a worker must end within {EXIT_SECONDS:g} s of SIGTERM")
        worker.kill()
    elif code != 0:
        finding.violations.append(f"a worker must end with 0 after SIGTERM, it ended with {code}")
    history = read(arrangement.database, job_id)
    outcome = next(row.outcome for row in history.attempts if row.fence == fence)
    if outcome == AttemptOutcome.SUCCEEDED:
        return None
    if outcome != AttemptOutcome.PREEMPTED:
        finding.violations.append(f"attempt {fence} of {job_id} must be preempted, it is {outcome}")
    last = max(history.checkpoints, key=lambda row: (row.fence, row.id), default=None)
    if last is not None and last.created_at >= asked_at:
        finding.count("kept when asked")
    return Handed(fence=fence, step=None if last is None else last.step)
