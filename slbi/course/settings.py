"""How a network is grown: every setting with its meaning, range and one default."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from slbi.growth.stages import Target, check_split

Where = Literal["alike", "full", "gain"]
"""Which groups are widened, see `Growth.where`."""

LOOSE: Final = 0.1
"""Pull at which twins tell when filters enter and hardly hold weights back. Source:
docs/decisions/0045."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    """The settings of a growth.

    With targets growth ends when all are served; rounds and their length follow from them and from
    `compute`, so that `rounds`, `round_epochs`, `ratio` and `minimum` are not asked.
    """

    targets: tuple[float | Target, ...] = ()
    """What networks may cost, rising: for each of them there will be one. A number in (0, 1] is a
    share of the multiply-accumulates of the network given."""
    compute: int | None = None
    """With targets: multiply-accumulates of the whole training, 3 times those of a forward pass for
    each input; None: those of `tune_epochs` epochs of the last target's network."""
    split: tuple[float, ...] | None = None
    """With targets: how the compute is shared out, a number for each of them; None: most to
    the largest target that it trains well, or to a station before one that is far above that, see
    `stages.parts` and `stations.station`."""
    hold: float = 0.5
    """With targets: part of a target's compute at a constant learning rate, in (0, 1); in the rest
    the target's network is annealed."""
    rise: float = 1.25
    """With targets: factor by which a round raises the cost at most, above 1."""
    where: Where | None = None
    """Which groups are widened: full, those whose fill has reached the threshold; gain, of these
    the three that promise most for what a filter costs; alike, with targets, all groups, so that
    they keep one share of the network given. None is alike with targets, else full."""
    pull: float | None = None
    """How strongly twins pull at the weights, in (0, 1]; filters enter the support as at 1. None is
    0.1 with targets, else 1."""
    rounds: int = 10
    """Rounds at most, 1 or more."""
    round_epochs: int = 5
    """Epochs of a round, 1 or more."""
    threshold: float = 0.8
    """Share of a group's filters in the support at which it is widened, in (0, 1]."""
    ratio: float = 1.1
    """Factor by which it is widened, 1 or more."""
    minimum: int = 8
    """Filters that are added at least, 1 or more."""
    multiple: int = 1
    """Widths after growth are multiples of this, and what a support leaves is rounded up to one."""
    max_width: int | Mapping[str, int] | None = None
    """Greatest number of filters, of every group or by group."""
    max_params: int | None = None
    """Greatest number of parameters; left to the targets where there are any."""
    max_macs: int | None = None
    """Greatest number of multiply-accumulates of one input; likewise."""
    exclude: tuple[str, ...] = ()
    """Groups, by name or in the way of a shell, that neither grow nor lose filters."""
    tune_epochs: int = 20
    """Epochs of tuning of the grown network, and of what its support left of it, 0 or more. With
    targets they say what `compute` is, where it is not told."""
    lr: float = 0.05
    """Learning rate of the rounds, above 0; in tuning it falls to zero along a cosine. With targets
    that of the first, and less where a later one has few steps, see `stages.rate`."""
    kappa: float = 1.0
    """Above 0. Source: docs/method.md, "Update"."""
    mu: float | None = None
    """Above 0, at a pull of 1; None solves for it, so that a round suits its steps, see
    `twins.round_mu`."""
    momentum: float = 0.9
    """In [0, 1)."""
    weight_decay: float = 0.0
    """0 or more."""

    def __post_init__(self) -> None:
        for name, least in (("rounds", 1), ("round_epochs", 1), ("tune_epochs", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be >= {least}, got {getattr(self, name)}")
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold must be in (0, 1], got {self.threshold}")
        if self.ratio < 1 or self.minimum < 1:
            raise ValueError(f"ratio and minimum must be >= 1, got {self.ratio} and {self.minimum}")
        if self.pull is not None and not 0 < self.pull <= 1:
            raise ValueError(f"pull must be in (0, 1], got {self.pull}")
        if self.where not in {None, "alike", "full", "gain"}:
            raise ValueError(f"where must be alike, full or gain, got {self.where!r}")
        if self.targets:
            self._check_targets()
        elif self.where == "alike":
            raise ValueError("where must be full or gain without targets, got alike")
        elif self.compute is not None:
            raise ValueError(f"compute must go with targets, got {self.compute} without any")

    @property
    def settled_where(self) -> Where:
        """Return which groups are widened, None resolved."""
        return self.where or ("alike" if self.targets else "full")

    @property
    def settled_pull(self) -> float:
        """Return how strongly twins pull, None resolved."""
        return self.pull or (LOOSE if self.targets else 1.0)

    def _check_targets(self) -> None:
        if self.split is not None:
            check_split(self.split, len(self.targets))
        if not 0 < self.hold < 1:
            raise ValueError(f"hold must be in (0, 1), got {self.hold}")
        if not self.rise > 1:
            raise ValueError(f"rise must be above 1, got {self.rise}")
        for index, target in enumerate(self.targets):
            _check_target(f"targets.{index}", target)
        for name in ("max_params", "max_macs"):
            if getattr(self, name) is not None:
                raise ValueError(f"{name} must be left to the targets, got {getattr(self, name)}")


def _check_target(name: str, target: float | Target) -> None:
    """Refuse a share out of range, and a cost that cannot be counted.

    Raises:
        ValueError: it is either.
    """
    if isinstance(target, Target):
        if target.max_latency_ms is not None:
            raise ValueError(
                f"{name} must be max_macs or max_params, which are counted; latency is measured by "
                f"the service alone, got max_latency_ms {target.max_latency_ms:g}"
            )
    elif not 0 < target <= 1:
        raise ValueError(f"{name} must be a share in (0, 1] or a Target, got {target}")
