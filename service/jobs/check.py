"""Whether a spec can be run here: against the catalogue and the data that is present."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from service.catalogue import Backbone, Catalogue, Stem
from service.datasets import FoundDataset, find_dataset
from service.errors import FieldError, InvalidRequestError
from service.estimate import Cost, cost
from service.jobs.groups import widths_of_growth, wrong_policies
from service.jobs.refusals import (
    given,
    wrong_backbone,
    wrong_classes,
    wrong_compute,
    wrong_dataset,
    wrong_groups,
    wrong_optimizer,
    wrong_stem,
    wrong_training,
    wrong_transfer,
)
from service.jobs.source_refusals import (
    wrong_pictures,
    wrong_pruning,
    wrong_ticket,
    wrong_widths,
)
from service.jobs.sources import FoundSource
from service.jobs.targets import (
    at_first,
    filled,
    limits_of,
    too_little,
    wrong_settings,
    wrong_targets,
)
from service.spec.jobs import (
    FromSource,
    GrowSpec,
    JobSpec,
    TicketSpec,
    TrainSpec,
    WeightsSpec,
    source_asked,
)
from service.spec.sections import SourceSpec
from service.spec.strict import Strict

Section = TypeVar("Section", bound=Strict)


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedSpec:
    """A spec that can be run, with its defaults filled in."""

    spec: JobSpec
    backbone: Backbone
    stem: Stem | None
    """Of the backbone; None where only the images tell."""
    dataset: FoundDataset
    size: int | None
    """Side of the images as the network sees them, px; None where only the images tell."""
    channels: int
    """Of the images; 3 where only the images tell."""
    first: Mapping[str, int] | None
    """Group -> filters of the first network; None where only a file tells."""
    largest: Mapping[str, int] | None
    """Group -> filters it may have at most, never fewer than at first."""

    @property
    def images(self) -> int:
        """Return the images that an epoch trains on."""
        return round(self.dataset.train * (1 - self.spec.data.validation))

    def cost(self, widths: Mapping[str, int] | None) -> Cost | None:
        """Return what a network of these widths takes; None if those or its images are unknown."""
        return None if self.size is None or widths is None else self.costs(widths)

    def costs(self, widths: Mapping[str, int]) -> Cost:
        """Return what a network of these widths takes.

        Raises:
            LookupError: only the images tell their size.
        """
        if self.size is None or self.stem is None:
            raise LookupError("the size of the images must be known, only they tell it")
        return cost(
            self.stem.outline,
            widths,
            channels=self.channels,
            size=self.size,
            classes=self.dataset.classes,
        )


def check(
    spec: JobSpec,
    catalogue: Catalogue,
    directories: Sequence[Path],
    find: Callable[[SourceSpec], FoundSource],
) -> CheckedSpec:
    """Return the spec completed: by what it starts from, by the defaults of kind and data set.

    Args:
        spec: as asked.
        catalogue: what can be asked for.
        directories: where data sets lie.
        find: looks up what a job starts from.

    Raises:
        InvalidRequestError: it cannot be run here; every reason is named.
    """
    found = None
    source = source_asked(spec)
    if source is not None and isinstance(spec, FromSource | TicketSpec):
        found = find(source)
        spec = spec.model_copy(update=_told(spec, found))
    name, network = named(spec)
    dataset = find_dataset(name, catalogue, directories)
    backbone = catalogue.backbones.get(network)
    errors = [
        *wrong_dataset("/dataset", name, dataset, catalogue, directories),
        *wrong_backbone(network, backbone, catalogue),
    ]
    if dataset is None or backbone is None:
        raise _refused(errors)
    completed = spec.completed(dataset.defaults[spec.kind])
    errors += [
        *wrong_classes(spec, dataset),
        *wrong_optimizer(completed),
        *wrong_compute(completed),
        *wrong_transfer(completed, dataset, catalogue, directories),
        *wrong_stem(completed, backbone),
        *wrong_groups(completed, backbone),
        *wrong_policies(completed, backbone),
        *wrong_training(completed),
        *wrong_widths(found, backbone),
        *wrong_pruning(completed, found, backbone),
        *wrong_pictures(completed, found, backbone),
        *wrong_ticket(completed, found),
    ]
    if errors:
        raise _refused(errors)
    first, largest = _widths(completed, backbone, found)
    size = completed.data.image_size or dataset.size
    checked = CheckedSpec(
        spec=completed,
        backbone=backbone,
        stem=None
        if size is None
        else backbone.stems[backbone.stem(completed.stem or "auto", size)],
        dataset=dataset,
        size=size,
        channels=dataset.channels or 3,
        first=first,
        largest=largest,
    )
    errors += _wrong_size(checked)
    if not errors:
        errors += _wrong_caps(checked)
        errors += _wrong_targets(checked)
    if errors:
        raise _refused(errors)
    checked = _toward(checked)
    errors += _too_little(checked)
    if errors:
        raise _refused(errors)
    return checked


def named(spec: JobSpec) -> tuple[str, str]:
    """Return the data set and the backbone of a spec that names both."""
    return given("dataset", spec.dataset), given("backbone", spec.backbone)


def _told(spec: FromSource | TicketSpec, found: FoundSource) -> dict[str, object]:
    """Return what a source tells of what was left open: model, data, network, images held out.

    Images of another size the network does not take; and a network must not be judged, nor a model
    be chosen, by images that it has learnt from.

    Raises:
        InvalidRequestError: it names another backbone, or none tells.
    """
    errors = []
    if found.backbone is not None and spec.backbone not in {None, found.backbone}:
        message = f"backbone must be that of the source, {found.backbone}, got {spec.backbone!r}"
        errors.append(FieldError(pointer="/backbone", code="other_backbone", message=message))
    stem = found.stem or spec.stem or "auto"
    if stem != "auto" and spec.stem not in {None, "auto", stem}:
        message = f"stem must be that of the source, {found.stem}, got {spec.stem!r}"
        errors.append(FieldError(pointer="/stem", code="other_stem", message=message))
    told = {"dataset": spec.dataset or found.dataset, "backbone": spec.backbone or found.backbone}
    for name, value in told.items():
        if value is None:
            message = f"{name} must be given: an uploaded file does not tell it"
            errors.append(FieldError(pointer=f"/{name}", code="missing", message=message))
    if errors:
        raise _refused(errors)
    return {
        **told,
        "stem": stem,
        "source": found.source,
        "data": _left_out(spec.data, image_size=found.image_size, validation=found.validation),
        "compute": _left_out(spec.compute, seed=found.seed),
    }


def _left_out(section: Section, **told: object) -> Section:
    """Return a section in which what was not asked for is what the source tells."""
    asked = section.model_dump(exclude_unset=True, exclude_none=True)
    new = {name: value for name, value in told.items() if name not in asked and value is not None}
    return section.model_copy(update=new)


def _widths(
    spec: JobSpec, backbone: Backbone, found: FoundSource | None
) -> tuple[Mapping[str, int] | None, Mapping[str, int] | None]:
    """Return the filters of every group, at first and at most."""
    standard = backbone.standard_widths
    if isinstance(spec, GrowSpec):
        return widths_of_growth(spec.growth, standard)
    if found is None and isinstance(spec, TrainSpec | WeightsSpec | TicketSpec):
        widths: int | Mapping[str, int] | None = spec.widths
        fixed = standard if widths is None else _table(widths, standard)
        return fixed, fixed
    told = None if found is None else found.widths
    return told, told


def _table(widths: int | Mapping[str, int], groups: Iterable[str]) -> Mapping[str, int]:
    """Return one number for all groups, or one per group, as a table in the groups' order."""
    if isinstance(widths, Mapping):
        return {group: widths[group] for group in groups}
    return dict.fromkeys(groups, widths)


