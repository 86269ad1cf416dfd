"""Rules for functions and methods, by their name: `relu` is one whether called or a method."""

from collections.abc import Callable

from torch import nn
from torch.fx import Node

from slbi.nets.graph import functional, layers, moves, views
from slbi.nets.graph.value import Laid, Length, Value, blank, still
from slbi.nets.graph.walk import Rule, Walk, argument, label

_ROOMS = ("torch", "_operator", "builtins", "math")
"""Packages whose functions are known by name."""

_DROPS = ("stochastic_depth", "drop_path", "drop_block2d", "drop_block3d")
"""Names under which networks call what drops whole samples or patches; elementwise in evaluation.
Source: torchvision.ops, timm."""


_LENGTHS = frozenset(
    "view reshape expand split getitem new_empty new_zeros new_ones".split()  # noqa: SIM905
)
"""Operations whose rule knows what to make of a width among its arguments."""


def rule_of(walk: Walk, node: Node) -> Rule | None:
    """Return the rule of a node, or None if there is none.

    A width that is an argument of an operation which cannot follow it is fixed, in place.
    """
    if node.op in _KINDS:
        return _KINDS[node.op]
    if node.op == "call_module":
        return _layer_rule(walk, node)
    if hasattr(node.target, "_fields"):
        return _tuple
    name = str(getattr(node.target, "__name__", node.target))
    room = getattr(node.target, "__module__", "") or "torch"
    if node.op == "call_function" and room.partition(".")[0] not in _ROOMS and name not in _DROPS:
        return None
    if name not in _LENGTHS:
        walk.fix_lengths(node)
    return OPERATIONS.get(name)


def _layer_rule(walk: Walk, node: Node) -> Rule | None:
    kind = type(walk.module(node))
    for classes, rule in LAYERS.items():
        if kind in classes or any(issubclass(kind, known) for known in classes if _abstract(known)):
            return rule
    return None


def _abstract(known: type) -> bool:
    """Tell whether a class stands for all those derived from it; others may compute otherwise."""
    return known.__name__.startswith("_")


def _input(_walk: Walk, node: Node) -> Value:
    return blank(node.meta["value"], "input")


def _output(walk: Walk, node: Node) -> Value:
    return walk.unknown(node, "output")


def _tuple(walk: Walk, node: Node) -> Value:
    """Return the values of a named tuple, in order."""
    return [walk.value(part) for part in (*node.args, *node.kwargs.values())]


def _parameter(walk: Walk, node: Node) -> Value:
    """Return the layout of a parameter that the code itself uses: filters of its own."""
    value = node.meta["value"]
    known = walk.sheet.named(value)
    if known is None or not value.is_floating_point():
        return blank(value, "a constant")
    return Laid(
        tuple(
            still(1) if length == 1 else walk.sheet.axis(known, axis, "parameter").layout
            for axis, length in enumerate(value.shape)
        )
    )


def _pointwise(walk: Walk, node: Node) -> Value:
    return walk.pointwise([*node.args, *node.kwargs.values()], node.meta["value"])


def _product(walk: Walk, node: Node) -> Value:
    """Return the layout of a product; a parameter in it scales filters, as a norm does."""
    for fed in node.all_input_nodes:
        known = walk.sheet.named(fed.meta["value"]) if fed.op == "get_attr" else None
        for axis in range(fed.meta["value"].ndim if known else 0):
            if (known, axis) in walk.sheet.entries:
                entry = walk.sheet.entries[str(known), axis]
                entry.role, entry.fill = "norm", 1.0
    return _number_or(_pointwise)(walk, node)


def _number_or(rule: Rule) -> Rule:
    """Return a rule that leaves plain numbers to `Walk.unknown`."""

    def either(walk: Walk, node: Node) -> Value:
        return rule(walk, node) if hasattr(node.meta["value"], "shape") else walk.unknown(node)

    return either


