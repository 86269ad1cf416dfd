"""The ranking of filters and entries to prune by: scores of entry epoch and norm, by name."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from torch import Tensor

from slbi.optim.shrink import Structure
from slbi.structure.norms import norms
from slbi.structure.order import EntryOrder, prune_rank, prune_score

Criterion = Literal["mixed", "lexicographic"]
"""How entry epoch and norm make a score: `prune_score`, as in the reference, or `prune_rank`."""


class Ranking:
    """Scores of the filters or entries of each weight as of the last update.

    Args:
        criterion: how epoch and norm make a score.

    Raises:
        ValueError: the criterion is unknown.

    Source: docs/method.md, "Entry order".
    """

    def __init__(self, criterion: Criterion = "mixed") -> None:
        if criterion not in get_args(Criterion):
            known = ", ".join(get_args(Criterion))
            raise ValueError(f"ordering must be one of {known}, got {criterion!r}")
        self._score = prune_score if criterion == "mixed" else prune_rank
        self._order = EntryOrder()
        self._scores: dict[str, Tensor] = {}

    def update(
        self, epoch: int, weights: Mapping[str, Tensor], supports: Mapping[str, Tensor]
    ) -> None:
        """Write down what is in the support for the first time and score anew, in place.

        Args:
            epoch: 0 or more.
            weights: by name.
            supports: name of each weight -> bool, (O,) of its filters, or of its entries.

        Raises:
            ValueError: as `EntryOrder.update`; nothing is then written.
        """
        self._order.update(epoch, supports)
        for name, support in supports.items():
            sizes = norms(weights[name], _structure(support))
            self._scores[name] = self._score(sizes, self._order.entry(name))

    def entry(self, name: str) -> Tensor:
        """Return the entry epochs of one weight, see `EntryOrder.entry`."""
        return self._order.entry(name)

    def scores(self, name: str) -> Tensor:
        """Return the scores of one weight, a copy; the higher, the later pruned.

        Raises:
            ValueError: it has not been scored yet.
        """
        if name not in self._scores:
            known = ", ".join(self._scores) or "none"
            raise ValueError(f"name must be one that has an order yet ({known}), got {name!r}")
        return self._scores[name].clone()

    def forget(self, name: str, weight: Tensor, which: Tensor) -> None:
        """Count filters or entries as never entered again and of no norm, in place.

        Raises:
            ValueError: as `EntryOrder.forget`.
        """
        self._order.forget(name, which)
        sizes = norms(weight, _structure(which)).masked_fill(which.to(weight.device), 0)
        self._scores[name] = self._score(sizes, self._order.entry(name))

    def state_dict(self) -> dict[str, Any]:
        """Return copies of entries and scores."""
        scores = {name: score.clone() for name, score in self._scores.items()}
        return {"entries": self._order.state_dict(), "scores": scores}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over, in place, what `state_dict` returned; copied, not shared."""
        self._order.load_state_dict(state["entries"])
        self._scores = {name: score.clone() for name, score in state["scores"].items()}


def _structure(support: Tensor) -> Structure:
    return "filter" if support.ndim == 1 else "element"
