"""Activation maximisation, on filters of which the answer is known."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from slbi.nets.backbone import Backbone
from slbi.pictures.activation import Maximised, maximise

SIZE = 20


class Gabors(nn.Module):
    """Eight filters: stripes at eight angles. None of them answers to a plain surface."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 7, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 5)
        self.unused = nn.Linear(8, 5)
        angles = torch.arange(8) * math.pi / 8
        for layer in (self.fc, self.unused):
            nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(0))
        self.conv.weight.data = torch.stack([gabor(angle.item()) for angle in angles])[:, None]

    def forward(self, x: Tensor) -> Tensor:
        features = self.norm(self.conv(x)).relu().mean(dim=(2, 3))
        logits: Tensor = self.fc(features)
        return logits


def gabor(angle: float) -> Tensor:
    """Return a (7, 7) Gabor filter of mean 0: stripes 4 px apart, across `angle`."""
    across = torch.linspace(-3, 3, 7)
    y, x = torch.meshgrid(across, across, indexing="ij")
    wave = torch.cos(2 * math.pi / 4 * (x * math.cos(angle) + y * math.sin(angle)))
    filter_ = wave * torch.exp(-(x.square() + y.square()) / 8)
    return filter_ - filter_.mean()


def biased(bias: float) -> nn.Conv2d:
    """Return eight random filters of one bias."""
    conv = nn.Conv2d(1, 8, 3)
    nn.init.uniform_(conv.weight, -0.3, 0.3, generator=torch.Generator().manual_seed(0))
    nn.init.constant_(conv.bias, bias)  # type: ignore[arg-type]  # it has one
    return conv


def raised(net: nn.Module, layer: str = "conv", *, seed: int = 0, **options: object) -> Maximised:
    given: dict[str, Any] = {"shape": (1, SIZE, SIZE), "mean": [0.3], "deviation": [0.25]}
    return maximise(
        net, layer, generator=torch.Generator().manual_seed(seed), **{**given, **options}
    )


def noise(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.rand(count, 1, SIZE, SIZE, generator=generator)


def mean_outputs(net: Gabors, pixels: Tensor) -> Tensor:
    """Return (N, 8), what `maximise` is to raise, computed the plain way."""
    images = (pixels / 255 - 0.3) / 0.25
    return conv2d(images, net.conv.weight.detach()).relu().mean(dim=(2, 3))


@pytest.mark.parametrize("bounded", [True, False])
def test_a_gabor_filter_is_raised_far_above_random_images(*, bounded: bool) -> None:
    net = Gabors()
    found = raised(net, bounded=bounded)
    random = mean_outputs(net, 255 * noise(64)).amax(dim=0)  # (8,): the best of 64
    assert (found.activations > 2 * random).all()
    assert (found.activations > 2 * found.initial).all()


def test_each_filter_likes_its_own_image_best() -> None:
    net = Gabors()
    outputs = mean_outputs(net, raised(net, bounded=True).images)  # (image, filter)
    assert outputs.argmax(dim=0).tolist() == list(range(8))


def test_the_image_of_a_gabor_filter_has_its_stripes() -> None:
    found = raised(Gabors(), bounded=True, filters=[0, 4])
    across, along = found.images[0, 0], found.images[1, 0]
    for image in (across, along.T):
        changes_in_rows = image.diff(dim=1).abs().mean()
        changes_in_columns = image.diff(dim=0).abs().mean()
        assert changes_in_rows > 2 * changes_in_columns


def test_the_reported_activation_is_that_of_the_reported_image() -> None:
    net = Gabors()
    found = raised(net)
    torch.testing.assert_close(mean_outputs(net, found.images).diagonal(), found.activations)


def test_bounded_pixels_stay_within_black_and_white() -> None:
    bounded, free = raised(Gabors(), bounded=True).images, raised(Gabors()).images
    assert (bounded.min().item(), bounded.max().item()) == (0, 255)
    assert free.min() < -255
    assert free.max() > 510


@pytest.mark.parametrize("bounded", [True, False])
def test_the_pictures_are_in_zero_to_one(*, bounded: bool) -> None:
    pictures = raised(Gabors(), bounded=bounded).pictures
    assert pictures.shape == (8, 1, SIZE, SIZE)
    assert 0 <= pictures.min() < 0.3
    assert 0.7 < pictures.max() <= 1


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_unchanged(*, training: bool) -> None:
    net = Gabors().train(training)
    net.fc.eval()
    net.conv.weight.requires_grad_(False)
    net.fc.weight.grad = torch.ones_like(net.fc.weight)
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}

    def flags() -> list[Any]:
        parameters = [(p.requires_grad, p.grad is None) for p in net.parameters()]
        modules = [(m.training, len(m._forward_hooks)) for m in net.modules()]
        return [parameters, modules]

    before = flags()
    raised(net, "norm")
    assert flags() == before
    assert bool((net.fc.weight.grad == 1).all())
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())


