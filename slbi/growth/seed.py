"""Which values new filters start from."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from slbi.nets.coupling import Tie
from slbi.nets.graph.find import Found
from slbi.nets.initial import deviation, draw
from slbi.nets.strided import sliced_convolutions
from slbi.nets.widths import Widths

Loss = Callable[[nn.Module], Tensor]
"""Returns the loss of a network on one batch, a scalar that can be differentiated twice."""


class Seed(Protocol):
    """Gives the filters that widening appended their rows."""

    def plant(
        self, net: nn.Module, found: Found, before: Widths, generator: torch.Generator
    ) -> None:
        """Set the rows of new filters in every producer of a widened network, in place.

        Only entries that read old filters are set, so that nothing reads a new filter.

        Args:
            net: the widened network; the rows of its new filters are zero.
            found: of `net`.
            before: widths before; filters beyond them are new.
            generator: source of random values.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Plot:
    """The place of new filters in one producer: rows that are new, columns that are old."""

    name: str
    """Name of the weight."""
    weight: Parameter
    """(O, I, ...) weight of the widened network, or (I, O, ...) of a transposed convolution."""
    axis: int
    """That of the filters: 0, or 1 of a transposed convolution."""
    rows: Tensor
    """(n,) int64: the filters that are new."""
    columns: Tensor
    """(C,) int64: entries of the other of the first two axes that are old."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the entries to plant, the filters first: (n, C, ...)."""
        return (len(self.rows), len(self.columns), *self.weight.shape[2:])

    def old(self) -> Tensor:
        """Return the old filters over the old columns, (O - n, C, ...), a copy."""
        return self._taken(self.weight.detach(), _others(self.rows, self._filters()))

    def new(self) -> Tensor:
        """Return the entries to plant, (n, C, ...), a copy."""
        return self.of(self.weight.detach())

    def of(self, tensor: Tensor) -> Tensor:
        """Return of a tensor shaped like the weight what lies on the plot, (n, C, ...), a copy."""
        return self._taken(tensor, self.rows)

    @torch.no_grad()
    def set(self, entries: Tensor) -> None:
        """Set the entries to plant, (n, C, ...), in place."""
        turned = self.weight.movedim(self.axis, 0)
        places = (self.rows.to(turned.device)[:, None], self.columns.to(turned.device))
        turned[places] = entries.to(turned.dtype)

    def _taken(self, tensor: Tensor, rows: Tensor) -> Tensor:
        turned = tensor.movedim(self.axis, 0)
        rows, columns = rows.to(turned.device), self.columns.to(turned.device)
        return turned.index_select(0, rows).index_select(1, columns)

    def _filters(self) -> int:
        return self.weight.shape[self.axis]


def plots(net: nn.Module, found: Found, before: Widths) -> Iterator[Plot]:
    """Yield every producer of a widened network that has new filters.

    Args:
        net: the widened network.
        found: of `net`.
        before: widths before; filters beyond them are new.
    """
    ties = found.coupling.by_tensor()
    for name, weight in net.named_parameters():
        tied = ties.get(name, [])
        axis = next((tie.axis for _, tie in tied if tie.role == "producer"), None)
        if axis is None or weight.ndim < 2:
            continue
        rows = new_entries(tied, axis, before, found.widths)
        if len(rows):
            other = 1 - axis
            new_columns = new_entries(tied, other, before, found.widths)
            columns = _others(new_columns, weight.shape[other])
            yield Plot(name=name, weight=weight, axis=axis, rows=rows, columns=columns)


def new_entries(
    ties: Iterable[tuple[str, Tie]], axis: int, before: Widths, after: Mapping[str, int]
) -> Tensor:
    """Return which entries of an axis belong to new filters, int64."""
    entries = [
        torch.arange(tie.offset + before[group] * tie.block, tie.offset + after[group] * tie.block)
        for group, tie in ties
        if tie.axis == axis
    ]
    return torch.cat([torch.arange(0), *entries]).sort().values


def _others(entries: Tensor, length: int) -> Tensor:
    """Return the entries of an axis that are not among some, int64."""
    among = torch.ones(length, dtype=torch.bool)
    among[entries] = False
    return among.nonzero().flatten()


class RandomSeed:
    """New filters drawn like those of a fresh network."""

    def plant(
        self, net: nn.Module, found: Found, before: Widths, generator: torch.Generator
    ) -> None:
        """Set normal values of variance 2 / fan-in, in place."""
        for plot in plots(net, found, before):
            spread = deviation(math.prod(plot.shape[1:]))
            plot.set(draw(plot.shape, plot.weight, generator) * spread)


class OrthogonalSeed:
    """New filters orthogonal to the span of the old ones and to each other, of their mean norm.

    Where the old ones span the whole space, or more filters are new than dimensions are left, the
    remaining ones are random directions of that norm.
    """

    def plant(
        self, net: nn.Module, found: Found, before: Widths, generator: torch.Generator
    ) -> None:
        """Set the orthogonal rows, in place."""
        for plot in plots(net, found, before):
            old = plot.old().flatten(1)
            drawn = draw((plot.shape[0], old.shape[1]), plot.weight, generator)
            plot.set((orthogonal(old, drawn) * mean_norm(old)).view(plot.shape))


