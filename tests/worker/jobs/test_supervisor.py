import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import update

from service.contract import JobState
from service.store import claims, jobs
from service.store.tables import Job
from tests.yard import Yard, alive, running, wait_for

STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nready()\ntime.sleep(60)"

OBEDIENT = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\nready()\ntime.sleep(60)"

SECOND_TIME_LUCKY = "ready()\nsucceed() if fence > 1 else time.sleep(60)"


def test_every_queued_job_is_run_by_priority_each_in_its_own_process(yard: Yard) -> None:
    jobs = [yard.enqueue(priority=priority) for priority in (0, 5, -5)]

    assert yard.run("ready()\nsucceed()") == 3

    assert [yard.state(job) for job in jobs] == [JobState.SUCCEEDED] * 3
    started = sorted(jobs, key=lambda job: yard.attempts(job)[0].started_at)
    assert started == [jobs[1], jobs[0], jobs[2]]
    assert len({yard.ready(job) for job in jobs}) == 3


def test_a_cancelled_job_ends_its_whole_process_group(yard: Yard) -> None:
    job = yard.enqueue()
    grandchild = (
        "import subprocess\n"
        "grandchild = subprocess.Popen(['sleep', '60'])\n"
        "(home / 'grandchild').write_text(str(grandchild.pid))\n"
    )
    with running(yard.supervisor(grandchild + STUBBORN)):
        pids = [yard.ready(job), int((yard.settings.home / "grandchild").read_text())]
        assert all(alive(pid) for pid in pids)
        yard.cancel(job)
        wait_for(lambda: yard.state(job) == JobState.CANCELLED)
        wait_for(lambda: not any(alive(pid) for pid in pids), 2)
    assert yard.outcomes(job) == ["cancelled"]
    assert yard.happened(job) == ["claimed", "attempt_ended", "cancelled"]


def test_a_killed_training_process_is_replaced_and_the_job_succeeds(yard: Yard) -> None:
    job = yard.enqueue()
    with running(yard.supervisor(SECOND_TIME_LUCKY)):
        os.kill(yard.ready(job), signal.SIGKILL)
        wait_for(lambda: yard.state(job) == JobState.SUCCEEDED)
    assert yard.outcomes(job) == ["lost", "succeeded"]
    assert yard.attempts(job)[0].reason == "The training process crashed (SIGKILL)."


def test_a_job_that_always_crashes_is_given_up_with_the_last_line_it_wrote(yard: Yard) -> None:
    job = yard.enqueue()
    yard.run("raise TypeError('no such thing')")
    assert yard.outcomes(job) == ["lost"] * 3
    assert yard.state(job) == JobState.FAILED
    assert yard.job(job).error == (
        "Given up: the job was lost 3 times. The last time: "
        "The training process stopped with exit code 1: TypeError: no such thing"
    )


def test_a_process_that_says_it_ran_out_of_memory_is_believed(yard: Yard) -> None:
    job = yard.enqueue()
    yard.run("if fence > 1:\n    succeed()\nelse:\n    print('no room')\n    sys.exit(76)")
    assert yard.outcomes(job) == ["oom", "succeeded"]
    assert yard.attempts(job)[0].reason == "The training process ran out of memory: no room"


def test_a_stopped_worker_hands_its_job_back_and_that_is_not_counted(yard: Yard) -> None:
    job = yard.enqueue()
    supervisor = yard.supervisor(OBEDIENT)
    for fence in range(1, 5):
        with running(supervisor) as stop:
            yard.ready(job, fence)
            begun = time.monotonic()
            stop.set()
        assert time.monotonic() - begun < 10
        assert yard.state(job) == JobState.QUEUED
    assert yard.outcomes(job) == ["preempted"] * 4


def test_a_paused_job_is_put_aside_and_goes_on_when_resumed(yard: Yard) -> None:
    job = yard.enqueue()
    with running(yard.supervisor(OBEDIENT)):
        yard.ready(job)
        yard.steer(job, jobs.request_pause)
        assert yard.state(job) == JobState.PAUSING
        wait_for(lambda: yard.state(job) == JobState.PAUSED)
    yard.steer(job, jobs.resume)
    yard.run("ready()\nsucceed()")
    assert yard.outcomes(job) == ["preempted", "succeeded"]
    assert yard.attempts(job)[0].reason == "The job was paused."
    assert yard.happened(job) == [
        *("claimed", "pause_requested", "attempt_ended", "paused"),
        *("resumed", "claimed", "attempt_ended", "succeeded"),
    ]


def test_a_pause_that_is_taken_back_costs_an_attempt_at_most(yard: Yard) -> None:
    job = yard.enqueue()
    slow = "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.7), sys.exit(75)))\nready()\n"
    with running(yard.supervisor(f"{slow}succeed() if fence > 1 else time.sleep(60)")):
        yard.ready(job)
        yard.steer(job, jobs.request_pause)
        time.sleep(0.4)
        yard.steer(job, jobs.resume)
        wait_for(lambda: yard.state(job) == JobState.SUCCEEDED)
    assert yard.outcomes(job) == ["preempted", "succeeded"]


