import subprocess
import sys

import pytest

from tests.stack.conftest import Stack
from tests.stack.test_end_to_end import ended, submit
from tests.yard import SHORT_RUN

pytestmark = [pytest.mark.stack, pytest.mark.slow]

LOADS = """
import sys
import torch
from worker.training.checkpoint import load

net, about = load(sys.argv[1])
with torch.inference_mode():
    logits = net(torch.zeros(2, about.in_channels, about.size, about.size))
assert logits.isfinite().all()
print(about.backbone, about.stem, *logits.shape)
"""


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_a_network_of_torchvision_grows_on_small_images_and_its_checkpoint_loads(
    stack: Stack, name: str
) -> None:
    changes = {
        "backbone": name,
        "data": {"image_size": 28, "augment": False},
        "optim": {"batch": 256, "learning_rate": 0.02, "mu": 0.05},
        "growth": {
            "start": 3,
            "threshold": 0.05,
            "round_epochs": 1,
            "max_rounds": 2,
            "minimum": 2,
            "max_width": 8,
        },
        "tune": {"epochs": 1, "pruned_epochs": 0},
    }
    with stack.worker():
        job_id = submit(stack, **{**SHORT_RUN, **changes})
        job = ended(stack, job_id)
    assert job["state"] == "succeeded", job
    path = stack.client.get(f"/v1/jobs/{job_id}/path").json()
    assert path["growth"]
    family = stack.client.get(f"/v1/jobs/{job_id}/models").json()["items"]
    assert max(max(member["widths"].values()) for member in family) > 3

    answer = stack.client.get(f"/v1/jobs/{job_id}/checkpoint", follow_redirects=True)
    assert answer.status_code == 200, answer.text
    file = stack.settings.home / f"{name}.safetensors"
    file.write_bytes(answer.content)
    command = [sys.executable, "-c", LOADS, str(file)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert told.split() == [name, "small", "2", "10"]
