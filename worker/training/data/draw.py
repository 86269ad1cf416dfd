"""The batches that a run learns from, whatever keeps its images."""

from typing import Any

import torch

from worker.training.data.batches import Batches, TrainingBatches
from worker.training.data.disk import DiskBatches, DiskPart
from worker.training.data.formats import Part
from worker.training.data.load import Data
from worker.training.data.parts import WHOLE, Share


def training_batches(
    data: Data,
    batch: int,
    *,
    order: torch.Generator,
    variation: torch.Generator,
    share: Share = WHOLE,
) -> Batches:
    """Return the batches of a data set from their first epoch on.

    Args:
        data: its images to learn from are drawn.
        batch: images a step, of all processes together.
        order: draws the order of each epoch.
        variation: draws how each image is varied.
        share: which images of every batch this process takes.

    Raises:
        as `Batches`.
    """
    settings: dict[str, Any] = {
        "batch": batch,
        "normalisation": data.normalisation,
        "augmentation": data.augmentation,
        "order": order,
        "variation": variation,
        "share": share,
    }
    if isinstance(data.train, DiskPart):
        return DiskBatches(data.train, **settings)
    if isinstance(data.train, Part):
        return TrainingBatches(data.train, **settings)
    raise TypeError(f"images must be in memory or on disk, got {type(data.train).__name__}")
