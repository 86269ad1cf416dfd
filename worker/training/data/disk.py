"""Images that stay in their files until a batch needs them: for sets that no memory holds."""

import hashlib
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from worker.training.data.augment import NONE, Augmentation
from worker.training.data.batches import Batch, Batches
from worker.training.data.folder import Listing
from worker.training.data.locate import DatasetError
from worker.training.data.normalise import Normalisation
from worker.training.data.parts import WHOLE, Share
from worker.training.data.views import Key, Views

_SAMPLE = 1024
"""Images that the brightness of all is measured on: they settle a mean to about 1 percent."""
_SAMPLE_BATCH = 64  # images of it read at once
_CPU = torch.device("cpu")
_DRAWS = 2**62  # numbers that an epoch's variation begins from


@dataclass(frozen=True, kw_only=True, slots=True)
class DiskPart:
    """The images of one part of a data set, in their files."""

    listed: Listing
    size: int
    """Side that images are scaled to, px."""
    workers: int
    """Processes that read them, never more than cores; 0: this one does."""
    device: torch.device = _CPU
    """Where batches go."""
    channels: int = 3

    @property
    def labels(self) -> Tensor:
        """Return (N,) int64, index into `classes`, on the CPU."""
        return torch.tensor(self.listed.labels, dtype=torch.int64)

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the name of every class."""
        return self.listed.classes

    def __len__(self) -> int:
        return len(self.listed.files)

    def to(self, device: torch.device) -> "DiskPart":
        """Return the part with its batches on another device."""
        return replace(self, device=device)

    def rows(self, index: Tensor) -> "DiskPart":
        """Return the images of `index`, (M,) int64."""
        return replace(self, listed=self.listed.rows(index))

    def batches(self, batch: int, share: Share = WHOLE) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the middles of all images in order, see `parts.Images`."""
        yield from self.read(share.turns(torch.split(torch.arange(len(self)), batch)))

    def read(
        self, batches: Sequence[Tensor], augmentation: Augmentation = NONE, draw: int | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images, (B, C, size, size) uint8, and their labels, on the device.

        What is seen of an image depends on `draw` and its row alone, never on the batch that it is
        in or on which process reads it.

        Args:
            batches: (B,) rows of every batch.
            augmentation: how images are varied.
            draw: what their variation begins from; None sees the middles.

        Raises:
            DatasetError: an image cannot be read.
        """
        # More than cores would only take turns, and torch warns of it.
        workers = min(self.workers, len(batches), len(os.sched_getaffinity(0)))
        loader = DataLoader(
            Views(
                size=self.size,
                channels=self.channels,
                crop=augmentation.crop,
                flip=augmentation.flip,
            ),
            sampler=(self._keys(rows.tolist(), draw) for rows in batches),
            batch_size=None,
            num_workers=workers,
            # Not forked: this process may have threads and a CUDA context.
            multiprocessing_context="spawn" if workers else None,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),  # else it draws from torch's own one
            worker_init_fn=_undisturbed,
        )
        labels = self.labels
        for rows, images in zip(batches, loader, strict=True):
            if isinstance(images, str):
                raise DatasetError(images)
            yield (
                images.to(self.device, non_blocking=True),
                labels[rows].to(self.device, non_blocking=True),
            )

    def _keys(self, rows: list[int], draw: int | None) -> list[Key]:
        return [(self.listed.files[row], None if draw is None else (draw, row)) for row in rows]

    def sample(self) -> Tensor:
        """Return the middles of some of the images, spread evenly."""
        count = min(_SAMPLE, len(self))
        rows = torch.linspace(0, len(self) - 1, count).to(torch.int64)
        part = self.rows(rows).to(_CPU)
        return torch.cat([images for images, _ in part.batches(_SAMPLE_BATCH)])

    def fingerprint(self) -> list[int]:
        """Return numbers that change when names of files or labels do; no file is opened."""
        names = hashlib.sha256()
        for file in self.listed.files:
            names.update(os.path.basename(file).encode() + b"/")  # noqa: PTH119 -- a million of them
        digest = int.from_bytes(names.digest()[:7], "big")  # JSON keeps 53 bits anywhere
        return [len(self), self.size, digest, sum(self.listed.labels)]


def _undisturbed(_worker: int) -> None:
    """Leave signals that all processes of a run are sent to those that can answer them."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class DiskBatches(Batches):
    """Batches of images on disk, each varied by a draw of its own. See `Batches`.

    Args:
        part: images to learn from.
        batch: images a step, of all processes together.
        normalisation: of that part.
        augmentation: how the images are varied.
        order: draws the order of each epoch.
        variation: draws, once an epoch, what all variation of it begins from.
        share: which images of every batch are yielded.
    """

    def __init__(
        self,
        part: DiskPart,
        *,
        batch: int,
        normalisation: Normalisation,
        augmentation: Augmentation,
        order: torch.Generator,
        variation: torch.Generator,
        share: Share = WHOLE,
    ) -> None:
        super().__init__(part.labels, batch=batch, order=order, variation=variation, share=share)
        self._part = part
        self._normalisation = normalisation
        self._augmentation = augmentation
        self._varied_from = variation.get_state()
        self._draw = 0

    def _begin(self) -> None:
        super()._begin()
        self._varied_from = self._variation.get_state()
        self._draw = int(torch.randint(_DRAWS, (), generator=self._variation))

    def _drawn(self, rows: list[Tensor]) -> Iterator[Batch]:
        mine = [batch[self._share.of_batch(len(batch))] for batch in rows]
        draw = None if self._augmentation == NONE else self._draw
        for images, labels in self._part.read(mine, self._augmentation, draw):
            yield self._normalisation.apply(images), labels

    def _variation_state(self) -> Tensor:
        return self._variation.get_state() if self._rows is None else self._varied_from
