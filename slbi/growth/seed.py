"""Which values new filters start from."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import Parameter

from slbi.nets.backbone import Backbone
from slbi.nets.initial import deviation, draw
from slbi.nets.widths import Widths

Loss = Callable[[Backbone], Tensor]
"""Returns the loss of a network on one batch, a scalar that can be differentiated twice."""


class Seed(Protocol):
    """Gives the filters that widening appended their rows."""

    def plant(self, net: Backbone, before: Widths, generator: torch.Generator) -> None:
        """Set the rows of new filters in every producer of a widened network, in place.

        Only entries that read old filters are set, so that nothing reads a new filter.

        Args:
            net: the widened network; the rows of its new filters are zero.
            before: widths before; filters beyond them are new.
            generator: source of random values.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Plot:
    """The place of new filters in one producer: rows that are new, columns that are old."""

    name: str
    """Name of the weight."""
    weight: Parameter
    """(O, I, ...) weight of the widened network."""
    rows: int
    """Filters that are old; those from this index on are new."""
    columns: int
    """Entries of axis 1 that are old."""

    def old(self) -> Tensor:
        """Return the old filters, (rows, columns, ...), a view."""
        return self.weight.detach()[: self.rows, : self.columns]

    def new(self) -> Tensor:
        """Return the entries to plant, (O - rows, columns, ...), a view."""
        return self.weight.detach()[self.rows :, : self.columns]


def plots(net: Backbone, before: Widths) -> Iterator[Plot]:
    """Yield every producer of a widened network that has new filters."""
    ties = net.coupling().by_tensor()
    for name, weight in net.named_parameters():
        if weight.ndim < 2:
            continue
        rows, columns = weight.shape[:2]
        for group, tie in ties.get(name, []):
            if tie.role == "producer":
                rows = before[group]
            elif tie.role == "reader":
                columns = before[group] * tie.block
        if rows < weight.shape[0]:
            yield Plot(name=name, weight=weight, rows=rows, columns=columns)


class RandomSeed:
    """New filters drawn like those of a fresh network."""

    def plant(self, net: Backbone, before: Widths, generator: torch.Generator) -> None:
        """Set normal values of variance 2 / fan-in, in place."""
        for plot in plots(net, before):
            rows = plot.new()
            rows.copy_(draw(tuple(rows.shape), rows, generator) * deviation(rows[0].numel()))


class OrthogonalSeed:
    """New filters orthogonal to the span of the old ones and to each other, of their mean norm.

    Where the old ones span the whole space, or more filters are new than dimensions are left, the
    remaining ones are random directions of that norm.
    """

    def plant(self, net: Backbone, before: Widths, generator: torch.Generator) -> None:
        """Set the orthogonal rows, in place."""
        for plot in plots(net, before):
            old, rows = plot.old().flatten(1), plot.new()
            drawn = draw((len(rows), old.shape[1]), rows, generator)
            rows.copy_((orthogonal(old, drawn) * mean_norm(old)).view_as(rows))


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

    def plant(self, net: Backbone, before: Widths, generator: torch.Generator) -> None:
        """Set the rows of the largest gradient found, in place."""
        RandomSeed().plant(net, before, generator)
        places = list(plots(net, before))
        columns = _new_columns(net, before)
        if not places or not columns:
            return
        norms = [mean_norm(plot.old().flatten(1)) for plot in places]
        for plot, norm in zip(places, norms, strict=True):
            _set_directions(plot, plot.new().flatten(1).clone(), norm)
        buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
        best, best_rows = -math.inf, [plot.new().clone() for plot in places]
        for _ in range(self.steps + 1):
            worth, slopes = _worth(net, self.loss, places, columns)
            if worth > best:
                best, best_rows = worth, [plot.new().clone() for plot in places]
            for plot, slope, norm in zip(places, slopes, norms, strict=True):
                _set_directions(plot, slope.flatten(1), norm)
        for plot, rows in zip(places, best_rows, strict=True):
            plot.new().copy_(rows)
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


def _new_columns(net: Backbone, before: Widths) -> Mapping[str, int]:
    """Return every reader of new filters with the index of its first new column."""
    return {
        name: before[group] * tie.block
        for name, ties in net.coupling().by_tensor().items()
        for group, tie in ties
        if tie.role == "reader" and before[group] < net.widths[group]
    }


def _worth(
    net: Backbone, loss: Loss, places: list[Plot], columns: Mapping[str, int]
) -> tuple[float, list[Tensor]]:
    """Return the squared gradient norm of the new columns, and its slopes over the new rows."""
    needed = [(parameter, parameter.requires_grad) for parameter in net.parameters()]
    for parameter, _ in needed:
        parameter.requires_grad_()
    with torch.enable_grad():
        readers = [net.get_parameter(name) for name in columns]
        gradients = torch.autograd.grad(loss(net), readers, create_graph=True)
        worth = torch.stack(
            [
                gradient[:, first:].square().sum()
                for gradient, first in zip(gradients, columns.values(), strict=True)
            ]
        ).sum()
        slopes = torch.autograd.grad(worth, [plot.weight for plot in places])
    for parameter, wanted in needed:
        parameter.requires_grad_(wanted)
    found = [s[p.rows :, : p.columns] for s, p in zip(slopes, places, strict=True)]
    return float(worth.detach()), found


def _set_directions(plot: Plot, directions: Tensor, norm: float) -> None:
    """Set new rows to orthonormal directions times a norm, in place; rows of no direction stay."""
    rows = plot.new()
    free = min(directions.shape)
    factors = torch.linalg.qr(directions[:free].double().T)
    # QR leaves the signs open, and behind a ReLU a filter is not worth what its negative is.
    signs = torch.where(factors.R.diagonal() < 0, -1.0, 1.0)
    unit = torch.cat([(factors.Q * signs).T, directions[free:].double()])
    lengths = unit.norm(dim=1, keepdim=True)
    felt = directions.norm(dim=1) > 0
    unit = (unit / lengths.clamp(min=torch.finfo(torch.float64).tiny) * norm).to(rows.dtype)
    rows[felt] = unit.view_as(rows)[felt]
