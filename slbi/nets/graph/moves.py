"""Rules for what moves entries and computes nothing: permutations, cuts, concatenations."""

from typing import Any

from torch import Tensor
from torch.fx import Node

from slbi.nets.graph.layout import Layout, repeated
from slbi.nets.graph.value import Laid, Value, blank, still
from slbi.nets.graph.walk import Walk, argument

_WHOLE = (slice(None), slice(0, None), slice(None, None, 1))
"""Slices that take everything; a slice cannot be hashed."""


def permute(walk: Walk, node: Node) -> Value:
    """Return the axes in another order."""
    x = walk.laid(node.args[0])
    given = walk.number(argument(node, 1, "dims"))
    order = given if isinstance(given, tuple | list) else walk.number(tuple(node.args[1:]))
    return Laid(tuple(x.axes[axis] for axis in order))


def transpose(walk: Walk, node: Node) -> Value:
    """Return the axes with two of them exchanged."""
    axes = list(walk.laid(node.args[0]).axes)
    one, other = (walk.number(dim) for dim in _pair(node))
    axes[one], axes[other] = axes[other], axes[one]
    return Laid(tuple(axes))


def squeeze(walk: Walk, node: Node) -> Value:
    """Return the axes that are left when some of length 1 go."""
    x = walk.laid(node.args[0])
    dims = walk.number(argument(node, 1, "dim"))
    if dims is None:
        asked = set(range(len(x.axes)))
    else:
        asked = {dim % len(x.axes) for dim in (dims if isinstance(dims, tuple | list) else (dims,))}
    gone = {axis for axis in asked if walk.filters.length(x.axes[axis]) == 1}
    for axis in gone:
        walk.filters.fix(x.axes[axis], "its one filter's axis is removed")
    return Laid(tuple(layout for axis, layout in enumerate(x.axes) if axis not in gone))


def unsqueeze(walk: Walk, node: Node) -> Value:
    """Return the axes with one of length 1 more."""
    axes = list(walk.laid(node.args[0]).axes)
    dim = walk.number(argument(node, 1, "dim"))
    axes.insert(dim % (len(axes) + 1), still(1))
    return Laid(tuple(axes))


def concatenate(walk: Walk, node: Node) -> Value:
    """Return the axes with one behind each other."""
    parts = [walk.laid(part) for part in argument(node, 0, "tensors")]
    # torch lets an empty tensor of one axis stand for nothing.
    parts = [part for part in parts if len(part.axes) == len(node.meta["value"].shape)]
    dim = walk.number(argument(node, 1, "dim", 0)) % len(parts[0].axes)
    for part in parts[1:]:
        for axis, layout in enumerate(part.axes):
            if axis != dim:
                walk.filters.unify(parts[0].axes[axis], layout)
    joined = tuple(piece for part in parts for piece in part.axes[dim])
    return parts[0].replaced(dim, joined)


def stack(walk: Walk, node: Node) -> Value:
    """Return the axes of tensors laid out alike, with one more."""
    parts = [walk.laid(part) for part in argument(node, 0, "tensors")]
    for part in parts[1:]:
        for one, other in zip(parts[0].axes, part.axes, strict=True):
            walk.filters.unify(one, other)
    axes = list(parts[0].axes)
    axes.insert(walk.number(argument(node, 1, "dim", 0)) % (len(axes) + 1), still(len(parts)))
    return Laid(tuple(axes))


def chunk(walk: Walk, node: Node) -> Value:
    """Return equal parts of an axis; they must stay equal."""
    count = walk.number(argument(node, 1, "chunks"))
    return _parts(walk, node, count, walk.number(argument(node, 2, "dim", 0)))


def split(walk: Walk, node: Node) -> Value:
    """Return parts of an axis: equal ones of a length that follows the axis, else fixed ones."""
    given = node.args[1] if len(node.args) > 1 else None
    if given is None:
        given = node.kwargs.get("split_size", node.kwargs.get("split_size_or_sections"))
    dim = walk.number(argument(node, 2, "dim", 0))
    lengths = [part.shape[dim] for part in node.meta["value"]]
    followed = isinstance(given, Node) or (
        isinstance(given, tuple | list) and all(isinstance(part, Node) for part in given)
    )
    if followed and len(set(lengths)) == 1:
        return _parts(walk, node, len(lengths), dim)
    x = walk.laid(node.args[0])
    walk.filters.fix(x.axes[dim], "it is split into parts of given lengths")
    return [x.replaced(dim, still(length, "split")) for length in lengths]


