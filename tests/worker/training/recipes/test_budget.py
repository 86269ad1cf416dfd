import pytest

from worker.training.config import GrowthConfig, TuneConfig
from worker.training.recipes.budget import Budget


def _budget(growth: GrowthConfig, *, tune: int = 3, pruned: int = 2) -> Budget:
    return Budget(
        growth=growth, tune=TuneConfig(epochs=tune, pruned_epochs=pruned), images=10, measured=4
    )


def test_a_run_has_the_epochs_of_its_rounds_and_of_its_tuning() -> None:
    assert _budget(GrowthConfig(round_epochs=4, max_rounds=3)).epochs == 17
    assert _budget(GrowthConfig(round_epochs=4, max_rounds=3, max_epochs=6)).epochs == 11


def test_a_round_that_the_cap_on_epochs_ends_early_is_that_short() -> None:
    assert _budget(GrowthConfig(round_epochs=4, max_rounds=3, max_epochs=6)).round_epochs == 4
    assert _budget(GrowthConfig(round_epochs=10, max_epochs=3)).round_epochs == 3


def test_a_training_step_costs_three_forward_passes_an_image() -> None:
    assert _budget(GrowthConfig()).training_macs(100, 2) == 3 * 100 * 10 * 2


def test_growth_ends_while_the_tuning_can_still_be_paid_for() -> None:
    budget = _budget(GrowthConfig(max_training_macs=30 * 100 * 7 + 800))
    assert budget.refusal(epochs=1, macs=100, spent=30 * 100) is None
    assert "max_training_macs" in (budget.refusal(epochs=2, macs=100, spent=30 * 200) or "")


def test_epochs_and_seconds_end_growth() -> None:
    budget = _budget(GrowthConfig(max_epochs=5, max_seconds=9.0))
    assert budget.refusal(epochs=4, macs=1, spent=0) is None
    assert "max_epochs" in (budget.refusal(epochs=5, macs=1, spent=0) or "")
    assert budget.late(8.9) is None
    assert "max_seconds" in (budget.late(9.0) or "")


@pytest.mark.parametrize(("cap", "expected"), [(None, 90), (50, 50), (200, 90)])
def test_a_wider_network_must_be_affordable_for_a_round_and_the_tuning(
    cap: int | None, expected: int
) -> None:
    growth = GrowthConfig(
        round_epochs=5, max_rounds=9, max_macs=cap, max_training_macs=(30 * 10 + 8) * 90 + 7
    )
    assert _budget(growth).affordable_macs(epochs=5, spent=7) == expected


def test_without_caps_any_width_is_affordable() -> None:
    assert _budget(GrowthConfig()).affordable_macs(epochs=5, spent=7) is None
