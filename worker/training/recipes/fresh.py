"""A network of given widths with its initial weights, as every recipe but growth begins with it."""

from collections.abc import Mapping

import torch

from slbi.nets.backbone import Backbone
from slbi.nets.widths import Widths
from worker.training import backbones
from worker.training.data.load import Data
from worker.training.device import Compute


def fresh(
    backbone: str,
    widths: int | Mapping[str, int] | None,
    data: Data,
    compute: Compute,
    draw: torch.Generator,
) -> Backbone:
    """Return a network for a data set, on the device.

    Args:
        backbone: its name.
        widths: filters of every group, one number for all or one per group; None: standard.
        data: whose images it takes and whose classes it tells apart.
        compute: on what.
        draw: source of the weights.

    Raises:
        ValueError: an unknown backbone, other groups than it has, or unsuitable images.
    """
    table = Widths(dict(widths)) if isinstance(widths, Mapping) else None
    if isinstance(widths, int):
        table = Widths(dict.fromkeys(backbones.groups(backbone, data.size), widths))
    net = backbones.build(
        backbone,
        table,
        in_channels=data.channels,
        size=data.size,
        classes=len(data.train.classes),
        generator=draw,
    )
    compute.place(net)
    return net
