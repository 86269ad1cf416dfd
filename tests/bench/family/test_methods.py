import pytest
import torch

from bench.family.data import images
from bench.family.methods import METHODS, TITLES
from bench.family.networks import NAMES, Standard
from bench.family.task import Task
from slbi.nets.count import count

COMPUTE = 400_000_000


def test_every_method_has_a_title() -> None:
    assert set(TITLES) == set(METHODS)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_no_method_spends_more_than_its_compute_or_passes_a_budget(method: str) -> None:
    data = images("digits")
    standard = Standard("small-vgg", data.channels, data.size, 10)
    task = Task(
        standard=standard, images=300, data=data, budgets=(0.05, 0.2), compute=COMPUTE, seed=0
    )
    outcome = METHODS[method](task)
    assert [made.budget for made in outcome.members] == [0.05, 0.2]
    for made, limit in zip(outcome.members, task.limits, strict=True):
        assert count(made.net, standard.shape)[1] <= limit
    assert len(outcome.runs) == (2 if "alone" in method else 1)
    assert all(0.7 * COMPUTE < spent <= COMPUTE for spent in outcome.runs)
    assert data.test.reads == 0


def test_a_far_budget_has_a_station_before_it_and_a_near_one_has_none() -> None:
    data = images("digits")
    standard = Standard("small-vgg", data.channels, data.size, 10)
    task = Task(
        standard=standard, images=300, data=data, budgets=(0.02, 0.2), compute=COMPUTE, seed=0
    )
    halted, straight = (METHODS[name](task) for name in ("ours-alone", "ours-alone-straight"))
    alike = [
        all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
        for one, other in (
            (a.net, b.net) for a, b in zip(halted.members, straight.members, strict=True)
        )
    ]
    assert alike == [True, False]


@pytest.mark.parametrize("name", NAMES)
def test_budgets_must_rise(name: str) -> None:
    standard = Standard(name, 1, 8, 10)
    with pytest.raises(ValueError, match="budgets must rise"):
        Task(
            standard=standard,
            images=300,
            data=images("digits"),
            budgets=(0.5, 0.1),
            compute=1,
            seed=0,
        )
