from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy

from slbi.growth.plan import plan
from slbi.growth.rule import due
from slbi.growth.seed import OrthogonalSeed
from slbi.growth.widen import restart, widen
from slbi.nets import backbones
from slbi.nets.backbone import Backbone
from slbi.nets.widths import Widths
from slbi.optim.optimizer import SLBI

Trained = Callable[..., Any]

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
"""Largest change of a logit. Source: docs/method.md, "Growth"."""


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def _wider(data: st.DataObject, name: str) -> tuple[Widths, Widths]:
    """Draw widths and growth of at least one group."""
    groups = backbones.groups(name, 28)
    before = data.draw(st.fixed_dictionaries({group: st.integers(8, 12) for group in groups}))
    added = data.draw(st.fixed_dictionaries({group: st.integers(0, 7) for group in groups}))
    added[data.draw(st.sampled_from(groups))] += 1
    return Widths(before), Widths({group: before[group] + added[group] for group in groups})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", backbones.names())
@settings(max_examples=3, deadline=None, derandomize=True)
@given(data=st.data())
def test_widening_leaves_the_output_unchanged(
    trained: Trained, name: str, dtype: torch.dtype, data: st.DataObject
) -> None:
    before, after = _wider(data, name)
    net, optimizer, images = trained(name, before, dtype=dtype)
    wider, _ = widen(net, optimizer, after, generator=_generator())
    assert wider.widths == after
    assert {parameter.dtype for parameter in wider.parameters()} == {dtype}
    for training in (False, True):
        net.train(training)
        wider.train(training)
        with torch.no_grad():
            change = (net(images) - wider(images)).abs().max()
        assert change <= TOLERANCE[dtype]
    # The pass in training mode has moved the statistics of old filters alike.
    for buffer, old in net.named_buffers():
        if "running" in buffer:
            moved = wider.get_buffer(buffer)[: len(old)]
            torch.testing.assert_close(moved, old, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["sgd", "adamw", "slbi"])
@pytest.mark.parametrize("name", ["lenet5", "vgg11", "resnet20", "flat"])
def test_the_next_step_moves_old_filters_as_it_would_have(
    trained: Trained, name: str, kind: str
) -> None:
    net, optimizer, images = trained(name, optimizer=kind)
    after = Widths({group: width + 3 for group, width in net.widths.items()})
    wider, carried = widen(net, optimizer, after, generator=_generator())
    labels = torch.arange(8) % 5
    for model, driver in ((net, optimizer), (wider, carried)):
        driver.zero_grad()
        cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call] # torch's own
        driver.step()
    for parameter, old in net.named_parameters():
        moved = _corner(wider, parameter, net)
        torch.testing.assert_close(moved, old.detach(), rtol=1e-9, atol=1e-10)


def _corner(wider: Backbone, parameter: str, net: Backbone) -> Tensor:
    """Return the entries of a widened weight that are old; they lead along every axis."""
    index = tuple(slice(length) for length in net.get_parameter(parameter).shape)
    corner: Tensor = wider.get_parameter(parameter).detach()[index]
    return corner


@pytest.mark.parametrize("name", backbones.names())
def test_nothing_reads_a_new_filter_and_its_norm_is_neutral(trained: Trained, name: str) -> None:
    before = Widths(dict.fromkeys(backbones.groups(name, 28), 8))
    net, optimizer, _ = trained(name, before)
    after = Widths(dict.fromkeys(before, 11))
    wider, _ = widen(net, optimizer, after, generator=_generator())
    state = wider.state_dict()
    neutral = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
    for group in wider.coupling().groups:
        for tie in group.ties:
            new = state[tie.tensor].movedim(tie.axis, 0)[8:]
            if tie.role == "reader":
                assert not new.any(), tie.tensor
            elif tie.role == "norm":
                assert (new == neutral[tie.tensor.rpartition(".")[2]]).all(), tie.tensor
            elif new.ndim > 1:
                assert new.flatten(1).any(dim=1).all(), tie.tensor
            else:
                assert not new.any(), tie.tensor


@pytest.mark.parametrize("kind", ["sgd", "adamw", "slbi"])
def test_state_travels_and_is_zero_for_new_filters(trained: Trained, kind: str) -> None:
    net, optimizer, _ = trained("resnet20", optimizer=kind)
    after = net.widths.replaced({"stage1": 20, "stage2.block2": 40})
    wider, carried = widen(net, optimizer, after, generator=_generator())
    assert type(carried) is type(optimizer)
    seen = 0
    for name, old in net.named_parameters():
        new = wider.get_parameter(name)
        assert carried.state[new].keys() == optimizer.state[old].keys()
        for key, value in optimizer.state[old].items():
            moved = carried.state[new][key]
            if value.ndim == 0:
                assert torch.equal(moved, value)
                continue
            assert moved.shape == new.shape
            index = tuple(slice(length) for length in value.shape)
            assert torch.equal(moved[index], value)
            assert moved.count_nonzero() == value.count_nonzero()
            seen += 1
    assert seen >= len(list(net.parameters()))