def _refused(errors: Sequence[FieldError]) -> InvalidRequestError:
    return InvalidRequestError(" ".join(f"{error.message}." for error in errors), errors)


def _wrong_size(checked: CheckedSpec) -> Iterator[FieldError]:
    if checked.size is None or checked.stem is None:
        return
    refusal = checked.stem.refusal(checked.size)
    if refusal is not None:
        message = f"{checked.backbone.name} {refusal}"
        if len(checked.backbone.stems) > 1:
            name = checked.backbone.stem(checked.spec.stem or "auto", checked.size)
            message = f"{checked.backbone.name} with its {name} stem {refusal}"
        yield FieldError(pointer="/data/image_size", code="unsuitable_size", message=message)


def _wrong_targets(checked: CheckedSpec) -> Iterator[FieldError]:
    """Refuse targets that do not rise, that nothing fits in, or that other settings contradict."""
    spec = checked.spec
    if not isinstance(spec, GrowSpec):
        return
    yield from wrong_settings(spec.growth)
    if spec.growth.targets and checked.stem is not None and checked.first is not None:
        limits = limits_of(spec.growth, checked.backbone.standard_widths, checked.costs)
        yield from wrong_targets(limits, checked.first, checked.costs)


def _toward(checked: CheckedSpec) -> CheckedSpec:
    """Return a checked spec with the first and the last network that its targets allow."""
    spec, first, largest = checked.spec, checked.first, checked.largest
    if not (isinstance(spec, GrowSpec) and spec.growth.targets and first and largest):
        return checked
    if checked.stem is None:
        return checked
    limits = limits_of(spec.growth, checked.backbone.standard_widths, checked.costs)
    standard = checked.backbone.standard_widths
    widest = {group: max(width, standard[group]) for group, width in first.items()}
    small = at_first(limits[0], checked.costs(standard))
    start = filled(small, first, widest, checked.costs)
    match spec.growth.start:
        case "auto":
            first = start
        case int() if spec.growth.where not in ("full", "gain"):
            aim = filled(limits[0], dict.fromkeys(first, 1), largest, checked.costs)
            first = {group: min(width, aim[group]) for group, width in first.items()}
    return replace(
        checked,
        first=first,
        largest=filled(limits[-1], first, largest, checked.costs),
    )


def _too_little(checked: CheckedSpec) -> Iterator[FieldError]:
    """Refuse compute that does not pay for the last target."""
    spec, last = checked.spec, checked.cost(checked.largest)
    if not isinstance(spec, GrowSpec) or not spec.growth.targets or last is None:
        return
    yield from too_little(
        spec.growth,
        last.macs,
        images=checked.images,
        batch=given("optim.batch", spec.optim.batch),
        epochs=given("tune.epochs", spec.tune.epochs),
    )


def _wrong_caps(checked: CheckedSpec) -> Iterator[FieldError]:
    """Refuse caps that the first network exceeds already."""
    spec, start = checked.spec, checked.first
    if not isinstance(spec, GrowSpec) or start is None:
        return
    growth = spec.growth
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
