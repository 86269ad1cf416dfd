"""Make the streams of a network growable over which LayerNorms take their statistics."""

import copy
from collections.abc import Set as AbstractSet

from torch import nn

from slbi.nets.counted import CountedLayerNorm, counting
from slbi.nets.graph.find import Found, find


def counted(net: nn.Module, shape: tuple[int, ...]) -> tuple[nn.Module, Found]:
    """Return a copy of a network whose streams under LayerNorms grow, and what is found of it.

    It computes the same, to rounding. Its state has a buffer `counted` more for every LayerNorm
    that was replaced: those over filters that could grow but for the norm. Others are left, and a
    norm that is no LayerNorm over one axis keeps its group `blended`.

    Args:
        net: any network that takes one tensor, with or without data; left as it is.
        shape: of one input, without the batch.

    Raises:
        ValueError: its forward pass cannot be traced.

    Source: docs/method.md, "Norms that count".
    """
    found = find(net, shape)
    over_filters = {
        number.module
        for number in found.coupling.attributes
        if number.name == "normalized_shape" and number.terms
    }
    new = _replaced(net, over_filters)
    after = find(new, shape)
    # A norm whose weights another module uses is not called: its code stays, so it stays.
    called = {
        tensor.rpartition(".")[0]
        for group in after.coupling.groups
        for tensor in group.tensors("counted")
    }
    if called != {path for path, part in new.named_modules() if isinstance(part, CountedLayerNorm)}:
        new = _replaced(net, called)
        after = find(new, shape)
    return new, after


def _replaced(net: nn.Module, paths: AbstractSet[str]) -> nn.Module:
    """Return a copy of a network with norms that count at some paths, where it has norms."""
    new = copy.deepcopy(net)
    made = {}
    for path, norm in new.named_modules():
        if path in paths and isinstance(norm, nn.LayerNorm):
            known = isinstance(norm, CountedLayerNorm)
            made[norm] = norm if known else counting(norm) or norm
    for path, norm in list(new.named_modules(remove_duplicate=False)):
        if norm in made:
            owner, _, name = path.rpartition(".")
            setattr(new.get_submodule(owner), name, made[norm])
    return new
