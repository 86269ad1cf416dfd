"""What a run is given: every setting with its meaning, unit, range and one default."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from slbi.course.settings import LOOSE
from slbi.growth.stages import check_split
from worker.training.groups import Stages, check_by_group, check_table
from worker.training.ranges import one_of, whole, within

STEMS = ("auto", "standard", "small")
SEEDS = ("auto", "random", "orthogonal", "gradmax", "pairs")
WHERES = ("auto", "full", "gain", "alike")
WHENS = ("fill", "plateau", "both")
ROUND_SCHEDULES = ("constant", "cosine")
SCHEDULES = ("cosine", "step", "constant")
PRECISIONS = ("auto", "float32", "bfloat16")
DEVICES = ("auto", "cpu", "cuda")
MEMORIES = ("auto", "ram", "disk")
GROWTH_BY_STAGE = (
    "start", "threshold", "ratio", "minimum", "min_width", "max_width", "together",
)  # fmt: skip
"""What a stage of `growth.stages` may set."""


FIRST = 8
"""Filters that a group starts with where nothing tells how many."""

WITH_TARGETS = {"mode": "carry", "when": "fill", "schedule": "constant"}
"""Settings of `growth` that are of rounds alone, and what they must stay at with targets."""

TARGETS = ("share", "max_macs", "max_params", "max_latency_ms")
"""What a target of `growth.targets` may tell."""


def check_target(place: str, target: Mapping[str, float]) -> None:
    """Refuse a target that no network could be held against.

    Raises:
        ValueError: it names something else, no cost that is counted, or a value out of its range.
    """
    unknown = [name for name in target if name not in TARGETS]
    if unknown:
        raise ValueError(f"{place} must name {', '.join(TARGETS)}, got {', '.join(unknown)}")
    told = {name: value for name, value in target.items() if value is not None}
    if not told.keys() & {"share", "max_macs", "max_params"}:
        raise ValueError(f"{place} must name share, max_macs or max_params, got {dict(target)!r}")
    if {"share", "max_macs"} <= told.keys():
        raise ValueError(f"{place} must name one of share and max_macs, got both")
    for name, value in told.items():
        match name:
            case "share":
                within(f"{place}.share", value, 0, 1, above=True)
            case "max_latency_ms":
                within(f"{place}.max_latency_ms", value, 0, 1e6, above=True)
            case _:
                whole(f"{place}.{name}", value, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """Which images, and how they are split and varied."""

    dataset: str
    """Name of a data set in the configured data directories."""
    image_size: int | None = None
    """Side of the square images after loading, px, 8 to 224; None keeps the data set's own."""
    validation: float = 0.1
    """Share of the training images held out to decide by, (0, 0.5]."""
    augment: bool = True
    """Vary the training images as suits the data set."""
    memory: str = "auto"
    """Where the images of a folder are: ram, all of them at once; disk, read batch by batch; auto
    leaves those of ImageNet, and those that are too many for 2 GiB, on disk."""
    workers: int = 4
    """Processes that read images from disk, for each process that trains, 0 to 128;
    never more than there are cores."""

    def __post_init__(self) -> None:
        within("validation", self.validation, 0.0, 0.5, above=True)
        if self.image_size is not None:
            whole("image_size", self.image_size, 8, 224)
        one_of("memory", self.memory, MEMORIES)
        whole("workers", self.workers, 0, 128)


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimConfig:
    """How the weights learn."""

    batch: int = 128
    """Images a step, 2 to 8192: BatchNorm cannot learn from a single one."""
    learning_rate: float = 0.05
    """Learning rate of the rounds, and the first one of the tuning, (0, 10]."""
    momentum: float = 0.9
    """[0, 1)."""
    nesterov: bool = False
    weight_decay: float = 0.0
    """Coupled decay of weights of rank 2 and more, [0, 1]."""
    kappa: float = 1.0
    """Damping of the Bregman iteration, (0, 1000]."""
    mu: float | Literal["auto"] = "auto"
    """Coupling of a weight and its twin, (0, 1e6]; auto solves for it from the steps of a round."""

    def __post_init__(self) -> None:
        whole("batch", self.batch, 2, 8192)
        within("learning_rate", self.learning_rate, 0, 10, above=True)
        within("momentum", self.momentum, 0, 0.9999)
        within("weight_decay", self.weight_decay, 0, 1)
        within("kappa", self.kappa, 0, 1000, above=True)
        if self.mu != "auto":
            within("mu", self.mu, 0, 1e6, above=True)
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0, got 0.0")


