"""Rules for layers called as functions with the tensors of a module.

Networks that derive their layers from torch's are traced into, and end in these.
"""

from torch.fx import Node

from slbi.nets.coupling import NEUTRAL
from slbi.nets.graph import layers
from slbi.nets.graph.value import Value
from slbi.nets.graph.walk import Walk, argument


def layer_norm(walk: Walk, node: Node) -> Value:
    """Tie a norm called as a function with the weights of a module."""
    x = walk.laid(argument(node, 0, "input"))
    count = len(walk.number(argument(node, 1, "normalized_shape")))
    names = [
        None if given is None else walk.sheet.named(walk.number(given))
        for given in (argument(node, 2, "weight"), argument(node, 3, "bias"))
    ]
    owner = str(names[0]).rpartition(".")[0]
    if names[0] is None or not hasattr(walk.sheet.net.get_submodule(owner), "normalized_shape"):
        return walk.unknown(node)
    for index, layout in enumerate(x.axes[len(x.axes) - count :]):
        walk.filters.blend(layout, f"LayerNorm {owner} takes a mean over its filters")
        for tensor, fill in zip(names, (1.0, 0.0), strict=True):
            if tensor is not None:
                walk.sheet.tie(tensor, index, layout, "norm", fill=fill)
        walk.sheet.count(owner, "normalized_shape", layout, index=index)
    return x


def linear(walk: Walk, node: Node) -> Value:
    """Tie a linear layer or a convolution called as a function with the parameters of a module.

    So are those of classes derived from torch's, which are traced into.
    """
    x = walk.laid(argument(node, 0, "input"))
    weight, bias = argument(node, 1, "weight"), argument(node, 2, "bias")
    name = walk.sheet.named(walk.number(weight))
    groups = walk.number(argument(node, 6, "groups", 1))
    owner = str(name).rpartition(".")[0]
    if name is None or walk.sheet.name(owner, "bias") != walk.sheet.named(walk.number(bias)):
        return walk.unknown(node)
    if groups != 1 and not hasattr(walk.sheet.net.get_submodule(owner), "groups"):
        return walk.unknown(node)
    # A linear layer acts along the last axis, a convolution along the one before its map.
    axis = len(x.axes) + 1 - len(walk.shape(weight))
    made = layers.tied(walk, node, x.axes[axis], name, groups)
    return layers.spatial(walk, node, x, axis).replaced(axis, made)


def batch_norm(walk: Walk, node: Node) -> Value:
    """Tie a norm called as a function with the tensors of a module."""
    x = walk.laid(argument(node, 0, "input"))
    tensors = (
        walk.sheet.named(walk.number(argument(node, index, attribute)))
        for index, attribute in enumerate(("running_mean", "running_var", "weight", "bias"), 1)
    )
    for tensor in tensors:
        if tensor is not None:
            owner, _, attribute = tensor.rpartition(".")
            walk.sheet.tie(tensor, 0, x.axes[1], "norm", fill=NEUTRAL.get(attribute, 0.0))
            walk.sheet.count(owner, "num_features", x.axes[1])
    return x
