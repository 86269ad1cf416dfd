"""Rules for views: axes that are merged with others and cut into others."""

import math
from typing import Any

from torch.fx import Node

from slbi.nets.graph.layout import Layout, Still, repeated
from slbi.nets.graph.value import NO_FILTERS, Given, Laid, Length, Value, still
from slbi.nets.graph.walk import UnfitError, Walk, argument

Asked = int | Value
"""A length that a view asks for: a number in the code, or what is known of a computed one."""

_CONSTANT = "the code gives its width as a number"


def flatten(walk: Walk, node: Node) -> Value:
    """Return the axes with some merged into one."""
    start, end = argument(node, 1, "start_dim", 0), argument(node, 2, "end_dim", -1)
    return _flattened(walk, node, walk.number(start), walk.number(end))


def flatten_layer(walk: Walk, node: Node) -> Value:
    """Return the axes with those merged that a layer says."""
    module: Any = walk.module(node)
    return _flattened(walk, node, module.start_dim, module.end_dim)


def reshape(walk: Walk, node: Node) -> Value:
    """Return the axes of a view, where what grows can be told; elsewhere fix it.

    An axis that holds filters may be merged with others and cut into others. Of what it is cut
    into, the one length that is not a number in the code is taken to follow the width.
    """
    return _viewed(walk, node, _sizes(walk, node))


def reshape_as(walk: Walk, node: Node) -> Value:
    """Return the axes of a view of the shape of another tensor."""
    return _viewed(walk, node, _lengths_of(walk, argument(node, 1, "other")))


def expand(walk: Walk, node: Node) -> Value:
    """Return the axes with those of length 1 repeated."""
    return _expanded(walk, node, _sizes(walk, node))


def expand_as(walk: Walk, node: Node) -> Value:
    """Return the axes with those of length 1 repeated to the shape of another tensor."""
    return _expanded(walk, node, _lengths_of(walk, argument(node, 1, "other")))


def create(walk: Walk, node: Node) -> Value:
    """Return the axes of a new tensor: those whose lengths are asked for are laid out alike."""
    asked = _sizes(walk, node)
    made = walk.shape(node)
    _must_fit(asked, made)
    axes: list[Layout] = []
    for given, length in zip(asked, made, strict=True):
        if isinstance(given, Length) and given.exact:
            axes.append(given.layout)
        else:
            axes.append(_agreed(walk, still(length), given))
    return Laid(tuple(axes))


def _viewed(walk: Walk, node: Node, asked: list[Asked]) -> Value:
    x = walk.laid(node.args[0])
    made = walk.shape(node)
    _must_fit(asked, made)
    axes: list[Layout] = []
    for ins, outs in _segments(walk.shape(node.args[0]), made):  # type: ignore[arg-type] # a node
        layouts = [x.axes[axis] for axis in ins]
        sizes = [made[axis] for axis in outs]
        axes += _reshaped(walk, layouts, sizes, [asked[axis] for axis in outs])
    return Laid(tuple(axes))


def _expanded(walk: Walk, node: Node, asked: list[Asked]) -> Value:
    x = walk.laid(node.args[0])
    made = walk.shape(node)
    axes = [still(length) for length in made]
    for axis, layout in enumerate(x.axes, start=len(made) - len(x.axes)):
        if walk.filters.length(layout) == made[axis]:
            axes[axis] = layout
        else:
            walk.filters.fix(layout, "one filter is laid over many")
    _must_fit(asked, made)
    for axis, given in enumerate(asked):
        axes[axis] = _agreed(walk, axes[axis], given)
    return Laid(tuple(axes))


def _flattened(walk: Walk, node: Node, start: int, end: int) -> Value:
    x = walk.laid(node.args[0])
    start, end = start % len(x.axes), end % len(x.axes)
    merged = _merged(walk, list(x.axes[start : end + 1]))
    return Laid((*x.axes[:start], merged, *x.axes[end + 1 :]))


def _merged(walk: Walk, layouts: list[Layout]) -> Layout:
    """Return the layout of several axes as one; only one of them may hold filters."""
    lengths = [walk.filters.length(layout) for layout in layouts]
    owned = [at for at, layout in enumerate(layouts) if any(walk.filters.runs(layout))]
    if not owned:
        return still(math.prod(lengths), _reason(walk, layouts))
    for at in owned if len(owned) > 1 else ():
        walk.filters.fix(layouts[at], "two axes of filters are merged")
    if len(layouts) == 1:
        return layouts[0]
    at = owned[0]
    if len(owned) > 1:
        return still(math.prod(lengths), "two axes of filters are merged")
    return repeated(layouts[at], math.prod(lengths[:at]), math.prod(lengths[at + 1 :]))


