"""Jobs whose attempts train in two processes."""

import os
import signal
from pathlib import Path

import pytest

from service.contract import JobState
from service.store.ids import new_id
from tests.yard import SHORT_RUN, Yard, alive, running, wait_for
from worker.jobs.supervisor import Supervisor

SPEC = {
    **SHORT_RUN,
    "tune": {"epochs": 6, "pruned_epochs": 1},
    "compute": {"threads": 1, "processes": 2},
}


def _group(leader: int) -> list[int]:
    """Return the living processes of a training process's group."""
    members = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(folder.name)) == leader and alive(int(folder.name)):
                members.append(int(folder.name))
        except ProcessLookupError:
            continue
    return members


def _ranks(leader: int) -> list[int]:
    """Return the processes that train together, as spawn starts them."""
    found = []
    for pid in _group(leader):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"spawn_main" in words:
            found.append(pid)
    return found


@pytest.mark.slow
def test_a_job_of_two_processes_outlives_a_stop_and_the_death_of_one(sqlite_yard: Yard) -> None:
    yard = sqlite_yard
    yard.settings = yard.settings.model_copy(update={"grace_seconds": 10.0})
    job_id = yard.enqueue(SPEC)

    def epochs() -> int:
        progress = yard.job(job_id).progress
        return 0 if progress is None else int(progress["epoch"])

    supervisor = Supervisor(yard.settings, yard.database, worker_id=new_id(), device="cpu")
    with running(supervisor) as stop:
        wait_for(lambda: epochs() >= 1, 90)
        stop.set()
        wait_for(lambda: yard.state(job_id) == JobState.QUEUED, 10)
    first = yard.attempts(job_id)[0]
    assert first.pid is not None
    assert not _group(first.pid)

    with running(supervisor):
        wait_for(lambda: [each.pid is None for each in yard.attempts(job_id)] == [False] * 2, 90)
        kept = epochs()
        wait_for(lambda: epochs() > kept, 90)
        pid = yard.attempts(job_id)[1].pid
        assert pid is not None
        os.kill(_ranks(pid)[-1], signal.SIGKILL)
        wait_for(lambda: yard.outcomes(job_id)[1] is not None, 30)
        assert not _group(pid)
        wait_for(lambda: yard.state(job_id) == JobState.SUCCEEDED, 120)

    assert yard.outcomes(job_id) == ["preempted", "lost", "succeeded"]
    reasons = [attempt.reason for attempt in yard.attempts(job_id)]
    assert reasons[1] is not None
    assert "of 2 ended with" in reasons[1]
    assert all(attempt.resumed_from for attempt in yard.attempts(job_id)[1:])
    steps = yard.steps(job_id)
    assert steps == sorted(set(steps))


@pytest.mark.slow
def test_the_processes_of_an_attempt_die_with_it(sqlite_yard: Yard) -> None:
    yard = sqlite_yard
    job_id = yard.enqueue(SPEC)
    supervisor = Supervisor(yard.settings, yard.database, worker_id=new_id(), device="cpu")
    with running(supervisor) as stop:
        wait_for(lambda: bool(yard.steps(job_id)), 90)
        pid = yard.attempts(job_id)[0].pid
        assert pid is not None
        ranks = _ranks(pid)
        assert len(ranks) >= 2
        stop.set()
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not any(map(alive, ranks)), 5)
