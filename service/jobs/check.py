"""Whether a spec can be run here: against the catalogue and the data that is present."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from service.catalogue import Backbone, Catalogue
from service.contract import JobSpec
from service.datasets import FoundDataset, absence, find_dataset, list_datasets
from service.errors import FieldError, InvalidRequestError
from service.estimate import Cost, cost

_Given = TypeVar("_Given")


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedSpec:
    """A spec that can be run, with its defaults filled in."""

    spec: JobSpec
    backbone: Backbone
    dataset: FoundDataset
    size: int | None
    """Side of the images as the network sees them, px; None where only the images tell."""
    channels: int
    """Of the images; 3 where only the images tell."""

    @property
    def start(self) -> Mapping[str, int]:
        """Group -> filters it starts with."""
        start = self.spec.growth.start
        if isinstance(start, Mapping):
            return {group: start[group] for group in self.backbone.standard_widths}
        return dict.fromkeys(self.backbone.standard_widths, given("growth.start", start))

    @property
    def widest(self) -> Mapping[str, int]:
        """Group -> filters it may have at most, never fewer than it starts with."""
        cap = self.spec.growth.max_width
        return {
            group: max(self.start[group], standard if cap is None else cap)
            for group, standard in self.backbone.standard_widths.items()
        }

    def cost(self, widths: Mapping[str, int]) -> Cost | None:
        """Return what a network of these widths takes; None without a known image size."""
        if self.size is None:
            return None
        return cost(
            self.backbone.layers,
            widths,
            channels=self.channels,
            size=self.size,
            classes=self.dataset.classes,
        )


def given(name: str, value: _Given | None) -> _Given:
    """Return a setting of a completed spec.

    Raises:
        LookupError: it is open, so the catalogue lacks its default.
    """
    if value is None:
        raise LookupError(f"the catalogue must hold a default of {name}, it has none")
    return value


def check(spec: JobSpec, catalogue: Catalogue, directories: Sequence[Path]) -> CheckedSpec:
    """Return the spec completed with the defaults of its data set.

    Raises:
        InvalidRequestError: it cannot be run here; every reason is named.
    """
    dataset = find_dataset(spec.dataset, catalogue, directories)
    backbone = catalogue.backbones.get(spec.backbone)
    errors = [
        *_wrong_dataset(spec, dataset, catalogue, directories),
        *_wrong_backbone(spec, backbone, catalogue),
    ]
    if dataset is None or backbone is None:
        raise _refused(errors)
    completed = spec.completed(dataset.defaults)
    checked = CheckedSpec(
        spec=completed,
        backbone=backbone,
        dataset=dataset,
        size=completed.data.image_size or dataset.size,
        channels=dataset.channels or 3,
    )
    errors += _wrong_classes(spec, dataset)
    errors += _wrong_size(checked)
    group_errors = list(_wrong_groups(completed, backbone))
    errors += group_errors
    errors += _wrong_optimizer(completed)
    if not errors:
        errors += _wrong_caps(checked)
    if errors:
        raise _refused(errors)
    return checked


def _refused(errors: Sequence[FieldError]) -> InvalidRequestError:
    return InvalidRequestError(" ".join(f"{error.message}." for error in errors), errors)


def _wrong_dataset(
    spec: JobSpec,
    dataset: FoundDataset | None,
    catalogue: Catalogue,
    directories: Sequence[Path],
) -> Iterator[FieldError]:
    if dataset is None:
        names = ", ".join(found.name for found in list_datasets(catalogue, directories))
        message = f"{absence(spec.dataset, None, directories)}; known: {names}"
        yield FieldError(pointer="/dataset", code="unknown_dataset", message=message)
    elif not dataset.present:
        message = absence(spec.dataset, dataset.how_to_get, directories)
        yield FieldError(pointer="/dataset", code="absent_dataset", message=message)


def _wrong_backbone(
    spec: JobSpec, backbone: Backbone | None, catalogue: Catalogue
) -> Iterator[FieldError]:
    if backbone is None:
        names = ", ".join(catalogue.backbones)
        message = f"backbone must be one of {names}, got {spec.backbone!r}"
        yield FieldError(pointer="/backbone", code="unknown_backbone", message=message)


def _wrong_classes(spec: JobSpec, dataset: FoundDataset) -> Iterator[FieldError]:
    if spec.classes is not None and spec.classes != dataset.classes:
        message = (
            f"classes must be {dataset.classes}, as many as {dataset.name} has, got {spec.classes}"
        )
        yield FieldError(pointer="/classes", code="wrong_classes", message=message)


def _wrong_size(checked: CheckedSpec) -> Iterator[FieldError]:
    refusal = None if checked.size is None else checked.backbone.refusal(checked.size)
    if refusal is not None:
        yield FieldError(pointer="/data/image_size", code="unsuitable_size", message=refusal)


def _wrong_groups(spec: JobSpec, backbone: Backbone) -> Iterator[FieldError]:
    groups = backbone.standard_widths
    known = ", ".join(groups)
    for name, table in (("start", spec.growth.start), ("threshold", spec.growth.threshold)):
        if not isinstance(table, Mapping):
            continue
        for group in table:
            if group not in groups:
                message = f"{name} must name groups of {backbone.name}, {known}; got {group!r}"
                pointer = f"/growth/{name}/{escaped(group)}"
                yield FieldError(pointer=pointer, code="unknown_group", message=message)
    if isinstance(spec.growth.start, Mapping):
        missing = [group for group in groups if group not in spec.growth.start]
        if missing:
            message = f"start must name every group or be one number, {', '.join(missing)} missing"
            yield FieldError(pointer="/growth/start", code="missing_group", message=message)


def _wrong_optimizer(spec: JobSpec) -> Iterator[FieldError]:
    if spec.optim.nesterov and spec.optim.momentum == 0:
        message = "nesterov needs a momentum above 0, got 0"
        yield FieldError(pointer="/optim/nesterov", code="needs_momentum", message=message)


def _wrong_caps(checked: CheckedSpec) -> Iterator[FieldError]:
    """Refuse caps that the first network exceeds already."""
    growth, start = checked.spec.growth, checked.start
    if growth.max_width is not None:
        for group, width in start.items():
            if width > growth.max_width:
                message = (
                    f"start of {group} must be at most max_width {growth.max_width}, got {width}"
                )
                yield FieldError(pointer="/growth/start", code="start_over_cap", message=message)
    first = checked.cost(start)
    if first is None:
        return
    caps = (
        ("max_params", growth.max_params, first.params),
        ("max_macs", growth.max_macs, first.macs),
    )
    for name, cap, needed in caps:
        if cap is not None and needed > cap:
            message = f"{name} must be at least {needed}, as many as start asks for, got {cap}"
            yield FieldError(pointer=f"/growth/{name}", code="start_over_cap", message=message)


def escaped(part: str) -> str:
    """Return one reference token of a JSON pointer. Source: RFC 6901, 3."""
    return part.replace("~", "~0").replace("/", "~1")
