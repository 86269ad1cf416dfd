"""Batches as the network takes them: drawn, varied and normalised on the device, no processes."""

from collections.abc import Iterator

import torch
from torch import Tensor

from worker.training.data.augment import Augmentation, frame, vary
from worker.training.data.formats import Part
from worker.training.data.normalise import Normalisation

Batch = tuple[Tensor, Tensor]
"""(N, C, H, W) float32 images and their (N,) int64 labels."""

EVALUATION_BATCH = 512
"""Images evaluated at once; larger gains nothing on 2 cores. Only memory and speed depend on it."""


class TrainingBatches:
    """Epochs of batches over one part of a data set, every image at most once an epoch.

    Images that do not fill a last batch are left out of that epoch: BatchNorm cannot learn from a
    batch of one. A part smaller than a batch is one batch.

    Args:
        part: images to learn from.
        batch: images a step.
        normalisation: of that part.
        augmentation: how the images are varied.
        order: draws the order of each epoch.
        variation: draws how each image is varied.

    Raises:
        ValueError: the part holds fewer than 2 images.
    """

    def __init__(
        self,
        part: Part,
        *,
        batch: int,
        normalisation: Normalisation,
        augmentation: Augmentation,
        order: torch.Generator,
        variation: torch.Generator,
    ) -> None:
        if len(part) < 2:
            raise ValueError(f"a part to learn from must hold 2 images or more, got {len(part)}")
        self._framed = frame(part.images, augmentation)
        self._labels = part.labels
        self._normalisation = normalisation
        self._augmentation = augmentation
        self._order = order
        self._variation = variation
        self.batch = min(batch, len(part))

    def __len__(self) -> int:
        """Return the steps of an epoch."""
        return len(self._labels) // self.batch

    @property
    def images(self) -> int:
        """Return the images of an epoch."""
        return len(self) * self.batch

    def __iter__(self) -> Iterator[Batch]:
        order = torch.randperm(len(self._labels), generator=self._order).to(self._labels.device)
        for rows in torch.split(order[: self.images], self.batch):
            images = vary(self._framed, rows, self._augmentation, self._variation)
            yield self._normalisation.apply(images), self._labels[rows]


def evaluation_batches(
    part: Part, normalisation: Normalisation, batch: int = EVALUATION_BATCH
) -> Iterator[Batch]:
    """Yield every image of a part once, in order and unvaried."""
    for images, labels in zip(
        torch.split(part.images, batch), torch.split(part.labels, batch), strict=True
    ):
        yield normalisation.apply(images), labels
