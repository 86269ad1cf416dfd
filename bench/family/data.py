"""The images of a comparison: one split, one augmentation, whoever learns from them."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from worker.training.command import DATA_DIRECTORIES
from worker.training.config import DataConfig
from worker.training.data.batches import evaluation_batches
from worker.training.data.draw import training_batches
from worker.training.data.load import Data, load
from worker.training.data.normalise import measure
from worker.training.data.parts import Images
from worker.training.data.sources import SOURCES

SPLIT_SEED = 0
"""The split is the same for every seed: seeds draw weights, order and augmentation."""


def images(dataset: str, count: int | None = None) -> Data:
    """Return a data set: what teaches, what decides, and what is read once.

    Args:
        dataset: one of the data sets known by name.
        count: training images, a tenth of which is left out; None takes all. All that are held out
            of the data set validate, however few teach: nothing but a reader decides by them.

    Raises:
        ValueError: there are not so many.
        DatasetAbsentError: it lies in none of the directories.
    """
    split = torch.Generator().manual_seed(SPLIT_SEED)
    data = load(
        DataConfig(dataset=dataset), DATA_DIRECTORIES, split=split, device=torch.device("cpu")
    )
    whole = len(data.train) + len(data.validation)
    if count is None or count == whole:
        return data
    if not 2 <= count <= whole:
        raise ValueError(f"images must be 2 to {whole} for {dataset}, got {count}")
    held = max(1, round(count * len(data.validation) / whole))
    train = _some(data.train, count - held, split)
    return replace(
        data,
        train=train,
        normalisation=measure(train.sample(), SOURCES[dataset].peak),
    )


def stream(data: Data, batch: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches to learn from for ever, epoch by epoch.

    Args:
        data: its images to learn from are drawn and varied.
        batch: images a step.
        seed: of the order and the variation.

    Yields:
        (N, C, H, W) float32 images, channels innermost in memory, and their (N,) labels.
    """
    order = torch.Generator().manual_seed(2 * seed + 1)
    variation = torch.Generator().manual_seed(2 * seed + 2)
    batches = training_batches(data, batch, order=order, variation=variation)
    while True:
        for inputs, labels in batches:
            yield inputs.contiguous(memory_format=torch.channels_last), labels


@torch.no_grad()
def accuracy(net: nn.Module, part: Images, data: Data) -> float:
    """Return the share of images classified rightly, 0 to 1; the network is set to evaluation."""
    net.eval()
    right = sum(
        int((net(inputs).argmax(1) == labels).sum())
        for inputs, labels in evaluation_batches(part, data.normalisation)
    )
    return right / len(part)


def _some(part: Images, count: int, generator: torch.Generator) -> Images:
    return part.rows(torch.randperm(len(part), generator=generator)[:count].sort().values)
