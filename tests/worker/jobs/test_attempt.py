"""The real training process with the real recipe, on digits."""

import os
import signal
import threading

import pytest
from sqlalchemy import select

from service.contract import JobState
from service.store import checkpoints
from service.store.ids import new_id
from service.store.tables import Artifact, Model, PathLayer, PathStep, PathSupport
from tests.worker.jobs.outcomes import points
from tests.yard import SHORT_RUN, Yard, alive, running, wait_for
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
def test_a_stopped_and_then_a_killed_run_go_on_and_end_as_one_left_alone(
    sqlite_yard: Yard,
) -> None:
    yard = sqlite_yard
    spec = {**SHORT_RUN, "tune": {"epochs": 12, "pruned_epochs": 2}}
    alone = yard.enqueue(spec)
    supervisor(yard).run_available(threading.Event())
    job_id = yard.enqueue(spec)

    def epochs() -> int:
        progress = yard.job(job_id).progress
        return 0 if progress is None else int(progress["epoch"])

    with running(supervisor(yard)) as stop:
        wait_for(lambda: epochs() >= 1)
        stop.set()
        wait_for(lambda: yard.state(job_id) == JobState.QUEUED, 10)
    with running(supervisor(yard)):
        wait_for(lambda: yard.job(job_id).fence == 2)
        kept = epochs()
        wait_for(lambda: epochs() > kept)
        child = yard.attempts(job_id)[1].pid
        assert child is not None
        os.kill(child, signal.SIGKILL)
        wait_for(lambda: not alive(child))
        wait_for(lambda: yard.state(job_id) == JobState.SUCCEEDED, 60)

    assert yard.outcomes(job_id) == ["preempted", "lost", "succeeded"]
    first, second, third = yard.attempts(job_id)
    assert first.resumed_from is None
    assert second.resumed_from is not None
    assert third.resumed_from is not None
    assert 0 < second.resumed_from <= third.resumed_from
    assert points(yard, job_id) == points(yard, alone)
    assert yard.job(job_id).best_accuracy == yard.job(alone).best_accuracy
    restored = [event.data for event in yard.events(job_id) if event.type == "restored"]
    assert [data["step"] for data in restored] == [second.resumed_from, third.resumed_from]
    assert [data["damaged"] for data in restored] == [[], []]


def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(sqlite_yard: Yard) -> None:
    yard = sqlite_yard
    job_id = yard.enqueue({**SHORT_RUN, "tune": {"epochs": 30}})
    with running(supervisor(yard)) as stop:
        wait_for(lambda: (yard.job(job_id).progress or {"epoch": 0})["epoch"] >= 3)
        stop.set()
        wait_for(lambda: yard.state(job_id) == JobState.QUEUED, 10)
    with yard.database.reading() as session:
        newest, before = (
            (row.step, yard.settings.artifacts / row.storage_key)
            for row in checkpoints.newest(session, job_id)
        )
    content = bytearray(newest[1].read_bytes())
    content[-1] ^= 1
    newest[1].write_bytes(content)
    with running(supervisor(yard)):
        wait_for(lambda: "restored" in yard.happened(job_id))
    restored = next(event for event in yard.events(job_id) if event.type == "restored")
    assert restored.data == {
        "step": before[0],
        "epoch": restored.data["epoch"],
        "damaged": [newest[0]],
    }
    assert yard.attempts(job_id)[1].resumed_from == before[0]


def test_sigterm_ends_a_process_that_has_not_begun_to_train(sqlite_yard: Yard) -> None:
    job_id = sqlite_yard.enqueue()
    with running(supervisor(sqlite_yard)) as stop:
        wait_for(lambda: sqlite_yard.state(job_id) == JobState.RUNNING)
        stop.set()
        took_s = wait_for(lambda: sqlite_yard.state(job_id) == JobState.QUEUED)
    assert took_s < sqlite_yard.settings.grace_seconds
    assert sqlite_yard.outcomes(job_id) == ["preempted"]
