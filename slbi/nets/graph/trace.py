"""The graph of a network with the shape of everything in it, and nothing computed."""

import copy
from collections.abc import Callable, Iterator
from itertools import islice
from operator import getitem
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, Node, Proxy, Tracer
from torch.fx.node import Target, map_arg
from torch.nn.modules.batchnorm import _BatchNorm

from slbi.nets.counted import CountedLayerNorm
from slbi.nets.graph.value import Computed, Given
from slbi.nets.shortcut import Shortcut

BATCH = 2
"""Images of the traced pass: one alone would let a BatchNorm of one pixel refuse to train."""


def traced(hollow: nn.Module, shape: tuple[int, ...], *, training: bool) -> Graph:
    """Return the graph of a forward pass.

    Every node carries what it computes as `node.meta["value"]`, tensors on the meta device. Control
    flow that depends on shapes goes the way of this shape. A submodule that cannot be traced is
    one node; those that the attempt left behind carry `node.meta["abandoned"]`.

    Args:
        hollow: any network that takes one tensor, as `without_data` gives it.
        shape: of one input, without the batch, e.g. (3, 32, 32).
        training: whether it is traced as in training.

    Raises:
        ValueError: the forward pass of the network itself cannot be traced.
    """
    hollow.train(training)
    tracer = _ShapeTracer((BATCH, *shape))
    try:
        with torch.device("meta"), torch.no_grad():
            graph = tracer.trace(hollow)
    except Exception as error:
        raise ValueError(
            f"the forward pass of a network must be traceable by torch.fx on inputs of shape "
            f"{shape}, got {type(error).__name__}: {error}"
        ) from error
    return graph


def without_data(net: nn.Module) -> nn.Module:
    """Return a copy of a network whose parameters and buffers have shapes only."""
    memo: dict[int, Any] = {}
    for parameter in net.parameters():
        memo[id(parameter)] = nn.Parameter(
            torch.empty_like(parameter, device="meta"), requires_grad=parameter.requires_grad
        )
    for buffer in net.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device="meta")
    return copy.deepcopy(net, memo)


class _ShapeTracer(Tracer):
    """Traces with torch's own layers as leaves, and runs every node on the meta device."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self._shape = shape
        self._running = False
        self._fed = False

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        own = isinstance(m, Shortcut | CountedLayerNorm)
        return own or super().is_leaf_module(m, module_qualified_name)

    def create_node(self, kind: str, target: Target, *args: Given, **kwargs: Given) -> Node:
        node = super().create_node(kind, target, *args, **kwargs)
        node.meta["value"] = self._value(node)
        return node

    def call_module(
        self,
        m: nn.Module,
        forward: Callable[..., Any],
        args: tuple[Given, ...],
        kwargs: dict[str, Given],
    ) -> Computed:
        if self._running:
            return forward(*args, **kwargs)
        path = self.path_of_module(m)
        if self.is_leaf_module(m, path):
            return super().call_module(m, forward, args, kwargs)
        depth, before = len(self.module_stack), len(self.graph.nodes)
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:  # noqa: BLE001 -- whatever its code does; it then is run as it stands
            while len(self.module_stack) > depth:
                self.module_stack.popitem(last=True)
            for node in islice(self.graph.nodes, before, None):
                node.meta["abandoned"] = node.op != "get_attr"
            return self.create_proxy("call_module", path, args, kwargs)

    def getattr(self, attr: str, attr_val: Given, parameter_proxy_cache: dict[str, Given]) -> Given:
        if self._running:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def to_bool(self, obj: Proxy) -> bool:
        value = obj.node.meta["value"]
        if isinstance(value, Tensor):
            return super().to_bool(obj)
        return bool(value)

    def iter(self, obj: Proxy) -> Iterator[Given]:
        value = obj.node.meta["value"]
        if not isinstance(value, tuple | list):
            return super().iter(obj)
        return (
            self.create_proxy("call_function", getitem, (obj, index), {})
            for index in range(len(value))
        )

    def _value(self, node: Node) -> Computed:
        args: Computed = map_arg(node.args, _value_of)
        kwargs: Computed = map_arg(node.kwargs, _value_of)
        before, self._running = self._running, True
        try:
            match node.op:
                case "placeholder":
                    return self._input(args)
                case "get_attr":
                    return _attribute(self.root, str(node.target))
                case "call_module":
                    return _called(self.root.get_submodule(str(node.target)), args, kwargs)
                case "call_method":
                    return getattr(args[0], str(node.target))(*args[1:], **kwargs)
                case "call_function" if callable(node.target):
                    return node.target(*args, **kwargs)
                case _:
                    return args
        finally:
            self._running = before

    def _input(self, default: tuple[Computed, ...]) -> Computed:
        """Return the image for the first argument, and the default of every other one."""
        if self._fed:
            return default[0] if default else None
        self._fed = True
        return torch.empty(self._shape, device="meta", dtype=_dtype(self.root))


def _called(module: nn.Module, args: tuple[Computed, ...], kwargs: dict[str, Computed]) -> Computed:
    """Return what a module computes on the meta device."""
    # On it torch computes a BatchNorm from its parts, and that was half the time of a search.
    if isinstance(module, _BatchNorm) and args:
        return torch.empty_like(args[0])
    return module(*args, **kwargs)


def _value_of(node: Node) -> Computed:
    return node.meta["value"]


def _attribute(root: nn.Module, path: str) -> Computed:
    """Return what a path such as "layer1.0.scale" names."""
    found: Computed = root
    for atom in path.split("."):
        found = getattr(found, atom)
    return found


def _dtype(net: nn.Module) -> torch.dtype:
    for parameter in net.parameters():
        if parameter.is_floating_point():
            return parameter.dtype
    return torch.get_default_dtype()
