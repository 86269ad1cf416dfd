"""Variance transfer on a trunk: new filters come in pairs that cancel."""

from torch import nn
from torch.optim import Optimizer

from bench.family.trunk import Means, Trunk
from slbi.growth.pairs import PairedSeed
from slbi.growth.widen import widen
from slbi.nets.widths import Widths


def in_pairs(trunk: Trunk, widths: Widths, means: Means) -> tuple[nn.Module, Optimizer]:
    """Return a network widened in pairs that cancel, and its optimizer with all state carried."""
    return _paired(trunk, widths, means, PairedSeed())


def in_loud_pairs(trunk: Trunk, widths: Widths, means: Means) -> tuple[nn.Module, Optimizer]:
    """Return likewise one whose new filters are read as strongly as old ones, as published."""
    return _paired(trunk, widths, means, PairedSeed(size=1.0))


def _paired(
    trunk: Trunk, widths: Widths, means: Means, seed: PairedSeed
) -> tuple[nn.Module, Optimizer]:
    return widen(
        trunk.net,
        trunk.optimizer,
        widths,
        found=trunk.found,
        seed=seed,
        generator=means.generator,
    )