def _reason(walk: Walk, layouts: list[Layout]) -> str:
    """Return why some axes hold no filters: of several reasons one that is a filter's."""
    reasons = [
        piece.reason
        for layout in layouts
        for piece in walk.filters.resolved(layout)
        if isinstance(piece, Still)
    ]
    return next((reason for reason in reasons if reason != NO_FILTERS), NO_FILTERS)


def _reshaped(
    walk: Walk, layouts: list[Layout], sizes: list[int], asked: list[Asked]
) -> list[Layout]:
    """Return the layouts of the axes that some axes become."""
    merged = _merged(walk, layouts)
    if not any(walk.filters.runs(merged)):
        axes = [still(length, _reason(walk, [merged])) for length in sizes]
        return [_agreed(walk, layout, given) for layout, given in zip(axes, asked, strict=True)]
    growing = _growing(walk, sizes, asked)
    if growing is None:
        walk.filters.fix(merged, _CONSTANT)
        axes = [still(length, _CONSTANT) for length in sizes]
    else:
        part = walk.filters.parts(merged, math.prod(sizes[:growing]))
        inner = math.prod(sizes[growing + 1 :])
        walk.filters.coarsen(part, inner)
        axes = [still(length) for length in sizes]
        if any(walk.filters.runs(part)):
            axes[growing] = walk.filters.scaled(part, 1, inner)
    return [_agreed(walk, layout, given) for layout, given in zip(axes, asked, strict=True)]


def _growing(walk: Walk, sizes: list[int], asked: list[Asked]) -> int | None:
    """Return which of the lengths asked for follows the filters of an axis, None if unclear."""
    if len(sizes) == 1:
        return None if isinstance(asked[0], int) and asked[0] != -1 else 0
    following = [
        at
        for at, given in enumerate(asked)
        if isinstance(given, Length) and any(walk.filters.runs(given.layout))
    ]
    free = [at for at, given in enumerate(asked) if not isinstance(given, int) or given == -1]
    for candidates in (following, free):
        if len(candidates) == 1:
            return candidates[0]
    return None


def _agreed(walk: Walk, layout: Layout, given: Asked) -> Layout:
    """Return the layout of an axis whose length was asked for; the two must stay one length."""
    if not isinstance(given, Length):
        return layout
    wanted, found = _content(walk, given.layout), _content(walk, layout)
    if wanted == found or not (given.exact or wanted.keys() - found.keys()):
        return layout
    if given.exact and walk.filters.length(given.layout) == walk.filters.length(layout):
        walk.filters.unify(layout, given.layout)
    else:
        walk.filters.fix(given.layout, "its width shapes another axis")
        walk.filters.fix(layout, "its length follows another axis")
    return layout


def _content(walk: Walk, layout: Layout) -> dict[int, int]:
    """Return how many entries one filter of each variable has in an axis."""
    content: dict[int, int] = {}
    for run in walk.filters.runs(layout):
        content[run.var] = content.get(run.var, 0) + run.block
    return content


def _sizes(walk: Walk, node: Node) -> list[Asked]:
    """Return the lengths that a view asks for: numbers, `Length`s, or None for other values."""
    given: Any = node.args[1:]
    if not given:
        given = node.kwargs.get("shape", node.kwargs.get("size", ()))
    if isinstance(given, tuple | list) and len(given) == 1:
        alone = given[0]
        if isinstance(alone, tuple | list) or isinstance(walk.number(alone), tuple | list):
            given = alone
    if isinstance(given, Node):
        value = walk.value(given)
        return [*value] if isinstance(value, list) else [None for _ in walk.number(given)]
    return [part if isinstance(part, int) else walk.value(part) for part in given]


def _lengths_of(walk: Walk, given: Given) -> list[Asked]:
    """Return the lengths of a tensor, to be asked for."""
    return [Length(layout, exact=True) for layout in walk.laid(given).axes]


def _must_fit(asked: list[Asked], made: tuple[int, ...]) -> None:
    """Do nothing, or raise where what is asked for is no shape, as in a view of another type."""
    if len(asked) != len(made):
        raise UnfitError(f"{len(made)} lengths were expected, got {asked}")


def _segments(before: tuple[int, ...], after: tuple[int, ...]) -> list[tuple[list[int], list[int]]]:
    """Return which axes become which: the shortest runs of axes with the same entries."""
    segments: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(before) and j < len(after):
        ins, outs = [i], [j]
        here, there = before[i], after[j]
        i, j = i + 1, j + 1
        while here != there:
            if here < there:
                ins.append(i)
                here, i = here * before[i], i + 1
            else:
                outs.append(j)
                there, j = there * after[j], j + 1
        segments.append((ins, outs))
    # What is left on either side has length 1.
    rest_in, rest_out = list(range(i, len(before))), list(range(j, len(after)))
    if segments:
        segments[-1][0].extend(rest_in)
        segments[-1][1].extend(rest_out)
    elif rest_in or rest_out:
        segments.append((rest_in, rest_out))
    return segments
