"""What a network would cost at other widths."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from slbi.nets.count import count
from slbi.nets.graph.find import Found
from slbi.nets.graph.resize import rebuilt
from slbi.nets.graph.trace import without_data
from slbi.nets.measure import measure
from slbi.nets.sketch import Form
from slbi.nets.widths import Widths


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """A parameter."""

    axes: tuple[Form, ...]
    used: int
    """How often every entry is multiplied for one input."""

    def entries(self, widths: Widths) -> int:
        """Return how many entries it has at some widths."""
        return math.prod(axis.at(widths) for axis in self.axes)


class Costs:
    """What a network costs at any widths: parameters, and multiply-accumulates of one input.

    One pass without data says how often each parameter is used, the rest is arithmetic, for a plan
    asks for hundreds of widths: filters take part in products with parameters alone, since any
    other product fixes them. Where a parameter's entries are not all used equally often, each
    network is built without data and counted.

    Args:
        net: the network.
        found: of `net`.
        shape: of one input, without the batch.
    """

    def __init__(self, net: nn.Module, found: Found, shape: tuple[int, ...]) -> None:
        self._hollow = without_data(net).to(torch.get_default_dtype())
        self._found = found
        self._shape = shape
        self._known: dict[Widths, tuple[int, int]] = {}
        self._parts: list[_Part] = []
        self._beside = 0
        try:
            passed = measure(self._hollow, shape)
        except ValueError:
            return
        self._beside = passed.macs
        blocks = _blocks(found)
        self._parts = [
            _Part(
                axes=tuple(
                    _form(length, blocks.get((name, axis), {}), found.widths)
                    for axis, length in enumerate(parameter.shape)
                ),
                used=passed.positions.get(name, 0),
            )
            for name, parameter in self._hollow.named_parameters()
        ]

    def __call__(self, widths: Widths) -> tuple[int, int]:
        """Return what it costs at some widths."""
        if widths not in self._known:
            self._known[widths] = self._computed(widths) if self._parts else self._counted(widths)
        return self._known[widths]

    def _computed(self, widths: Widths) -> tuple[int, int]:
        entries = [part.entries(widths) for part in self._parts]
        used = sum(n * part.used for n, part in zip(entries, self._parts, strict=True))
        return sum(entries), used + self._beside

    def _counted(self, widths: Widths) -> tuple[int, int]:
        other, _ = rebuilt(self._hollow, self._found, widths)
        return count(other, self._shape)


def _blocks(found: Found) -> dict[tuple[str, int], dict[str, int]]:
    """Return (tensor, axis) -> group -> entries that each of its filters has there."""
    blocks: dict[tuple[str, int], dict[str, int]] = {}
    for key, ties in found.coupling.by_axis().items():
        each = blocks.setdefault(key, {})
        for group, tie in ties:
            each[group] = each.get(group, 0) + tie.block
    return blocks


def _form(length: int, blocks: dict[str, int], widths: Widths) -> Form:
    """Return what the length of an axis follows from, given what it is at some widths."""
    terms = tuple(blocks.items())
    return Form(constant=length - Form(terms=terms).at(widths), terms=terms)
