from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from slbi.nets.backbone import Backbone
from slbi.pruning.mask import masked

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
