"""The state of a run as tensors and JSON: what a checkpoint holds, and how it becomes a file.

Tensors are stored contiguous; their strides are kept beside them, since the order in which numbers
lie in memory decides in which order they are summed, and so the last bits of a result.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse
from safetensors.torch import save as serialise
from torch import Tensor, nn

from slbi.nets.backbone import Backbone
from slbi.nets.widths import Widths
from slbi.optim.optimizer import SLBI

FORMAT = 3
"""Version of a state; raised when a reader of the old one would misread the new."""

_KEY = "state"


class StateError(ValueError):
    """A file holds no state, or not one that this version reads."""


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """Everything that a run needs to go on as if nothing had happened."""

    tensors: Mapping[str, Tensor]
    about: Mapping[str, Any]
    """What JSON can say: counters, widths, hyper-parameters."""

    def to_bytes(self) -> bytes:
        """Return the state as one safetensors file, its JSON in the file's own metadata."""
        tensors = {name: tensor.cpu().contiguous() for name, tensor in self.tensors.items()}
        strides = {
            name: list(tensor.stride())
            for name, tensor in self.tensors.items()
            if tensor.stride() != torch.empty(tensor.shape, device="meta").stride()
        }
        about = {"format": FORMAT, "strides": strides, **self.about}
        return serialise(tensors, metadata={_KEY: json.dumps(about)})

    @classmethod
    def from_bytes(cls, content: bytes) -> "State":
        """Return the state that `to_bytes` made a file of, on the CPU.

        Raises:
            StateError: it is none, or of another version.
        """
        try:
            tensors = parse(content)
            length = int.from_bytes(content[:8], "little")
            text = json.loads(content[8 : 8 + length])["__metadata__"][_KEY]
            about: dict[str, Any] = json.loads(text)
        except (SafetensorError, KeyError, ValueError) as error:
            raise StateError(f"a state must be a safetensors file that says so: {error}") from error
        if about.pop("format", None) != FORMAT:
            raise StateError(f"a state must be of format {FORMAT}")
        for name, stride in about.pop("strides").items():
            tensors[name] = _laid(tensors[name], stride)
        return cls(tensors=tensors, about=about)

    def below(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors whose names begin with "prefix.", by the rest of their names."""
        start = f"{prefix}."
        return {
            name.removeprefix(start): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(start)
        }


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors under longer names: "prefix." before each."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def net_like(net: Backbone, widths: Mapping[str, int], tensors: Mapping[str, Tensor]) -> Backbone:
    """Return a network of the same spec and device with other widths and all its tensors given.

    Args:
        net: of the same backbone.
        widths: of the new network.
        tensors: its `state_dict`; their strides become its own.

    Raises:
        StateError: the tensors are not those of such a network.
    """
    made = net.hollow(Widths(dict(widths)))
    own = made.state_dict(keep_vars=True)
    if set(own) != set(tensors):
        raise StateError(f"a state must hold the tensors {', '.join(own)}")
    with torch.no_grad():
        for name, tensor in own.items():
            _fill(tensor, tensors[name], name)
    return made


def describe_optimizer(optimizer: SLBI, net: nn.Module) -> dict[str, Any]:
    """Return what JSON can say of an optimizer, its parameters by their names in `net`."""
    names = {parameter: name for name, parameter in net.named_parameters()}
    return {
        "defaults": dict(optimizer.defaults),
        "groups": [
            {**group, "params": [names[parameter] for parameter in group["params"]]}
            for group in optimizer.param_groups
        ],
    }


def optimizer_tensors(optimizer: SLBI, net: nn.Module) -> dict[str, Tensor]:
    """Return the state of an optimizer, "parameter/key" -> tensor: Z and momentum; Gamma follows.

    Source: docs/decisions/0002.
    """
    return {
        f"{name}/{key}": value
        for name, parameter in net.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def optimizer_like(about: Mapping[str, Any], tensors: Mapping[str, Tensor], net: nn.Module) -> SLBI:
    """Return the optimizer that was described, its state restored, driving the parameters of `net`.

    Raises:
        StateError: a parameter or a state does not fit the network.
    """
    groups = []
    for group in about["groups"]:
        try:
            members = [net.get_parameter(name) for name in group["params"]]
        except AttributeError as error:
            raise StateError(
                f"an optimizer must drive the network's parameters: {error}"
            ) from error
        groups.append({**group, "params": members})
    made = SLBI(groups, **about["defaults"])
    for name, value in tensors.items():
        parameter, _, key = name.rpartition("/")
        like = net.get_parameter(parameter)
        own = torch.empty_like(like, requires_grad=False)
        made.state[like][key] = _fill(own, value, name)
    return made


def draws(generators: Mapping[str, torch.Generator]) -> dict[str, Tensor]:
    """Return the states of generators, and of torch's own ones."""
    states = {name: generator.get_state() for name, generator in generators.items()}
    states["torch"] = torch.get_rng_state()
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def restore_draws(generators: Mapping[str, torch.Generator], states: Mapping[str, Tensor]) -> None:
    """Set generators, and torch's own ones, to the states that `draws` returned, in place."""
    for name, generator in generators.items():
        generator.set_state(states[name])
    torch.set_rng_state(states["torch"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def _fill(own: Tensor, given: Tensor, name: str) -> Tensor:
    """Copy values and strides into a tensor, in place, and return it."""
    if own.shape != given.shape or own.dtype != given.dtype:
        raise StateError(
            f"{name} must be {own.dtype} of shape {tuple(own.shape)}, "
            f"got {given.dtype} of shape {tuple(given.shape)}"
        )
    if own.stride() != given.stride():
        own.data = torch.empty_strided(
            given.shape, given.stride(), dtype=own.dtype, device=own.device
        )
    own.copy_(given)
    return own


def _laid(tensor: Tensor, stride: list[int]) -> Tensor:
    """Return the same numbers in another order in memory."""
    return torch.empty_strided(tensor.shape, stride, dtype=tensor.dtype).copy_(tensor)
