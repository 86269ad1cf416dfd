"""What a member of a family is compared by, and the front over two of these."""

from collections.abc import Sequence

from service.contract import Measure
from service.store.family import Member

SIGNS: dict[Measure, int] = {"macs": 1, "params": 1, "bytes": 1, "latency": 1, "accuracy": -1}
"""Measure -> 1 where less is better, -1 where more is."""


def measured(member: Member, measure: Measure) -> float | None:
    """Return what a member measures: MACs of an image, parameters, bytes of its checkpoint file,
    milliseconds of an image, or validation accuracy, 0 to 1; None where nobody measured it.
    """  # noqa: D205 - the list of units is the sentence
    model = member.model
    if measure == "bytes":
        return member.artifact.bytes
    if measure == "latency":
        return model.latency_ms
    return {"macs": model.macs, "params": model.params, "accuracy": model.validation_accuracy}[
        measure
    ]


def front(points: Sequence[tuple[float, float]]) -> Sequence[bool]:
    """Return of each point whether no other is at most as large in both, and smaller in one.

    Points that are equal in both are on the front together or not at all.
    """
    on = [False] * len(points)
    least: tuple[float, float] | None = None  # second coordinate, and the first that goes with it
    for index in sorted(range(len(points)), key=lambda index: points[index]):
        first, second = points[index]
        if least is None or second < least[0]:
            least = (second, first)
        on[index] = least == (second, first)
    return on


def ranked(
    members: Sequence[Member], measures: tuple[Measure, Measure]
) -> tuple[Sequence[bool], Sequence[Member]]:
    """Return of each member whether it is on the front, and those that lack a measure of it.

    Only models of one data set are compared: accuracies on two say nothing of each other.
    """
    on = [False] * len(members)
    places: dict[str | None, list[int]] = {}
    points: dict[int, tuple[float, float]] = {}
    lacking = []
    for index, member in enumerate(members):
        first, second = (measured(member, measure) for measure in measures)
        if first is None or second is None:
            lacking.append(member)
            continue
        points[index] = (SIGNS[measures[0]] * first, SIGNS[measures[1]] * second)
        places.setdefault(member.model.dataset, []).append(index)
    for indices in places.values():
        for index, is_on in zip(indices, front([points[i] for i in indices]), strict=True):
            on[index] = is_on
    return on, lacking
