from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from slbi.nets import backbones
from slbi.nets.backbone import Backbone
from slbi.nets.widths import Widths
from slbi.pruning.mask import masked
from slbi.pruning.recalibrate import recalibrate
from slbi.pruning.slice import slice_filters

Trained = Callable[..., Any]

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
"""Largest difference of a logit where the fold is exact. Source: docs/method.md, "Slice"."""


def _drawn(data: st.DataObject, widths: Mapping[str, int]) -> dict[str, Tensor]:
    """Draw which filters of every group are kept: few to nearly all, in a group even none."""
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**32 - 1)))
    share = data.draw(st.sampled_from([0.1, 0.5, 0.9]))
    return {
        group: torch.rand(width, generator=generator) < share for group, width in widths.items()
    }


def _hushed(net: Backbone, keep: Mapping[str, Tensor]) -> None:
    """Give filters that are not kept norms that emit nothing behind a ReLU, in place."""
    state = net.state_dict()
    for group in net.coupling().groups:
        removed = ~keep[group.name]
        for name in group.tensors("norm"):
            if name.endswith(".bias"):
                state[name][removed] = -state[name][removed].abs()
            elif name.endswith(".running_mean"):
                state[name][removed] = state[name][removed].abs()


def _difference(one: Backbone, other: Backbone, images: Tensor) -> float:
    """Return the largest difference of a logit, as a share of the largest one if that is > 1."""
    with torch.no_grad():
        ours, theirs = one(images), other(images)
    return float((ours - theirs).abs().max() / max(1.0, float(theirs.abs().max())))


