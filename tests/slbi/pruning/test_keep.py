from collections.abc import Callable
from typing import Any

import pytest
import torch

from slbi.pruning.keep import settled

Trained = Callable[..., Any]


def _none(width: int, *but: int) -> torch.Tensor:
    mask = torch.zeros(width, dtype=torch.bool)
    mask[list(but)] = True
    return mask


def test_a_group_that_is_not_named_is_kept_whole(trained: Trained) -> None:
    net, _, _ = trained("flat")
    stays = settled(net, {"conv": _none(8, 1)})
    assert stays.selected["fc"].all()
    assert stays.positions["conv"].tolist() == _none(8, 1).tolist()
    assert stays.rescued == ()


def test_a_stream_keeps_what_a_kept_filter_is_added_to(trained: Trained) -> None:
    net, _, _ = trained("resnet20")
    keep = {"stage1": _none(16, 2), "stage2": _none(32, 20), "stage3": _none(64, 50)}
    stays = settled(net, keep)
    assert stays.positions["stage1"].nonzero().flatten().tolist() == [2]
    assert stays.positions["stage2"].nonzero().flatten().tolist() == [2, 20]
    assert stays.positions["stage3"].nonzero().flatten().tolist() == [2, 20, 50]
    assert stays.selected["stage3"].nonzero().flatten().tolist() == [50]


def test_the_largest_filter_of_an_empty_group_is_rescued(trained: Trained) -> None:
    net, _, _ = trained("resnet20")
    with torch.no_grad():
        net.get_parameter("stages.stage1.block2.conv2.weight")[5] *= 10
    stays = settled(net, {"stage1": _none(16), "stage1.block1": _none(16)})
    assert stays.rescued == ("stage1", "stage1.block1")
    assert stays.positions["stage1"].nonzero().flatten().tolist() == [5]
    assert stays.selected["stage1"].nonzero().flatten().tolist() == [5]


def test_an_empty_stream_that_is_still_fed_needs_no_rescue(trained: Trained) -> None:
    net, _, _ = trained("resnet20")
    stays = settled(net, {"stage2": _none(32)})
    assert stays.rescued == ()
    assert not stays.selected["stage2"].any()
    assert int(stays.positions["stage2"].sum()) == 16


def test_an_unknown_group_is_refused(trained: Trained) -> None:
    net, _, _ = trained("flat")
    with pytest.raises(ValueError, match="groups to keep must be among conv, fc, got 'stem'"):
        settled(net, {"stem": _none(8)})


@pytest.mark.parametrize("mask", [_none(7), torch.zeros(8), _none(8)[None]])
def test_a_mask_that_does_not_fit_is_refused(trained: Trained, mask: torch.Tensor) -> None:
    net, _, _ = trained("flat")
    with pytest.raises(ValueError, match=r"mask of 'conv' must be bool of shape \(8,\), got"):
        settled(net, {"conv": mask})
