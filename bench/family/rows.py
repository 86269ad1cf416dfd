"""Rows as they are kept: a method, a backbone, a compute and a seed, one line of JSON each."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from bench.family.data import accuracy
from bench.family.networks import Standard
from bench.family.task import Made, Outcome, Task
from slbi.nets.count import count

FILE = Path("bench/results/family.jsonl")
"""Where rows are kept."""

_STARTED = Path("/proc/sys/kernel/random/boot_id")
"""Where Linux says which start of the machine this is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MemberRow:
    """The member of one budget."""

    budget: float
    """Share of the standard network's multiply-accumulates."""
    macs: int
    params: int
    validation: float
    """Accuracy, 0 to 1."""
    test: float
    """Accuracy, 0 to 1; read once."""
    filters: tuple[int, ...]
    """Output channels of its convolutions, in order."""
    spent: int
    """Training multiply-accumulates of its run when it was ready."""
    cpu_seconds: float
    """Likewise seconds of one core."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """What came of one method."""

    method: str
    dataset: str
    backbone: str
    images: int
    """Training images, the tenth that is left out included."""
    compute: int
    """Training multiply-accumulates that each of its runs might spend."""
    seed: int
    runs: tuple[int, ...]
    """What each of its runs spent."""
    standard_macs: int
    seconds: float
    """On the clock, of a machine that may do other work."""
    cpu_seconds: float
    """Of one core."""
    settings: dict[str, Any]
    members: tuple[MemberRow, ...]
    machine: str = ""
    """What it was made on, for seconds are only of equal ones alike: the vector instructions of its
    processor, the version of torch and, in rows that tell, when the machine was started; empty in
    rows that do not tell anything."""

    @property
    def key(self) -> tuple[str, str, str, int, int, int]:
        """Return what tells rows apart."""
        return (self.method, self.dataset, self.backbone, self.images, self.compute, self.seed)


def written(
    method: str, task: Task, outcome: Outcome, *, seconds: float, cpu_seconds: float
) -> Row:
    """Return the row of an outcome; the test split is read here, once for all members."""
    test = task.data.test.read()
    standard = task.standard
    members = []
    for made in outcome.members:
        params, macs = count(made.net, standard.shape)
        members.append(
            MemberRow(
                budget=made.budget,
                macs=macs,
                params=params,
                validation=round(accuracy(made.net, task.data.validation, task.data), 5),
                test=round(accuracy(made.net, test, task.data), 5),
                filters=_filters(made),
                spent=made.spent,
                cpu_seconds=round(made.cpu_seconds, 1),
            )
        )
    return Row(
        method=method,
        dataset=task.data.name,
        backbone=standard.name,
        images=task.images,
        compute=task.compute,
        seed=task.seed,
        runs=tuple(outcome.runs),
        standard_macs=standard.macs,
        seconds=round(seconds, 1),
        cpu_seconds=round(cpu_seconds, 1),
        settings=asdict(task.settings),
        members=tuple(members),
        machine=_machine(),
    )


def append(path: Path, row: Row) -> None:
    """Append a row to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(row)) + "\n")


def read(path: Path) -> list[Row]:
    """Return the rows of a file, of equal keys the last; none where there is no file."""
    if not path.exists():
        return []
    rows = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        row = _row(json.loads(line))
        rows[row.key] = row
    return list(rows.values())


def missing(
    rows: Iterable[Row],
    methods: Sequence[str],
    standard: Standard,
    dataset: str,
    *,
    images: int,
    compute: int,
    seeds: Sequence[int],
) -> list[tuple[int, str]]:
    """Return the seeds and methods that have no row yet, seed by seed."""
    have = {row.key for row in rows}
    return [
        (seed, method)
        for seed in seeds
        for method in methods
        if (method, dataset, standard.name, images, compute, seed) not in have
    ]


def _machine() -> str:
    """Return what seconds depend on; processors of one name differ by half, one start is one."""
    told = [torch.backends.cpu.get_cpu_capability(), f"torch {torch.__version__}"]
    if _STARTED.exists():
        told.append(f"start {_STARTED.read_text(encoding='ascii')[:8]}")
    return ", ".join(told)


def _row(fields: dict[str, Any]) -> Row:
    members = tuple(
        MemberRow(**{**member, "filters": tuple(member["filters"])}) for member in fields["members"]
    )
    return Row(**{**fields, "members": members, "runs": tuple(fields["runs"])})


def _filters(made: Made) -> tuple[int, ...]:
    return tuple(parameter.shape[0] for parameter in made.net.parameters() if parameter.ndim == 4)
