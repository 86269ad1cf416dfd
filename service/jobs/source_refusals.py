"""Why a job cannot start from what it names: each function yields what is wrong with one part."""

from collections.abc import Iterator, Mapping

from service.catalogue import Backbone
from service.errors import FieldError
from service.jobs.refusals import escaped, given
from service.jobs.sources import FoundSource
from service.spec.jobs import JobSpec, PruneSpec, TicketSpec, VisualiseSpec

_OF_THE_PATH = ("kept", "support", "order")
"""Pictures that need the path of the run that made the network. Source: docs/pictures.md."""


def wrong_widths(found: FoundSource | None, backbone: Backbone) -> Iterator[FieldError]:
    """Yield why an uploaded network cannot be of the backbone that it names."""
    if found is None or found.widths is None:
        return
    if set(found.widths) != set(backbone.standard_widths):
        message = (
            f"source.upload must have the groups of {backbone.name}, "
            f"{', '.join(backbone.standard_widths)}; it has {', '.join(found.widths) or 'none'}"
        )
        yield FieldError(pointer="/source/upload", code="other_groups", message=message)


def wrong_pruning(
    spec: JobSpec, found: FoundSource | None, backbone: Backbone
) -> Iterator[FieldError]:
    """Yield why the network cannot be pruned so."""
    if not isinstance(spec, PruneSpec) or found is None:
        return
    order = given("pruning.order", spec.pruning.order)
    if order != "norm" and not found.ordered:
        message = (
            f"pruning.order must be 'norm' for an upload that holds no entry order, got {order!r}"
        )
        yield FieldError(pointer="/pruning/order", code="needs_order", message=message)
    if not isinstance(spec.pruning.percent, Mapping):
        return
    linear = [f"{layer.name}.weight" for layer in backbone.layers() if layer.kind == "linear"]
    known = [*(group for group in backbone.standard_widths if group not in backbone.fixed), *linear]
    for name in spec.pruning.percent:
        if name in backbone.fixed:
            message = f"{name!r} keeps its width: {backbone.fixed[name]}"
            place = f"/pruning/percent/{escaped(name)}"
            yield FieldError(pointer=place, code="fixed_group", message=message)
        elif name not in known:
            message = (
                f"percent must name groups or linear weights of {backbone.name}, "
                f"{', '.join(known)}; got {name!r}"
            )
            place = f"/pruning/percent/{escaped(name)}"
            yield FieldError(pointer=place, code="unknown_group", message=message)
        elif name in linear and order != "norm" and found.ordered and not found.ordered_singly:
            message = (
                f"pruning.order must be 'norm' for single weights of a source that never had them "
                f"enter singly, as {name!r} here, got {order!r}"
            )
            yield FieldError(pointer="/pruning/order", code="needs_order", message=message)


def wrong_ticket(spec: JobSpec, found: FoundSource | None) -> Iterator[FieldError]:
    """Yield why a ticket cannot be searched for in the network, or start as it is to."""
    if not isinstance(spec, TicketSpec):
        return
    if found is not None and spec.widths is not None:
        message = "widths must be left out: they are those of the source"
        yield FieldError(pointer="/widths", code="of_the_source", message=message)
    if found is None and spec.start is not None:
        message = f"start needs a source, got {spec.start!r} without one"
        yield FieldError(pointer="/start", code="needs_source", message=message)
    if spec.start == "initial" and spec.mask.rewind:
        message = (
            "mask.rewind must be 0 where the ticket starts from initial weights, "
            f"got {spec.mask.rewind}"
        )
        yield FieldError(pointer="/mask/rewind", code="no_such_epoch", message=message)


def wrong_pictures(
    spec: JobSpec, found: FoundSource | None, backbone: Backbone
) -> Iterator[FieldError]:
    """Yield which pictures of the network cannot be made."""
    if not isinstance(spec, VisualiseSpec) or found is None:
        return
    known = {layer.name: layer.called for layer in backbone.layers()}
    show = spec.pictures.show
    for position, name in enumerate(spec.pictures.layers or ()):
        if not known.get(name, True) and (show is None or "activation" in show):
            message = (
                f"{name!r} gives no output of its own, {backbone.name} takes its weights alone; "
                "pictures.show must leave activation out"
            )
            place = f"/pictures/layers/{position}"
            yield FieldError(pointer=place, code="gives_no_output", message=message)
        if name not in known:
            message = f"layers must be of {backbone.name}, {', '.join(known)}; got {name!r}"
            place = f"/pictures/layers/{position}"
            yield FieldError(pointer=place, code="unknown_layer", message=message)
    for position, picture in enumerate(spec.pictures.show or ()):
        if picture in _OF_THE_PATH and not found.followed:
            message = f"{picture} needs the path of a job, an upload has none"
            place = f"/pictures/show/{position}"
            yield FieldError(pointer=place, code="needs_path", message=message)
