from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from slbi.nets.backbone import Backbone
from slbi.pruning.hold import Hold
from slbi.pruning.mask import filter_masks, masked

Trained = Callable[..., Any]


def _keep(width: int) -> Tensor:
    mask = torch.ones(width, dtype=torch.bool)
    mask[::2] = False
    return mask


def _emitted(net: Backbone, module: str, images: Tensor) -> Tensor:
    """Return what a module puts out for some images."""
    out: list[Tensor] = []
    hook = net.get_submodule(module).register_forward_hook(lambda _m, _i, o: out.append(o))
    with torch.no_grad():
        net(images)
    hook.remove()
    return out[0]


def test_rows_and_biases_go_to_zero_and_nothing_else_moves(trained: Trained) -> None:
    net, _, _ = trained("lenet5")
    result = masked(net, {"conv2": _keep(16)})
    for name, tensor in net.state_dict().items():
        expected = tensor.clone()
        if name.startswith("conv2."):
            expected[::2] = 0
        assert torch.equal(result.state_dict()[name], expected), name


def test_every_producer_of_a_stream_is_masked(trained: Trained) -> None:
    net, _, _ = trained("resnet20")
    result = masked(net, {"stage1": _keep(16)})
    for name in net.coupling().group("stage1").tensors("producer"):
        weight = result.get_parameter(name)
        assert not weight[::2].any()
        assert torch.equal(weight[1::2], net.get_parameter(name)[1::2])


def test_a_masked_filter_emits_a_constant_unless_silent(trained: Trained) -> None:
    net, _, images = trained("vgg11")
    net.eval()
    keep = {"conv2": _keep(12)}
    emitted = _emitted(masked(net, keep), "features.conv2", images)[:, ::2]
    assert emitted.any()
    assert torch.equal(emitted, emitted[:1, :, :1, :1].expand_as(emitted))
    assert not _emitted(masked(net, keep, silent=True), "features.conv2", images)[:, ::2].any()


def test_the_network_given_is_left_as_it_was(trained: Trained) -> None:
    net, _, _ = trained("flat")
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    masked(net, {"conv": _keep(8), "fc": _keep(9)}, silent=True)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_masks_of_filters_free_all_but_every_row_that_the_filter_has(trained: Trained) -> None:
    net, _, _ = trained("resnet20")
    masks = filter_masks(net, {"stage1": _keep(16)})
    group = net.coupling().group("stage1")
    affine = [n for n in group.tensors("norm") if n.endswith((".weight", ".bias"))]
    assert set(masks) == {*group.tensors("producer"), *affine}
    for name, mask in masks.items():
        assert mask.shape == (16, *(1 for _ in net.get_parameter(name).shape[1:]))
        assert torch.equal(mask.flatten(), _keep(16))


def test_held_under_its_masks_a_network_is_the_silent_masked_one(trained: Trained) -> None:
    for name, group in (("lenet5", "conv2"), ("vgg11", "conv3"), ("resnet20", "stage2")):
        net, _, _ = trained(name)
        keep = {group: _keep(net.widths[group])}
        expected = masked(net, keep, silent=True).state_dict()
        Hold(net, filter_masks(net, keep)).apply()
        assert all(torch.equal(net.state_dict()[each], expected[each]) for each in expected)


def test_without_silence_biases_and_norms_are_free(trained: Trained) -> None:
    net, _, _ = trained("lenet5")
    assert set(filter_masks(net, {"conv2": _keep(16)}, silent=False)) == {"conv2.weight"}
    assert set(filter_masks(net, {"conv2": _keep(16)})) == {"conv2.weight", "conv2.bias"}
    kept = masked(net, {"conv2": _keep(16)}, bias=False)
    assert torch.equal(kept.get_parameter("conv2.bias"), net.get_parameter("conv2.bias"))
    assert not kept.get_parameter("conv2.weight")[::2].any()


def test_masks_of_an_empty_group_leave_its_largest_filter(trained: Trained) -> None:
    net, _, _ = trained("lenet5")
    with torch.no_grad():
        net.get_parameter("conv2.weight")[11] *= 10
    mask = filter_masks(net, {"conv2": torch.zeros(16, dtype=torch.bool)})["conv2.bias"]
    assert mask.nonzero().flatten().tolist() == [11]


def test_masks_of_unknown_groups_or_other_shapes_are_refused(trained: Trained) -> None:
    net, _, _ = trained("lenet5")
    with pytest.raises(ValueError, match="got 'conv9'"):
        filter_masks(net, {"conv9": _keep(16)})
    with pytest.raises(ValueError, match="mask of 'conv2' must be bool"):
        filter_masks(net, {"conv2": _keep(15)})
