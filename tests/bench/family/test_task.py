import pytest
import torch

from bench.family.data import images
from bench.family.networks import Standard
from bench.family.task import Run, Task


def task() -> Task:
    return Task(
        standard=Standard("small-vgg", 1, 8, 10),
        images=300,
        data=images("digits"),
        compute=100,
        seed=0,
    )


def test_a_member_above_its_budget_is_refused() -> None:
    asked = task()
    standard = asked.standard
    net = standard.fresh(standard.widths, torch.Generator().manual_seed(0))
    run = Run(asked)
    run.ledger.pay(40)
    made = run.made(1.0, standard.macs, net, standard.shape)
    assert (made.budget, made.spent) == (1.0, 40)
    with pytest.raises(ValueError, match=f"at most {standard.macs - 1}, got {standard.macs}"):
        run.made(1.0, standard.macs - 1, net, standard.shape)


def test_limits_are_shares_of_the_standard_network_rounded_down() -> None:
    asked = task()
    assert asked.limits == tuple(
        int(share * asked.standard.macs) for share in (0.02, 0.05, 0.12, 0.25, 0.5)
    )
