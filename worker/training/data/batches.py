"""Batches as the network takes them: drawn, varied and normalised on the device."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from worker.training.data.augment import Augmentation, frame, vary
from worker.training.data.formats import Part
from worker.training.data.normalise import Normalisation
from worker.training.data.parts import WHOLE, Images, Share

Batch = tuple[Tensor, Tensor]
"""(N, C, H, W) float32 images and their (N,) int64 labels."""

EVALUATION_BATCH = 512
"""Images evaluated at once; larger gains nothing on 2 cores. Only memory and speed depend on it."""


class Batches(ABC):
    """Epochs of batches over one part of a data set, every image at most once an epoch.

    Iterating gives what is left of the epoch under way, a whole new one where none is.

    Images that do not fill a last batch are left out of that epoch: BatchNorm cannot learn from a
    batch of one. A part smaller than a batch is one batch.

    Args:
        labels: (N,) of the images to learn from.
        batch: images a step, of all processes together.
        order: draws the order of each epoch.
        variation: draws how each image is varied.
        share: which images of every batch are yielded; the draws are those of all.

    Raises:
        ValueError: fewer than 2 images, or fewer in a batch than there are processes.
    """

    def __init__(
        self,
        labels: Tensor,
        *,
        batch: int,
        order: torch.Generator,
        variation: torch.Generator,
        share: Share,
    ) -> None:
        if len(labels) < 2:
            raise ValueError(f"a part to learn from must hold 2 images or more, got {len(labels)}")
        self.batch = min(batch, len(labels))
        """Images a step, of all processes together."""
        if share.of > self.batch:
            raise ValueError(
                f"processes must be at most {self.batch}, the images of a batch, got {share.of}"
            )
        self._labels = labels
        self._share = share
        self._order = order
        self._variation = variation
        self._begun_from = order.get_state()
        self._rows: Tensor | None = None
        self.position = 0
        """Batches of the epoch under way that have been drawn."""

    def __len__(self) -> int:
        """Return the steps of an epoch."""
        return len(self._labels) // self.batch

    @property
    def images(self) -> int:
        """Return the images of an epoch, of all processes together."""
        return len(self) * self.batch

    def __iter__(self) -> Iterator[Batch]:
        if self._rows is None:
            self._begin()
        for batch in self._drawn(self._rows_left()):
            self.position += 1
            if self.position == len(self):
                self._rows, self.position = None, 0
            yield batch

    def state(self) -> dict[str, Tensor]:
        """Return the states of the generators from which the rest can be drawn again.

        Returns:
            "order": as it was before the epoch under way, else as it is; "variation": as
            `_variation_state` has it.
        """
        order = self._order.get_state() if self._rows is None else self._begun_from
        return {"order": order, "variation": self._variation_state()}

    def restore(self, state: Mapping[str, Tensor], position: int) -> None:
        """Go on as when `state` was asked for with so many batches of an epoch drawn, in place.

        Raises:
            ValueError: an epoch has not so many.
        """
        if not 0 <= position < len(self):
            raise ValueError(f"position must be in [0, {len(self)}), got {position}")
        self._order.set_state(state["order"])
        self._variation.set_state(state["variation"])
        self._rows, self.position = None, position
        if position:
            self._begin()

    @abstractmethod
    def _drawn(self, rows: list[Tensor]) -> Iterator[Batch]:
        """Yield this process's share of the batches that are left of the epoch under way.

        Args:
            rows: (B,) of every such batch, all of its images.
        """

    @abstractmethod
    def _variation_state(self) -> Tensor:
        """Return the state of the variation's generator from which the rest can be drawn again."""

    def _begin(self) -> None:
        self._begun_from = self._order.get_state()
        order = torch.randperm(len(self._labels), generator=self._order)
        self._rows = order.to(self._labels.device)

    def _rows_left(self) -> list[Tensor]:
        rows = torch.split(self._rows, self.batch) if self._rows is not None else ()
        return list(rows[self.position : len(self)])


class TrainingBatches(Batches):
    """Batches of images in memory, varied all at once on their device. See `Batches`.

    Args:
        part: images to learn from.
        batch: images a step, of all processes together.
        normalisation: of that part.
        augmentation: how the images are varied.
        order: draws the order of each epoch.
        variation: draws how each image is varied, batch by batch.
        share: which images of every batch are yielded.
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
        share: Share = WHOLE,
    ) -> None:
        super().__init__(part.labels, batch=batch, order=order, variation=variation, share=share)
        self._framed = frame(part.images, augmentation)
        self._normalisation = normalisation
        self._augmentation = augmentation

    def _drawn(self, rows: list[Tensor]) -> Iterator[Batch]:
        for batch in rows:
            images = vary(self._framed, batch, self._augmentation, self._variation, self._share)
            mine = batch[self._share.of_batch(len(batch))]
            yield self._normalisation.apply(images), self._labels[mine]

    def _variation_state(self) -> Tensor:
        return self._variation.get_state()


def evaluation_batches(
    part: Images,
    normalisation: Normalisation,
    batch: int = EVALUATION_BATCH,
    share: Share = WHOLE,
) -> Iterator[Batch]:
    """Yield every image of a part once, in order and unvaried; of several processes, in turns."""
    for images, labels in part.batches(batch, share):
        yield normalisation.apply(images), labels
