import pytest
import torch

from slbi.nets import backbones
from slbi.nets.backbone import Backbone
from slbi.nets.widths import Widths
from worker.training.device import Compute


@pytest.fixture
def compute() -> Compute:
    return Compute(device=torch.device("cpu"), precision="float32")


@pytest.fixture
def net() -> Backbone:
    """A small VGG for images of 8 px, its norms as if it had been trained."""
    groups = backbones.groups("vgg11", 8)
    generator = torch.Generator().manual_seed(0)
    made = backbones.build(
        "vgg11",
        Widths({group: 8 + index for index, group in enumerate(groups)}),
        in_channels=1,
        size=8,
        classes=10,
        generator=generator,
    )
    for name, buffer in made.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(generator=generator)
    return made
