"""The outline of a network of another library: what was found of it, and one pass for each size."""

from collections.abc import Mapping
from functools import lru_cache

from torch import nn

from slbi.nets.measure import Pass
from slbi.nets.published import (
    CHANNELS_PUBLISHED,
    CLASSES_PUBLISHED,
    Library,
    Shape,
    pass_of,
    usual_shape,
)
from slbi.nets.sketch import CHANNELS, CLASSES, Beside, Form, Layer, Outline

_INNER = "net."


@lru_cache(maxsize=256)
def outline_of(library: Library, name: str, sizes: tuple[int, ...]) -> Outline:
    """Return what the layers of a network cost, for images of these sides, px.

    Raises:
        ValueError: a size that does not suit, or a tensor that is no product of two widths.
    """
    shape = usual_shape(library, name)
    passes = {size: pass_of(library, name, size) for size in sizes}
    layers, rest = _layers(shape, {size: found for size, (found, _) in passes.items()})
    standard = {**shape.found.widths, CHANNELS: CHANNELS_PUBLISHED, CLASSES: CLASSES_PUBLISHED}
    outlined = rest.at(standard)
    outlined += sum(layer.makes.at(standard) * layer.reads.at(standard) for layer in layers)
    parameters = dict(shape.net.named_parameters())
    alone = parameters.keys() - {f"{layer.name.removeprefix(_INNER)}.weight" for layer in layers}
    beside = {}
    for size, (found, params) in passes.items():
        products = sum(found.positions.get(name, 0) * parameters[name].numel() for name in alone)
        beside[size] = Beside(
            params=params - outlined,
            macs=found.macs + products,
            activations=found.activations,
        )
    return Outline(layers=tuple(layers), rest=rest, beside=beside)


def _layers(shape: Shape, passes: Mapping[int, Pass]) -> tuple[list[Layer], Form]:
    """Return the layers of a network, and what other parameters follow from its widths."""
    forms = _forms(shape)
    first = next(iter(passes.values()))
    layers: list[Layer] = []
    terms: dict[str, int] = {}
    for tensor, parameter in shape.net.named_parameters():
        made, *read = (
            forms.get((tensor, axis), Form(constant=length))
            for axis, length in enumerate(parameter.shape)
        )
        name = tensor.rpartition(".")[0]
        module = shape.net.get_submodule(name)
        if isinstance(module, nn.Conv2d | nn.Linear) and tensor in first.positions:
            layers.append(
                Layer(
                    name=f"{_INNER}{name}",
                    kind="conv" if isinstance(module, nn.Conv2d) else "linear",
                    makes=made,
                    reads=_product(tensor, read),
                    positions={size: found.positions[tensor] for size, found in passes.items()},
                    called=name in first.called,
                )
            )
            continue
        for group, each in _product(tensor, [made, *read]).terms:
            terms[group] = terms.get(group, 0) + each
    return layers, Form(terms=tuple(terms.items()))


def _forms(shape: Shape) -> dict[tuple[str, int], Form]:
    """Return for every axis of a parameter that is of no fixed length what that follows from."""
    forms = {key: Form(terms=((what, 1),)) for key, what in shape.outside.items()}
    parameters = dict(shape.net.named_parameters())
    for (tensor, axis), ties in shape.found.coupling.by_axis().items():
        if tensor in parameters:
            blocks: dict[str, int] = {}
            for group, tie in ties:
                blocks[group] = blocks.get(group, 0) + tie.block
            owned = Form(terms=tuple(blocks.items())).at(shape.found.widths)
            forms[tensor, axis] = Form(
                constant=parameters[tensor].shape[axis] - owned, terms=tuple(blocks.items())
            )
    return forms


def _product(tensor: str, forms: list[Form]) -> Form:
    """Return the product of forms of which one at most is of no fixed length."""
    whole = Form(constant=1)
    for form in forms:
        if whole.terms and form.terms:
            raise ValueError(f"{tensor!r} must follow two widths in its first two axes alone")
        whole = form.times(whole.constant) if form.terms else whole.times(form.constant)
    return whole