@dataclass(frozen=True, kw_only=True)
class GradMaxSeed:
    """New filters whose readers feel the largest gradient on one batch.

    The columns that read a new filter are zero, so nothing but their gradient says what the filter
    is worth: this seed raises the summed squared norm of those gradients over the filters' rows, at
    the mean norm of the old filters, by orthogonal iteration. Source of the idea: Evci et al. 2022,
    GradMax, arXiv 2201.05125, there for the weights behind a new filter and linear networks.
    """

    loss: Loss
    """The loss on one batch. It may run the network in training mode; statistics are put back."""
    steps: int = 4
    """Iterations, each one double backward pass; the best of them is planted."""

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be >= 1, got {self.steps}")

    def plant(
        self, net: nn.Module, found: Found, before: Widths, generator: torch.Generator
    ) -> None:
        """Set the rows of the largest gradient found, in place."""
        RandomSeed().plant(net, found, before, generator)
        places = list(plots(net, found, before))
        columns = _new_columns(found, before)
        if not places or not columns:
            return
        norms = [mean_norm(plot.old().flatten(1)) for plot in places]
        for plot, norm in zip(places, norms, strict=True):
            _set_directions(plot, plot.new().flatten(1), norm)
        buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
        best, best_rows = -math.inf, [plot.new() for plot in places]
        for _ in range(self.steps + 1):
            worth, slopes = _worth(net, self.loss, places, columns)
            if worth > best:
                best, best_rows = worth, [plot.new() for plot in places]
            for plot, slope, norm in zip(places, slopes, norms, strict=True):
                _set_directions(plot, slope.flatten(1), norm)
        for plot, rows in zip(places, best_rows, strict=True):
            plot.set(rows)
        for name, buffer in net.named_buffers():
            buffer.copy_(buffers[name])


def orthogonal(old: Tensor, drawn: Tensor) -> Tensor:
    """Return unit rows made of `drawn`: orthogonal to the rows of `old` and to each other.

    Args:
        old: (O, D).
        drawn: (n, D) random directions. Rows beyond the dimensions left are only normalised.

    Returns:
        (n, D), in the dtype of `drawn`.
    """
    span = old.double()
    _, values, directions = torch.linalg.svd(span, full_matrices=False)
    # numpy's and torch's rule for the rank of a matrix, matrix_rank.
    floor = values.max() * max(span.shape) * torch.finfo(old.dtype).eps
    basis = directions[values > floor]  # (R, D)
    free = min(len(drawn), old.shape[1] - len(basis))
    rows = drawn.double()
    if free:
        rest = rows[:free]
        for _ in range(2):  # The second pass removes what rounding left of the first.
            rest = rest - rest @ basis.T @ basis
            rest = torch.linalg.qr(rest.T).Q.T
        rows = torch.cat([rest, rows[free:]])
    unit: Tensor = rows / rows.norm(dim=1, keepdim=True)
    return unit.to(drawn.dtype)


def mean_norm(old: Tensor) -> float:
    """Return the mean norm of the rows of (O, D); that of fresh rows where all are zero."""
    norm = float(old.norm(dim=1).mean())
    return norm or deviation(old.shape[1]) * math.sqrt(old.shape[1])


def _new_columns(found: Found, before: Widths) -> Mapping[str, tuple[int, Tensor]]:
    """Return every reader of new filters with the axis that reads, and its new entries there."""
    columns = {}
    for name, ties in found.coupling.by_tensor().items():
        axis = next((tie.axis for _, tie in ties if tie.role == "reader"), None)
        if axis is not None and len(new := new_entries(ties, axis, before, found.widths)):
            columns[name] = (axis, new)
    return columns


def _worth(
    net: nn.Module, loss: Loss, places: list[Plot], columns: Mapping[str, tuple[int, Tensor]]
) -> tuple[float, list[Tensor]]:
    """Return the squared gradient norm of the new columns, and its slopes over the new rows."""
    needed = [(parameter, parameter.requires_grad) for parameter in net.parameters()]
    for parameter, _ in needed:
        parameter.requires_grad_()
    with torch.enable_grad(), sliced_convolutions(net):
        readers = [net.get_parameter(name) for name in columns]
        # Of a head that this mode does not use nothing is felt.
        gradients = torch.autograd.grad(
            loss(net), readers, create_graph=True, materialize_grads=True
        )
        worth = torch.stack(
            [
                gradient.index_select(axis, new.to(gradient.device)).square().sum()
                for gradient, (axis, new) in zip(gradients, columns.values(), strict=True)
            ]
        ).sum()
        weights = [plot.weight for plot in places]
        slopes = torch.autograd.grad(worth, weights, materialize_grads=True)
    for parameter, wanted in needed:
        parameter.requires_grad_(wanted)
    found = [plot.of(slope) for slope, plot in zip(slopes, places, strict=True)]
    return float(worth.detach()), found


def _set_directions(plot: Plot, directions: Tensor, norm: float) -> None:
    """Set new rows to orthonormal directions times a norm, in place; rows of no direction stay."""
    free = min(directions.shape)
    factors = torch.linalg.qr(directions[:free].double().T)
    # QR leaves the signs open, and behind a ReLU a filter is not worth what its negative is.
    signs = torch.where(factors.R.diagonal() < 0, -1.0, 1.0)
    unit = torch.cat([(factors.Q * signs).T, directions[free:].double()])
    lengths = unit.norm(dim=1, keepdim=True)
    unit = (unit / lengths.clamp(min=torch.finfo(torch.float64).tiny) * norm).to(directions.dtype)
    felt = (directions.norm(dim=1) > 0)[:, None]  # (n, 1)
    rows = torch.where(felt, unit, plot.new().flatten(1))
    plot.set(rows.view(plot.shape))
