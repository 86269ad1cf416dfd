"""A small path: three layers, six epochs, one widening, and how to look at a picture."""

import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from slbi.structure.path import (
    GrowthRecord,
    LayerRecord,
    PathList,
    Phase,
    StepRecord,
    SupportRecord,
    pack,
)

Pixels = npt.NDArray[np.uint8]


@pytest.fixture
def pixels() -> Callable[[bytes], Pixels]:
    """Decode a PNG into (height, width, 3)."""

    def decode(picture: bytes) -> Pixels:
        with Image.open(io.BytesIO(picture)) as image:
            assert image.format == "PNG"
            return np.asarray(image.convert("RGB"))

    return decode


def _support(layer: int, flags: list[bool]) -> SupportRecord:
    support = torch.tensor(flags)
    return SupportRecord(layer=layer, n_filters=len(flags), n_active=sum(flags), bits=pack(support))


def _step(epoch: int, phase: Phase, supports: list[list[bool]]) -> StepRecord:
    return StepRecord(
        step=10 * epoch,
        epoch=epoch,
        round=0 if epoch <= 2 else 1,
        phase=phase,
        loss=1.0,
        train_accuracy=0.5,
        validation_accuracy=0.5,
        learning_rate=0.1,
        params=1,
        macs=1,
        seconds=1.0,
        support=tuple(_support(layer, flags) for layer, flags in enumerate(supports)),
    )


@pytest.fixture
def path() -> PathList:
    """`conv1` fills up and is widened after epoch 2; `conv2` and `fc1` fill slowly."""
    made = PathList()
    made.layers(
        [
            LayerRecord(index=index, name=name, kind="conv", growable=True)
            for index, name in enumerate(("conv1", "conv2", "fc1"))
        ]
    )
    phases: list[Phase] = ["grow", "grow", "grow", "grow", "tune", "prune"]
    for epoch, phase in enumerate(phases, 1):
        first = [epoch >= 2, True] if epoch <= 2 else [True, True, epoch >= 4, False]
        made.step(_step(epoch, phase, [first, [False, epoch >= 3], [True, False, epoch >= 4]]))
    made.growth(
        [
            GrowthRecord(
                step=20, round=0, layer=0, before=2, after=4, fill=1.0, threshold=0.8, reason="full"
            )
        ]
    )
    return made