def test_the_support_of_old_filters_survives(trained: Trained) -> None:
    net, optimizer, _ = trained("vgg11", optimizer="slbi", steps=20)
    assert isinstance(optimizer, SLBI)
    after = net.widths.replaced({"conv2": net.widths["conv2"] + 8})
    wider, carried = widen(net, optimizer, after, generator=_generator())
    for cell in ("conv2", "conv3"):
        name = f"features.{cell}.conv.weight"
        old = optimizer.support(net.get_parameter(name))
        new = carried.support(wider.get_parameter(name))
        assert old.any()
        assert torch.equal(new[: len(old)], old)
        assert not new[len(old) :].any()


def test_readers_of_new_filters_learn_at_once(trained: Trained) -> None:
    net, optimizer, images = trained("resnet20")
    after = net.widths.replaced({"stage1": 20})
    wider, _ = widen(net, optimizer, after, generator=_generator())
    cross_entropy(wider(images), torch.arange(8) % 5).backward()  # type: ignore[no-untyped-call] # torch's own
    for name in wider.coupling().group("stage1").tensors("reader"):
        gradient = wider.get_parameter(name).grad
        assert gradient is not None
        assert gradient[:, 16:].flatten(1).any(), name


def test_a_stream_grows_once_in_every_tensor(trained: Trained) -> None:
    net, optimizer, _ = trained("resnet20")
    after = net.widths.replaced({"stage2": 37})
    wider, _ = widen(net, optimizer, after, generator=_generator())
    state = wider.state_dict()
    ties = wider.coupling().group("stage2").ties
    assert len(ties) == 3 * 5 + 2 + 1
    assert {state[tie.tensor].shape[tie.axis] for tie in ties} == {37}
    assert state["stages.stage3.block1.shortcut.source"].tolist() == [*range(32)] + [-1] * 32
    assert state["stages.stage2.block1.shortcut.source"].tolist() == [*range(16)] + [-1] * 21


def test_a_full_resnet_grows_its_stem_with_its_stream(trained: Trained) -> None:
    net, optimizer, _ = trained("resnet20")
    asked = due(dict.fromkeys(net.widths, 1.0), 0.8)
    after = plan(net.widths, asked, ratio=1.1, minimum=4).widths
    wider, _ = widen(net, optimizer, after, generator=_generator())
    assert after["stage1"] == 20
    assert len(wider.get_parameter("stem_conv.weight")) == 20


def test_the_old_pair_is_left_as_it_was(trained: Trained) -> None:
    net, optimizer, images = trained("vgg11", optimizer="adamw")
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    moments = {name: optimizer.state[p]["exp_avg"].clone() for name, p in net.named_parameters()}
    after = net.widths.replaced({"conv1": 20})
    wider, carried = widen(net, optimizer, after, generator=_generator())
    cross_entropy(wider(images), torch.arange(8) % 5).backward()  # type: ignore[no-untyped-call] # torch's own
    carried.step()
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    for name, parameter in net.named_parameters():
        assert torch.equal(optimizer.state[parameter]["exp_avg"], moments[name])


def test_a_generator_gives_the_same_growth_again(trained: Trained) -> None:
    net, optimizer, _ = trained("vgg11")
    after = net.widths.replaced({"conv1": 20})
    global_state = torch.get_rng_state()
    first, second = (widen(net, optimizer, after, generator=_generator())[0] for _ in range(2))
    assert torch.equal(torch.get_rng_state(), global_state)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name


def test_growth_can_be_repeated(trained: Trained) -> None:
    net, optimizer, images = trained("resnet20")
    grown, driver = net, optimizer
    generator = _generator()
    for _ in range(3):
        after = Widths({group: width + 2 for group, width in grown.widths.items()})
        grown, driver = widen(grown, driver, after, seed=OrthogonalSeed(), generator=generator)
    torch.testing.assert_close(grown(images), net(images), rtol=0, atol=1e-12)
    assert grown.widths["stage1"] == 22


def test_fewer_filters_are_refused(trained: Trained) -> None:
    net, optimizer, _ = trained("flat")
    with pytest.raises(ValueError, match="width of 'conv' must be >= 8, got 7"):
        widen(net, optimizer, Widths({"conv": 7, "fc": 9}), generator=_generator())


def test_restart_copies_the_corner_into_a_fresh_network(trained: Trained) -> None:
    net, optimizer, images = trained("resnet20", optimizer="slbi")
    after = Widths({group: width + 4 for group, width in net.widths.items()})
    wider, fresh = restart(net, optimizer, after, generator=_generator())
    reference = net.rebuild(after, generator=_generator()).state_dict()
    for name, old in net.state_dict().items():
        new = wider.state_dict()[name]
        index = tuple(slice(length) for length in old.shape)
        assert torch.equal(new[index], old), name
        outside = torch.ones_like(new, dtype=torch.bool)
        outside[index] = False
        assert torch.equal(new[outside], reference[name][outside]), name
    assert not fresh.state
    assert fresh.param_groups[0]["structure"] == "filter"
    assert not torch.allclose(wider(images), net(images), atol=1e-3)
