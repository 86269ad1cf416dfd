"""Rules for the layers of torch.nn: what each ties, and how its output is laid out."""

from typing import Any

from torch import nn
from torch.fx import Node
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from slbi.nets.counted import CountedLayerNorm
from slbi.nets.coupling import NEUTRAL, Role
from slbi.nets.graph.layout import Layout
from slbi.nets.graph.sheet import Passage
from slbi.nets.graph.value import Laid, Value, still
from slbi.nets.graph.walk import Walk, argument
from slbi.nets.shortcut import Shortcut

PRELU_SLOPE = 0.25
"""Slope that a new filter starts with. Source: torch.nn.PReLU."""

WITHIN_GROUPS = "what one group of channels reads"
"""Reason of the axis along which a grouped convolution reads: groups come and go whole."""

_COMPUTED = "its weight is computed from other tensors"


def convolution(walk: Walk, node: Node) -> Value:
    """Tie a convolution."""
    module, path, x = _called(walk, node)
    weight = walk.sheet.name(path, "weight")
    if weight is None:
        return walk.unknown(node, _COMPUTED)
    channel = len(x.axes) - 1 - len(module.kernel_size)
    made = tied(walk, node, x.axes[channel], weight, module.groups)
    return spatial(walk, node, x, channel).replaced(channel, made)


def transposed_convolution(walk: Walk, node: Node) -> Value:
    """Tie a transposed convolution, whose weight reads along axis 0 and makes along axis 1."""
    module, path, x = _called(walk, node)
    weight = walk.sheet.name(path, "weight")
    if weight is None or module.groups != 1:
        return walk.unknown(node, _COMPUTED if weight is None else "it is transposed and in groups")
    channel = len(x.axes) - 1 - len(module.kernel_size)
    made = tied(walk, node, x.axes[channel], weight, 1, reads=0)
    return spatial(walk, node, x, channel).replaced(channel, made)


def linear(walk: Walk, node: Node) -> Value:
    """Tie a linear layer, which acts along the last axis."""
    _, path, x = _called(walk, node)
    weight = walk.sheet.name(path, "weight")
    if weight is None:
        return walk.unknown(node, _COMPUTED)
    made = tied(walk, node, x.axes[-1], weight, 1)
    return x.replaced(len(x.axes) - 1, made)


