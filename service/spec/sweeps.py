"""A sweep as asked: a base and axes, or a list of specs, and how the jobs share the work."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import prod
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from service.contract import LARGEST
from service.spec.strict import Strict

MOST_JOBS = 256
"""Of one sweep."""

Strategy = Literal["grid", "halving"]
_Label = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Path = Annotated[str, Field(max_length=200, pattern=r"^[a-z_]+(\.[^.\x00-\x1f\x7f]+)*$")]


class HalvingSpec(Strict):
    """When jobs are compared, and how many of them go on."""

    min_epochs: Annotated[
        int, Field(ge=1, le=10_000, description="Before a job is compared for the first time.")
    ] = 3  # after one or two, accuracies did not stand in the order of the end: decision 41
    factor: Annotated[
        int,
        Field(ge=2, le=16, description="One in so many goes on, for so many times the epochs."),
    ] = 3


class SweepSpec(Strict):
    """Several jobs in one request."""

    base: Annotated[
        dict[str, Any] | None, Field(description="A spec as POST /v1/jobs takes it.")
    ] = None
    axes: Annotated[
        dict[_Path, Annotated[list[Any], Field(min_length=1, max_length=MOST_JOBS)]],
        Field(
            max_length=16,
            description="Path of a setting in the base, such as growth.threshold -> its values;"
            " every combination is a job.",
        ),
    ] = {}  # noqa: RUF012 - frozen, and pydantic copies it
    specs: Annotated[
        list[dict[str, Any]] | None,
        Field(min_length=1, max_length=MOST_JOBS, description="Instead of a base and axes."),
    ] = None
    label: Annotated[
        _Label | None, Field(description="Of the sweep, and of its jobs that have none.")
    ] = None
    strategy: Annotated[
        Strategy,
        Field(description="grid: all jobs to their end; halving: the worse ones are stopped."),
    ] = "grid"
    halving: HalvingSpec = HalvingSpec()
    max_training_macs: Annotated[
        int | None,
        Field(
            ge=1,
            le=LARGEST,
            description="3 x forward x images, of all jobs together; then the rest is cancelled.",
        ),
    ] = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.base is None) == (self.specs is None):
            raise ValueError("a sweep must have either base, with axes if wished, or specs")
        if self.axes and self.base is None:
            raise ValueError("axes must go with base, not with specs")
        number = prod(len(values) for values in self.axes.values())
        if number > MOST_JOBS:
            raise ValueError(f"a sweep must have at most {MOST_JOBS} jobs, got {number}")
        return self

    def drafts(self) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
        """Yield of every job what the axes say of it, and its spec, not yet looked at."""
        if self.specs is not None:
            yield from (({}, spec) for spec in self.specs)
            return
        for values in product(*self.axes.values()):
            settings = dict(zip(self.axes, values, strict=True))
            draft: Mapping[str, Any] = self.base or {}
            for path, value in settings.items():
                draft = _put(draft, path.split("."), value)
            yield settings, draft


def _put(spec: Mapping[str, Any], path: Sequence[str], value: object) -> Mapping[str, Any]:
    """Return a spec in which one setting is another; what is on the way is copied."""
    name, *rest = path
    if rest:
        below = spec.get(name)
        value = _put(below if isinstance(below, Mapping) else {}, rest, value)
    return {**spec, name: value}
