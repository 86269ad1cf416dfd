"""A kill at every failpoint: between any two writes of claim, checkpoint, publish and finish."""

import uuid
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from bench.faults.arrangement import Arrange, Arrangement
from bench.faults.fault import Finding, Scope, Try
from bench.faults.kills import child, integrity
from bench.faults.trial import (
    BRIEF,
    TRAINED,
    Spec,
    check,
    reference,
    unswept,
    until_claimed,
    until_ended,
)
from bench.faults.waiting import until
from service.failpoints import NAMES

PASSES: Sequence[tuple[Spec, Sequence[str]]] = (
    (BRIEF, ("claim", "checkpoint", "publish", "finish")),
    (TRAINED, ("attach", "findings")),
)
"""Jobs, and the flows in which they die: one that grows attaches no file and has no findings."""

POINTS = NAMES
"""All failpoints: the flows of all jobs together are all that there are."""

FIRE_SECONDS = 60.0
"""How long it may take until a failpoint is reached."""


def killing_at_every_point(arrange: Arrange) -> Try:
    """Return what has a process die at each of `POINTS`, if asked for often enough.

    A job dies at one failpoint of every flow, one after the other; asked for fewer, at random ones.
    """

    def run(scope: Scope, finding: Finding) -> None:
        folder = scope.folder / "failpoints"
        folder.mkdir()
        rounds = [(spec, names) for spec, flows in PASSES for names in _rounds(scope, flows)]
        expected = [reference(spec) for spec, _ in rounds]
        with arrange(scope.folder, failpoint_dir=folder) as arrangement:
            for (spec, names), unbroken in zip(rounds, expected, strict=True):
                with finding.trial(" and ".join(names)):
                    for name in names:
                        aim(folder, name)
                    job_id = arrangement.submit(spec)
                    until_ended(arrangement, job_id)
                    finding.violations += check(arrangement, job_id, unbroken)
                for name in names:
                    if spent(folder, name):
                        finding.done += 1
                    else:
                        finding.violations.append(f"failpoint {name} must be reached, it was not")
            finding.violations += [*integrity(arrangement), *unswept(arrangement)]

    return run


def _rounds(scope: Scope, flows: Sequence[str]) -> list[Sequence[str]]:
    """Return for each of some jobs the failpoints at which it dies, at most one of every flow."""
    known = [[name for name in POINTS if name.startswith(f"{flow}.")] for flow in flows]
    if scope.times < len(POINTS):
        return [[scope.random.choice(names) for names in known] for _ in range(scope.times)]
    return [[name for name in names if name is not None] for names in zip_longest(*known)]


def killing_while_the_supervisor_finishes(arrange: Arrange) -> Try:
    """Return what kills a training process, and then its supervisor at each write of `finish`."""

    def run(scope: Scope, finding: Finding) -> None:
        expected = reference(BRIEF)
        folder = scope.folder / "failpoints"
        folder.mkdir()
        names = [name for name in NAMES if name.startswith("finish.")]
        with arrange(scope.folder, failpoint_dir=folder) as arrangement:
            for name in scope.random.sample(names, min(scope.times, len(names))):
                with finding.trial(name):
                    job_id = arrangement.submit(BRIEF)
                    until_claimed(arrangement, job_id, 0)
                    _kill_child_then_supervisor(arrangement, folder, name, job_id)
                    finding.done += 1
                    until_ended(arrangement, job_id)
                    finding.violations += check(arrangement, job_id, expected)

    return run


def aim(folder: Path, name: str) -> None:
    """Let a failpoint fire the next time that it is reached."""
    (folder / name).touch()


def spent(folder: Path, name: str) -> bool:
    """Return whether a failpoint has fired; if not, it never will."""
    try:
        (folder / name).unlink()
    except FileNotFoundError:
        return True
    return False


def _kill_child_then_supervisor(
    arrangement: Arrangement, folder: Path, name: str, job_id: uuid.UUID
) -> None:
    """Kill the training process with a failpoint armed that only its supervisor can reach.

    Raises:
        NotInTimeError: there was nothing to kill, or the supervisor did not reach it.
    """
    until(
        lambda: arrangement.child(job_id) is not None,
        "a training process runs",
        within_s=FIRE_SECONDS,
    )
    aim(folder, name)
    child(arrangement, job_id)
    until(
        lambda: not (folder / name).exists(),
        f"the supervisor reaches {name}",
        within_s=FIRE_SECONDS,
    )
