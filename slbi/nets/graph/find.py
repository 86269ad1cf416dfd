"""Find the coupling of any network: trace it, follow its filters, write down who shares them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from torch import nn

from slbi.nets.coupling import Attribute, Coupling, FilterGroup, Fixed, Route, Tie
from slbi.nets.graph.layout import Layout, Run
from slbi.nets.graph.operations import rule_of
from slbi.nets.graph.sheet import Entry, Number, Sheet
from slbi.nets.graph.trace import traced, without_data
from slbi.nets.graph.walk import Walk
from slbi.nets.widths import Widths

_UNMADE = "no layer makes its filters"
_UNREAD = "nothing reads its filters"
_UNROUTED = "a table carries only some of its filters"


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What was found of a network: which tensors share filters, and how many there are."""

    coupling: Coupling
    widths: Widths

    def resized(self, widths: Widths) -> "Found":
        """Return what holds of the same network at other widths.

        Raises:
            ValueError: other groups.
        """
        if set(widths) != set(self.widths):
            raise ValueError(
                f"widths must name the groups {', '.join(self.widths)}, "
                f"got {', '.join(widths) or 'none'}"
            )
        return Found(
            coupling=self.coupling.at(self.widths, widths), widths=self.widths.replaced(widths)
        )

    def called(self, names: Mapping[str, str], order: Sequence[str]) -> "Found":
        """Return the same under other names of the groups, see `Coupling.called`."""
        widths = {names[group]: width for group, width in self.widths.items()}
        return Found(
            coupling=self.coupling.called(names, order),
            widths=Widths({name: widths[name] for name in order}),
        )


def find(net: nn.Module, shape: tuple[int, ...]) -> Found:
    """Return the coupling of a network.

    It is traced on the meta device, in training and in evaluation, so nothing is computed and heads
    that work in training only are seen. Axes without filters to grow are in `Coupling.fixed`.

    Args:
        net: any network that takes one tensor; left as it is.
        shape: of one input, without the batch, e.g. (3, 32, 32). Two or more filters a group are
            told apart best: an axis of one entry may be taken for one that is laid over others.

    Raises:
        ValueError: its forward pass cannot be traced.

    Source: docs/method.md, "Coupling".
    """
    hollow = without_data(net)
    sheet = Sheet(hollow)
    for training in (True, False):
        Walk(traced(hollow, shape, training=training), sheet).go(rule_of)
    _settle(sheet)
    return _written(sheet)


def _settle(sheet: Sheet) -> None:
    """Fix, in place, the filters of which no group can be made, until all others can."""
    while True:
        roles: dict[int, set[str]] = {}
        for entry in sheet.entries.values():
            for run in sheet.filters.runs(entry.layout):
                roles.setdefault(run.var, set()).add(entry.role)
        routed = _routed(sheet)
        faults = {
            var: _UNMADE if "producer" not in held else _UNREAD
            for var, held in roles.items()
            if "producer" not in held or not ("reader" in held or var in routed)
        }
        for passage in sheet.passages.values():
            if not (_is_whole(sheet, passage.source) and _is_whole(sheet, passage.target)):
                either = sheet.filters.runs((*passage.source, *passage.target))
                faults |= dict.fromkeys((run.var for run in either), _UNROUTED)
        if not faults:
            return
        for var, reason in faults.items():
            sheet.filters.fix((Run(var, 1),), reason)


def _routed(sheet: Sheet) -> set[int]:
    return {
        run.var for passage in sheet.passages.values() for run in sheet.filters.runs(passage.source)
    }


def _is_whole(sheet: Sheet, layout: Layout) -> bool:
    """Tell whether an axis is the filters of one variable, one entry each."""
    match sheet.filters.resolved(layout):
        case (Run(_, 1),):
            return True
        case _:
            return False


