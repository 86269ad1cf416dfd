"""Which weights of a network have a twin, and the scale between them: threshold and mu."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from slbi.growth.twins import ENTRY
from slbi.nets.backbone import Backbone
from slbi.nets.coupling import FilterGroup
from slbi.optim.optimizer import SLBI
from slbi.optim.scale import auto_mu
from slbi.optim.shrink import Scaling, Structure, group_norms, group_threshold
from slbi.optim.update import MAX_REMAINDER
from slbi.structure.path import LayerRecord
from worker.training.config import OptimConfig
from worker.training.plans import TwinConfig

EARLY = 0.4
"""The same of a training at fixed widths, in units of its learning rates' sum: its support is to be
found while there is time to train it (LeNet-5 on digits)."""

GROWN = TwinConfig(structure="filter", threshold=1.0, scaling="none")
"""The twin of a network that grows: all filters begin at one norm, whatever the widths."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Coupled:
    """A weight with a twin."""

    name: str
    weight: Parameter
    structure: Structure
    threshold: float
    """What the optimizer is given: norm of Z, or size of an entry, above which a filter or weight
    enters, before `scaling`."""
    scaling: Scaling = "none"

    @property
    def passed(self) -> float:
        """Return the norm of Z, or the size of an entry, that must be passed."""
        if self.structure == "element":
            return self.threshold
        return group_threshold(self.weight, self.structure, self.threshold, self.scaling)

    def sizes(self) -> Tensor:
        """Return the norms of its filters, (O,), or the sizes of its weights, one row of all."""
        weight = self.weight.detach()
        if self.structure == "element":
            return weight.abs().flatten()
        return group_norms(weight, self.structure).flatten()


def couple(
    net: Backbone,
    config: OptimConfig,
    *,
    steps: int,
    twin: TwinConfig = GROWN,
    entry: float = ENTRY,
    rate: float | None = None,
    pull: float = 1.0,
) -> SLBI:
    """Return the optimizer of a fresh network. Biases and norms never have a twin.

    Args:
        net: a network with its initial weights.
        config: the settings of the optimizer.
        steps: within which a filter may enter; mu = "auto" is solved for them.
        twin: which weights have a twin.
        entry: share of `steps` after which what keeps its initial size enters, for mu = "auto".
        rate: mean learning rate of these steps; None: that of `config`.
        pull: how strongly twins pull; thresholds and mu are scaled so that filters enter as at 1.
    """
    coupled = _coupled(net, twin)
    groups: dict[tuple[str, float], list[Parameter]] = {}
    for each in coupled:
        groups.setdefault((each.structure, each.threshold), []).append(each.weight)
    having = {each.name for each in coupled}
    rest = [parameter for name, parameter in net.named_parameters() if name not in having]
    told: list[dict[str, Any]] = [
        {"params": weights, "structure": structure, "threshold": pull * threshold}
        for (structure, threshold), weights in groups.items()
    ]
    mu = config.mu
    if mu == "auto":
        # Of the normalised variant Z moves by the share rho / kappa of what it moves by else.
        share = MAX_REMAINDER / config.kappa if twin.normalised else 1.0
        mu = solve_mu(
            coupled, share * (config.learning_rate if rate is None else rate), steps, entry
        )
    return SLBI(
        [*told, {"params": rest, "structure": None}],
        lr=config.learning_rate,
        kappa=config.kappa,
        mu=mu / pull,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.nesterov,
        scaling="fan" if twin.scaling == "fan" else "none",
        normalised=twin.normalised,
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


def twin_layers(net: Backbone, twin: TwinConfig) -> tuple[LayerRecord, ...]:
    """Return the layers whose support the path follows: groups of filters, and single weights."""
    records: list[LayerRecord] = []
    for group in net.coupling().groups:
        if _enters_as_filters(group, twin):
            records.append(_record(len(records), group.name, group.kind, "filter"))
    for each in _coupled(net, twin):
        if each.structure == "element":
            kind: Literal["conv", "linear"] = "conv" if each.weight.ndim > 2 else "linear"
            records.append(_record(len(records), each.name, kind, "element"))
    return tuple(records)


def solve_mu(
    coupled: Sequence[Coupled], learning_rate: float, steps: int, entry: float = ENTRY
) -> float:
    """Return the mu under which a filter that keeps its initial norm n enters within a round.

    It enters after the share `ENTRY` of the round. The coupling pulls at every filter meanwhile: of
    one that the loss does not hold up, Z reaches at kappa 1 only n (1 - exp(-1 / (ENTRY n))) in a
    round, and less at a larger kappa. For the initial norm of all backbones, n = 1.4, that is 0.92,
    below the threshold 1; so what a round selects is what the loss has held up.

    Args:
        coupled: the weights with a twin, with their initial values; n is the mean of their filters'
            norms, or of the sizes of their entries, each in units of its threshold.
        learning_rate: of the round, its mean under a schedule; where Z moves by a share of it only,
            that share.
        steps: of the round.
        entry: the share of them.

    Source: docs/method.md, "Scale".
    """
    sizes = torch.cat([each.sizes() / each.passed for each in coupled])
    return auto_mu(learning_rate, math.ceil(entry * steps), float(sizes.mean()))


def _coupled(net: Backbone, twin: TwinConfig) -> list[Coupled]:
    """Return the weights with a twin, in the order of the network's parameters."""
    filters = {
        name
        for group in net.coupling().groups
        if _enters_as_filters(group, twin)
        for name in group.tensors("producer")
    }
    singly = layer_weights(net)
    found = []
    for name, weight in net.named_parameters():
        if weight.ndim < 2:
            continue
        if name in filters:
            found.append(_scaled(name, weight, "filter", twin))
        elif name in singly and (
            twin.structure == "element" or (twin.structure == "mixed" and weight.ndim == 2)
        ):
            found.append(_scaled(name, weight, "element", twin))
    return found


def layer_weights(net: Backbone) -> dict[str, Parameter]:
    """Return the weights whose entries may go singly, by name: those of layers, no embeddings."""
    return {
        f"{name}.weight": net.get_parameter(f"{name}.weight")
        for name, module in net.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }


def _enters_as_filters(group: FilterGroup, twin: TwinConfig) -> bool:
    # At fixed widths what is not selected falls silent, which no filter can under such a norm.
    if group.blended is not None and twin is not GROWN:
        return False
    return twin.structure == "filter" or (twin.structure == "mixed" and group.kind == "conv")


def _scaled(name: str, weight: Parameter, structure: Structure, twin: TwinConfig) -> Coupled:
    """Return a weight and its own threshold."""
    threshold = twin.weight_threshold if structure == "element" else twin.threshold
    unscaled = Coupled(
        name=name,
        weight=weight,
        structure=structure,
        threshold=threshold,
        scaling="fan" if twin.scaling == "fan" else "none",
    )
    if twin.scaling != "initial":
        return unscaled
    size = float(unscaled.sizes().square().mean().sqrt())
    return replace(unscaled, threshold=threshold * (size or 1.0))


def _record(
    index: int,
    name: str,
    kind: Literal["conv", "linear"],
    structure: Literal["filter", "element"],
) -> LayerRecord:
    return LayerRecord(index=index, name=name, kind=kind, growable=False, structure=structure)
