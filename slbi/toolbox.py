"""The calls of the public reference's toolbox, over the functions of this package.

docs/migrating.md names for each call the function behind it, which new code had better use.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT, StateDict

from slbi.growth.reinitialise import reinitialise, worst
from slbi.optim.freeze import frozen
from slbi.optim.named import NamedSLBI, find, listed
from slbi.pruning.by_order import masks_by_order, own_bias, prune_threshold
from slbi.pruning.extract import best_part, best_with_readers, next_weight
from slbi.pruning.originals import Originals
from slbi.structure.channels import channels
from slbi.structure.norms import residue, row_norms
from slbi.structure.ranking import Ranking
from slbi.structure.support import fill, w_star


class Toolbox(NamedSLBI):
    """SLBI with what the reference's toolbox does, under the names that it has there.

    Args:
        params: tensors, (name, tensor) pairs or groups, as for every torch optimizer.
        lr: learning rate, 0 or more.
        kappa: above 0.
        mu: above 0.
        weight_decay: 0 or more; tensors of rank 1 are not decayed, whatever their name.
        momentum: in [0, 1).
        dampening: in [0, 1].
        ordering: what pruning goes by, see `Ranking`.

    Raises:
        ValueError: an argument is outside its range.
    """

    def __init__(  # noqa: PLR0917 -- the order of the reference
        self,
        params: ParamsT,
        lr: float,
        kappa: float = 1.0,
        mu: float = 100.0,
        weight_decay: float = 0.0,
        momentum: float = 0.9,
        dampening: float = 0.0,
        *,
        ordering: Literal["mixed", "lexicographic"] = "mixed",
    ) -> None:
        super().__init__(params, lr, kappa, mu, momentum, weight_decay, dampening)
        self._ranking = Ranking(ordering)
        self._originals = Originals()

    def step_with_freeze(
        self, freeze: bool = True, closure: Callable[[], float] | None = None
    ) -> float | None:
        """Step; if `freeze`, filters in the support keep W and Z. See `frozen`."""
        with frozen(self, self.twins("filter").values() if freeze else ()):
            return self.step() if closure is None else self.step(closure)

    def update_prune_order(self, epoch: int) -> None:
        """Write down what entered the support, and score every weight. See `Ranking`."""
        twins = self.twins()
        self._ranking.update(epoch, twins, {name: self.support(w) for name, w in twins.items()})

    def prune_order(self, layer_name: str) -> Tensor:
        """Return the scores of the last update: (O,) of filters, or of a matrix's shape."""
        self.twin(layer_name)
        return self._ranking.scores(layer_name)

    def entry(self, layer_name: str) -> Tensor:
        """Return the entry epochs as of the last update. See `EntryOrder.entry`."""
        return self._ranking.entry(layer_name)

    def cal_prune_thre(self, percent: float, layer_name: str) -> float:
        """Return the score at which `percent` of a weight would go. See `prune_threshold`."""
        return prune_threshold(self.prune_order(layer_name), percent)

    def prune_layer_by_order_by_name(
        self, percent: float, layer_name: str, prune_bias: bool = False
    ) -> None:
        """Set the lowest `percent` of one weight to zero, in place. See `masks_by_order`."""
        self.prune_layer_by_order_by_list(percent, [layer_name], prune_bias)

    def prune_layer_by_order_by_list(
        self, percent: float, layer_name: Sequence[str], prune_bias: bool = False
    ) -> None:
        """Set the lowest `percent` of each weight to zero, in place. See `masks_by_order`."""
        scores = {name: self.prune_order(name) for name in listed(layer_name)}
        masks = masks_by_order(self.named(), scores, percent, bias=prune_bias)
        self._originals.zero_outside(self.named(), masks)

    def use_w_star(self) -> None:
        """Set to zero, in place, what is outside the support."""
        supports = {name: self.chosen(weight) for name, weight in self.twins().items()}
        self._originals.zero_outside(self.named(), supports)

    def recover(self) -> None:
        """Give back, in place and once, what pruning and `use_w_star` took. See `Originals`."""
        self._originals.recover(self.named())

    def calculate_w_star_by_layer(self, layer_name: str) -> Tensor:
        """Return W on the support. See `w_star`."""
        weight = self.twin(layer_name)
        return w_star(weight, self.gamma(weight), self.structure(weight))

    def calculate_all_w_star(self) -> dict[str, Tensor]:
        """Return W on the support for every weight that has a twin."""
        return {name: self.calculate_w_star_by_layer(name) for name in self.twins()}

    def calculate_proportion(self, layer_name: str) -> float:
        """Return the share of filters, or of a matrix's entries, in the support. See `fill`."""
        weight = self.twin(layer_name)
        return fill(self.gamma(weight), self.structure(weight))

    def calculate_norm(self, layer_name: str) -> Tensor:
        """Return the norm of each slice along axis 0 of any parameter. See `row_norms`."""
        return row_norms(find(self.named(), layer_name))

    def calculate_layer_residue(self, layer_name: str) -> float:
        """Return how far a weight is from its twin. See `residue`."""
        weight = self.twin(layer_name)
        return residue(weight, self.gamma(weight), self.mu(layer_name))

    def calculate_all_residue(self) -> float:
        """Return the sum of `calculate_layer_residue` over all weights that have a twin."""
        return sum(self.calculate_layer_residue(name) for name in self.twins())

    def extract_layer_weights(self, layer_name: str, number_select: int) -> Tensor:
        """Return the best filters, or a matrix's best columns, best first. See `best_part`."""
        return best_part(self.twin(layer_name), self.prune_order(layer_name), number_select)

    def extract_conv_and_fc_weights(
        self, layer_name: str, number_select: int, reader: str | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the best filters and the columns that read them. See `best_with_readers`.

        `reader` names the weight that reads them; None is the next one of rank 2 or more.
        """
        reads = find(self.named(), reader or next_weight(self.named(), layer_name))
        scores = self.prune_order(layer_name)
        return best_with_readers(self.twin(layer_name), reads, scores, number_select)

    def reinitialize(
        self,
        layer_list: Sequence[str],
        percent: float,
        reinitialize_threshold: float,
        generator: torch.Generator | None = None,
    ) -> None:
        """Start the worst filters of layers fuller than a threshold afresh. See `reinitialise`."""
        for name in listed(layer_list):
            weight, proportion = self.twin(name), self.calculate_proportion(name)
            if self.structure(weight) == "filter" and proportion > reinitialize_threshold:
                rows = worst(self.prune_order(name), percent)
                bias = self.named().get(own_bias(name))
                reinitialise(self, weight, rows, bias=bias, generator=generator)
                self._ranking.forget(name, weight, rows)

    def generate_dict(self) -> dict[str, int]:
        """Return "layer.in" and "layer.out" of every layer. See `channels`."""
        return channels(self.named())

    def get_size(self, layer_name: str) -> torch.Size:
        """Return the shape of a parameter."""
        return find(self.named(), layer_name).shape

    def print_network(self) -> None:
        """Print every parameter's name and shape."""
        for name, parameter in self.named().items():
            print(name, tuple(parameter.shape))  # noqa: T201 -- what it is for

    def state_dict(self) -> StateDict:
        """Return what SLBI does, and the entry order with its scores; never the originals."""
        return {**super().state_dict(), "ranking": self._ranking.state_dict()}

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Take over what `state_dict` returned, and forget the originals.

        Raises:
            ValueError: it is another optimizer's; else as SLBI; nothing is then changed.
        """
        if "ranking" not in state_dict:
            raise ValueError(
                "state_dict must be a Toolbox's and hold 'ranking' (for files of the reference see "
                f"slbi.convert), got {', '.join(state_dict)}"
            )
        super().load_state_dict(state_dict)
        self._ranking.load_state_dict(state_dict["ranking"])
        self._originals.forget()

    def __getstate__(self) -> dict[str, Any]:
        # torch's own leaves out what it does not know, and a copy would lack it.
        mine = {"_ranking": self._ranking, "_originals": self._originals}
        return {**super().__getstate__(), **mine}


SLBI_ToolBox = Toolbox
"""The name of the reference."""
