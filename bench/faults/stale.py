"""SIGSTOP past the lease, then SIGCONT: a worker that comes back from the dead disturbs nobody."""

import uuid
from collections.abc import Mapping
from typing import Any

from bench.faults import process
from bench.faults.arrangement import Arrangement, stack
from bench.faults.fault import Finding, Scope, Try
from bench.faults.kills import passes
from bench.faults.trial import check, unswept, until_claimed, until_ended, usual
from bench.faults.waiting import until

REACH, QUICK_REACH = 0.6, 0.2
"""Share of an unbroken run's time within which a worker stops; the job must outlast the lease."""

QUICK_LEASE: Mapping[str, Any] = {
    "heartbeat_seconds": 0.3,
    "lease_seconds": 1.5,
    "reconcile_seconds": 0.5,
}
"""What suits the short job of the reduced form."""

LEAVE_SECONDS = 15.0
"""How long a stale training process may live on: the grace, and a look at the database."""


def stopping(*, child_too: bool) -> Try:
    """Return what stops a worker of two past its lease, alone or with its training process."""

    def run(scope: Scope, finding: Finding) -> None:
        expected = usual(scope)
        reach, lease = (QUICK_REACH, QUICK_LEASE) if scope.quick else (REACH, {})
        with stack(scope.folder, workers=2, **lease) as arrangement:
            jobs = 0
            while finding.done < scope.times and jobs < 4 * scope.times:
                jobs += 1
                with finding.trial(f"job number {jobs}"):
                    job_id = arrangement.submit(expected.spec)
                    fence = until_claimed(arrangement, job_id, 0)
                    delay = scope.random.uniform(0, reach * expected.seconds)
                    if fence is None or not passes(arrangement, job_id, delay):
                        continue
                    longer = scope.random.uniform(0, arrangement.settings.lease_seconds)
                    _stop(finding, arrangement, job_id, fence, child_too=child_too, longer=longer)
                    until_ended(arrangement, job_id)
                    finding.violations += check(arrangement, job_id, expected)
            finding.facts["jobs"] = jobs
            finding.violations += unswept(arrangement)

    return run


def _stop(
    finding: Finding,
    arrangement: Arrangement,
    job_id: uuid.UUID,
    fence: int,
    *,
    child_too: bool,
    longer: float,
) -> None:
    """Stop who works on a job until another has it and `longer`, s; then see the first leave."""
    worker, child = arrangement.worker_of(job_id), arrangement.child(job_id)
    if worker is None or child is None:
        return
    with process.suspended([worker.pid, child] if child_too else [worker.pid]):
        following = until_claimed(arrangement, job_id, fence)
        if following is None:
            return  # the training process alone brought the job to its end
        passes(arrangement, job_id, longer)
    finding.done += 1
    until(
        lambda: arrangement.child_of(job_id, fence) is None,
        f"the stale training process of attempt {fence} ends",
        within_s=LEAVE_SECONDS,
    )