def _same(walk: Walk, node: Node) -> Value:
    """Return the layout of the input of what changes no axis."""
    x = walk.laid(argument(node, 0, "input"))
    return Laid(x.axes)


def _spatial(dimensions: int) -> Rule:
    def rule(walk: Walk, node: Node) -> Value:
        x = walk.laid(argument(node, 0, "input"))
        return layers.spatial(walk, node, x, len(x.axes) - 1 - dimensions)

    return rule


def _interpolate(walk: Walk, node: Node) -> Value:
    return layers.spatial(walk, node, walk.laid(argument(node, 0, "input")), 1)


def _pad(walk: Walk, node: Node) -> Value:
    """Return the layout of a padded tensor: its filters, and entries that stay on either side."""
    x = walk.laid(argument(node, 0, "input"))
    pads = walk.number(argument(node, 1, "pad"))
    mode = walk.number(argument(node, 2, "mode", "constant"))
    axes = list(x.axes)
    for index in range(len(pads) // 2):
        before, after = pads[2 * index : 2 * index + 2]
        axis = len(axes) - 1 - index
        if before == after == 0:
            continue
        if mode != "constant" or min(before, after) < 0:
            walk.filters.fix(axes[axis], "its filters are padded")
            axes[axis] = still(node.meta["value"].shape[axis])
        else:
            ends = [still(length, "padding") if length else () for length in (before, after)]
            axes[axis] = (*ends[0], *axes[axis], *ends[1])
    return Laid(tuple(axes))


def _reduce(walk: Walk, node: Node) -> Value:
    """Return the layout when some axes are reduced to one number; their filters are fixed."""
    x = walk.laid(argument(node, 0, "input"))
    dims = walk.number(argument(node, 1, "dim"))
    computed = node.meta["value"]
    if dims is None:
        gone = set(range(len(x.axes)))
    else:
        gone = {dim % len(x.axes) for dim in (dims if isinstance(dims, tuple | list) else (dims,))}
    for axis in gone:
        walk.filters.fix(x.axes[axis], f"{label(walk, node)} runs over its filters")
    kept = tuple(
        still(1) if axis in gone else layout
        for axis, layout in enumerate(x.axes)
        if axis not in gone or computed.ndim == len(x.axes)
    )
    return Laid(kept)


def _softmax(walk: Walk, node: Node) -> Value:
    x = walk.laid(argument(node, 0, "input"))
    dim = walk.number(argument(node, 1, "dim"))
    if dim is None:
        return walk.unknown(node)
    walk.filters.fix(x.axes[dim], "a softmax runs over its filters")
    return x


def _shape(walk: Walk, node: Node) -> Value:
    """Return the lengths of a tensor's axes, or one of them."""
    x = walk.value(node.args[0])
    if not isinstance(x, Laid):
        return walk.unknown(node)
    lengths: list[Value] = [Length(layout, exact=True) for layout in x.axes]
    dim = walk.number(argument(node, 1, "dim")) if node.target != getattr else None
    return lengths if dim is None else lengths[dim]


def _attribute(walk: Walk, node: Node) -> Value:
    """Return the shape where that is asked; of other attributes nothing is known."""
    return _shape(walk, node) if node.args[1] == "shape" else walk.unknown(node)


def _pixel_shuffle(walk: Walk, node: Node) -> Value:
    factor = walk.number(argument(node, 1, "upscale_factor"))
    return moves.pixel_shuffle(walk, node, factor)


def _pixel_unshuffle(walk: Walk, node: Node) -> Value:
    factor = walk.number(argument(node, 1, "downscale_factor"))
    return moves.pixel_unshuffle(walk, node, factor)


def _channel_shuffle(walk: Walk, node: Node) -> Value:
    return moves.channel_shuffle(walk, node, walk.number(argument(node, 1, "groups")))


def _layer(rule: Callable[[Walk, Node, int], Value], attribute: str) -> Rule:
    """Return the rule of a layer that holds the number which a rule wants."""

    def of_layer(walk: Walk, node: Node) -> Value:
        return rule(walk, node, getattr(walk.module(node), attribute))

    return of_layer


def _named(names: str, rule: Rule) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


_UNARY = """
    relu relu_ relu6 leaky_relu leaky_relu_ elu elu_ selu selu_ celu celu_ gelu silu mish hardswish
    hardsigmoid hardtanh hardtanh_ sigmoid sigmoid_ tanh tanh_ softplus softsign logsigmoid
    tanhshrink hardshrink softshrink exp sqrt rsqrt abs neg square log log1p erf sin cos reciprocal
    round floor ceil sign dropout dropout_ dropout1d dropout2d dropout3d alpha_dropout
    feature_dropout feature_alpha_dropout contiguous clone detach float double half bfloat16 cpu
    cuda to type type_as clamp clamp_ clip clamp_min clamp_max nan_to_num requires_grad_ bernoulli
    bernoulli_ normal_ uniform_ zero_ fill_ zeros_like ones_like full_like empty_like rand_like
    randn_like
"""

_KINDS: dict[str, Rule] = {"placeholder": _input, "get_attr": _parameter, "output": _output}
"""Kind of a node that is no call -> its rule."""

OPERATIONS: dict[str, Rule] = {
    **_named(f"{_UNARY} {' '.join(_DROPS)}", _number_or(_same)),
    **_named("add iadd add_ sub isub sub_ rsub pow ipow pow_", _number_or(_pointwise)),
    **_named("truediv itruediv div div_ fmod remainder", _number_or(_pointwise)),
    **_named("maximum minimum where lerp addcmul", _number_or(_pointwise)),
    **_named("mul imul mul_ multiply", _product),
    **_named("cat concat concatenate", moves.concatenate),
    **_named("stack", moves.stack),
    **_named("chunk", moves.chunk),
    **_named("split", moves.split),
    **_named("flatten", views.flatten),
    **_named("view reshape", views.reshape),
    **_named("view_as reshape_as", views.reshape_as),
    **_named("expand_as", views.expand_as),
    **_named("new_empty new_zeros new_ones", views.create),
    **_named("permute", moves.permute),
    **_named("transpose swapaxes swapdims", moves.transpose),
    **_named("squeeze", moves.squeeze),
    **_named("unsqueeze", moves.unsqueeze),
    **_named("expand", views.expand),
    **_named("getitem", moves.pick),
    **_named("getattr", _attribute),
    **_named("size", _shape),
    **_named("mean sum amax amin std var prod", _reduce),
    **_named("softmax log_softmax softmin", _softmax),
    **_named("adaptive_avg_pool1d adaptive_max_pool1d avg_pool1d max_pool1d", _spatial(1)),
    **_named("adaptive_avg_pool2d adaptive_max_pool2d avg_pool2d max_pool2d", _spatial(2)),
    **_named("adaptive_avg_pool3d adaptive_max_pool3d avg_pool3d max_pool3d", _spatial(3)),
    **_named("interpolate upsample", _interpolate),
    **_named("pad", _pad),
    **_named("layer_norm", functional.layer_norm),
    **_named("batch_norm", functional.batch_norm),
    **_named("linear conv1d conv2d conv3d", functional.linear),
    **_named("pixel_shuffle", _pixel_shuffle),
    **_named("pixel_unshuffle", _pixel_unshuffle),
    **_named("channel_shuffle", _channel_shuffle),
}  # fmt: skip
"""Name of a function or method -> its rule."""

LAYERS: dict[tuple[type, ...], Rule] = {
    **layers.LAYERS,
    (nn.Flatten,): views.flatten_layer,
    (nn.PixelShuffle,): _layer(moves.pixel_shuffle, "upscale_factor"),
    (nn.PixelUnshuffle,): _layer(moves.pixel_unshuffle, "downscale_factor"),
    (nn.ChannelShuffle,): _layer(moves.channel_shuffle, "groups"),
}
"""Classes of layers -> their rule."""
