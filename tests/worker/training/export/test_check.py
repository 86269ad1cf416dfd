"""A file that predicts something else than its network is never handed over."""

import pytest
import torch
from torch import Tensor, nn

from worker.training.export.check import check_difference, largest_difference

NET = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval()
IMAGES = torch.randn(9, 1, 2, 2, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_the_difference_is_the_largest_of_a_logit_relative_to_the_largest_logit() -> None:
    def off(images: Tensor) -> Tensor:
        logits: Tensor = NET(images).clone()
        logits[-1, 1] += logits.abs().max() / 4
        return logits

    assert largest_difference(NET, NET, IMAGES) == 0
    assert largest_difference(off, NET, IMAGES) == pytest.approx(0.25, abs=1e-6)


@torch.no_grad()
def test_one_image_and_several_are_both_tried() -> None:
    def only(*counts: int) -> float:
        return largest_difference(lambda x: NET(x) + (len(x) not in counts), NET, IMAGES)

    assert only(1, 7) == 0
    assert only(1) > 0
    assert only(7) > 0


@torch.no_grad()
def test_logits_of_another_shape_differ_without_end() -> None:
    assert largest_difference(lambda x: NET(x)[:1], NET, IMAGES) == float("inf")


@pytest.mark.parametrize("difference", [1.01e-4, float("inf"), float("nan")])
def test_what_differs_by_more_than_the_tolerance_is_refused(difference: float) -> None:
    with pytest.raises(ValueError, match=r"model\.onnx must predict what the network predicts"):
        check_difference("model.onnx", difference)


def test_what_differs_by_no_more_is_not() -> None:
    check_difference("model.onnx", 1e-4)