def test_a_pausing_job_can_still_be_cancelled(yard: Yard) -> None:
    job = yard.enqueue()
    with running(yard.supervisor(STUBBORN)):
        yard.ready(job)
        yard.steer(job, jobs.request_pause)
        yard.steer(job, jobs.request_cancel)
        wait_for(lambda: yard.state(job) == JobState.CANCELLED)


def test_a_retried_job_has_its_whole_limit_again(yard: Yard) -> None:
    job = yard.enqueue({"compute": {"limit_seconds": 2.5}})
    yard.run("time.sleep(60)")
    assert yard.state(job) == JobState.FAILED
    yard.steer(job, jobs.retry)
    yard.run("succeed()")
    assert yard.state(job) == JobState.SUCCEEDED
    assert yard.job(job).error is None
    assert yard.outcomes(job) == ["failed", "succeeded"]


def test_a_process_that_minds_no_sigterm_is_killed_after_the_grace(yard: Yard) -> None:
    job = yard.enqueue()
    grace_s = yard.settings.grace_seconds
    with running(yard.supervisor(STUBBORN)) as stop:
        child = yard.ready(job)
        begun = time.monotonic()
        stop.set()
    assert grace_s <= time.monotonic() - begun < grace_s + 3
    assert not alive(child)
    assert yard.outcomes(job) == ["preempted"]


def test_a_job_over_its_wall_clock_limit_fails_and_says_so(yard: Yard) -> None:
    job = yard.enqueue({"compute": {"limit_seconds": 0.5}})
    yard.run("time.sleep(60)")
    assert yard.state(job) == JobState.FAILED
    assert yard.job(job).error == "The job's wall-clock limit of 0.5 s was reached."


def test_a_lost_fence_kills_the_process_at_once_and_changes_nothing(yard: Yard) -> None:
    job = yard.enqueue()
    with running(yard.supervisor(STUBBORN)):
        child = yard.ready(job)
        with yard.database.writing() as session:
            later = datetime.now(UTC) + timedelta(hours=1)
            assert claims.expire(session, now=later, max_attempts=3) == [job]
            session.execute(update(Job).where(Job.id == job).values(state=JobState.PAUSED))
        killed_s = wait_for(lambda: not alive(child))
    assert killed_s < yard.settings.grace_seconds
    assert yard.state(job) == JobState.PAUSED
    assert yard.outcomes(job) == ["lost"]


def test_a_lease_is_renewed_while_the_process_works(yard: Yard) -> None:
    job = yard.enqueue()
    with running(yard.supervisor(OBEDIENT)):
        yard.ready(job)
        time.sleep(yard.settings.lease_seconds)
        with yard.database.writing() as session:
            assert claims.expire(session, now=datetime.now(UTC), max_attempts=3) == []
    assert yard.outcomes(job) == ["preempted"]


def test_a_process_that_ends_well_without_a_result_is_lost(yard: Yard) -> None:
    job = yard.enqueue()
    yard.run("succeed() if fence > 1 else None")
    assert yard.outcomes(job) == ["lost", "succeeded"]
    assert yard.attempts(job)[0].reason == "The training process ended without recording a result."


def test_the_worker_row_names_the_job_at_hand(yard: Yard) -> None:
    job = yard.enqueue()
    with running(yard.supervisor(OBEDIENT)):
        yard.ready(job)
        assert [worker.job_id for worker in yard.workers()] == [job]
    assert [worker.job_id for worker in yard.workers()] == [None]


def test_the_training_process_dies_with_a_killed_supervisor(yard: Yard) -> None:
    job = yard.enqueue()
    command = yard.command(SECOND_TIME_LUCKY)
    main = yard.settings.home / "supervisor.py"
    main.write_text(
        "import sys, threading\n"
        f"sys.path.insert(0, {str(Path.cwd())!r})\n"
        "from service.settings import Settings\n"
        "from service.store.database import Database\n"
        "from service.store.ids import new_id\n"
        "from worker.jobs.supervisor import Supervisor\n"
        "settings = Settings()\n"
        "supervisor = Supervisor(settings, Database(settings.database), worker_id=new_id(),\n"
        f"    device='cpu', command={command!r})\n"
        "supervisor.run_available(threading.Event())\n"
    )
    environment = {**os.environ, **yard.settings.environment()}
    process = subprocess.Popen([sys.executable, str(main)], env=environment)
    child = yard.ready(job)
    process.kill()
    process.wait()
    assert wait_for(lambda: not alive(child)) < 2

    later = datetime.now(UTC) + timedelta(seconds=yard.settings.lease_seconds)
    with yard.database.writing() as session:
        assert claims.expire(session, now=later, max_attempts=3) == [job]
    yard.run(SECOND_TIME_LUCKY)
    assert yard.outcomes(job) == ["lost", "succeeded"]


def test_a_process_that_has_succeeded_is_left_to_end_in_peace(sqlite_yard: Yard) -> None:
    job = sqlite_yard.enqueue()
    slow_to_leave = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nsucceed()\ntime.sleep(1)\n"
    sqlite_yard.run(slow_to_leave + "(home / 'left').touch()")
    assert (sqlite_yard.settings.home / "left").exists()
    assert sqlite_yard.outcomes(job) == ["succeeded"]
