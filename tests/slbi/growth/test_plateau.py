import pytest

from slbi.growth.plateau import better, stalled


def test_losses_that_fall_do_not_stall_and_those_that_stay_or_rise_do() -> None:
    assert not stalled([1.0, 0.9, 0.8, 0.7], 1)
    assert stalled([1.0, 1.0], 1)
    assert stalled([1.0, 0.7, 0.8, 0.9], 2)
    assert not stalled([1.0, 0.7, 0.8, 0.9], 3)


@pytest.mark.parametrize("patience", [1, 3])
def test_no_more_losses_than_the_patience_never_stall(patience: int) -> None:
    assert not stalled([1.0] * patience, patience)
    assert stalled([1.0] * (patience + 1), patience)


def test_small_steps_count_together_over_the_patience() -> None:
    falling = [0.996**epoch for epoch in range(5)]
    assert stalled(falling, 1)
    assert not stalled(falling, 4)


def test_better_is_by_more_than_a_share() -> None:
    assert better(0.98, 1.0)
    assert not better(0.995, 1.0)
    assert better(0.995, 1.0, least=0.001)


def test_a_loss_that_is_no_number_is_not_better() -> None:
    assert stalled([1.0, float("nan")], 1)


def test_patience_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="patience must be >= 1, got 0"):
        stalled([1.0, 0.5], 0)
