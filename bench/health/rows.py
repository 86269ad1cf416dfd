"""Rows as they are kept: a trunk that was watched or a run of the recipe, one line of JSON each."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.health.dead import Layer

FILE = Path("bench/results/health.jsonl")
"""Where rows are kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BirthRow:
    """What the filters that one widening gave one layer learned in their first epoch."""

    layer: str
    """Name of the weight."""
    round: int
    """Which widening of the trunk, from 1."""
    before: int
    """Filters of the layer before."""
    after: int
    steps: int
    """Steps of the trunk that they were watched for: an epoch, or what was left of it."""
    best: tuple[float, ...]
    """Filter by filter, the largest share of the layer's median in a window; see `births`."""
    first: tuple[float, ...]
    """Likewise in the first window."""
    mean: tuple[float, ...]
    """Likewise over all steps as one window."""

    @property
    def new(self) -> int:
        """Return how many filters they are."""
        return self.after - self.before


@dataclass(frozen=True, kw_only=True, slots=True)
class MemberRow:
    """The network of one budget."""

    budget: float
    """Share of the standard network's multiply-accumulates."""
    macs: int
    validation: float
    """Accuracy, 0 to 1."""
    layers: tuple[Layer, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrunkRow:
    """A trunk that was watched, and its members."""

    way: str
    backbone: str
    seed: int
    dataset: str
    images: int
    """Training images, those held out for validation included."""
    compute: int
    """Training multiply-accumulates."""
    epoch: int
    """Steps of an epoch."""
    births: tuple[BirthRow, ...]
    members: tuple[MemberRow, ...]
    cpu_seconds: float
    """Of one core."""

    @property
    def key(self) -> str:
        """Return what tells rows apart."""
        return trunk_key(
            self.way,
            self.backbone,
            self.seed,
            dataset=self.dataset,
            images=self.images,
            compute=self.compute,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkRow:
    """A member of a run's family."""

    kind: str
    origin: str
    widths: Mapping[str, int]
    params: int
    macs: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RecipeRow:
    """A run of the recipe `grow`."""

    part: str
    """widths or ends: what it was made for."""
    mode: str
    """rounds or targets."""
    name: str
    """Of what it tries, alike for all seeds and starts."""
    backbone: str
    start: int
    """Filters a group starts with."""
    seed: int
    growth: Mapping[str, Any]
    """Settings of the growth."""
    limits: tuple[Mapping[str, int], ...]
    """What each target allows a network, in multiply-accumulates and parameters."""
    end: str
    """Why it ended, as the run says it; empty if it did not by itself."""
    rounds: int
    """Of growth."""
    growth_epochs: int
    training_macs: int
    members: tuple[NetworkRow, ...]
    cpu_seconds: float

    @property
    def key(self) -> str:
        """Return what tells rows apart."""
        return f"{self.part} {self.mode} {self.name} {self.backbone} {self.start} {self.seed}"


Row = TrunkRow | RecipeRow


def trunk_key(
    way: str, backbone: str, seed: int, *, dataset: str, images: int, compute: int
) -> str:
    """Return what tells the rows of trunks apart."""
    return f"trunk {way} {backbone} {dataset} {images} {compute} {seed}"


def append(path: Path, row: Row) -> None:
    """Append a row to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = "trunk" if isinstance(row, TrunkRow) else "recipe"
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"row": kind, **asdict(row)}) + "\n")


def read(path: Path) -> list[Row]:
    """Return the rows of a file, of equal keys the last; none where there is no file."""
    if not path.exists():
        return []
    rows = [_row(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    return list({row.key: row for row in rows}.values())


def trunks(rows: Iterable[Row]) -> list[TrunkRow]:
    """Return the rows of trunks."""
    return [row for row in rows if isinstance(row, TrunkRow)]


def recipes(rows: Iterable[Row], part: str) -> list[RecipeRow]:
    """Return the rows of runs that were made for one part."""
    return [row for row in rows if isinstance(row, RecipeRow) and row.part == part]


def _row(fields: dict[str, Any]) -> Row:
    kind = fields.pop("row")
    if kind == "trunk":
        births = tuple(BirthRow(**_tuples(birth)) for birth in fields["births"])
        members = tuple(_member(member) for member in fields["members"])
        return TrunkRow(**{**fields, "births": births, "members": members})
    networks = tuple(NetworkRow(**member) for member in fields["members"])
    return RecipeRow(**{**_tuples(fields), "members": networks})


def _member(fields: dict[str, Any]) -> MemberRow:
    return MemberRow(
        **{**fields, "layers": tuple(Layer(**_tuples(layer)) for layer in fields["layers"])}
    )


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
    }
