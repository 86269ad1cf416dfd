"""Which images decide and which teach: a seeded split that keeps the share of every class."""

import torch
from torch import Tensor


def stratified(labels: Tensor, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the indices that stay and those that are held out, each in rising order.

    Of every class, `share` of its images is held out, rounded, at least one; at least one stays.

    Args:
        labels: (N,) int64.
        share: part to hold out, in (0, 1).
        generator: draws the images, class by class in rising order.

    Raises:
        ValueError: `share` is out of range, or a class has a single image.
    """
    if not 0 < share < 1:
        raise ValueError(f"share must be in (0, 1), got {share!r}")
    kept, held = [], []
    for label in torch.unique(labels).tolist():
        members = torch.nonzero(labels == label).flatten()
        count = len(members)
        if count < 2:
            raise ValueError(f"every class must have 2 images or more, class {label} has {count}")
        shuffled = members[torch.randperm(count, generator=generator)]
        n_held = min(max(round(share * count), 1), count - 1)
        held.append(shuffled[:n_held])
        kept.append(shuffled[n_held:])
    return torch.cat(kept).sort().values, torch.cat(held).sort().values
