import os
import signal
import uuid
from pathlib import Path

import pytest
import torch
from safetensors.torch import load as load_tensors
from sklearn.datasets import load_digits
from sqlalchemy import select

from service.contract import JobState
from service.store.tables import PathStep
from tests.stack.conftest import Stack
from tests.stack.steps import ended, expect_strangers_to_predict_the_same, export, submit
from tests.yard import alive, wait_for
from worker.training.checkpoint import load

pytestmark = [pytest.mark.stack, pytest.mark.slow]

LONGER = {"epochs": 40}
"""So much tuning that a run is not over before its worker is stopped."""


def epochs(stack: Stack, job_id: uuid.UUID) -> int:
    with stack.database.reading() as session:
        found = session.scalars(select(PathStep.step).where(PathStep.job_id == job_id))
        return len(found.all())


def test_a_grown_network_is_exported_and_strangers_predict_the_same(
    stack: Stack, tmp_path: Path
) -> None:
    with stack.worker():
        grown = submit(stack)
        assert ended(stack, grown)["state"] == "succeeded"
        exported = export(stack, grown)
    expect_strangers_to_predict_the_same(stack, grown, tmp_path)
    files = stack.client.get(f"/v1/jobs/{exported}/artifacts").json()["items"]
    assert [row["title"] for row in files] == ["model.onnx", "model.zip", "card.md"]
    card = stack.client.get(files[-1]["href"]).text
    assert "Licence of the data: CC BY 4.0" in card
    assert "| test accuracy | 0." in card
    assert "reached 0.8" in card or "No layer was widened." in card


def test_a_job_over_http_comes_back_as_a_checkpoint_that_predicts(stack: Stack) -> None:
    with stack.worker():
        growth = {"start": 16, "round_epochs": 3, "max_rounds": 2, "max_width": 32}
        job_id = submit(stack, growth=growth, optim={"batch": 32, "learning_rate": 0.05})
        job = ended(stack, job_id)
    assert job["state"] == "succeeded", job

    answer = stack.client.get(f"/v1/jobs/{job_id}/checkpoint", follow_redirects=True)
    assert answer.status_code == 200, answer.text
    path = stack.settings.home / "downloaded.safetensors"
    path.write_bytes(answer.content)
    assert load_tensors(answer.content)
    net, about = load(path)
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None]
    mean, deviation = about.normalisation.mean[0], about.normalisation.deviation[0]
    with torch.inference_mode():
        guesses = net((images / about.normalisation.peak - mean) / deviation).argmax(1)
    accuracy = (guesses == torch.tensor(digits.target)).float().mean().item()
    assert accuracy > 0.8

    path_of_run = stack.client.get(f"/v1/jobs/{job_id}/path").json()
    assert path_of_run
    family = stack.client.get(f"/v1/jobs/{job_id}/models").json()
    assert family


def test_a_terminated_worker_hands_its_job_to_another_within_ten_seconds(stack: Stack) -> None:
    with stack.worker() as first:
        job_id = submit(stack, tune=LONGER)
        wait_for(lambda: epochs(stack, job_id) >= 1, 60)
        first.terminate()
        assert first.wait(10) == 0
    assert stack.state(job_id) == JobState.QUEUED
    with stack.worker():
        assert ended(stack, job_id)["state"] == "succeeded"
    assert stack.outcomes(job_id) == ["preempted", "succeeded"]


def test_a_killed_worker_takes_its_training_along_and_another_finishes(stack: Stack) -> None:
    with stack.worker() as first:
        job_id = submit(stack, tune=LONGER)
        wait_for(lambda: epochs(stack, job_id) >= 1, 60)
        child = stack.attempts(job_id)[0].pid
        assert child is not None
        first.kill()
        wait_for(lambda: not alive(child), 2)
    with stack.worker():
        assert ended(stack, job_id)["state"] == "succeeded"
    assert stack.outcomes(job_id) == ["lost", "succeeded"]


def test_a_running_job_is_cancelled_over_http(stack: Stack) -> None:
    with stack.worker():
        job_id = submit(stack, tune={"epochs": 1000})
        wait_for(lambda: epochs(stack, job_id) >= 1, 60)
        assert stack.client.post(f"/v1/jobs/{job_id}/cancel").status_code == 202
        assert ended(stack, job_id)["state"] == "cancelled"


def test_a_worker_without_a_shared_broker_refuses_to_start(stack: Stack) -> None:
    stack.settings = stack.settings.model_copy(update={"broker_url": "memory://"})
    with stack._process(["worker.jobs.command"]) as process:
        assert process.wait(20) == 2


def test_ctrl_c_ends_an_idle_worker_cleanly(stack: Stack) -> None:
    with stack.worker() as process:
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(10) == 0
    (row,) = stack.workers()
    assert row.stopped_at is not None
