"""Read a LeNet-5 that the public reference saved, without running anything that the file says."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slbi.convert.read import check_shape, listed_keys, mapping, safely_loaded, tensor_at
from slbi.nets import backbones
from slbi.nets.backbone import Backbone
from slbi.nets.widths import Widths
from slbi.optim.shrink import Structure, shrink
from slbi.structure.norms import norms
from slbi.structure.order import NEVER, REFERENCE_NEVER, prune_score
from slbi.toolbox import Toolbox

NETWORK_KEYS = ("model", "net", "state_dict")
"""Where a file has the network: the examples of the reference write the first two."""

LAYERS = {
    28: {"conv1": "conv1", "conv2": "conv2", "conv3": "conv3", "fc1": "fc1", "fc2": "classifier"},
    32: {
        "convnet.c1": "conv1", "convnet.c3": "conv2", "convnet.c5": "conv3",
        "fc.f6": "fc1", "fc.f7": "classifier",
    },
}  # fmt: skip
"""Side of an image, px -> name in the file -> name here. Source: the two LeNets of the examples."""

NUMBERS = ("lr", "kappa", "mu", "weight_decay", "momentum", "dampening")

_STRUCTURES: dict[int, tuple[Structure, ...]] = {2: ("element",), 4: ("filter", "element")}
"""Rank -> structures under which the reference may have made Gamma."""

_RELATIVE, _ABSOLUTE = 1e-4, 1e-5
"""By how much Gamma made anew from Z may differ from a float32 Gamma that was stored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Converted:
    """What a file of the reference holds."""

    net: Backbone
    """LeNet-5 of the file's widths, for images of 28 or 32 px."""
    optimizer: Toolbox | None
    """Drives `net`, with Z, momentum and entry order; None if the file holds no optimizer."""


def convert_lenet(path: Path | str) -> Converted:
    """Return the network and the optimizer of a LeNet-5 file of the reference.

    The network gives logits, not their logarithmic softmax. Z is taken over, and Gamma follows from
    it; the stored Gamma must agree. Scores of the order are those of the weights as stored.

    Args:
        path: written by `torch.save`, in its old or new format.

    Raises:
        ValueError: the file holds more than tensors, numbers, names and containers, or something
            else than such a LeNet-5; says which key, what it must hold and what came.

    Source: docs/migrating.md, "Stored networks".
    """
    saved = mapping(safely_loaded(Path(path)), "the file")
    network = next((saved[key] for key in NETWORK_KEYS if key in saved), None)
    if network is None:
        keys = ", ".join(map(repr, NETWORK_KEYS))
        raise ValueError(f"the file must hold one of {keys}, got {listed_keys(saved)}")
    weights = {_plain(name): tensor for name, tensor in mapping(network, "the network").items()}
    size = _size(weights)
    ours = {
        f"{LAYERS[size][theirs]}.{kind}": tensor_at(weights, f"{theirs}.{kind}", rank)
        for theirs in LAYERS[size]
        for kind, rank in (("weight", 2 if theirs.startswith("fc") else 4), ("bias", 1))
    }
    net = _network(ours, size)
    if "optimizer" not in saved:
        return Converted(net=net, optimizer=None)
    states, numbers = _states(mapping(saved["optimizer"], "'optimizer'"), list(weights))
    named = {_renamed(name, size): state for name, state in states.items()}
    return Converted(net=net, optimizer=_optimizer(net, named, numbers))