def _written(sheet: Sheet) -> Found:
    ties: dict[int, list[Tie]] = {}
    fixed: list[Fixed] = []
    for (tensor, axis), entry in sheet.entries.items():
        for var, tie in _ties(sheet, tensor, axis, entry, fixed):
            ties.setdefault(var, []).append(tie)
    known = {tensor for tensor, _ in sheet.entries}
    fixed += [
        Fixed(tensor=name, axis=None, offset=0, length=0, reason="no operation with a rule uses it")
        for name, _ in sheet.net.named_parameters()
        if name not in known
    ]
    names = _names(ties)
    shapes = {tie.tensor: len(sheet.shape(tie.tensor)) for held in ties.values() for tie in held}
    groups = tuple(
        FilterGroup(
            name=names[var],
            kind=_kind(held, shapes),
            ties=tuple(held),
            blended=sheet.filters.blended(var),
        )
        for var, held in ties.items()
    )
    coupling = Coupling(
        groups=groups,
        routes=tuple(_routes(sheet, names)),
        attributes=tuple(_attribute(sheet, number, names) for number in sheet.numbers.values()),
        fixed=tuple(fixed),
    )
    return Found(
        coupling=coupling,
        widths=Widths({names[var]: sheet.filters.width(var) for var in ties}),
    )


def _ties(
    sheet: Sheet, tensor: str, axis: int, entry: Entry, fixed: list[Fixed]
) -> Iterator[tuple[int, Tie]]:
    """Yield the ties of one axis with their variables; what stays is appended to `fixed`."""
    offset = 0
    for piece in sheet.filters.resolved(entry.layout):
        length = sheet.filters.length((piece,))
        if not isinstance(piece, Run):
            if fixed and (fixed[-1].tensor, fixed[-1].axis) == (tensor, axis):
                last = fixed[-1]
                if last.offset + last.length == offset and last.reason == piece.reason:
                    fixed[-1] = replace(last, length=last.length + length)
                    offset += length
                    continue
            fixed.append(
                Fixed(tensor=tensor, axis=axis, offset=offset, length=length, reason=piece.reason)
            )
        else:
            yield (
                piece.var,
                Tie(
                    tensor=tensor,
                    axis=axis,
                    role=entry.role,
                    block=piece.block,
                    absorber=entry.absorber,
                    offset=offset,
                    fill=entry.fill,
                ),
            )
        offset += length


def _names(ties: dict[int, list[Tie]]) -> dict[int, str]:
    """Return a name for every variable: the module of its first producer, numbered if needed."""
    firsts = {
        var: next(tie for tie in held if tie.role == "producer") for var, held in ties.items()
    }
    sharing: dict[str, list[int]] = {}
    for var, tie in firsts.items():
        sharing.setdefault(tie.tensor.rpartition(".")[0], []).append(var)
    return {
        var: module if len(held) == 1 else f"{module}[{index}]"
        for module, held in sharing.items()
        for index, var in enumerate(held)
    }


def _kind(ties: list[Tie], dimensions: dict[str, int]) -> Literal["conv", "linear"]:
    makers = [tie.tensor for tie in ties if tie.role == "producer"]
    return "linear" if max(dimensions[tensor] for tensor in makers) == 2 else "conv"


def _routes(sheet: Sheet, names: dict[int, str]) -> Iterator[Route]:
    for buffer, passage in sheet.passages.items():
        source, target = (
            next(sheet.filters.runs(layout), None) for layout in (passage.source, passage.target)
        )
        if source is not None and target is not None:
            yield Route(
                buffer=buffer,
                source=names[source.var],
                target=names[target.var],
                absorber=passage.absorber,
            )


def _attribute(sheet: Sheet, number: Number, names: dict[int, str]) -> Attribute:
    constant = 0
    terms: dict[str, int] = {}
    for piece in sheet.filters.resolved(number.layout):
        if isinstance(piece, Run):
            name = names[piece.var]
            terms[name] = terms.get(name, 0) + piece.block
        else:
            constant += piece.length
    return Attribute(
        module=number.module,
        name=number.name,
        index=number.index,
        constant=constant,
        terms=tuple(terms.items()),
        divisor=number.divisor,
    )
