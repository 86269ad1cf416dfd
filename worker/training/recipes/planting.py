"""The seed of new filters, by its name in the config."""

import torch
import torch.nn.functional as F  # noqa: N812 -- torch's own name for it
from torch import Tensor, nn

from slbi.growth.pairs import PairedSeed
from slbi.growth.seed import GradMaxSeed, OrthogonalSeed, RandomSeed, Seed
from worker.training.data.batches import evaluation_batches
from worker.training.data.load import Data
from worker.training.device import Compute

_BATCH = 128  # images GradMax differentiates twice; Evci et al. 2022 use one training batch


def planting(name: str, data: Data, compute: Compute, draw: torch.Generator) -> Seed:
    """Return what gives new filters their rows.

    Args:
        name: random, orthogonal, gradmax or pairs.
        data: gradmax looks at one batch of the images to learn from.
        compute: on what, and how precisely.
        draw: draws that batch, advanced in place.

    Raises:
        ValueError: the name is unknown.
    """
    match name:
        case "random":
            return RandomSeed()
        case "pairs":
            return PairedSeed()
        case "orthogonal":
            return OrthogonalSeed()
        case "gradmax":
            rows = torch.randperm(len(data.train), generator=draw)[:_BATCH]
            part = data.train.rows(rows.to(compute.device))
            drawn, labels = next(evaluation_batches(part, data.normalisation, _BATCH))
            images = compute.arrange(drawn)

            def loss(net: nn.Module) -> Tensor:
                return F.cross_entropy(net(images), labels)

            return GradMaxSeed(loss=loss)
        case _:
            raise ValueError(f"seed must be random, orthogonal, gradmax or pairs, got {name!r}")
