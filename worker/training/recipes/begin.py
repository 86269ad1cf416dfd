"""What a run begins with: the first network, its optimizer, and the scale between them."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch.nn import Parameter

from slbi.nets.backbone import Backbone
from slbi.nets.widths import Widths
from slbi.optim.optimizer import SLBI
from slbi.optim.scale import auto_mu
from slbi.optim.shrink import group_norms
from slbi.structure.path import LayerRecord
from worker.training.config import GrowthConfig, OptimConfig
from worker.training.recipes.budget import Budget

DEFAULT_THRESHOLD = 0.8
"""Fill of groups that a table of thresholds leaves out. Source: docs/method.md, "Growth"."""


ENTRY = 2 / 3
"""Share of a round after which a filter that keeps its initial norm enters the support. Below 0.58
even idle filters enter within a round, at 1 hardly any filter does (VGG-11 on digits)."""


def start_widths(config: GrowthConfig, groups: Iterable[str]) -> Widths:
    """Return the widths that a run starts from.

    Raises:
        ValueError: a table of start widths leaves a group out, or names one that does not exist.
    """
    known = tuple(groups)
    if not isinstance(config.start, Mapping):
        return Widths(dict.fromkeys(known, config.start))
    _check_groups("start", config.start, known)
    missing = [group for group in known if group not in config.start]
    if missing:
        raise ValueError(f"start must name every group, {', '.join(missing)} missing")
    return Widths({group: config.start[group] for group in known})


def thresholds(config: GrowthConfig, groups: Iterable[str]) -> dict[str, float]:
    """Return the fill at which each group is widened.

    Raises:
        ValueError: a table of thresholds names a group that does not exist.
    """
    known = tuple(groups)
    if not isinstance(config.threshold, Mapping):
        return dict.fromkeys(known, config.threshold)
    _check_groups("threshold", config.threshold, known)
    return {group: config.threshold.get(group, DEFAULT_THRESHOLD) for group in known}


def widest(config: GrowthConfig, standard: Widths, start: Widths) -> dict[str, int]:
    """Return how wide each group may become: never less than it starts with."""
    cap = config.max_width
    return {
        group: max(start[group], width if cap is None else cap) for group, width in standard.items()
    }


def check_start(config: GrowthConfig, net: Backbone, budget: Budget) -> None:
    """Refuse a table that does not suit the first network, or caps that it is beyond already.

    Raises:
        ValueError: a table of thresholds names a group that does not exist, or the network's
            parameters, its MACs, or one epoch of it with the tuning are too many.
    """
    thresholds(config, net.widths)
    params, macs = net.cost()
    sizes = (("max_params", config.max_params, params), ("max_macs", config.max_macs, macs))
    for name, cap, needed in sizes:
        if cap is not None and needed > cap:
            raise ValueError(
                f"{name} must be at least {needed}, as many as start asks for, got {cap}"
            )
    refusal = budget.refusal(epochs=0, macs=macs, spent=0)
    if refusal is not None:
        raise ValueError(f"a run must afford one epoch of growth; {refusal}")


def path_layers(net: Backbone) -> tuple[LayerRecord, ...]:
    """Return the layers that the path follows: every group of the network, in its order."""
    return tuple(
        LayerRecord(index=index, name=group.name, kind=group.kind, growable=True)
        for index, group in enumerate(net.coupling().groups)
    )


def couple(net: Backbone, config: OptimConfig, *, steps: int) -> SLBI:
    """Return the optimizer of a fresh network.

    The weights that make the filters of a group have a twin, by filter. The classifier, biases and
    norms have none.

    Args:
        net: a network with its initial weights.
        config: the settings of the optimizer.
        steps: of a round; mu = "auto" is solved for them.
    """
    producing = {name for group in net.coupling().groups for name in group.tensors("producer")}
    filters: list[Parameter] = []
    plain: list[Parameter] = []
    for name, parameter in net.named_parameters():
        (filters if name in producing and parameter.ndim > 1 else plain).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": filters, "structure": "filter"},
        {"params": plain, "structure": None},
    ]
    mu = solve_mu(filters, config.learning_rate, steps) if config.mu == "auto" else config.mu
    return SLBI(
        groups,
        lr=config.learning_rate,
        kappa=config.kappa,
        mu=mu,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.nesterov,
    )


def plain(net: Backbone, config: OptimConfig) -> SLBI:
    """Return an optimizer of the same settings under which nothing has a twin."""
    return SLBI(
        net.parameters(),
        lr=config.learning_rate,
        kappa=config.kappa,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.nesterov,
    )


def solve_mu(weights: Iterable[Parameter], learning_rate: float, steps: int) -> float:
    """Return the mu under which a filter that keeps its initial norm n enters within a round.

    It enters after the share `ENTRY` of the round. The coupling pulls at every filter meanwhile: of
    one that the loss does not hold up, Z reaches at kappa 1 only n (1 - exp(-1 / (ENTRY n))) in a
    round, and less at a larger kappa. For the initial norm of all backbones, n = 1.4, that is 0.92,
    below the threshold 1; so what a round selects is what the loss has held up.

    Args:
        weights: of rank 2 or more, with their initial values.
        learning_rate: of the round.
        steps: of the round.

    Source: docs/method.md, "Scale".
    """
    norms = torch.cat([group_norms(weight.detach(), "filter").flatten() for weight in weights])
    return auto_mu(learning_rate, math.ceil(ENTRY * steps), float(norms.mean()))


def _check_groups(name: str, table: Mapping[str, object], known: tuple[str, ...]) -> None:
    unknown = [group for group in table if group not in known]
    if unknown:
        raise ValueError(
            f"{name} must name groups of the backbone, {', '.join(known)}; got {', '.join(unknown)}"
        )
