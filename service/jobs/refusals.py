"""Why a spec cannot be run here: each function yields what is wrong with one part of it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from service.catalogue import Backbone, Catalogue
from service.datasets import FoundDataset, absence, find_dataset, list_datasets
from service.errors import FieldError
from service.spec.jobs import (
    GrowSpec,
    JobSpec,
    PruneSpec,
    Still,
    TicketSpec,
    TrainSpec,
    WeightsSpec,
)

_Given = TypeVar("_Given")


def given(name: str, value: _Given | None) -> _Given:
    """Return a setting of a completed spec.

    Raises:
        LookupError: it is open, so the catalogue lacks its default.
    """
    if value is None:
        raise LookupError(f"the catalogue must hold a default of {name}, it has none")
    return value


def wrong_dataset(
    pointer: str,
    name: str,
    dataset: FoundDataset | None,
    catalogue: Catalogue,
    directories: Sequence[Path],
) -> Iterator[FieldError]:
    """Yield why the data set of `pointer` cannot be used."""
    if dataset is None:
        names = ", ".join(found.name for found in list_datasets(catalogue, directories))
        message = f"{absence(name, None, directories)}; known: {names}"
        yield FieldError(pointer=pointer, code="unknown_dataset", message=message)
    elif not dataset.present:
        message = absence(name, dataset.how_to_get, directories)
        yield FieldError(pointer=pointer, code="absent_dataset", message=message)


def wrong_transfer(
    spec: JobSpec, dataset: FoundDataset, catalogue: Catalogue, directories: Sequence[Path]
) -> Iterator[FieldError]:
    """Yield why a ticket cannot be transferred."""
    if not isinstance(spec, TicketSpec) or spec.transfer_to is None:
        return
    other = find_dataset(spec.transfer_to, catalogue, directories)
    yield from wrong_dataset("/transfer_to", spec.transfer_to, other, catalogue, directories)
    if other is None:
        return
    ours = (dataset.channels, spec.data.image_size or dataset.size)
    theirs = (other.channels, spec.data.image_size or other.size)
    if None not in ours + theirs and ours != theirs:
        message = (
            f"transfer_to must have images of {ours[0]} channels and {ours[1]} px like "
            f"{dataset.name}, {other.name} has {theirs[0]} and {theirs[1]}; data.image_size can "
            "make both one size"
        )
        yield FieldError(pointer="/transfer_to", code="other_shape", message=message)


def wrong_backbone(
    name: str, backbone: Backbone | None, catalogue: Catalogue
) -> Iterator[FieldError]:
    """Yield why there is no such network."""
    if backbone is None:
        names = ", ".join(catalogue.backbones)
        message = f"backbone must be one of {names}, got {name!r}"
        yield FieldError(pointer="/backbone", code="unknown_backbone", message=message)


def wrong_stem(spec: JobSpec, backbone: Backbone) -> Iterator[FieldError]:
    """Yield why the network cannot have such a stem."""
    if spec.stem is not None and spec.stem != "auto" and spec.stem not in backbone.stems:
        known = " or ".join(backbone.stems)
        message = f"stem of {backbone.name} must be auto or {known}, got {spec.stem!r}"
        yield FieldError(pointer="/stem", code="unknown_stem", message=message)


def wrong_classes(spec: JobSpec, dataset: FoundDataset) -> Iterator[FieldError]:
    """Yield why the data set has other classes than the spec says."""
    if spec.classes is not None and spec.classes != dataset.classes:
        message = (
            f"classes must be {dataset.classes}, as many as {dataset.name} has, got {spec.classes}"
        )
        yield FieldError(pointer="/classes", code="wrong_classes", message=message)


def wrong_groups(spec: JobSpec, backbone: Backbone) -> Iterator[FieldError]:
    """Yield which tables name groups that the network does not have, or miss some."""
    groups = backbone.standard_widths
    known = ", ".join(groups)
    for pointer, table, whole in _tables(spec):
        name = pointer.rpartition("/")[2]
        for group in table:
            if group not in groups:
                message = f"{name} must name groups of {backbone.name}, {known}; got {group!r}"
                place = f"{pointer}/{escaped(group)}"
                yield FieldError(pointer=place, code="unknown_group", message=message)
        missing = [group for group in groups if group not in table]
        if whole and missing:
            message = f"{name} must name every group or be one number, {', '.join(missing)} missing"
            yield FieldError(pointer=pointer, code="missing_group", message=message)


def _tables(spec: JobSpec) -> Iterator[tuple[str, Mapping[str, object], bool]]:
    """Yield every table of groups: where it stands, and whether it must name them all."""
    if isinstance(spec, GrowSpec):
        if isinstance(spec.growth.start, Mapping):
            yield "/growth/start", spec.growth.start, False  # a stage may have what is missing
        if isinstance(spec.growth.threshold, Mapping):
            yield "/growth/threshold", spec.growth.threshold, False
        if isinstance(spec.growth.min_width, Mapping):
            yield "/growth/min_width", spec.growth.min_width, False
    if isinstance(spec, PruneSpec) and isinstance(spec.pruning.min_width, Mapping):
        yield "/pruning/min_width", spec.pruning.min_width, False
    if isinstance(spec, TrainSpec | WeightsSpec | TicketSpec) and isinstance(spec.widths, Mapping):
        yield "/widths", spec.widths, True


def wrong_optimizer(spec: JobSpec) -> Iterator[FieldError]:
    """Yield what does not go together in the optimizer."""
    if isinstance(spec, Still):
        return
    if spec.optim.nesterov and spec.optim.momentum == 0:
        message = "nesterov needs a momentum above 0, got 0"
        yield FieldError(pointer="/optim/nesterov", code="needs_momentum", message=message)


def wrong_compute(spec: JobSpec) -> Iterator[FieldError]:
    """Yield what a run that trains nothing cannot have."""
    if isinstance(spec, Still) and spec.compute.processes != 1:
        message = (
            "compute.processes must be 1 for a job that trains nothing, "
            f"got {spec.compute.processes}"
        )
        yield FieldError(pointer="/compute/processes", code="trains_nothing", message=message)


def wrong_training(spec: JobSpec) -> Iterator[FieldError]:
    """Refuse what does not go together in a training of fixed widths."""
    if not isinstance(spec, TrainSpec | WeightsSpec | TicketSpec):
        return
    epochs = given("train.epochs", spec.train.epochs)
    if epochs < 1:
        message = f"train.epochs must be at least 1, got {epochs}"
        yield FieldError(pointer="/train/epochs", code="too_few", message=message)
    structure = given("twin.structure", spec.twin.structure)
    if spec.twin.normalised and structure != "element":
        message = f"twin.normalised needs structure 'element', got {structure!r}"
        yield FieldError(pointer="/twin/normalised", code="needs_element", message=message)
    if isinstance(spec, WeightsSpec) and structure != "element":
        message = f"twin.structure must be 'element' for weights, got {structure!r}"
        yield FieldError(pointer="/twin/structure", code="needs_element", message=message)
    if isinstance(spec, TicketSpec):
        yield from _wrong_mask(spec, epochs)


def _wrong_mask(spec: TicketSpec, epochs: int) -> Iterator[FieldError]:
    if given("retrain.epochs", spec.retrain.epochs) < 1:
        message = f"retrain.epochs must be at least 1, got {spec.retrain.epochs}"
        yield FieldError(pointer="/retrain/epochs", code="too_few", message=message)
    epoch, rewind = spec.mask.epoch, given("mask.rewind", spec.mask.rewind)
    last = epoch if isinstance(epoch, int) else epochs
    if last > epochs:
        message = f"mask.epoch must be at most the {epochs} epochs of train, got {last}"
        yield FieldError(pointer="/mask/epoch", code="too_late", message=message)
    elif rewind > last:
        message = f"mask.rewind must be at most {last}, when the mask is taken, got {rewind}"
        yield FieldError(pointer="/mask/rewind", code="too_late", message=message)


def escaped(part: str) -> str:
    """Return one reference token of a JSON pointer. Source: RFC 6901, 3."""
    return part.replace("~", "~0").replace("/", "~1")
