from typing import Any

import pytest
import torch
from torch import nn

from slbi.optim.named import NamedSLBI


def parameters() -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(shape)) for shape in [(3, 2, 1, 1), (3,), (2, 3), (4, 2, 3)]]


NAMES = ["conv.weight", "conv.bias", "fc.weight", "line.weight"]


def named() -> NamedSLBI:
    optimizer = NamedSLBI(parameters(), lr=0.1)
    optimizer.assign_name(NAMES)
    return optimizer


def test_names_follow_the_order_over_all_groups() -> None:
    tensors = parameters()
    groups: list[dict[str, Any]] = [{"params": tensors[:2], "lr": 0.2}, {"params": tensors[2:]}]
    optimizer = NamedSLBI(groups, lr=0.1)
    optimizer.assign_name(NAMES)
    pairs = zip(optimizer.named().items(), NAMES, tensors, strict=True)
    assert all(found == name and one is other for (found, one), name, other in pairs)
    assert [group["lr"] for group in optimizer.param_groups] == [0.2, 0.2, 0.1, 0.1]


def test_names_may_come_with_the_parameters() -> None:
    optimizer = NamedSLBI(zip(NAMES, parameters(), strict=True), lr=0.1)
    assert list(optimizer.named()) == NAMES


def test_matrices_have_twins_by_entry_and_higher_ranks_by_filter() -> None:
    optimizer = named()
    optimizer.initialize_slbi(["conv.weight", "fc.weight", "line.weight"])
    assert list(optimizer.twins("filter")) == ["conv.weight", "line.weight"]
    assert list(optimizer.twins("element")) == ["fc.weight"]
    assert optimizer.chosen(optimizer.twin("conv.weight")).shape == (3, 1, 1, 1)


def test_without_a_list_nothing_has_a_twin() -> None:
    optimizer = named()
    optimizer.initialize_slbi()
    assert optimizer.twins() == {}


def test_a_scheduler_made_before_the_twins_still_sets_every_rate() -> None:
    optimizer = NamedSLBI(parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.1)
    optimizer.assign_name(NAMES)
    optimizer.initialize_slbi(["fc.weight"])
    optimizer.step()
    schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1] * 4)


def test_a_wrong_name_is_named_and_nothing_changes() -> None:
    optimizer = named()
    with pytest.raises(ValueError, match=r"one of conv\.weight, .*, got 'conv'"):
        optimizer.initialize_slbi(["fc.weight", "conv"])
    with pytest.raises(ValueError, match=r"got parameter 'conv\.bias' of .* shape \(3,\)"):
        optimizer.initialize_slbi(["fc.weight", "conv.bias"])
    with pytest.raises(ValueError, match=r"list of names, got the one string 'fc\.weight'"):
        optimizer.initialize_slbi("fc.weight")
    assert optimizer.twins() == {}


def test_names_that_do_not_fit_are_refused() -> None:
    optimizer = NamedSLBI(parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"names must be 4, one a parameter, got 1"):
        optimizer.assign_name(["a"])
    with pytest.raises(ValueError, match=r"names must differ, got 'a' twice"):
        optimizer.assign_name(["a", "b", "a", "c"])
    with pytest.raises(ValueError, match=r"must have names \(assign_name\), got none"):
        optimizer.named()