def _outputs(net: Backbone, module: str, images: Tensor) -> Tensor:
    """Return what a module puts out for some images."""
    out: list[Tensor] = []
    hook = net.get_submodule(module).register_forward_hook(lambda _m, _i, o: out.append(o))
    with torch.no_grad():
        net(images)
    hook.remove()
    return out[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", backbones.names())
@settings(max_examples=3, deadline=None, derandomize=True)
@given(data=st.data())
def test_sliced_equals_masked_where_removed_filters_emit_nothing(
    trained: Trained, name: str, dtype: torch.dtype, data: st.DataObject
) -> None:
    groups = backbones.groups(name, 28)
    widths = data.draw(st.fixed_dictionaries({group: st.integers(8, 11) for group in groups}))
    net, _, images = trained(name, Widths(widths), dtype=dtype)
    net.eval()
    keep = _drawn(data, widths)
    _hushed(net, keep)
    sliced = slice_filters(net, None, keep)
    assert sliced.exact
    assert sum(sliced.net.widths.values()) < sum(widths.values())
    assert _difference(sliced.net, masked(net, keep), images) <= TOLERANCE[dtype]
    assert sum(p.numel() for p in sliced.net.parameters()) == net.cost(sliced.net.widths)[0]


@settings(max_examples=20, deadline=None, derandomize=True)
@given(data=st.data())
def test_constants_behind_a_flatten_are_folded_exactly(
    trained: Trained, data: st.DataObject
) -> None:
    net, _, images = trained("flat")
    net.eval()
    sliced = slice_filters(net, None, keep := _drawn(data, net.widths))
    assert sliced.exact
    assert _difference(sliced.net, masked(net, keep), images) <= 1e-12


@pytest.mark.parametrize(("name", "group"), [("vgg11", "conv8"), ("resnet20", "stage3")])
def test_constants_behind_the_last_map_are_folded_into_the_classifier(
    trained: Trained, name: str, group: str
) -> None:
    net, _, images = trained(name, size=32)
    net.eval()
    keep = torch.arange(net.widths[group]) % 3 == 0
    if name == "resnet20":
        keep[:32] = True  # Stage 2 is added there.
        for reader in net.coupling().group(group).tensors("reader"):
            if reader != "classifier.weight":  # Its blocks pad the stream: leave them nothing.
                with torch.no_grad():
                    net.get_parameter(reader)[:, ~keep] = 0
    sliced = slice_filters(net, None, {group: keep})
    whole = masked(net, {group: keep})
    bias = sliced.net.get_parameter("classifier.bias")
    assert not torch.allclose(bias, net.get_parameter("classifier.bias"), atol=1e-3)
    assert sliced.exact
    assert _difference(sliced.net, whole, images) <= 1e-12


def test_constants_on_a_map_of_one_pixel_are_folded_into_the_norm_behind(trained: Trained) -> None:
    net, _, images = trained("vgg11")  # 8 px: one pixel from conv5 on
    net.eval()
    keep = {"conv6": torch.arange(12) % 2 == 0}
    sliced = slice_filters(net, None, keep)
    mean = "features.conv7.norm.running_mean"
    assert not torch.allclose(sliced.net.get_buffer(mean), net.get_buffer(mean), atol=1e-3)
    assert sliced.exact
    assert _difference(sliced.net, masked(net, keep), images) <= 1e-12


def test_a_constant_on_a_route_is_folded_into_the_shift_it_meets(trained: Trained) -> None:
    net, _, images = trained("resnet20")
    net.eval()
    keep = torch.ones(16, dtype=torch.bool)
    keep[[1, 4]] = False
    with torch.no_grad():  # Only the route sees the stream's filters 1 and 4.
        for reader in net.coupling().group("stage1").tensors("reader"):
            net.get_parameter(reader)[:, ~keep] = 0
        net.get_parameter("stages.stage1.block3.norm2.bias")[~keep] = 5.0
    sliced = slice_filters(net, None, {"stage1": keep})
    shift = "stages.stage2.block1.norm2.bias"
    moved = sliced.net.get_parameter(shift) - net.get_parameter(shift)
    assert (moved[[1, 4]] > 1).all()
    assert moved.count_nonzero() == 2
    assert sliced.exact
    assert _difference(sliced.net, masked(net, {"stage1": keep}), images) <= 1e-12


@pytest.mark.parametrize(
    ("name", "group", "norm"),
    [
        ("vgg11", "conv2", "features.conv3.norm"),
        ("resnet20", "stage1.block2", "stages.stage1.block2.norm2"),
    ],
)
def test_a_constant_before_a_padded_reader_asks_for_recalibration(
    trained: Trained, name: str, group: str, norm: str
) -> None:
    net, _, images = trained(name)
    net.eval()
    keep = {group: torch.arange(net.widths[group]) % 2 == 0}
    sliced = slice_filters(net, None, keep)
    assert not sliced.exact
    assert sliced.inexact == (group,)
    whole = masked(net, keep)
    assert _difference(sliced.net, whole, images) > 1e-6
    # At the norm behind the reader, the fold of the mean is nearer than no fold at all.
    bare = slice_filters(masked(net, keep, silent=True), None, keep)
    assert bare.exact
    folded, unfolded, wanted = (_outputs(n, norm, images) for n in (sliced.net, bare.net, whole))
    assert (folded - wanted).norm() < (unfolded - wanted).norm()
    # What recalibration is for: the statistics fit the network that is left.
    recalibrate(sliced.net, [images])
    again = {name: buffer.clone() for name, buffer in sliced.net.named_buffers()}
    sliced.net.train()(images)
    for buffer, value in sliced.net.named_buffers():
        if "running" in buffer:
            torch.testing.assert_close(value, again[buffer], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["sgd", "adamw", "slbi"])
def test_state_of_kept_filters_travels(trained: Trained, kind: str) -> None:
    net, optimizer, images = trained("resnet20", optimizer=kind)
    picked = torch.tensor([1, 5, 6])
    keep = {"stage2.block1": torch.zeros(32, dtype=torch.bool).index_fill(0, picked, value=True)}
    sliced = slice_filters(net, optimizer, keep)
    assert type(sliced.optimizer) is type(optimizer)
    rows, columns = (f"stages.stage2.block1.conv{i}.weight" for i in (1, 2))
    for key, value in optimizer.state[net.get_parameter(rows)].items():
        moved = sliced.optimizer.state[sliced.net.get_parameter(rows)][key]
        assert torch.equal(moved, value[picked] if value.ndim else value)
    for key, value in optimizer.state[net.get_parameter(columns)].items():
        moved = sliced.optimizer.state[sliced.net.get_parameter(columns)][key]
        assert torch.equal(moved, value[:, picked] if value.ndim else value)
    assert sliced.kept["stage2.block1"].tolist() == picked.tolist()
    sliced.net(images).sum().backward()
    sliced.optimizer.step()


def test_the_pair_given_is_left_as_it_was(trained: Trained) -> None:
    net, optimizer, _ = trained("vgg11")
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    slice_filters(net, optimizer, {"conv2": torch.arange(12) < 3})
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert optimizer.param_groups[0]["params"] == list(net.parameters())


def test_a_group_never_becomes_empty(trained: Trained) -> None:
    net, _, images = trained("vgg11")
    nothing = {group: torch.zeros(12, dtype=torch.bool) for group in net.widths}
    sliced = slice_filters(net, None, nothing)
    assert set(sliced.net.widths.values()) == {1}
    assert sliced.rescued == tuple(net.widths)
    assert sliced.net.eval()(images).shape == (8, 5)


def test_slicing_what_widening_added_gives_the_old_network_back(trained: Trained) -> None:
    from slbi.growth.widen import widen  # noqa: PLC0415 -- the one place where both rooms meet

    net, optimizer, images = trained("resnet20")
    net.eval()
    after = Widths({group: width + 4 for group, width in net.widths.items()})
    wider, carried = widen(net, optimizer, after, generator=torch.Generator().manual_seed(0))
    keep = {group: torch.arange(after[group]) < width for group, width in net.widths.items()}
    sliced = slice_filters(wider, carried, keep)
    assert sliced.net.widths == net.widths
    for name, tensor in net.state_dict().items():
        if not name.endswith(("running_mean", ".bias")):
            assert torch.equal(sliced.net.state_dict()[name], tensor), name
    assert _difference(sliced.net, net, images) <= 1e-12


def test_a_bias_that_stays_is_taken_up_by_what_reads_it(trained: Trained) -> None:
    net, _, images = trained("lenet5")
    keep = {"conv3": torch.arange(120) % 7 > 0, "fc1": torch.arange(84) % 5 > 0}
    with torch.no_grad():
        net.get_parameter("conv3.bias").fill_(0.3)
    sliced = slice_filters(net, None, keep, bias=False)
    whole = masked(net, keep, bias=False)
    assert sliced.exact
    torch.testing.assert_close(sliced.net(images), whole(images), rtol=0, atol=1e-12)
    assert not torch.allclose(whole(images), masked(net, keep)(images))
