"""The real training process with the real recipe, on digits."""

import os
import signal
import threading

import pytest
import torch
from sqlalchemy import select

from service.contract import JobState
from service.store.ids import new_id
from service.store.tables import Artifact, Model, PathGrowth, PathLayer, PathStep, PathSupport
from tests.yard import SHORT_RUN, Yard, alive, running, wait_for
from worker.jobs.attempt import _out_of_memory
from worker.jobs.supervisor import Supervisor
from worker.training.checkpoint import load


def supervisor(yard: Yard) -> Supervisor:
    return Supervisor(yard.settings, yard.database, worker_id=new_id(), device="cpu")


def test_a_job_runs_to_its_end_and_its_family_can_be_read(sqlite_yard: Yard) -> None:
    yard = sqlite_yard
    job_id = yard.enqueue()
    assert supervisor(yard).run_available(threading.Event()) == 1

    job = yard.job(job_id)
    assert job.state == JobState.SUCCEEDED, job.error
    with yard.database.reading() as session:
        models = session.scalars(select(Model).order_by(Model.position)).all()
        artifacts = {artifact.id: artifact for artifact in session.scalars(select(Artifact))}
        layers = session.scalars(select(PathLayer)).all()
        steps = session.scalars(select(PathStep)).all()
        support = session.scalars(select(PathSupport)).all()
        session.expunge_all()
    assert {model.kind for model in models} == {"grown", "pruned", "tuned"}
    assert all(model.test_accuracy is not None for model in models)
    assert job.best_accuracy == max(model.validation_accuracy for model in models)
    assert job.progress is not None
    assert job.progress["epoch"] == len(steps)
    assert len(support) == len(steps) * len(layers)
    for model in models:
        file = yard.settings.artifacts / artifacts[model.artifact_id].storage_key
        net, about = load(file)
        assert dict(net.widths) == model.widths
        assert about.metrics["validation_accuracy"] == model.validation_accuracy


def test_a_data_set_that_is_not_there_fails_the_job_with_a_plain_sentence(
    sqlite_yard: Yard,
) -> None:
    job_id = sqlite_yard.enqueue({**SHORT_RUN, "dataset": "mnist"})
    supervisor(sqlite_yard).run_available(threading.Event())
    job = sqlite_yard.job(job_id)
    assert job.state == JobState.FAILED
    assert job.error is not None
    assert job.error.startswith("data set 'mnist' must be in a data directory, looked in ")
    assert sqlite_yard.outcomes(job_id) == ["failed"]


def test_settings_that_do_not_go_together_fail_the_job_with_a_plain_sentence(
    sqlite_yard: Yard,
) -> None:
    optim = {"nesterov": True, "momentum": 0.0}
    job_id = sqlite_yard.enqueue({**SHORT_RUN, "optim": optim})
    supervisor(sqlite_yard).run_available(threading.Event())
    assert sqlite_yard.job(job_id).error == "nesterov needs a momentum above 0, got 0.0"


@pytest.mark.slow
def test_a_stopped_and_then_a_killed_run_begin_anew_and_leave_one_path(sqlite_yard: Yard) -> None:
    yard = sqlite_yard
    job_id = yard.enqueue()

    def epochs() -> int:
        with yard.database.reading() as session:
            return len(session.scalars(select(PathStep.step)).all())

    with running(supervisor(yard)) as stop:
        wait_for(lambda: epochs() >= 1)
        stop.set()
        wait_for(lambda: yard.state(job_id) == JobState.QUEUED, 10)
    first = yard.attempts(job_id)[0]
    assert first.outcome == "preempted"

    with running(supervisor(yard)):
        wait_for(lambda: yard.job(job_id).fence == 2 and epochs() == 0)
        wait_for(lambda: epochs() >= 1)
        child = yard.attempts(job_id)[1].pid
        assert child is not None
        os.kill(child, signal.SIGKILL)
        wait_for(lambda: not alive(child))
        wait_for(lambda: yard.state(job_id) == JobState.SUCCEEDED, 60)

    assert yard.outcomes(job_id) == ["preempted", "lost", "succeeded"]
    with yard.database.reading() as session:
        assert set(session.scalars(select(PathStep.fence))) == {3}
        assert set(session.scalars(select(Artifact.fence))) == {3}
        grown = session.scalars(select(PathGrowth)).all()
        assert all(growth.after > growth.before for growth in grown)
    folders = {folder.name for folder in (yard.settings.artifacts / str(job_id)).iterdir()}
    assert folders == {"3"}


def test_sigterm_ends_a_process_that_has_not_begun_to_train(sqlite_yard: Yard) -> None:
    job_id = sqlite_yard.enqueue()
    with running(supervisor(sqlite_yard)) as stop:
        wait_for(lambda: sqlite_yard.state(job_id) == JobState.RUNNING)
        stop.set()
        took_s = wait_for(lambda: sqlite_yard.state(job_id) == JobState.QUEUED)
    assert took_s < sqlite_yard.settings.grace_seconds
    assert sqlite_yard.outcomes(job_id) == ["preempted"]


def test_lack_of_memory_is_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as lack:
        torch.empty(2**50, dtype=torch.uint8)
    assert _out_of_memory(lack.value)
    assert _out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert _out_of_memory(MemoryError())
    with pytest.raises(RuntimeError) as other:
        torch.zeros(2) @ torch.zeros(3)
    assert not _out_of_memory(other.value)
