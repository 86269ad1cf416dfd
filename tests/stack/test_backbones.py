from pathlib import Path

import pytest

from tests.stack.conftest import Stack
from tests.stack.steps import ended, expect_strangers_to_predict_the_same, export, submit
from tests.yard import SHORT_RUN

pytestmark = [pytest.mark.stack, pytest.mark.slow]


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_a_network_of_torchvision_grows_on_small_images_and_strangers_predict_the_same(
    stack: Stack, name: str, tmp_path: Path
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
        export(stack, job_id)
    path = stack.client.get(f"/v1/jobs/{job_id}/path").json()
    assert path["growth"]
    family = stack.client.get(f"/v1/jobs/{job_id}/models").json()["items"]
    assert max(max(member["widths"].values()) for member in family) > 3
    expect_strangers_to_predict_the_same(stack, job_id, tmp_path)
