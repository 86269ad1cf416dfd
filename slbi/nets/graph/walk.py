"""Follow the filters through the graph of a network, one node after the other."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.fx import Graph, Node

from slbi.nets.graph.layout import Filters, Layout
from slbi.nets.graph.sheet import Sheet
from slbi.nets.graph.value import Computed, Given, Laid, Length, Value, blank, still

_PLAIN = (bool, int, float, str, type(None), torch.dtype, torch.device, torch.memory_format)
"""Types of values in which no filter can be."""

_OTHER_NAMES = {"dim": "axis", "input": "x", "other": "x2"}
"""Names that torch takes for numpy's sake. Source: torch/csrc/utils/python_arg_parser.cpp."""

Rule = Callable[["Walk", Node], Value]
"""Returns what is known of the value of a node, and writes down what its operation ties."""


class UnfitError(Exception):
    """An operation is used in a way that its rule does not know. Its inputs are then fixed."""


class Walk:
    """The walk through one graph: the values so far, and the sheet that it fills.

    Args:
        graph: as `trace.traced` gives it.
        sheet: of the same copy of the network; filled in place.
    """

    def __init__(self, graph: Graph, sheet: Sheet) -> None:
        self.graph = graph
        self.sheet = sheet
        self._values: dict[Node, Value] = {}

    @property
    def filters(self) -> Filters:
        """The variables of the network."""
        return self.sheet.filters

    def go(self, rule_of: Callable[["Walk", Node], Rule | None]) -> None:
        """Visit every node, in place.

        Args:
            rule_of: gives the rule of a node; without one every filter that it is fed is fixed.
        """
        for node in self.graph.nodes:
            if node.meta.get("abandoned", False):
                continue
            rule = rule_of(self, node)
            self._values[node] = self.unknown(node) if rule is None else self._ruled(rule, node)

    def _ruled(self, rule: Rule, node: Node) -> Value:
        """Return what a rule says, if it can; what it has tied by then only binds more."""
        try:
            value = rule(self, node)
        except (UnfitError, LookupError, TypeError):
            fits, value = False, None
        else:
            fits = self._fits(value, node.meta["value"])
        if fits:
            return value
        return self.unknown(node, f"{label(self, node)} is used in a way without a rule")

    def _fits(self, value: Value, computed: Computed) -> bool:
        """Tell whether a layout has the shape of what was computed."""
        if isinstance(value, list) and isinstance(computed, tuple | list):
            return all(map(self._fits, value, computed))
        if not isinstance(value, Laid):
            return True
        lengths = tuple(self.filters.length(layout) for layout in value.axes)
        return isinstance(computed, Tensor) and lengths == tuple(computed.shape)

    def value(self, given: Given) -> Value:
        """Return what is known of an argument; None for a constant."""
        if isinstance(given, Node):
            return self._values[given]
        if isinstance(given, tuple | list):
            return [self.value(part) for part in given]
        if isinstance(given, dict):
            return [self.value(part) for part in given.values()]
        return None

    def laid(self, given: Given) -> Laid:
        """Return what is known of an argument that must be a tensor.

        Raises:
            UnfitError: it is none.
        """
        value = self.value(given)
        if not isinstance(value, Laid):
            raise UnfitError(f"a tensor was expected, got {given!r}")
        return value

    def shape(self, given: Node) -> tuple[int, ...]:
        """Return the shape of what a node computes.

        Raises:
            UnfitError: it is no tensor.
        """
        computed = given.meta["value"]
        if not isinstance(computed, Tensor):
            raise UnfitError(f"a tensor was expected, got {computed!r}")
        return tuple(computed.shape)

    def module(self, node: Node) -> nn.Module:
        """Return the module that a node calls."""
        return self.sheet.net.get_submodule(str(node.target))

    def unknown(self, node: Node, reason: str | None = None) -> Value:
        """Fix every filter that a node is fed, and return a value without any."""
        computed = node.meta["value"]
        if _harmless(computed):
            return self._derived(node)
        why = reason or f"{label(self, node)} is not among the operations with a rule"
        for fed in [*node.args, *node.kwargs.values()]:
            for layout in _layouts(self.value(fed)):
                self.filters.fix(layout, why)
        return blank(computed, why)

    def fix_lengths(self, node: Node) -> None:
        """Fix, in place, the filters whose number is an argument of what computes tensors."""
        if not _harmless(node.meta["value"]):
            for fed in [*node.args, *node.kwargs.values()]:
                for length in _lengths(self.value(fed)):
                    self.fix_length(length)

    def fix_length(self, length: Length) -> None:
        """Fix, in place, the filters of an axis whose length enters values."""
        self.filters.fix(length.layout, "its width enters the values")

    def _derived(self, node: Node) -> Value:
        """Return a number that follows from the lengths that a node is fed."""
        lengths = [
            part
            for fed in [*node.args, *node.kwargs.values()]
            for part in _lengths(self.value(fed))
        ]
        if not lengths or isinstance(node.meta["value"], bool):
            return None
        layout = tuple(piece for length in lengths for piece in length.layout)
        if isinstance(node.meta["value"], tuple | list):
            return [Length(layout, exact=False) for _ in node.meta["value"]]
        return Length(layout, exact=False)

    def number(self, given: Given) -> Computed:
        """Return the computed value of an argument, tensors on the meta device."""
        if isinstance(given, Node):
            return given.meta["value"]
        if isinstance(given, tuple | list):
            return type(given)(self.number(part) for part in given)
        return given

    def pointwise(self, operands: list[Given], computed: Tensor) -> Laid:
        """Return the layouts of an elementwise operation, whose operands must be laid out alike."""
        axes: list[Layout] = [still(length) for length in computed.shape]
        found = [False] * len(axes)
        for given in operands:
            value = self.value(given)
            for length in _lengths(value):
                self.fix_length(length)
            if not isinstance(value, Laid):
                continue
            for axis, layout in enumerate(value.axes, start=len(axes) - len(value.axes)):
                if self.filters.length(layout) != computed.shape[axis]:
                    self.filters.fix(layout, "one filter is laid over many")
                elif found[axis]:
                    self.filters.unify(axes[axis], layout)
                else:
                    axes[axis], found[axis] = layout, True
        return Laid(tuple(axes))


def label(walk: Walk, node: Node) -> str:
    """Return a name of an operation that a reader of the network knows."""
    if node.op == "call_module":
        return f"{type(walk.module(node)).__name__} {node.target}"
    return str(getattr(node.target, "__name__", node.target))


def argument(node: Node, index: int, name: str, default: Given = None) -> Given:
    """Return an argument of a call, by position or by name."""
    if len(node.args) > index:
        return node.args[index]
    return node.kwargs.get(name, node.kwargs.get(_OTHER_NAMES.get(name, name), default))


def _harmless(value: Computed) -> bool:
    """Tell whether a value can hold no filter: a number, a size, nothing."""
    if isinstance(value, tuple | list):
        return all(_harmless(part) for part in value)
    return isinstance(value, _PLAIN)


def _layouts(value: Value) -> Iterator[Layout]:
    match value:
        case Laid(axes):
            yield from axes
        case Length(layout):
            yield layout
        case list():
            for part in value:
                yield from _layouts(part)


def _lengths(value: Value) -> Iterator[Length]:
    if isinstance(value, Length):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _lengths(part)