@dataclass(frozen=True, kw_only=True, slots=True)
class GrowthConfig:
    """When, where and how far the network grows."""

    start: int | Mapping[str, int] | Literal["auto"] = "auto"
    """Filters a group starts with, one number for all or one per group, 1 to 4096. auto is 8, or,
    with targets, what the first one and a 32nd of the standard network's cost allow, all groups
    alike. One number is cut in groups that are narrower than that at the first target, unless
    layers are chosen (`where`)."""
    targets: Sequence[Mapping[str, float]] = ()
    """Costs to grow to, rising. Each is told by some of max_macs, max_params and max_latency_ms, or
    by share, of the multiply-accumulates of the backbone's standard widths, (0, 1]. With targets
    there is a tuned network for each of them and growth ends when all are served; rounds, their
    length and the caps on a network's cost follow from them and from `max_training_macs`."""
    split: Sequence[float] | None = None
    """With targets: how the compute is shared out, a number in [1e-6, 1e6] for each. None: most to
    the largest target that it trains well, the others below and above it beside that, or to a
    station before a target that is far above what it trains well."""
    hold: float = 0.5
    """With targets: part of a target's compute at a constant learning rate, (0, 1); in the rest the
    target's network is annealed."""
    rise: float = 1.25
    """With targets: factor by which a round raises the cost at most, (1, 10]."""
    when: str = "fill"
    """Which groups are due at the end of a round, and when that is. fill: those whose fill has
    reached their threshold, after `round_epochs`. plateau: all that may grow, as soon as the
    validation loss is at a plateau; `round_epochs` is then the most that a round takes, and growth
    ends after a round that brought no better loss than the rounds before it. both: as plateau, and
    due are those whose fill has reached their threshold. fill with targets, whose rounds are of a
    length of their own."""
    patience: int = 3
    """Epochs without improvement that make a plateau, 1 to 1000; a round has one more at least."""
    where: str = "auto"
    """Which groups are widened: full, those whose fill has reached their threshold; gain, of these
    the three that promise most for what a filter costs; alike, with targets, all groups. auto is
    alike with targets, else full."""
    pull: float | Literal["auto"] = "auto"
    """How strongly twins pull at the weights, relative to what mu = "auto" solves for, (0, 1]; when
    filters enter hardly depends on it. auto is 0.1 with targets, else 1."""
    new_rate: float = 1.0
    """Factor on the learning rate of new filters in the round after they came, (0, 10]. It scales
    their gradients, not weight decay nor the pull."""
    threshold: float | Mapping[str, float] = 0.8
    """Fill at which a group is widened, (0, 1], one number for all or one per group."""
    round_epochs: int = 10
    """Epochs between two looks at the fill, 1 to 1000."""
    max_rounds: int = 10
    """Rounds at most, 1 to 1000; the last one is not followed by a widening."""
    schedule: str = "constant"
    """How the learning rate goes over all rounds together: constant, or cosine, which would come to
    zero at the end of the last one. constant with targets."""
    ratio: float = 1.1
    """A widened group gets at least `ratio` times its filters, [1, 10]."""
    minimum: int = 8
    """A widened group gets at least this many filters more, 1 to 1024."""
    multiple: int = 1
    """Widths are rounded up to a multiple of this when a group is widened, and when it is cut to
    its support, 1 to 256."""
    min_width: int | Mapping[str, int] = 1
    """Filters that a group has at least, from the start and when it is cut to its support, 1 to
    65536: one number for all or one per group."""
    exclude: Sequence[str] = ()
    """Groups, by name or pattern (`stage1.*`), that are neither widened nor cut."""
    stages: Stages | None = None
    """Name or pattern of groups -> what they share of `GROWTH_BY_STAGE`. What names a single group
    comes first, in a table or here, then its pattern, then what holds for all. Those of a stage
    that are `together` have one fill and grow to one common width."""
    seed: str = "auto"
    """What new filters start as: random, orthogonal, gradmax, or pairs that are read with opposite
    signs. auto is pairs with targets, else random."""
    mode: Literal["carry", "restart"] = "carry"
    """carry keeps the function and the optimizer's state; restart is the reference's way."""
    max_width: int | None = None
    """No group grows beyond this, 1 to 65536; None: the backbone's standard width of each group."""
    max_params: int | None = None
    """No network of more parameters is grown, 1 or more; None: no limit."""
    max_macs: int | None = None
    """No network of more multiply-accumulates an image is grown, 1 or more; None: no limit."""
    max_latency_ms: float | None = None
    """No network is grown that takes longer for an image on the device and the threads of the run,
    ms, above 0; measured before it is grown. None: no limit."""
    max_epochs: int | None = None
    """Epochs of all rounds together, 1 to 1,000,000; None: `round_epochs` times `max_rounds`."""
    max_seconds: float | None = None
    """After so many seconds no further round begins, above 0; None: no limit."""
    max_training_macs: int | None = None
    """Multiply-accumulates of all training (3 x forward), 1 or more: no epoch of growth begins, and
    no network is widened, that would leave too few for the tuning; None: no limit. With targets it
    is what is spent on them; None: as much as `tune.epochs` epochs of the network
    of the last one."""

    def __post_init__(self) -> None:
        if self.start != "auto":
            check_table("start", self.start, 1, 4096)
        check_by_group(self, GROWTH_BY_STAGE)
        levels = self.threshold if isinstance(self.threshold, Mapping) else {"": self.threshold}
        for group, level in levels.items():
            within(f"threshold{group and '.' + group}", level, 0, 1, above=True)
        whole("round_epochs", self.round_epochs, 1, 1000)
        whole("max_rounds", self.max_rounds, 1, 1000)
        within("ratio", self.ratio, 1, 10)
        whole("minimum", self.minimum, 1, 1024)
        whole("multiple", self.multiple, 1, 256)
        one_of("seed", self.seed, SEEDS)
        one_of("mode", self.mode, ("carry", "restart"))
        one_of("where", self.where, WHERES)
        one_of("when", self.when, WHENS)
        whole("patience", self.patience, 1, 1000)
        within("new_rate", self.new_rate, 0, 10, above=True)
        one_of("schedule", self.schedule, ROUND_SCHEDULES)
        if self.pull != "auto":
            within("pull", self.pull, 0, 1, above=True)
        self._check_targets()
        self._check_caps()

    @property
    def settled_where(self) -> str:
        """Return which groups are widened, "auto" resolved."""
        return ("alike" if self.targets else "full") if self.where == "auto" else self.where

    @property
    def settled_seed(self) -> str:
        """Return what new filters start as, "auto" resolved."""
        return ("pairs" if self.targets else "random") if self.seed == "auto" else self.seed

    @property
    def settled_pull(self) -> float:
        """Return how strongly twins pull, "auto" resolved."""
        return (LOOSE if self.targets else 1.0) if self.pull == "auto" else self.pull

    def _check_targets(self) -> None:
        within("hold", self.hold, 0.01, 0.99)
        within("rise", self.rise, 1, 10, above=True)
        if isinstance(self.targets, str | Mapping):
            raise ValueError(f"targets must be a list, got {self.targets!r}")  # noqa: TRY004 - a setting is wrong, not the call
        for index, target in enumerate(self.targets):
            check_target(f"targets.{index}", target)
        if self.split is not None:
            if isinstance(self.split, str | Mapping):
                raise ValueError(f"split must be a list, got {self.split!r}")
            check_split(self.split, len(self.targets) or len(self.split))
        if not self.targets and self.where == "alike":
            raise ValueError("where must be full or gain without targets, got alike")
        for name, needed in WITH_TARGETS.items():
            if self.targets and (value := getattr(self, name)) != needed:
                raise ValueError(f"{name} must be {needed} with targets, got {value}")
        for name in ("max_params", "max_macs", "max_latency_ms", "max_epochs"):
            if self.targets and getattr(self, name) is not None:
                raise ValueError(f"{name} must be left to the targets, got {getattr(self, name)!r}")

    def _check_caps(self) -> None:
        if self.max_width is not None:
            whole("max_width", self.max_width, 1, 65536)
        if self.max_epochs is not None:
            whole("max_epochs", self.max_epochs, 1, 1_000_000)
        caps = ("max_params", "max_macs", "max_training_macs")
        for name in caps:
            cap: int | None = getattr(self, name)
            if cap is not None:
                whole(name, cap, 1)
        if self.max_latency_ms is not None:
            within("max_latency_ms", self.max_latency_ms, 0, 1e6, above=True)
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise ValueError(f"max_seconds must be > 0, got {self.max_seconds!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TuneConfig:
    """What happens when no layer asks for more."""

    epochs: int = 40
    """Epochs of tuning of the grown network, 0 to 10000."""
    schedule: str = "cosine"
    """How the learning rate falls: cosine to zero, step (the reference's powers), constant."""
    pruned_epochs: int = 40
    """Epochs of tuning of the network that the last round's support left, 0 to 10000."""

    def __post_init__(self) -> None:
        whole("tune epochs", self.epochs, 0, 10000)
        whole("tune pruned_epochs", self.pruned_epochs, 0, 10000)
        one_of("tune schedule", self.schedule, SCHEDULES)


@dataclass(frozen=True, kw_only=True, slots=True)
class ComputeConfig:
    """On what, how precisely, and from which seed."""

    device: str = "auto"
    """auto takes CUDA where there is one, else the CPU."""
    precision: str = "auto"
    """auto is bfloat16 autocast on CUDA and float32 on the CPU."""
    seed: int = 0
    """Seed of everything random in the run, 0 to 2^63 - 1. On the CPU it fixes the result."""
    threads: int | None = None
    """CPU threads of each process, 1 to 1024; None leaves torch's own number, shared out."""
    processes: int = 1
    """Processes that train together, 1 to 64: each takes a GPU of its own, or a share of the CPU,
    and its part of every batch."""

    def __post_init__(self) -> None:
        one_of("device", self.device, DEVICES)
        one_of("precision", self.precision, PRECISIONS)
        whole("seed", self.seed, 0, 2**63 - 1)
        if self.threads is not None:
            whole("threads", self.threads, 1, 1024)
        whole("processes", self.processes, 1, 64)


@dataclass(frozen=True, kw_only=True, slots=True)
class GrowConfig:
    """A whole `grow` run."""

    backbone: str
    """Name of a backbone, see `worker.training.backbones`."""
    data: DataConfig
    stem: str = "auto"
    """standard, the published one; small, for small images; auto takes the small one, where there
    is one, for images below 64 px."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    growth: GrowthConfig = field(default_factory=GrowthConfig)
    tune: TuneConfig = field(default_factory=TuneConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)

    def __post_init__(self) -> None:
        one_of("stem", self.stem, STEMS)
