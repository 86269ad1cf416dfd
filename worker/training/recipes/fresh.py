"""A network of given widths with its initial weights, as every recipe but growth begins with it."""

from collections.abc import Mapping
from typing import Protocol

import torch

from slbi.nets.backbone import Backbone
from slbi.nets.widths import Widths
from worker.training import backbones
from worker.training.data.load import Data
from worker.training.device import Compute


class NamesNetwork(Protocol):
    """What the config of every such run says."""

    @property
    def backbone(self) -> str:
        """Its name."""

    @property
    def stem(self) -> str:
        """One of standard, small and auto."""

    @property
    def widths(self) -> int | Mapping[str, int] | None:
        """Filters of every group, one number for all or one per group; None: standard."""


def fresh(config: NamesNetwork, data: Data, compute: Compute, draw: torch.Generator) -> Backbone:
    """Return a network for a data set, on the device.

    Args:
        config: which network.
        data: whose images it takes and whose classes it tells apart.
        compute: on what.
        draw: source of the weights.

    Raises:
        ValueError: an unknown backbone, other groups than it has, or unsuitable images.
    """
    widths = config.widths
    table = Widths(dict(widths)) if isinstance(widths, Mapping) else None
    if isinstance(widths, int):
        groups = backbones.groups(config.backbone, data.size, config.stem)
        table = Widths(dict.fromkeys(groups, widths))
    net = backbones.build(
        config.backbone,
        table,
        in_channels=data.channels,
        size=data.size,
        classes=len(data.train.classes),
        stem=config.stem,
        generator=draw,
    )
    compute.place(net)
    return net
