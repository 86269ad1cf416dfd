import pytest

from bench.family.ledger import MEASURED, Ledger, ending, learned, steps


def test_learning_from_an_image_costs_three_forward_passes() -> None:
    assert learned(7, 4) == 84


def test_an_account_keeps_what_is_left() -> None:
    ledger = Ledger(100)
    ledger.pay(30)
    assert (ledger.spent, ledger.left) == (30, 70)
    ledger.pay(70)
    assert ledger.left == 0


@pytest.mark.parametrize("macs", [71, -1])
def test_an_account_cannot_be_overdrawn_or_filled(macs: int) -> None:
    ledger = Ledger(100)
    ledger.pay(30)
    with pytest.raises(ValueError, match=r"in \[0, 70\]"):
        ledger.pay(macs)
    assert ledger.spent == 30


def test_steps_are_those_that_are_paid_for_whole() -> None:
    assert steps(learned(7, 4) * 5 - 1, 7, 4) == 4
    assert steps(learned(7, 4) * 5, 7, 4) == 5
    assert steps(-1, 7, 4) == 0


@pytest.mark.parametrize(
    ("number", "taken", "batches"),
    [(0, 0, 0), (1, 1, 0), (2, 1, 1), (7, 6, 3), (20, 18, 4), (35, 33, 5), (1000, 994, 16)],
)
def test_the_last_of_a_training_pays_for_measuring(number: int, taken: int, batches: int) -> None:
    assert ending(number) == (taken, batches)
    assert 3 * taken + batches <= 3 * number
    assert batches <= min(MEASURED, 3 * number / 6)


def test_an_empty_account_is_refused() -> None:
    with pytest.raises(ValueError, match="limit must be >= 1"):
        Ledger(0)
