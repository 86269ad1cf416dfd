"""SLBI as a torch optimizer: it groups parameters, keeps their state and calls the equations."""

from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT, StateDict

from slbi.optim.check import OPTIONS, check_group, check_state
from slbi.optim.shrink import STRUCTURES, Scaling, Structure, group_scales, selected, shrink
from slbi.optim.update import (
    accumulate,
    add_decay,
    decayed,
    descend,
    looked_ahead,
    normalised_gamma,
    split_entries,
    split_entries_normalised,
    split_groups,
)

Group = dict[str, Any]
"""A parameter group as torch keeps it: "params" and one entry a hyper-parameter."""

BATCH_ENTRIES = 2**20
"""Entries of the weights that are moved together: enough to save kernel launches, few enough that
the temporaries of a step stay small and in the cache. Source: bench/optimizer.py."""


class SLBI(Optimizer):
    """Stochastic gradient descent that couples chosen weights with a sparse twin, Gamma.

    A group of parameters whose `structure` is "filter", "column" or "element" has a twin; a group
    whose `structure` is None is plain and moves as under `torch.optim.SGD` with learning rate
    lr x kappa. Tensors of rank 1 are never decayed. Each group may override every argument.

    Args:
        params: tensors, (name, tensor) pairs or groups, as for every torch optimizer.
        lr: learning rate a, 0 or more.
        kappa: above 0. Scales the step of W, and Gamma.
        mu: above 0 (nu in the papers). The larger, the looser W and Gamma are coupled and the
            later a filter enters the support; `slbi.optim.scale.auto_mu` solves for it.
        momentum: b in [0, 1).
        weight_decay: l, 0 or more.
        dampening: d in [0, 1].
        nesterov: needs momentum and no dampening.
        structure: what enters the support as one; None for no twin. Others need rank >= 2.
        threshold: above 0. Norm that a group of Z, or size that an entry, must pass to enter.
        scaling: "fan" multiplies the threshold of a group with sqrt(entries of the group).
        decay_first: decay before the momentum, so that dampening damps it too. Plain groups
            always do, as torch does.
        normalised: the normalised variant; a twin under it must be of structure "element".

    Raises:
        ValueError: an argument is outside its range, or a tensor does not suit its structure.

    Source: docs/method.md, "Update" and "Variants".
    """

    def __init__(  # noqa: PLR0917 the order of torch's optimizers
        self,
        params: ParamsT,
        lr: float,
        kappa: float = 1.0,
        mu: float = 100.0,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        dampening: float = 0.0,
        nesterov: bool = False,
        *,
        structure: Structure | None = None,
        threshold: float = 1.0,
        scaling: Scaling = "none",
        decay_first: bool = False,
        normalised: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "kappa": kappa,
            "mu": mu,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "dampening": dampening,
            "nesterov": nesterov,
            "structure": structure,
            "threshold": threshold,
            "scaling": scaling,
            "decay_first": decay_first,
            "normalised": normalised,
        }
        super().__init__(params, defaults)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Move every parameter that has a gradient once, in place.

        Args:
            closure: computes the gradients anew and returns the loss.

        Returns:
            What `closure` returned; None without one.

        Raises:
            ValueError: a gradient is sparse.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in _alike(self.param_groups):
            for weights, weight_decay in _by_decay(group):
                for batch in _batches(weights):
                    self._move(batch, group, weight_decay)
        return loss

    def gamma(self, parameter: Tensor) -> Tensor:
        """Return Gamma, the sparse twin, in the shape of `parameter`; zeros before the first step.

        Raises:
            ValueError: `parameter` is not in this optimizer or has no twin.
        """
        group = self._group_with_twin(parameter)
        z = self._z(parameter)
        if group["normalised"]:
            weight = parameter.detach()
            return normalised_gamma(weight, z, kappa=group["kappa"], threshold=group["threshold"])
        shrunk = shrink(z, group["structure"], group["threshold"], group["scaling"])
        return shrunk.mul_(group["kappa"])

    def z(self, parameter: Tensor) -> Tensor:
        """Return a copy of the accumulator Z of `parameter`; zeros before the first step.

        Raises:
            ValueError: `parameter` is not in this optimizer or has no twin.
        """
        self._group_with_twin(parameter)
        return self._z(parameter).clone()

    def support(self, parameter: Tensor) -> Tensor:
        """Return where Gamma is not zero.

        Returns:
            bool. (O,) for structure "filter", (I,) for "column", the shape of `parameter` for
            "element".

        Raises:
            ValueError: `parameter` is not in this optimizer or has no twin.
        """
        group = self._group_with_twin(parameter)
        return selected(
            self._z(parameter), group["structure"], group["threshold"], group["scaling"]
        )

    def structure(self, parameter: Tensor) -> Structure:
        """Return what of `parameter` enters the support as one.

        Raises:
            ValueError: `parameter` is not in this optimizer or has no twin.
        """
        structure: Structure = self._group_with_twin(parameter)["structure"]
        return structure

    def add_param_group(self, param_group: Group) -> None:
        """Add a group; what it does not set is as at construction.

        Raises:
            ValueError: as at construction; the group is then not added.
        """
        super().add_param_group(param_group)
        try:
            check_group(self.param_groups[-1])
        except ValueError:
            self.param_groups.pop()
            raise

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Take over state and hyper-parameters; the tensors are copied, not shared.

        Raises:
            ValueError: a group lacks a hyper-parameter or holds one outside its range, or state or
                structure does not suit this optimizer's tensors; nothing is then changed.
        """
        for saved, group in zip(state_dict["param_groups"], self.param_groups, strict=False):
            check_group(saved | {"params": group["params"]})
            for index, parameter in zip(saved["params"], group["params"], strict=False):
                check_state(state_dict["state"].get(index, {}), parameter)
        super().load_state_dict(state_dict)
        for state in self.state.values():
            for key, value in state.items():
                state[key] = value.clone() if isinstance(value, Tensor) else value

    def _move(self, weights: list[Tensor], group: Group, weight_decay: float) -> None:
        directions = self._directions(weights, group, weight_decay)
        if group["structure"] is None:
            descend(weights, directions, _rate(group))
            return
        for weight in weights:
            if "z" not in self.state[weight]:
                self.state[weight]["z"] = torch.zeros_like(weight)
        zs = [self.state[weight]["z"] for weight in weights]
        numbers = {name: group[name] for name in ("lr", "kappa", "mu")}
        structure, threshold = group["structure"], group["threshold"]
        if structure != "element":
            scales = group_scales(zs, structure, threshold, group["scaling"])
            split_groups(weights, zs, directions, scales, **numbers)
        elif not group["normalised"]:
            split_entries(weights, zs, directions, threshold=threshold, **numbers)
        else:
            for weight, z, direction in zip(weights, zs, directions, strict=True):
                split_entries_normalised(weight, z, direction, threshold=threshold, **numbers)

    def _directions(self, weights: list[Tensor], group: Group, weight_decay: float) -> list[Tensor]:
        """Return D and bring the velocities up to date; the caller's gradients stay as they are."""
        momentum, nesterov = group["momentum"], group["nesterov"]
        grads = [weight.grad for weight in weights if weight.grad is not None]
        decay_last = not (
            momentum == 0 or nesterov or group["decay_first"] or group["structure"] is None
        )
        if weight_decay != 0 and not decay_last:
            grads = decayed(grads, weights, weight_decay)
        if momentum == 0:
            return grads
        velocities = self._velocities(weights, grads, momentum, group["dampening"])
        if weight_decay != 0 and decay_last:
            add_decay(velocities, weights, weight_decay)
        return looked_ahead(grads, velocities, momentum) if nesterov else velocities

    def _velocities(
        self, weights: list[Tensor], grads: list[Tensor], momentum: float, dampening: float
    ) -> list[Tensor]:
        old: list[Tensor] = []
        arrived: list[Tensor] = []
        for weight, grad in zip(weights, grads, strict=True):
            state = self.state[weight]
            if "momentum_buffer" in state:
                old.append(state["momentum_buffer"])
                arrived.append(grad)
            else:
                state["momentum_buffer"] = grad.clone()
        if old:
            accumulate(old, arrived, momentum=momentum, dampening=dampening)
        return [self.state[weight]["momentum_buffer"] for weight in weights]

    def _z(self, parameter: Tensor) -> Tensor:
        # `state` is a defaultdict: asking it for a tensor that never moved would add an entry.
        state: dict[str, Tensor] = self.state.get(parameter, {})
        return state["z"] if "z" in state else torch.zeros_like(parameter, requires_grad=False)

    def _group_with_twin(self, parameter: Tensor) -> Group:
        for group in self.param_groups:
            if any(parameter is member for member in group["params"]):
                if group["structure"] is None:
                    raise ValueError(
                        f"parameter must be in a group with structure {', '.join(STRUCTURES)}, "
                        f"got one of shape {tuple(parameter.shape)} in a plain group"
                    )
                return group
        raise ValueError(
            f"parameter must belong to this optimizer, got a tensor of shape "
            f"{tuple(parameter.shape)} that is in none of its groups"
        )


