"""How much a run may still spend: epochs, seconds, multiply-accumulates of training."""

from dataclasses import dataclass

from slbi.course.training import BACKWARD
from worker.training.config import GrowthConfig, TuneConfig

__all__ = ["BACKWARD", "Budget"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """The caps of a run on its effort.

    The cap on training MACs holds for the whole run: growth ends while the tuning that must follow
    can still be paid for. The network that is tuned after slicing costs no more than the grown one.
    """

    growth: GrowthConfig
    tune: TuneConfig
    images: int
    """Images of an epoch."""
    measured: int
    """Images that a sliced network's norms are measured on, one forward pass each."""

    @property
    def round_epochs(self) -> int:
        """Return the epochs of a round, fewer if `max_epochs` ends the first one early."""
        return min(self.growth.round_epochs, self.growth_epochs)

    @property
    def growth_epochs(self) -> int:
        """Return the epochs of all rounds together, at most."""
        epochs = self.growth.round_epochs * self.growth.max_rounds
        cap = self.growth.max_epochs
        return epochs if cap is None else min(epochs, cap)

    @property
    def epochs(self) -> int:
        """Return the epochs of the whole run, at most."""
        return self.growth_epochs + self._tuning

    @property
    def _tuning(self) -> int:
        return self.tune.epochs + self.tune.pruned_epochs

    def refusal(self, *, epochs: int, macs: int, spent: int) -> str | None:
        """Return why no further epoch of growth may begin, None if one may.

        Args:
            epochs: of growth so far.
            macs: of one image through the network as it stands.
            spent: training MACs so far.
        """
        if self.growth.max_epochs is not None and epochs >= self.growth.max_epochs:
            return f"max_epochs: {epochs} epochs of growth are done"
        cap = self.growth.max_training_macs
        if cap is not None:
            needed = spent + macs * self._forwards(1)
            if needed > cap:
                return (
                    f"max_training_macs: {needed} needed with another epoch and the tuning, "
                    f"{cap} allowed"
                )
        return None

    def late(self, elapsed_s: float) -> str | None:
        """Return why no further round may begin after so long, None if one may."""
        cap = self.growth.max_seconds
        if cap is not None and elapsed_s >= cap:
            return f"max_seconds: {elapsed_s:.0f} s have passed, {cap:g} allowed"
        return None

    def training_macs(self, macs: int, epochs: int) -> int:
        """Return the multiply-accumulates of training for some epochs."""
        return BACKWARD * macs * self.images * epochs

    def _forwards(self, epochs: int) -> int:
        """Return the forward passes of some epochs of growth and all that must follow them.

        That is the tuning, and measuring the norms of the round's two members.
        """
        return self.training_macs(1, epochs + self._tuning) + 2 * self.measured

    def affordable_macs(self, *, epochs: int, spent: int) -> int | None:
        """Return the MACs an image that a widened network may have, None for no limit.

        It is `max_macs`, or less if one more round and the tuning would exceed the budget.

        Args:
            epochs: of growth so far.
            spent: training MACs so far.
        """
        caps = [] if self.growth.max_macs is None else [self.growth.max_macs]
        if self.growth.max_training_macs is not None:
            ahead = max(1, min(self.growth.round_epochs, self.growth_epochs - epochs))
            left = max(0, self.growth.max_training_macs - spent)
            caps.append(left // self._forwards(ahead))
        return min(caps) if caps else None