def test_the_network_is_judged_in_evaluation_whatever_its_mode() -> None:
    net = Gabors()
    net.norm.running_mean.fill_(0.1)  # type: ignore[union-attr]  # a buffer
    training = raised(net.train(), "norm")
    assert torch.equal(training.images, raised(net.eval(), "norm").images)


def test_the_same_seed_gives_the_same_picture_and_another_one_another() -> None:
    first, second, other = (raised(Gabors(), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.activations, second.activations)
    assert not torch.equal(first.images, other.images)


def test_neither_the_chunk_nor_the_company_changes_a_picture() -> None:
    net = Gabors().double()
    whole, parts = raised(net, steps=40), raised(net, steps=40, chunk=3)
    torch.testing.assert_close(whole.images, parts.images)
    some = raised(net, steps=40, filters=[6, 1])
    assert some.filters == (6, 1)
    torch.testing.assert_close(some.images, whole.images[[6, 1]])


def test_the_scale_of_the_inputs_does_not_change_the_picture() -> None:
    """A network fed pixel / 255 and one fed normalised numbers, of the same function of pixels."""
    net, scaled = Gabors().double(), Gabors().double()
    scaled.conv.weight.data *= 0.1
    plain = raised(net, mean=[0.0], deviation=[1.0], steps=40)
    normalised = raised(scaled, mean=[0.0], deviation=[0.1], steps=40)
    torch.testing.assert_close(plain.images, normalised.images)


def test_a_dead_filter_is_said_to_be_dead() -> None:
    net = Gabors()
    net.conv.weight.data[3] = 0
    found = raised(net)
    assert found.dead.tolist() == [index == 3 for index in range(8)]
    assert found.activations[3] == 0
    assert bool(torch.isfinite(found.images).all())
    assert bool(torch.isfinite(found.pictures).all())


def test_a_filter_that_answers_all_images_alike_is_said_to_be_constant() -> None:
    conv = biased(0.5)
    conv.weight.data[2] = 0
    found = raised(nn.Sequential(conv), "0", steps=20)
    assert found.constant.tolist() == [index == 2 for index in range(8)]
    assert found.activations[2] == 0.5
    assert not found.dead.any()


def test_a_filter_that_is_silent_at_the_start_is_woken() -> None:
    found = raised(nn.Sequential(biased(-9), nn.ReLU()), "0")
    assert not found.initial.any()
    assert (found.activations > 0).all()


def test_a_network_of_nans_gives_finite_images_and_dead_filters() -> None:
    net = Gabors()
    net.conv.weight.data.fill_(math.nan)
    found = raised(net, steps=3)
    assert found.dead.all()
    assert bool(torch.isfinite(found.images).all())


@pytest.mark.parametrize(
    ("layer", "count"), [("conv", 8), ("norm", 8), ("fc", 5)], ids=["conv", "norm", "linear"]
)
def test_any_layer_may_be_asked(layer: str, count: int) -> None:
    found = raised(Gabors(), layer, steps=10)
    assert found.images.shape == (count, 1, SIZE, SIZE)
    assert found.activations.shape == (count,)


def test_a_linear_layer_on_tokens_has_its_filters_in_the_last_axis() -> None:
    net = nn.Sequential(nn.Flatten(2), nn.Linear(SIZE * SIZE, 6), nn.ReLU())
    assert raised(net, "1", steps=2).filters == tuple(range(6))


@pytest.mark.parametrize("layer", ["stem_conv", "stages.stage2.block1.conv1"])
def test_the_layers_of_a_backbone_are_raised(
    layer: str, trained: Callable[..., tuple[Backbone, Any, Tensor]]
) -> None:
    net, _, _ = trained("resnet20")
    found = raised(net, layer, shape=(3, 8, 8), mean=[0.5] * 3, deviation=[0.25] * 3, steps=20)
    assert found.images.dtype == torch.float64
    assert (found.activations[~found.dead] > found.initial[~found.dead]).all()


def test_it_works_where_gradients_are_off() -> None:
    with torch.inference_mode():
        found = raised(Gabors(), steps=10)
    assert (found.activations > found.initial).all()


def test_an_unknown_layer_is_named_beside_the_known_ones() -> None:
    with pytest.raises(ValueError, match="one of conv, fc, unused, got 'conv2'"):
        raised(Gabors(), "conv2")


def test_a_layer_that_is_not_called_is_named() -> None:
    with pytest.raises(ValueError, match="called in the forward pass, 'unused' was not"):
        raised(Gabors(), "unused")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": [8]}, "filters of 'conv' must be in 0 to 7, got 8"),
        ({"filters": []}, "filters of 'conv' must be one or more, got none"),
        ({"steps": 0}, "steps must be >= 1, got 0"),
        ({"chunk": 0}, "chunk must be >= 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be > 0"),
        ({"deviation": [0.0]}, "deviation must be > 0"),
        ({"mean": [0.1, 0.2]}, "mean must have 1 channels, got 2"),
    ],
)
def test_a_number_out_of_its_range_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        raised(Gabors(), **options)
