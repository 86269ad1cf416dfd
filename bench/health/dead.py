"""Which filters of a network are dead: they say nothing of the image, or nobody reads them.

A filter is one slice of a weight. It is constant if, at every position, it has the same value for
all images: either behind its own norm, so that it adds nothing to what it is summed with, or in
every input of every layer that reads it, so behind activation and pooling. Zero is a constant. It
is unread if no layer reads it through weights of a norm above `READ`; a padding shortcut reads as
much as is read of where it leads. A filter that is one of the two is dead.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from bench.health.births import made
from slbi.nets.coupling import Tie
from slbi.nets.graph.find import Found

READ: Final = 1e-6
"""Norm of the weights through which one layer reads a filter, above which it is read."""

SAME: Final = 1e-6
"""How far values of a constant are apart at most, relative to the largest one and to 1: several
times the rounding of float32."""

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """What was found of the filters of one weight."""

    name: str
    group: str
    filters: int
    constant: tuple[int, ...]
    """Indices."""
    unread: tuple[int, ...]

    @property
    def dead(self) -> int:
        """Return how many are either."""
        return len({*self.constant, *self.unread})


class Spread:
    """The least and the largest value of some entries over all images so far."""

    def __init__(self) -> None:
        self._low: Tensor | None = None
        self._high: Tensor | None = None

    def see(self, values: Tensor) -> None:
        """Take (N, O, positions) values of some images, in place."""
        low, high = values.amin(0), values.amax(0)
        self._low = low if self._low is None else torch.minimum(self._low, low)
        self._high = high if self._high is None else torch.maximum(self._high, high)

    def constant(self) -> Tensor:
        """Return which filters are the same for all images at every position, (O,) bool.

        Raises:
            ValueError: no image was seen.
        """
        if self._low is None or self._high is None:
            raise ValueError("a network must have seen an image, got none")
        size = torch.maximum(self._low.abs(), self._high.abs()).amax(1).clamp(min=1.0)
        return (self._high - self._low).amax(1) <= SAME * size


@torch.no_grad()
def layers(net: nn.Module, found: Found, images: Iterable[Tensor]) -> list[Layer]:
    """Return every layer with its dead filters.

    Args:
        net: is set to evaluation.
        found: of `net`.
        images: batches of one data split, whole.
    """
    net.eval()
    own = {name: Spread() for name in made(net, found)}
    felt = {
        group.name: [(tie, Spread()) for tie in group.ties if tie.role == "reader"]
        for group in found.coupling.groups
    }
    with ExitStack() as stack:
        stack.enter_context(_makers(net, own))
        for group, readers in felt.items():
            for tie, spread in readers:
                stack.enter_context(_reader(net, tie, found.widths[group], spread))
        for batch in images:
            net(batch)
    silent = {
        group: torch.stack([spread.constant() for _, spread in readers]).all(0)
        for group, readers in felt.items()
    }
    read = reading(net, found)
    return [
        Layer(
            name=name,
            group=group,
            filters=found.widths[group],
            constant=_indices(own[name].constant() | silent[group]),
            unread=_indices(read[group] <= READ),
        )
        for name, (group, _) in made(net, found).items()
    ]


def reading(net: nn.Module, found: Found) -> dict[str, Tensor]:
    """Return group -> (O,) the largest norm of the weights through which a layer reads a filter."""
    read = {}
    for group in found.coupling.groups:
        width = found.widths[group.name]
        norms = [torch.zeros(width)]
        for tie in group.ties:
            if tie.role == "reader":
                weight = net.get_parameter(tie.tensor).detach()
                norms.append(tie.entries(weight, width).norm(dim=1))
        read[group.name] = torch.stack(norms).amax(0)
    for route in reversed(found.coupling.routes):
        feeds = net.get_buffer(route.buffer) == torch.arange(found.widths[route.source])[:, None]
        onward = (feeds * read[route.target]).amax(1)  # (O of the source,)
        read[route.source] = torch.maximum(read[route.source], onward)
    return read


@contextmanager
def _reader(net: nn.Module, tie: Tie, width: int, spread: Spread) -> Iterator[None]:
    """Look at the part of a layer's input that the filters of one group are."""

    def look(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
        part = inputs[0].narrow(1, tie.offset, width * tie.block)
        spread.see(part.reshape(len(part), width, -1))

    handle = net.get_submodule(tie.tensor.rpartition(".")[0]).register_forward_pre_hook(look)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _makers(net: nn.Module, own: dict[str, Spread]) -> Iterator[None]:
    """Look at what layers put out, behind the norm that follows at once where one does."""
    fresh: dict[str, Tensor] = {}

    def settle(name: str, output: Tensor) -> None:
        own[name].see(output.reshape(*output.shape[:2], -1))

    def maker(name: str) -> Any:  # noqa: ANN401 -- a hook of torch
        def look(_module: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> None:
            fresh[name] = output

        return look

    def norm(_module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        for name in [name for name, made_ in fresh.items() if made_ is inputs[0]]:
            del fresh[name]
            settle(name, output)

    def rest(_module: nn.Module, _inputs: tuple[Any, ...], _output: Tensor) -> None:
        for name, output in fresh.items():
            settle(name, output)
        fresh.clear()

    handles = [
        net.get_submodule(name.rpartition(".")[0]).register_forward_hook(maker(name))
        for name in own
    ]
    handles += [
        module.register_forward_hook(norm) for module in net.modules() if isinstance(module, NORMS)
    ]
    handles.append(net.register_forward_hook(rest))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _indices(mask: Tensor) -> tuple[int, ...]:
    return tuple(mask.nonzero().flatten().tolist())
