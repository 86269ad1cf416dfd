import copy

import pytest
import torch

from slbi.nets import backbones
from slbi.nets.graph.find import find
from slbi.nets.graph.resize import rebuilt, resized
from slbi.nets.widths import Widths
from tests import zoo


@pytest.mark.parametrize("name", zoo.CASES)
def test_a_resized_network_runs_and_is_found_as_predicted(name: str) -> None:
    net = zoo.built(name)
    found = find(net, zoo.SHAPE)
    generator = torch.Generator().manual_seed(3)
    sources = {
        group: torch.randint(-1, width, (width + 2,), generator=generator)
        for group, width in found.widths.items()
    }
    other, predicted = resized(net, found, sources)
    assert type(other) is type(net)
    assert find(other, zoo.SHAPE) == predicted
    assert dict(predicted.widths) == {group: len(source) for group, source in sources.items()}
    for said in (*zoo.logits(other, zoo.images()), *zoo.logits(other.train(), zoo.images())):
        assert said.isfinite().all()


@pytest.mark.parametrize("name", zoo.CASES)
def test_no_change_is_a_copy(name: str) -> None:
    net = zoo.built(name)
    found = find(net, zoo.SHAPE)
    same, predicted = resized(net, found, {})
    assert predicted == found
    for key, tensor in net.state_dict().items():
        assert torch.equal(same.state_dict()[key], tensor), key
        assert same.state_dict()[key].data_ptr() != tensor.data_ptr()
    assert repr(same) == repr(net)
    assert torch.equal(zoo.logits(same, zoo.images())[0], zoo.logits(net, zoo.images())[0])


@pytest.mark.parametrize("name", zoo.CASES)
def test_the_order_of_filters_does_not_matter(name: str) -> None:
    """Every tensor must be permuted alike, or the logits change."""
    net = zoo.built(name)
    found = find(net, zoo.SHAPE)
    generator = torch.Generator().manual_seed(3)
    sources = {
        group: torch.randperm(width, generator=generator) for group, width in found.widths.items()
    }
    shuffled, _ = resized(net, found, sources)
    for training in (False, True):
        before = zoo.logits(copy.deepcopy(net).train(training), zoo.images())
        after = zoo.logits(copy.deepcopy(shuffled).train(training), zoo.images())
        if name == "flat" and training:
            continue  # It drops entries by position.
        for one, other in zip(before, after, strict=True):
            torch.testing.assert_close(other, one, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["resnet20", "vgg11", "lenet5"])
def test_the_order_of_filters_does_not_matter_to_backbones(name: str) -> None:
    size = 28 if name == "lenet5" else 8
    net = backbones.build(name, in_channels=3, size=size, classes=5, dtype=torch.float64).eval()
    found = net.found()
    generator = torch.Generator().manual_seed(3)
    sources = {
        group: torch.randperm(width, generator=generator) for group, width in found.widths.items()
    }
    shuffled, _ = resized(net, found, sources)
    x = torch.randn(2, 3, size, size, dtype=torch.float64, generator=generator)
    torch.testing.assert_close(shuffled(x), net(x), rtol=0, atol=1e-12)


def test_flags_layout_and_sharing_are_carried() -> None:
    net = zoo.built("residual").train()
    net.get_submodule("norm").eval()
    net.get_parameter("head.bias").requires_grad = False
    net.to(memory_format=torch.channels_last)
    net.twin = net.get_submodule("head")
    other, _ = resized(net, find(net, zoo.SHAPE), {"block.0": torch.tensor([0, 2, -1])})
    assert other.training
    assert not other.get_submodule("norm").training
    assert not other.get_parameter("head.bias").requires_grad
    weight = other.get_parameter("block.0.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert other.get_submodule("twin") is other.get_submodule("head")


def test_a_network_without_data_is_resized_without_any() -> None:
    with torch.device("meta"):
        net = zoo.CASES["dense"].build()
    other, _ = resized(net, find(net, zoo.SHAPE), {"stem": torch.arange(3)})
    assert other.get_parameter("layers.1.weight").shape == (3, 7, 3, 3)
    assert all(parameter.is_meta for parameter in other.parameters())


def test_widths_alone_rebuild_a_network_for_its_state() -> None:
    net = zoo.built("hidden")
    found = find(net, zoo.SHAPE)
    grown, after = resized(
        net, found, {"up": torch.tensor([3, -1, 1]), "stem": torch.arange(7) - 1}
    )
    again, predicted = rebuilt(zoo.CASES["hidden"].build().double(), found, after.widths)
    again.load_state_dict(grown.state_dict())
    assert predicted == after
    x = zoo.images()
    assert torch.equal(again.eval()(x), grown.eval()(x))


@pytest.mark.parametrize(
    ("group", "source", "message"),
    [
        ("stern", [0], "groups of filters must be among stem, .*, got 'stern'"),
        ("stem", [], "group 'stem' must keep at least one filter, got none"),
        ("stem", [6], r"sources of 'stem' must be -1 or a filter below 6, got \[6\]"),
        ("stem", [-2], r"sources of 'stem' must be -1 or a filter below 6, got \[-2\]"),
    ],
)
def test_impossible_sources_are_refused(group: str, source: list[int], message: str) -> None:
    net = zoo.built("residual")
    with pytest.raises(ValueError, match=message):
        resized(net, find(net, zoo.SHAPE), {group: torch.tensor(source, dtype=torch.int64)})


def test_other_groups_are_refused() -> None:
    found = find(zoo.CASES["squeeze"].build(), zoo.SHAPE)
    with pytest.raises(ValueError, match=r"must name the groups stem, squeeze.1, got stem"):
        found.resized(Widths({"stem": 3}))


def test_a_layer_of_another_class_keeps_its_code() -> None:
    class Loud(zoo.Net):
        def body(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * x

    net = Loud(6).double().eval()
    heard: list[int] = []
    net.stem.register_forward_hook(lambda *_: heard.append(1))
    other, _ = resized(net, find(net, zoo.SHAPE), {"stem": torch.arange(4)})
    assert isinstance(other, Loud)
    heard.clear()
    other(zoo.images())
    assert heard == [1]
