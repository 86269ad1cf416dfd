from typing import get_args

import pytest
import torch
from torch import Tensor

from slbi.structure.order import NEVER, prune_rank, prune_score
from slbi.structure.ranking import Criterion, Ranking

WEIGHTS = {"conv": torch.tensor([[3.0], [0.5], [2.0]]), "fc": torch.tensor([[-1.0, 0.2]])}
SUPPORTS = {"conv": torch.tensor([False, True, False]), "fc": torch.tensor([[True, False]])}


def ranked(criterion: Criterion = "mixed") -> Ranking:
    ranking = Ranking(criterion)
    ranking.update(4, WEIGHTS, SUPPORTS)
    return ranking


def test_filters_are_scored_by_their_norm_and_entries_by_their_size() -> None:
    for criterion, score in zip(get_args(Criterion), (prune_score, prune_rank), strict=True):
        ranking = ranked(criterion)
        entry = torch.tensor([NEVER, 4, NEVER])
        assert torch.equal(ranking.scores("conv"), score(WEIGHTS["conv"].flatten(), entry))
        assert torch.equal(ranking.scores("fc"), score(WEIGHTS["fc"].abs(), ranking.entry("fc")))


def test_scores_stay_as_they_were_at_the_last_update() -> None:
    weights: dict[str, Tensor] = {name: weight.clone() for name, weight in WEIGHTS.items()}
    ranking = Ranking()
    ranking.update(0, weights, SUPPORTS)
    before = ranking.scores("conv")
    weights["conv"].zero_()
    ranking.scores("conv").zero_()
    assert torch.equal(ranking.scores("conv"), before)


@pytest.mark.parametrize("criterion", get_args(Criterion))
def test_what_is_forgotten_is_first_to_go(criterion: Criterion) -> None:
    ranking = ranked(criterion)
    ranking.forget("conv", WEIGHTS["conv"], torch.tensor([True, False, False]))
    assert ranking.scores("conv").argsort().tolist() == [0, 2, 1]
    assert ranking.entry("conv").tolist() == [NEVER, 4, NEVER]


def test_a_ranking_continues_from_its_saved_state() -> None:
    ranking, resumed = ranked(), Ranking()
    resumed.load_state_dict(ranking.state_dict())
    for name in WEIGHTS:
        assert torch.equal(resumed.scores(name), ranking.scores(name))
        assert torch.equal(resumed.entry(name), ranking.entry(name))


def test_an_unknown_criterion_or_name_is_refused() -> None:
    with pytest.raises(
        ValueError, match="ordering must be one of mixed, lexicographic, got 'norm'"
    ):
        ranked("norm")  # type: ignore[arg-type] # what a caller without types may do
    with pytest.raises(ValueError, match=r"has an order yet \(conv, fc\), got 'con'"):
        ranked().scores("con")
