"""How a network is grown: every setting with its meaning, range and one default."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    """The settings of a growth."""

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
    """Greatest number of parameters."""
    max_macs: int | None = None
    """Greatest number of multiply-accumulates of one input."""
    exclude: tuple[str, ...] = ()
    """Groups, by name or in the way of a shell, that neither grow nor lose filters."""
    tune_epochs: int = 20
    """Epochs of tuning of the grown network, and of what its support left of it, 0 or more."""
    lr: float = 0.05
    """Learning rate of the rounds, above 0; in tuning it falls to zero along a cosine."""
    kappa: float = 1.0
    """Above 0. Source: docs/method.md, "Update"."""
    mu: float | None = None
    """Above 0; None solves for it, so that a round suits its steps, see `twins.round_mu`."""
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
