"""Batches as the network takes them: drawn, varied and normalised on the device, no processes."""

from collections.abc import Iterator, Mapping

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

    Iterating gives what is left of the epoch under way, a whole new one where none is.

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
        self._begun_from = order.get_state()
        self._rows: Tensor | None = None
        self.position = 0
        """Batches of the epoch under way that have been drawn."""

    def __len__(self) -> int:
        """Return the steps of an epoch."""
        return len(self._labels) // self.batch

    @property
    def images(self) -> int:
        """Return the images of an epoch."""
        return len(self) * self.batch

    def __iter__(self) -> Iterator[Batch]:
        if self._rows is None:
            self._begin()
        while self._rows is not None:
            first = self.position * self.batch
            rows = self._rows[first : first + self.batch]
            images = vary(self._framed, rows, self._augmentation, self._variation)
            self.position += 1
            if self.position == len(self):
                self._rows, self.position = None, 0
            yield self._normalisation.apply(images), self._labels[rows]

    def state(self) -> dict[str, Tensor]:
        """Return the states of the generators from which the rest can be drawn again.

        Returns:
            "order": as it was before the epoch under way, else as it is; "variation": as it is.
        """
        order = self._order.get_state() if self._rows is None else self._begun_from
        return {"order": order, "variation": self._variation.get_state()}

    def restore(self, state: Mapping[str, Tensor], position: int) -> None:
        """Go on as when `state` was asked for with so many batches of an epoch drawn, in place.

        Raises:
            ValueError: an epoch has not so many.
        """
        if not 0 <= position < len(self):
            raise ValueError(f"position must be in [0, {len(self)}), got {position}")
        self._order.set_state(state["order"])
        self._rows, self.position = None, position
        if position:
            self._begin()
        self._variation.set_state(state["variation"])

    def _begin(self) -> None:
        self._begun_from = self._order.get_state()
        order = torch.randperm(len(self._labels), generator=self._order)
        self._rows = order.to(self._labels.device)


def evaluation_batches(
    part: Part, normalisation: Normalisation, batch: int = EVALUATION_BATCH
) -> Iterator[Batch]:
    """Yield every image of a part once, in order and unvaried."""
    for images, labels in zip(
        torch.split(part.images, batch), torch.split(part.labels, batch), strict=True
    ):
        yield normalisation.apply(images), labels