def pick(walk: Walk, node: Node) -> Value:
    """Return an item of several values, or a part of a tensor."""
    value = walk.value(node.args[0])
    index = walk.number(node.args[1])
    if isinstance(value, list) and isinstance(index, int | slice):
        return value[index]
    if not isinstance(value, Laid):
        return walk.unknown(node)
    items = list(index) if isinstance(index, tuple) else [index]
    if any(isinstance(item, Tensor | list) for item in items):
        return walk.unknown(node)
    if Ellipsis in items:
        at = items.index(Ellipsis)
        missing = len(value.axes) - sum(item is not None for item in items) + 1
        items[at : at + 1] = [slice(None)] * missing
    return _picked(walk, value, items, node.meta["value"])


def pixel_shuffle(walk: Walk, node: Node, factor: int) -> Value:
    """Return the layout when every `factor` ** 2 channels become one of a larger map."""
    x = walk.laid(node.args[0])
    channel = len(x.axes) - 3
    of = factor * factor
    walk.filters.coarsen(x.axes[channel], of)
    small = walk.filters.scaled(x.axes[channel], 1, of)
    return _resized_map(walk, node, x, small)


def pixel_unshuffle(walk: Walk, node: Node, factor: int) -> Value:
    """Return the layout when one channel becomes `factor` ** 2 of a smaller map."""
    x = walk.laid(node.args[0])
    return _resized_map(walk, node, x, repeated(x.axes[len(x.axes) - 3], 1, factor * factor))


def channel_shuffle(walk: Walk, node: Node, groups: int) -> Value:
    """Return the layout when equal groups of channels are dealt out one by one."""
    x = walk.laid(node.args[0])
    part = walk.filters.parts(x.axes[1], groups)
    if not any(walk.filters.runs(part)):
        return x
    return x.replaced(1, repeated(part, 1, groups))


def _pair(node: Node) -> tuple[Any, Any]:
    if len(node.args) > 2:
        return node.args[1], node.args[2]
    names = (("dim0", "dim1"), ("axis0", "axis1"))
    return next((node.kwargs[a], node.kwargs[b]) for a, b in names if a in node.kwargs)


def _parts(walk: Walk, node: Node, count: int, dim: int) -> Value:
    x = walk.laid(node.args[0])
    if len(node.meta["value"]) != count:
        walk.filters.fix(x.axes[dim], f"it is not {count} equal parts")
    part = walk.filters.parts(x.axes[dim], count)
    axis = dim % len(x.axes)
    return [
        x.replaced(
            axis,
            part if walk.filters.length(part) == made.shape[dim] else still(made.shape[dim], "cut"),
        )
        for made in node.meta["value"]
    ]


def _picked(walk: Walk, x: Laid, items: list[Any], computed: Tensor) -> Value:
    axes: list[Layout] = []
    sources = iter(x.axes)
    for item in items:
        if item is None:
            axes.append(still(1))
            continue
        layout = next(sources)
        if isinstance(item, slice):
            if item not in _WHOLE:
                walk.filters.fix(layout, "a part of its filters is taken by number")
                layout = still(computed.shape[len(axes)], "part")
            axes.append(layout)
        else:
            walk.filters.fix(layout, "one of its filters is taken by number")
    axes.extend(sources)
    made = Laid(tuple(axes))
    if len(made.axes) != computed.ndim:
        return blank(computed)
    return made


def _resized_map(walk: Walk, node: Node, x: Laid, channels: Layout) -> Value:
    for layout in x.axes[-2:]:
        walk.filters.fix(layout, "a map runs over its filters")
    sides = (still(length) for length in walk.shape(node)[-2:])
    return Laid((*x.axes[:-3], channels, *sides))
