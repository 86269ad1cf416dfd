"""Budgets: which member fits, which of these is chosen and why, and the nearest if none fits."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import urlencode

from service.contract import Measure, ModelKind
from service.jobs.measures import measured
from service.store.family import Member

MEASURE_OF: Mapping[str, Measure] = {
    "max_macs": "macs",
    "max_params": "params",
    "max_bytes": "bytes",
    "max_latency_ms": "latency",
    "min_accuracy": "accuracy",
}
"""Bound -> what it bounds. The only one that begins with `min_` is a floor."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """What a model may cost and must reach; None sets no bound."""

    max_macs: int | None = None
    max_params: int | None = None
    max_bytes: int | None = None
    """Of its checkpoint file."""
    max_latency_ms: float | None = None
    """Of an image, as its job measured it."""
    min_accuracy: float | None = None
    """On the validation split, 0 to 1."""
    kind: ModelKind | None = None

    @property
    def bounds(self) -> Mapping[str, float]:
        """Bound -> its limit, of those that are set; the kind is none of them."""
        limits = {name: getattr(self, name) for name in MEASURE_OF}
        return {name: limit for name, limit in limits.items() if limit is not None}

    @property
    def asked(self) -> Mapping[str, float | str]:
        """What a query asks for this budget with."""
        return dict(self.bounds) if self.kind is None else {**self.bounds, "kind": self.kind}

    def holds(self, member: Member) -> bool:
        """Return whether a model fits; one that was not measured does not."""
        return self.suits(member) and all(
            _keeps(margin(member, *bound)) for bound in self.bounds.items()
        )

    def suits(self, member: Member) -> bool:
        """Return whether a model is of the kind asked for."""
        return self.kind in {None, member.model.kind}

    def __str__(self) -> str:
        return _listed([f"{name} {value}" for name, value in self.asked.items()])


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """How a model stands to one bound."""

    bound: str
    limit: float
    value: float | None
    """What it has; None where that was not measured."""
    margin: float | None
    """What is left up to the limit, in its unit; negative: by how much the model misses it."""
    share: float | None
    """The same as a share of the limit; None too where the limit is 0."""
    binds: bool
    """Whether the bound refuses this model, or one that is more accurate."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A model, and why it is this one."""

    job: uuid.UUID
    model: uuid.UUID
    reason: str
    """A sentence."""
    bounds: tuple[Standing, ...]
    request: Mapping[str, str]
    """Method and path of what fetches it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Nearest(Choice):
    """The model that comes nearest where none fits."""

    excess: float | None
    """Sum of the shares by which it misses the bounds; None where it was not measured."""


def margin(member: Member, bound: str, limit: float) -> float | None:
    """Return what a model leaves of a bound, negative where it misses it; None: not measured."""
    value = measured(member, MEASURE_OF[bound])
    if value is None:
        return None
    return value - limit if bound.startswith("min_") else limit - value


def choose(members: Sequence[Member], budget: Budget) -> Member | None:
    """Return the most accurate model that fits, of equal ones the cheapest, then the first.

    Models of another data set than the job's are not among them. None if none fits.
    """
    fitting = [member for member in _own(members) if budget.holds(member)]
    return min(fitting, key=_preference, default=None)


def explain(members: Sequence[Member], budget: Budget, chosen: Member) -> Choice:
    """Return why `choose` takes this one."""
    own = _own(members)
    fitting = sum(budget.holds(member) for member in own)
    equal = sum(
        budget.holds(member)
        and member.model.validation_accuracy == chosen.model.validation_accuracy
        for member in own
    )
    stands = _standings(own, budget, chosen)
    of = f"the {fitting} of {len(own)} models that fit {budget}"
    if not budget.asked:
        of = f"{len(own)} models, without any bound"
    text = (
        f"{_named(chosen)} has the highest validation accuracy, "
        f"{chosen.model.validation_accuracy:.4f}, of {of}"
        f"{', and the fewest MACs of those that reach it' if equal > 1 else ''}."
    )
    if stands:
        text += f" {_binding([each.bound for each in stands if each.binds])}"
        left = [f"{_number(each.margin)} of {each.bound}" for each in stands]
        text += f" It leaves {_listed(left)}."
    job = chosen.model.job_id
    path = asked_from(job, "checkpoint", budget.asked)
    return Choice(
        job=job,
        model=chosen.model.id,
        reason=text,
        bounds=stands,
        request={"method": "GET", "path": path},
    )


def nearest(members: Sequence[Member], budget: Budget, form: str) -> tuple[Member, Nearest] | None:
    """Return the model that comes nearest to a budget which none fits, and how it misses it.

    A model of the kind asked for goes before any other, one that was measured before one that was
    not, then the smallest sum of relative misses, then the order of `choose`. So the request, whose
    missed bounds are what this model has, fetches this model and no other.

    Args:
        members: of one job, or of several on one data set.
        budget: holds none of them.
        form: of the file to be fetched.
    """
    found = min(
        _own(members),
        key=lambda member: (
            not budget.suits(member),
            *_excess(member, budget),
            *_preference(member),
        ),
        default=None,
    )
    if found is None:
        return None
    stands = _standings(_own(members), budget, found)
    unmeasured, excess = _excess(found, budget)
    asked = dict(_loosened(budget, found, stands).asked)
    if form != "safetensors":
        asked["format"] = form
    path = asked_from(found.model.job_id, "checkpoint", asked)
    told = Nearest(
        job=found.model.job_id,
        model=found.model.id,
        reason=f"No model fits {budget}; the nearest is {_described(found)}: "
        f"{_listed(_misses(found, budget, stands))}. GET {path} fetches it.",
        bounds=stands,
        excess=None if unmeasured else excess,
        request={"method": "GET", "path": path},
    )
    return found, told


def asked_from(job_id: uuid.UUID, what: str, asked: Mapping[str, float | str]) -> str:
    """Return the path and query of a call on a job, e.g. of its `checkpoint`."""
    return f"/v1/jobs/{job_id}/{what}" + (f"?{urlencode(asked)}" if asked else "")


def as_json(choice: Choice) -> dict[str, Any]:
    """Return a choice as what JSON can hold."""
    return {**asdict(choice), "job": str(choice.job), "model": str(choice.model)}


def _own(members: Sequence[Member]) -> Sequence[Member]:
    return [member for member in members if member.model.dataset is None]


def _preference(member: Member) -> tuple[float, int, int]:
    """Return a key by which the model to choose comes first."""
    model = member.model
    return (-model.validation_accuracy, model.macs, model.position)


def _keeps(left: float | None) -> bool:
    return left is not None and left >= 0


def _excess(member: Member, budget: Budget) -> tuple[int, float]:
    """Return how many bounds a model has no measure of, and by what share it misses the others."""
    unmeasured, over = 0, 0.0
    for bound, limit in budget.bounds.items():
        left = margin(member, bound, limit)
        if left is None:
            unmeasured += 1
        elif left < 0:
            over += -left / limit  # no accuracy is below a floor of 0, so the limit is not 0
    return unmeasured, over


def _standings(members: Sequence[Member], budget: Budget, member: Member) -> tuple[Standing, ...]:
    better = [
        other
        for other in members
        if budget.suits(other)
        and other.model.validation_accuracy > member.model.validation_accuracy
    ]
    stands = []
    for bound, limit in budget.bounds.items():
        left = margin(member, bound, limit)
        stands.append(
            Standing(
                bound=bound,
                limit=limit,
                value=measured(member, MEASURE_OF[bound]),
                margin=left,
                share=None if left is None or limit == 0 else left / limit,
                binds=not all(_keeps(margin(each, bound, limit)) for each in (member, *better)),
            )
        )
    return tuple(stands)


def _loosened(budget: Budget, member: Member, stands: Sequence[Standing]) -> Budget:
    """Return a budget whose missed bounds are what a model has."""
    missed = {each.bound: each.value for each in stands if not _keeps(each.margin)}
    kind = budget.kind if budget.suits(member) else None
    return replace(budget, kind=kind, **missed)  # type: ignore[arg-type] # by name, of their types


def _misses(member: Member, budget: Budget, stands: Sequence[Standing]) -> list[str]:
    told = [] if budget.suits(member) else [f"it is {member.model.kind}, not {budget.kind}"]
    for each in stands:
        if each.margin is None:
            told.append(f"its {MEASURE_OF[each.bound]} was not measured")
        elif each.margin < 0 and each.share is not None:
            told.append(f"it misses {each.bound} by {_number(-each.margin)} ({-each.share:.1%})")
    return told


def _binding(names: Sequence[str]) -> str:
    if not names:
        return "No bound refuses a more accurate one."
    binds = "bind: they refuse" if len(names) > 1 else "binds: it refuses"
    return f"{_listed(names)} {binds} a more accurate one."


def _named(member: Member) -> str:
    return f"{member.model.origin} ({member.model.kind}, id {member.model.id})"


def _described(member: Member) -> str:
    model = member.model
    latency = "" if model.latency_ms is None else f"{_number(model.latency_ms)} ms, "
    return (
        f"{_named(member)} with {model.macs} MACs, {model.params} parameters, "
        f"{member.artifact.bytes} bytes, {latency}validation accuracy "
        f"{model.validation_accuracy:.4f}"
    )


def _number(value: float | None) -> str:
    """Return a whole number as it is, any other with four digits."""
    return f"{value}" if isinstance(value, int) else f"{value:.4g}"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