def _rate(group: Group) -> float:
    """Return what multiplies D; the normalised variant's step of W knows no kappa."""
    lr: float = group["lr"]
    return lr if group["normalised"] else lr * group["kappa"]


def _alike(groups: list[Group]) -> list[Group]:
    """Return the groups with those of equal options made one, so that a batch serves them all.

    The toolbox has a group for every tensor. Source: bench/optimizer.py, what launches cost.
    """
    if len(groups) < 2:
        return groups
    of = itemgetter(*OPTIONS)
    members: dict[tuple[Any, ...], list[Group]] = {}
    for group in groups:
        members.setdefault(of(group), []).append(group)
    return [
        alike[0] | {"params": [parameter for group in alike for parameter in group["params"]]}
        for alike in members.values()
    ]


def _by_decay(group: Group) -> Iterator[tuple[list[Tensor], float]]:
    """Yield the parameters that have a gradient, those that are decayed apart, with their decay.

    Tensors of rank 1 (biases, normalisation) are not decayed. Source: docs/method.md, "Update".
    """
    ready = [parameter for parameter in group["params"] if parameter.grad is not None]
    for parameter in ready:
        if parameter.grad.layout != torch.strided:
            raise ValueError(f"gradients must be dense, got layout {parameter.grad.layout}")
    if group["weight_decay"] == 0:
        yield ready, 0.0
    else:
        yield [parameter for parameter in ready if parameter.ndim > 1], group["weight_decay"]
        yield [parameter for parameter in ready if parameter.ndim <= 1], 0.0


def _batches(weights: list[Tensor]) -> Iterator[list[Tensor]]:
    """Yield consecutive weights of together at most `BATCH_ENTRIES` entries, or one larger one."""
    batch: list[Tensor] = []
    entries = 0
    for weight in weights:
        if batch and entries + weight.numel() > BATCH_ENTRIES:
            yield batch
            batch, entries = [], 0
        batch.append(weight)
        entries += weight.numel()
    if batch:
        yield batch