def _size(weights: Mapping[str, object]) -> int:
    """Return the size, px, of the images that the network of these names takes."""
    for size, layers in LAYERS.items():
        names = {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
        if names & set(weights):
            missing, extra = names - set(weights), set(weights) - names
            if missing:
                raise ValueError(
                    f"the network must hold {min(missing)!r}, got {listed_keys(weights)}"
                )
            if extra:
                raise ValueError(f"the network must be a LeNet-5, got {min(extra)!r} in it")
            return size
    raise ValueError(f"the network must hold 'conv1.weight' and so on, got {listed_keys(weights)}")


def _network(ours: Mapping[str, Tensor], size: int) -> Backbone:
    groups = backbones.groups("lenet5", size)
    net = backbones.build(
        "lenet5",
        Widths({group: len(ours[f"{group}.weight"]) for group in groups}),
        in_channels=ours["conv1.weight"].shape[1],
        size=size,
        classes=len(ours["classifier.weight"]),
        generator=torch.Generator(),
        dtype=ours["conv1.weight"].dtype,
    )
    for name, parameter in net.named_parameters():
        check_shape(ours[name], parameter, name)
    net.load_state_dict(ours)
    return net


def _states(
    optimizer: Mapping[str, Any], names: list[str]
) -> tuple[dict[str, Mapping[str, Any]], dict[str, float]]:
    """Return the state of every parameter by its name in the file, and the hyper-parameters."""
    for key in ("state", "param_groups"):
        if key not in optimizer:
            raise ValueError(f"'optimizer' must hold {key!r}, got {listed_keys(optimizer)}")
    groups = [mapping(group, "'param_groups'") for group in optimizer["param_groups"]]
    indices = [index for group in groups for index in group.get("params", ())]
    if len(indices) != len(names):
        raise ValueError(f"'param_groups' must hold {len(names)} parameters, got {len(indices)}")
    missing = [number for number in NUMBERS if number not in groups[0]]
    if missing:
        raise ValueError(f"'param_groups' must hold {missing[0]!r}, got {listed_keys(groups[0])}")
    states = {}
    for name, index in zip(names, indices, strict=True):
        state = mapping(optimizer["state"].get(index, {}), f"the state of {name!r}")
        states[_plain(state.get("name", name))] = state
    return states, {number: groups[0][number] for number in NUMBERS}


def _optimizer(
    net: Backbone, states: Mapping[str, Mapping[str, Any]], numbers: Mapping[str, float]
) -> Toolbox:
    optimizer = Toolbox(net.named_parameters(), **numbers)  # type: ignore[arg-type] # floats only
    parameters = optimizer.named()
    state_dict = optimizer.state_dict()
    for index, (name, parameter) in enumerate(parameters.items()):
        theirs = states.get(name, {})
        ours = state_dict["state"][index] = {}
        for key, taken in (("z", "z_buffer"), ("momentum_buffer", "momentum_buffer")):
            if taken in theirs:
                ours[key] = tensor_at(theirs, taken, parameter.ndim, of=name)
                check_shape(ours[key], parameter, f"{taken} of {name}")
        if "z" not in ours:
            continue
        gamma = tensor_at(theirs, "gamma_buffer", parameter.ndim, of=name)
        structure = _structure(ours["z"], gamma, numbers["kappa"], name)
        state_dict["param_groups"][index]["structure"] = structure
        if "epoch_record" in theirs:
            record = tensor_at(theirs, "epoch_record", parameter.ndim, of=name)
            entry = _entry(record, structure)
            state_dict["ranking"]["entries"][name] = entry
            scores = prune_score(norms(parameter, structure), entry)
            state_dict["ranking"]["scores"][name] = scores
    optimizer.load_state_dict(state_dict)
    return optimizer


def _structure(z: Tensor, gamma: Tensor, kappa: float, name: str) -> Structure:
    """Return the structure under which Gamma follows from Z."""
    check_shape(gamma, z, f"gamma_buffer of {name}")
    for structure in _STRUCTURES[z.ndim]:
        if torch.allclose(kappa * shrink(z, structure, 1.0), gamma, rtol=_RELATIVE, atol=_ABSOLUTE):
            return structure
    raise ValueError(
        f"gamma_buffer of {name} must be kappa prox(z_buffer), by filter or entry, with threshold "
        f"1 and kappa {kappa}, got one that differs"
    )


def _entry(record: Tensor, structure: Structure) -> Tensor:
    """Return entry epochs of filters or entries; the reference kept those of entries as floats."""
    first = record if structure == "element" else record.flatten(1).amin(1)
    return first.long().masked_fill(first >= REFERENCE_NEVER, NEVER)


def _renamed(name: str, size: int) -> str:
    layer, _, kind = name.rpartition(".")
    if layer not in LAYERS[size]:
        raise ValueError(f"a name in 'optimizer' must be one of the network's, got {name!r}")
    return f"{LAYERS[size][layer]}.{kind}"


def _plain(name: object) -> str:
    return str(name).removeprefix("module.")
