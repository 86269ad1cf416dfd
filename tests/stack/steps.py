"""What tests of the whole stack do: send a job, wait for it, hand its network to strangers."""

import os
import subprocess
import sys
import uuid
from pathlib import Path

import onnxruntime
import torch

from service.contract import FINAL_STATES
from tests.stack.conftest import Stack
from tests.yard import SHORT_RUN, wait_for
from worker.training.checkpoint import load

FOREIGN = """
import sys, zipfile
sys.modules.update(dict.fromkeys(("slbi", "worker", "torchvision", "safetensors")))
sys.path.insert(0, "model.zip")

import torch
from load import load

zipfile.ZipFile("model.zip").extractall("model")
torch.save(load("model")(torch.load("images.pt")), "logits.pt")
"""
"""What a stranger runs, in a process in which nothing of this project can be imported."""


def submit(stack: Stack, **changes: object) -> uuid.UUID:
    answer = stack.client.post("/v1/jobs", json={**SHORT_RUN, **changes})
    assert answer.status_code == 202, answer.text
    return uuid.UUID(answer.json()["id"])


def ended(stack: Stack, job_id: uuid.UUID) -> dict[str, object]:
    def final() -> bool:
        return stack.client.get(f"/v1/jobs/{job_id}").json()["state"] in FINAL_STATES

    wait_for(final, 120)
    job: dict[str, object] = stack.client.get(f"/v1/jobs/{job_id}").json()
    return job


def export(stack: Stack, grown: uuid.UUID) -> uuid.UUID:
    """Export the best model of a job as the service says; needs a worker."""
    url = f"/v1/jobs/{grown}/checkpoint"
    missing = stack.client.get(url, params={"format": "torch"}).json()
    assert missing["code"] == "not_exported"
    spec = {**missing["request"]["body"], "export": {"formats": ["onnx", "torch"]}}
    job_id = uuid.UUID(stack.client.post("/v1/jobs", json=spec).json()["id"])
    job = ended(stack, job_id)
    assert job["state"] == "succeeded", job
    return job_id


def expect_strangers_to_predict_the_same(stack: Stack, grown: uuid.UUID, place: Path) -> None:
    """Load what `export` made with torch alone, and with onnxruntime."""
    url = f"/v1/jobs/{grown}/checkpoint"
    files = {"safetensors": "net.safetensors", "onnx": "model.onnx", "torch": "model.zip"}
    for form, name in files.items():
        answer = stack.client.get(url, params={"format": form})
        assert answer.status_code == 200, answer.text
        (place / name).write_bytes(answer.content)
    net, about = load(place / "net.safetensors")
    draw = torch.Generator().manual_seed(0)
    shape = (5, about.in_channels, about.size, about.size)
    pixels = torch.randint(int(about.normalisation.peak) + 1, shape, generator=draw)
    images = about.normalisation.apply(pixels.to(torch.uint8))
    torch.save(images, place / "images.pt")
    environment = {key: os.environ[key] for key in os.environ if key != "PYTHONPATH"}
    subprocess.run([sys.executable, "-c", FOREIGN], cwd=place, env=environment, check=True)
    with torch.inference_mode():
        logits = net(images)
    largest = logits.abs().max()
    assert (torch.load(place / "logits.pt") - logits).abs().max() <= 1e-6 * largest
    session = onnxruntime.InferenceSession(place / "model.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(["logits"], {"images": images.numpy()})
    assert (torch.from_numpy(found) - logits).abs().max() <= 1e-4 * largest