def tied(
    walk: Walk, node: Node, read: Layout, weight: str, groups: int, *, reads: int = 1
) -> Layout:
    """Tie a weight and the bias beside it, and return the layout of what they make.

    Where channels are in groups, whole groups come and go, so the axis that reads within one has
    its length for good.

    Args:
        walk: the walk.
        node: the call.
        read: layout of the axis that the weight reads.
        weight: name of the parameter.
        groups: of channels, each of which is read by rows of its own.
        reads: axis of the weight that reads; the other of the first two makes.
    """
    sheet, owner = walk.sheet, weight.rpartition(".")[0]
    bias = sheet.name(owner, "bias")
    if groups == 1:
        absorber = bias or _norm_behind(walk, node, "running_mean")
        sheet.tie(weight, reads, read, "reader", absorber=absorber)
        made = sheet.axis(weight, 1 - reads, "producer").layout
    else:
        shape = sheet.shape(weight)
        walk.filters.coarsen(read, shape[1])
        made = walk.filters.scaled(read, shape[0] // groups, shape[1])
        sheet.count(owner, "groups", read, divisor=shape[1])
        if shape[1] > 1:
            sheet.tie(weight, 1, still(shape[1], WITHIN_GROUPS), "reader")
    sheet.tie(weight, 1 - reads, made, "producer")
    if bias is not None:
        sheet.tie(bias, 0, made, "producer")
    for unit in ("features", "channels"):
        sheet.count(owner, f"in_{unit}", read)
        sheet.count(owner, f"out_{unit}", made)
    return made


def channel_norm(walk: Walk, node: Node) -> Value:
    """Tie a norm that treats every filter alone."""
    module, path, x = _called(walk, node)
    batched = 1 if isinstance(module, _BatchNorm) else len(x.axes) - 1 - _dimensions(module)
    layout = x.axes[batched]
    for attribute, fill in NEUTRAL.items():
        tensor = walk.sheet.name(path, attribute)
        if tensor is not None:
            walk.sheet.tie(tensor, 0, layout, "norm", fill=fill)
    walk.sheet.count(path, "num_features", layout)
    return x


def layer_norm(walk: Walk, node: Node) -> Value:
    """Tie a norm that takes its statistics over the last axes."""
    module, path, x = _called(walk, node)
    first = len(x.axes) - len(module.normalized_shape)
    for index, layout in enumerate(x.axes[first:]):
        walk.filters.blend(layout, f"{type(module).__name__} {path} takes a mean over its filters")
        for attribute in ("weight", "bias"):
            tensor = walk.sheet.name(path, attribute)
            if tensor is not None:
                walk.sheet.tie(tensor, index, layout, "norm", fill=NEUTRAL[attribute])
        walk.sheet.count(path, "normalized_shape", layout, index=index)
    return x


def counted_layer_norm(walk: Walk, node: Node) -> Value:
    """Tie a norm over some of its filters: a new one does not count, and changes no other."""
    module, path, x = _called(walk, node)
    layout = x.axes[module.axis]
    roles: dict[str, Role] = {"weight": "norm", "bias": "norm", "counted": "counted"}
    for attribute, role in roles.items():
        tensor = walk.sheet.name(path, attribute)
        if tensor is not None:
            walk.sheet.tie(tensor, 0, layout, role, fill=NEUTRAL.get(attribute, 0.0))
    walk.sheet.count(path, "normalized_shape", layout, index=0)
    return x


def group_norm(walk: Walk, node: Node) -> Value:
    """Tie a norm over groups of filters: a whole group is one filter, unless there is but one."""
    module, path, x = _called(walk, node)
    layout = x.axes[1]
    of = module.num_channels // module.num_groups
    if module.num_groups == 1:
        walk.filters.blend(layout, f"GroupNorm {path} takes a mean over its filters")
    else:
        walk.filters.coarsen(layout, of)
        walk.sheet.count(path, "num_groups", layout, divisor=of)
    for attribute in ("weight", "bias"):
        tensor = walk.sheet.name(path, attribute)
        if tensor is not None:
            walk.sheet.tie(tensor, 0, layout, "norm", fill=NEUTRAL[attribute])
    walk.sheet.count(path, "num_channels", layout)
    return x


def prelu(walk: Walk, node: Node) -> Value:
    """Tie the slopes of a PReLU that has one for every filter."""
    module, path, x = _called(walk, node)
    weight = walk.sheet.name(path, "weight")
    if weight is None:
        return walk.unknown(node, _COMPUTED)
    if module.num_parameters == 1:
        walk.sheet.tie(weight, 0, still(1, "one slope serves all filters"), "norm")
    else:
        walk.sheet.tie(weight, 0, x.axes[1], "norm", fill=PRELU_SLOPE)
        walk.sheet.count(path, "num_parameters", x.axes[1])
    return x


def unary(walk: Walk, node: Node) -> Value:
    """Return the layout of an elementwise layer."""
    return walk.laid(argument(node, 0, "input"))


def pool(walk: Walk, node: Node) -> Value:
    """Return the layout of a layer that changes maps, each filter's alone."""
    module, _, x = _called(walk, node)
    return spatial(walk, node, x, len(x.axes) - 1 - _dimensions(module))


def resample(walk: Walk, node: Node) -> Value:
    """Return the layout of an upsampling, which changes all axes but batch and filters."""
    return spatial(walk, node, _called(walk, node)[2], 1)


def softmax(walk: Walk, node: Node) -> Value:
    """Return the layout of a softmax; it ties the filters along its axis to each other."""
    module, _, x = _called(walk, node)
    if module.dim is None:
        return walk.unknown(node)
    walk.filters.fix(x.axes[module.dim], "a softmax runs over its filters")
    return x


def shortcut(walk: Walk, node: Node) -> Value:
    """Note that a padding shortcut carries filters by a table; its output has filters of its own.

    What the table says is data, not structure: the route is renumbered and the two sides grow
    apart. See `Route`.
    """
    _, path, x = _called(walk, node)
    made = walk.filters.fresh(walk.shape(node)[1])
    known = walk.sheet.passages.get(f"{path}.source")
    if known is not None:
        walk.filters.unify(known.target, made)
        walk.filters.unify(known.source, x.axes[1])
    walk.sheet.passages[f"{path}.source"] = Passage(x.axes[1], made, _met_shift(walk, node))
    walk.sheet.count(path, "reads", x.axes[1])
    return spatial(walk, node, x, 1).replaced(1, made)


def spatial(walk: Walk, node: Node, x: Laid, channel: int) -> Laid:
    """Return the layout of a map of another size, no filter behind the channels."""
    for layout in x.axes[channel + 1 :]:
        walk.filters.fix(layout, "a map runs over its filters")
    behind = (still(length) for length in walk.shape(node)[channel + 1 :])
    return Laid((*x.axes[: channel + 1], *behind))


def _called(walk: Walk, node: Node) -> tuple[Any, str, Laid]:
    """Return the module that a node calls, its path and its input."""
    return walk.module(node), str(node.target), walk.laid(argument(node, 0, "input"))


def _norm_behind(walk: Walk, node: Node, attribute: str) -> str | None:
    users = list(node.users)
    if len(users) != 1 or users[0].op != "call_module":
        return None
    if not isinstance(walk.module(users[0]), _BatchNorm):
        return None
    return walk.sheet.name(str(users[0].target), attribute)


def _met_shift(walk: Walk, node: Node) -> str | None:
    """Return the shift of the norm that a shortcut is added to."""
    for user in node.users:
        for fed in user.all_input_nodes:
            if fed.op == "call_module" and isinstance(walk.module(fed), _BatchNorm):
                return walk.sheet.name(str(fed.target), "bias")
    return None


def _dimensions(module: nn.Module) -> int:
    """Return the spatial dimensions of a layer, which torch has in the name of its class."""
    return int(next(letter for letter in type(module).__name__ if letter.isdigit()))


LAYERS = {
    (nn.Conv1d, nn.Conv2d, nn.Conv3d): convolution,
    (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d): transposed_convolution,
    (nn.Linear,): linear,
    (_BatchNorm, _InstanceNorm): channel_norm,
    (nn.LayerNorm, nn.RMSNorm): layer_norm,
    (CountedLayerNorm,): counted_layer_norm,
    (nn.GroupNorm,): group_norm,
    (nn.PReLU,): prelu,
    (
        nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout,
        nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU,
        nn.Mish, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Sigmoid, nn.Tanh, nn.Softplus,
        nn.Softsign, nn.LogSigmoid, nn.Tanhshrink, nn.Softshrink, nn.Hardshrink, nn.Threshold,
    ): unary,
    (
        nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
        nn.LPPool1d, nn.LPPool2d, nn.FractionalMaxPool2d, nn.FractionalMaxPool3d,
        nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
        nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
        nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.ConstantPad1d, nn.ConstantPad2d,
        nn.ConstantPad3d, nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d,
        nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d,
    ): pool,
    (nn.Upsample,): resample,
    (nn.Softmax, nn.LogSoftmax, nn.Softmin): softmax,
    (Shortcut,): shortcut,
}  # fmt: skip
"""Classes of layers -> their rule. Those that only move entries are in `moves`."""
